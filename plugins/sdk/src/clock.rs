//! Time. Without a grant it is logical: it starts at the run's logical time, and moves only when the plugin sleeps.

use crate::backend;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> u64 {
    backend::now_ms()
}

/// Sleeps for so many milliseconds; without a grant that costs no wall time.
pub fn sleep_ms(duration: u32) {
    backend::sleep_ms(duration);
}

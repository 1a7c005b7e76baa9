//! Ids of runs: sortable by the time they started, without asking anybody.

use std::hash::{BuildHasher, RandomState};

use lockgate_model::RunId;

/// Crockford's base 32 in lower case: its order is that of the bytes, and it has no letters that are taken for digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 50 bits of milliseconds last until the year 37,000.
const TIME_DIGITS: u32 = 10;
/// 40 bits keep two runs that start in one millisecond apart.
const RANDOM_DIGITS: u32 = 8;

/// An id of a run that starts at `now` (milliseconds since 1970): `r`, ten digits of the time, eight of `random`.
#[expect(clippy::expect_used, reason = "19 characters of the alphabet behind an `r` are a name")]
pub fn run_id(now: u64, random: u64) -> RunId {
    let mut text = String::with_capacity(19);
    text.push('r');
    for (value, digits) in [(now, TIME_DIGITS), (random, RANDOM_DIGITS)] {
        for digit in (0..digits).rev() {
            text.push(char::from(ALPHABET[usize::from((value >> (5 * digit)) as u8 & 31)]));
        }
    }
    RunId::new(&text).expect("letters and digits")
}

/// A number that another call, here or in another process, hardly gives again. Not a secret.
pub fn entropy() -> u64 {
    // Each `RandomState` has keys of its own from the system's random source.
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sorted_by_time() {
        let times = [0, 1, 31, 32, 1_024, 1_732_174_000_000, 1_732_174_000_001, (1 << 50) - 1];
        let ids: Vec<_> = times.iter().enumerate().map(|(i, &time)| run_id(time, u64::MAX - i as u64)).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(run_id(1_732_174_000_000, 0).as_str(), "r01jd6svbw000000000");
        assert_eq!(ids[0].as_str().len(), 19);
    }

    #[test]
    fn ids_of_one_millisecond_differ() {
        assert_ne!(run_id(7, 1), run_id(7, 2));
        assert_ne!(entropy(), entropy());
    }
}

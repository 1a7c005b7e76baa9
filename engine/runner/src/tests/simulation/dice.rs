//! Random numbers that a seed decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One row of random numbers. Clones draw from the same row.
#[derive(Debug, Clone)]
pub(super) struct Dice(Arc<AtomicU64>);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// Splitmix64: any seed gives a good row, also two that follow each other.
    pub(super) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below this one, which is above 0.
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From 1 to 2 to the power of `bits`, small ones as often as large ones.
    pub(super) fn spread(&self, bits: u64) -> u64 {
        let most = 1 << self.below(bits + 1);
        1 + self.below(most)
    }

    pub(super) fn chance(&self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    pub(super) fn word(&self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len() as u64) as usize]
    }

    pub(super) fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

//! Chance that can be thrown again: a number from the same seed is always the same.

use std::time::{SystemTime, UNIX_EPOCH};

/// Makes the next run throw as this one did.
const SEED: &str = "SHIP_CHAOS_SEED";

/// Dice with a seed, by the way of `SplitMix64`.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice with the seed of the environment, or of the clock; says which.
    pub(crate) fn new() -> Self {
        let clock = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .subsec_nanos()
                .into()
        };
        let seed = std::env::var(SEED)
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(clock);
        println!("the dice of this run: {SEED}={seed}");
        Self(seed)
    }

    /// A number from 0 to 1.
    pub(crate) fn throw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).expect("half of the bits"))
            / f64::from(u32::MAX)
    }
}

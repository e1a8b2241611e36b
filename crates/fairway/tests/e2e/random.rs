//! Random numbers that can be had again: the seed is printed.

use std::time::{SystemTime, UNIX_EPOCH};

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded from `FAIRWAY_TEST_SEED`, else from the clock.
    pub(crate) fn new() -> Self {
        let given = std::env::var("FAIRWAY_TEST_SEED").ok();
        let seed = given.map_or_else(
            || {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                now.as_nanos() as u64
            },
            |text| text.parse().expect("FAIRWAY_TEST_SEED is a number"),
        );
        println!("FAIRWAY_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % limit
    }
}

//! SplitMix64: small, and good enough to find errors.

use std::cell::Cell;

pub struct Rng(Cell<u64>);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub fn bits(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..end`.
    pub fn below(&self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Yes, once in `n` times.
    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number in `low..=high`.
    pub fn within(&self, low: i32, high: i32) -> i32 {
        (i64::from(low) + self.below((i64::from(high) - i64::from(low) + 1) as usize) as i64) as i32
    }

    /// A number in `low..=high`, and half of the time one of its ends.
    pub fn extreme(&self, low: i32, high: i32) -> i32 {
        match self.below(4) {
            0 => low,
            1 => high,
            _ => self.within(low, high),
        }
    }

    /// A real in `1.0..2.0`, half of the time 1, which makes ties likely.
    pub fn fraction(&self) -> f32 {
        if self.one_in(2) { 1.0 } else { 1.0 + (self.bits() >> 41) as f32 / (1u32 << 23) as f32 }
    }
}

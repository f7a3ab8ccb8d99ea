//! A random generator that gives the same numbers on every machine and with every version of every crate.

/// Marsaglia's xorshift with Vigna's multiplier (xorshift64*).
pub struct Rng(u64);

impl Rng {
    /// `seed` must not be zero.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// A number in `-bound..bound`.
    pub fn uniform(&mut self, bound: f32) -> f32 {
        // 24 bits are exact in an f32.
        let unit = (self.next() >> 8) as f32 / (1 << 24) as f32;
        (2.0 * unit - 1.0) * bound
    }

    /// Fisher and Yates' shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (u64::from(self.next()) * (last as u64 + 1)) >> 32;
            items.swap(last, other as usize);
        }
    }
}

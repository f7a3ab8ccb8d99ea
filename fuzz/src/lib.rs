//! What the fuzz targets share: backends, matrices, output stages, one product on every backend.

pub mod image;
pub mod matrix;
pub mod product;
pub mod stage;

use aligned_vec::{AVec, ConstAlign, avec};
use zeropoint::{Backend, Element, available};
use zeropoint_twins::TWINS;

/// Every backend of this CPU, and the twins: every layout there is.
pub fn backends() -> impl Iterator<Item = Backend> {
    available().chain(TWINS.iter().filter_map(Backend::detect))
}

/// Bytes that start at a cache line and end where their allocation does.
pub fn aligned(bytes: usize, value: u8) -> AVec<u8, ConstAlign<64>> {
    avec![[64]| value; bytes]
}

/// Numbers from a seed (splitmix64): large matrices cost few bytes of input.
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// `values` again and again, or `nothing` if there are none.
pub fn cycle<T: Copy>(values: &[T], len: usize, nothing: T) -> Vec<T> {
    (0..len).map(|i| if values.is_empty() { nothing } else { values[i % values.len()] }).collect()
}

/// An element that has bits: comparisons are of bits.
pub trait Value: Element + std::fmt::Debug {
    fn of(bits: u32) -> Self;
    fn bits(self) -> u32;
}

macro_rules! values {
    ($($t:ty),*) => {$(
        impl Value for $t {
            fn of(bits: u32) -> Self {
                bits as $t
            }
            fn bits(self) -> u32 {
                self as u32
            }
        }
    )*};
}
values!(u8, i8, i16, i32);

impl Value for f32 {
    fn of(bits: u32) -> Self {
        Self::from_bits(bits)
    }
    fn bits(self) -> u32 {
        self.to_bits()
    }
}

//! The types of codes and outputs.

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i8 {}
    impl Sealed for i16 {}
    impl Sealed for i32 {}
    impl Sealed for f32 {}
}

/// A type of operand codes: `u8` or `i8`.
pub trait Code: Element + Into<i32> {
    /// Whether codes are two's complement.
    const SIGNED: bool;
    /// The code of the low bits of a number.
    fn low_bits(number: i32) -> Self;
}

impl Code for u8 {
    const SIGNED: bool = false;

    fn low_bits(number: i32) -> Self {
        number as Self
    }
}

impl Code for i8 {
    const SIGNED: bool = true;

    fn low_bits(number: i32) -> Self {
        number as Self
    }
}

/// The type of an output, at run time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dest {
    /// `u8` codes.
    U8,
    /// `i8` codes.
    I8,
    /// `i16` codes.
    I16,
    /// Sums.
    I32,
    /// Dequantized reals.
    F32,
}

impl Dest {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
        }
    }
}

/// A type of output elements: `u8`, `i8`, `i16`, `i32` or `f32`.
pub trait Element: sealed::Sealed + Copy + Send + Sync + Default + 'static {
    /// The type at run time.
    const DEST: Dest;
    /// Smallest and largest code; for `i32` and `f32`, which take no clamp, the range of `i32`.
    const RANGE: (i32, i32);
}

macro_rules! elements {
    ($($t:ty, $dest:ident, $low:expr, $high:expr;)*) => {$(
        impl Element for $t {
            const DEST: Dest = Dest::$dest;
            const RANGE: (i32, i32) = ($low as i32, $high as i32);
        }
    )*};
}
elements! {
    u8, U8, u8::MIN, u8::MAX;
    i8, I8, i8::MIN, i8::MAX;
    i16, I16, i16::MIN, i16::MAX;
    i32, I32, i32::MIN, i32::MAX;
    f32, F32, i32::MIN, i32::MAX;
}

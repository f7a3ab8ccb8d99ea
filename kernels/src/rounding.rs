//! The rounding rules as scalar functions: they are the definition (semantics.md, sections 4 and 5).

use crate::Error;

/// How an int32 sum is scaled by a fixed-point multiplier and rounded to an integer (semantics.md 5.2).
///
/// ```
/// use zeropoint_kernels::{Multiplier, Rounding};
/// let quarter = Multiplier::from_real(0.25)?;
/// assert_eq!(Rounding::DoubleAway.apply(5, quarter), 2); // 1.25, rounded twice
/// assert_eq!(Rounding::SingleUp.apply(5, quarter), 1);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Rounding {
    /// gemmlowp, TFLite and the paper: a rounding doubling high multiply (ties up), then a rounding shift
    /// (ties away from zero). A left shift wraps.
    #[default]
    DoubleAway,
    /// The same with a left shift that saturates (gemmlowp's scalar code).
    DoubleAwaySat,
    /// ruy's x86 kernels: both roundings break ties upward. A left shift wraps.
    DoubleUp,
    /// One rounding of the exact product, ties toward plus infinity.
    SingleUp,
    /// One rounding of the exact product, ties away from zero.
    SingleAway,
    /// One rounding of the exact product, ties to the even integer.
    SingleEven,
    /// gemmlowp's older stage: a wrapping integer product, then a rounding shift (ties away from zero).
    /// Its offset is an integer added to the bias; its multipliers come from [`Multiplier::int_mul_shift`].
    IntMulShift,
}

impl Rounding {
    /// Every rule.
    pub const ALL: [Self; 7] = [
        Self::DoubleAway,
        Self::DoubleAwaySat,
        Self::DoubleUp,
        Self::SingleUp,
        Self::SingleAway,
        Self::SingleEven,
        Self::IntMulShift,
    ];

    /// The name used in semantics.md.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DoubleAway => "double_away",
            Self::DoubleAwaySat => "double_away_sat",
            Self::DoubleUp => "double_up",
            Self::SingleUp => "single_up",
            Self::SingleAway => "single_away",
            Self::SingleEven => "single_even",
            Self::IntMulShift => "int_mul_shift",
        }
    }

    /// The rule itself: `x` scaled by `by` and rounded, before zero point and clamp.
    #[inline(always)]
    pub const fn apply(self, x: i32, by: Multiplier) -> i64 {
        let Multiplier { m, s } = by;
        let (left, right) = if s > 0 { (s as u32, 0) } else { (0, s.unsigned_abs()) };
        match self {
            Self::DoubleAway => divide_away(high_mul(wrapping_shl(x, left), m), right),
            Self::DoubleAwaySat => divide_away(high_mul(saturating_shl(x, left), m), right),
            Self::DoubleUp => divide_up(high_mul(wrapping_shl(x, left), m), right),
            Self::SingleUp => divide_up(x as i64 * m as i64, (31 - s) as u32),
            Self::SingleAway => divide_away(x as i64 * m as i64, (31 - s) as u32),
            Self::SingleEven => divide_even(x as i64 * m as i64, (31 - s) as u32),
            Self::IntMulShift => divide_away(x.wrapping_mul(m) as i64, right),
        }
    }

    /// Whether `by` is in the range this rule is defined for.
    pub const fn accepts(self, by: Multiplier) -> bool {
        match self {
            Self::IntMulShift => -31 <= by.s && by.s <= 0,
            _ => (by.m == 0 || by.m >= 1 << 30) && -31 <= by.s && by.s <= 30,
        }
    }
}

/// SRDHM: `x * m / 2^31`, ties toward plus infinity; `m >= 0`, so it cannot saturate.
const fn high_mul(x: i32, m: i32) -> i64 {
    (x as i64 * m as i64 + (1 << 30)) >> 31
}

/// `x * 2^left` mod 2^32.
const fn wrapping_shl(x: i32, left: u32) -> i32 {
    x.wrapping_shl(left)
}

/// `x * 2^left`, clamped to i32.
const fn saturating_shl(x: i32, left: u32) -> i32 {
    let wide = (x as i64) << left;
    if wide > i32::MAX as i64 {
        i32::MAX
    } else if wide < i32::MIN as i64 {
        i32::MIN
    } else {
        wide as i32
    }
}

/// `x / 2^e`, ties toward plus infinity.
const fn divide_up(x: i64, e: u32) -> i64 {
    if e == 0 { x } else { (x + (1 << (e - 1))) >> e }
}

/// `x / 2^e`, ties away from zero (RDBPOT of semantics.md 5.1), e < 63; |x| is less than 2^63 - 2^62.
///
/// ```
/// assert_eq!([12, -12, 5].map(|x| zeropoint_kernels::divide_away(x, 3)), [2, -2, 1]);
/// ```
pub const fn divide_away(x: i64, e: u32) -> i64 {
    if e == 0 { x } else { (x + (1 << (e - 1)) - (x < 0) as i64) >> e }
}

/// `x / 2^e`, ties to even; `e >= 1`.
const fn divide_even(x: i64, e: u32) -> i64 {
    (x + (1 << (e - 1)) - 1 + ((x >> e) & 1)) >> e
}

/// The float rule, `f32_even` (semantics.md 5.2): `half_even(fl32(fl32(x) * scale))` clamped to
/// `low..=high`, which must lie within 2^22 of zero.
///
/// Returns the clamped integer as a float, which holds it exactly.
///
/// ```
/// assert_eq!(zeropoint_kernels::float_even(5, 0.5, -255, 255), 2.0); // a tie goes to the even number
/// ```
#[inline(always)]
pub const fn float_even(x: i32, scale: f32, low: i32, high: i32) -> f32 {
    let scaled = x as f32 * scale;
    let (low, high) = (low as f32, high as f32);
    // A NaN (0 times an overflowed scale) becomes `low`.
    let above = if scaled > low { scaled } else { low };
    let clamped = if above < high { above } else { high };
    // 1.5 * 2^23: the sum has no fraction bits left, and float addition rounds half to even.
    const MAGIC: f32 = 12_582_912.0;
    clamped + MAGIC - MAGIC
}

/// A fixed-point multiplier: the real factor is `m * 2^(s - 31)`; `s > 0` shifts left (semantics.md 4).
///
/// The paper writes `2^-n * M0` (eq. 6): `m = M0 * 2^31`, `n = -s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Multiplier {
    m: i32,
    s: i32,
}

impl Multiplier {
    /// The factor 1.
    pub const ONE: Self = Self { m: 1 << 30, s: 1 };

    /// From its parts: `m` is 0 or in `2^30..2^31`, `s` in `-31..=30`.
    ///
    /// # Errors
    /// [`Error::FixedPoint`] outside these ranges.
    pub const fn new(m: i32, s: i32) -> Result<Self, Error> {
        let by = Self { m, s };
        if Rounding::DoubleAway.accepts(by) { Ok(by) } else { Err(Error::FixedPoint { multiplier: m, shift: s }) }
    }

    /// From parts that came out of a `Multiplier`.
    #[inline(always)]
    pub(crate) const fn from_parts(m: i32, s: i32) -> Self {
        Self { m, s }
    }

    /// The multiplier nearest to a real factor, as TFLite and gemmlowp derive it (semantics.md 4).
    ///
    /// Factors below about 2^-32 become 0.
    ///
    /// # Errors
    /// [`Error::Real`] if `real` is negative, NaN, infinite, or at least 2^30.
    ///
    /// ```
    /// use zeropoint_kernels::Multiplier;
    /// let third = Multiplier::from_real(1.0 / 3.0)?;
    /// assert_eq!((third.multiplier(), third.shift()), (1431655765, -1));
    /// assert!(Multiplier::from_real(-0.5).is_err());
    /// # Ok::<(), zeropoint_kernels::Error>(())
    /// ```
    pub const fn from_real(real: f64) -> Result<Self, Error> {
        const LIMIT: f64 = (1u64 << 30) as f64;
        // A NaN fails both comparisons. Values that round up to 2^30 are refused below.
        if !(real >= 0.0 && real < LIMIT) {
            return Err(Error::Real { argument: "multiplier", value: real });
        }
        let bits = real.to_bits();
        let exponent = (bits >> 52) as i32;
        // Zero and subnormals are far below the smallest factor kept.
        if exponent < 1022 - 32 {
            return Ok(Self { m: 0, s: 0 });
        }
        // real = mantissa * 2^(exponent - 1075), mantissa in [2^52, 2^53): f * 2^31 = mantissa / 2^22.
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let m = (mantissa + (1 << 21)) >> 22;
        let s = exponent - 1022;
        let (m, s) = if m == 1 << 31 { (1 << 30, s + 1) } else { (m, s) };
        if s < -31 {
            return Ok(Self { m: 0, s: 0 });
        }
        if s > 30 {
            return Err(Error::Real { argument: "multiplier", value: real });
        }
        Ok(Self { m: m as i32, s })
    }

    /// `input * weight / output` in binary64: the multiplier of a layer (paper, eq. 5; semantics.md 4).
    ///
    /// # Errors
    /// [`Error::Real`] if the quotient is negative, NaN, infinite, or at least 2^30.
    pub const fn from_scales(input: f32, weight: f32, output: f32) -> Result<Self, Error> {
        // The product of two binary32 numbers is exact in binary64; the division rounds once.
        Self::from_real(input as f64 * weight as f64 / output as f64)
    }

    /// For [`Rounding::IntMulShift`]: `x * multiplier / 2^right_shift`.
    ///
    /// # Errors
    /// [`Error::FixedPoint`] if `right_shift` is not in `0..=31`.
    pub const fn int_mul_shift(multiplier: i32, right_shift: u32) -> Result<Self, Error> {
        if right_shift > 31 {
            let shift = if right_shift > i32::MAX as u32 { i32::MIN } else { -(right_shift as i32) };
            return Err(Error::FixedPoint { multiplier, shift });
        }
        Ok(Self { m: multiplier, s: -(right_shift as i32) })
    }

    /// The factor of a mean of `count` terms, as TFLite derives it from the factor of one (semantics.md 10.5): `m * 2^k / count`,
    /// rounded down, with as large a k as the count and the shift allow. A count of 0 is taken as 1.
    ///
    /// ```
    /// use zeropoint_kernels::Multiplier;
    /// let third = Multiplier::ONE.mean(3);
    /// assert_eq!((third.multiplier(), third.shift()), (715827882, 0));
    /// ```
    pub const fn mean(self, count: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        let by_count = count.ilog2() as i32;
        let by_shift = 31 + self.s;
        let k = if by_count < by_shift { by_count } else { by_shift };
        // Not more than `m`: 2^k is at most the count.
        Self { m: (((self.m as i64) << k) / count as i64) as i32, s: self.s - k }
    }

    /// The paper's 16-bit multiplier: the nearest with the lower 16 bits of `m` zero, ties up, saturating
    /// below 2^31 (semantics.md 4).
    pub const fn to_int16(self) -> Self {
        let rounded = (self.m as i64 + (1 << 15)) >> 16;
        let limit = (1 << 15) - 1;
        let m16 = if rounded > limit { limit } else { rounded };
        Self { m: (m16 << 16) as i32, s: self.s }
    }

    /// `m`, the 31-bit fraction.
    #[inline(always)]
    pub const fn multiplier(self) -> i32 {
        self.m
    }

    /// `s`, the exponent; negative shifts right.
    #[inline(always)]
    pub const fn shift(self) -> i32 {
        self.s
    }
}

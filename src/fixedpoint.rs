//! Functions of reals in fixed point: exponential, reciprocals, hyperbolic tangent, logistic (semantics.md 9).
//!
//! [`Fixed<R, I>`](Fixed) holds a real as an integer `R`, `i32` or `i16`, of which `I` bits, beside the sign, are for the integer part: a
//! `Fixed<i32, 5>` is in Q5.26, from -32 up to 32 in steps of 2^-26. All functions are integers only, free of branches on data that
//! would change the result from CPU to CPU, and defined for every argument. Errors are those of `i16` for every argument and of
//! `i32` for a dense choice of them, in steps of the result, against the real value, which is no whole number of steps:
//!
//! | function | arguments | largest error, `i32` | `i16` |
//! |---|---|--:|--:|
//! | [`exp_of_negative`] | up to 5 integer bits | 500 (2.4e-7) | 2 |
//! | [`one_over_one_plus`] | 0..1 | 7 | 6 |
//! | [`one_minus_over_one_plus`] | 0..1 | 14 | 12 |
//! | [`tanh`] | up to 5 integer bits | 310 (1.5e-7) | 13 |
//! | [`logistic`] | up to 5 integer bits | 155 (7.3e-8) | 7 |
//!
//! Layers of 8-bit codes need more: [`wide`] has the exponential in 62 bits, from which they make tables whose every entry is
//! the nearest code.

pub mod wide;

use zeropoint_kernels::divide_away;

use crate::quant::{Ties, nearest};

mod sealed {
    pub trait Sealed {}
    impl Sealed for i16 {}
    impl Sealed for i32 {}
}

/// What a [`Fixed`] is made of: `i16` or `i32`.
pub trait Raw: sealed::Sealed + Copy + Into<i64> + PartialEq + PartialOrd {
    /// Bits beside the sign.
    const BITS: u32;
    /// The nearest value there is.
    fn saturated(x: i64) -> Self;
}

impl Raw for i16 {
    const BITS: u32 = 15;
    fn saturated(x: i64) -> Self {
        x.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
    }
}

impl Raw for i32 {
    const BITS: u32 = 31;
    fn saturated(x: i64) -> Self {
        x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

/// A real number `raw / 2^(bits of R - INTEGER_BITS)`.
///
/// ```
/// use zeropoint::fixedpoint::{Fixed, exp_of_negative};
/// let x = Fixed::<i32, 5>::from_real(-1.5);
/// assert_eq!(x.raw(), -3 << 25);
/// assert!((exp_of_negative(x).to_real() - (-1.5f64).exp()).abs() < 2.4e-7);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fixed<R, const INTEGER_BITS: u32>(R);

impl<R: Raw, const I: u32> Fixed<R, I> {
    /// Bits behind the point.
    pub const FRACTION_BITS: u32 = R::BITS - I;

    /// The number of so many steps.
    pub const fn from_raw(raw: R) -> Self {
        Self(raw)
    }

    /// Its steps.
    pub const fn raw(self) -> R {
        self.0
    }

    /// The number nearest to `x`, ties away from zero, or the end that `x` lies beyond; 0 for NaN.
    pub fn from_real(x: f64) -> Self {
        // Far beyond every end; of NaN, `as` makes 0.
        const FAR: f64 = (1i64 << 40) as f64;
        let steps = x * (1i64 << Self::FRACTION_BITS) as f64;
        Self(R::saturated(nearest(steps.clamp(-FAR, FAR), Ties::Away)))
    }

    /// The real number.
    pub fn to_real(self) -> f64 {
        let steps: i64 = self.0.into();
        steps as f64 / (1i64 << Self::FRACTION_BITS) as f64
    }

    /// 1, or the largest number where there are no integer bits.
    pub fn one() -> Self {
        Self(R::saturated(1 << Self::FRACTION_BITS))
    }

    /// The same number with `J` integer bits: rounded, ties away from zero, or saturated.
    pub fn rescale<const J: u32>(self) -> Fixed<R, J> {
        const { assert!(I <= R::BITS && J <= R::BITS, "no more integer bits than there are") }
        let steps: i64 = self.0.into();
        let steps = if J >= I { divide_away(steps, J - I) } else { steps << (I - J) };
        Fixed(R::saturated(steps))
    }

    /// The steps of a number with `J` integer bits: the number times `2^(J - I)`.
    pub fn relabel<const J: u32>(self) -> Fixed<R, J> {
        Fixed(self.0)
    }

    /// The sum, saturated.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(R::saturated(self.0.into() + other.0.into()))
    }

    /// The difference, saturated.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(R::saturated(self.0.into() - other.0.into()))
    }

    /// The product (SRDHM: ties toward plus infinity), whose integer bits are those of both.
    ///
    /// ```
    /// use zeropoint::fixedpoint::Fixed;
    /// let (a, b) = (Fixed::<i16, 2>::from_real(1.5), Fixed::<i16, 1>::from_real(-0.75));
    /// let product: Fixed<i16, 3> = a.times(b);
    /// assert_eq!(product.to_real(), -1.125);
    /// ```
    pub fn times<const J: u32, const K: u32>(self, other: Fixed<R, J>) -> Fixed<R, K> {
        const { assert!(K == I + J, "integer bits of a product are those of both factors") };
        let product = self.0.into() * other.0.into();
        Fixed(R::saturated((product + (1 << (R::BITS - 1))) >> R::BITS))
    }

    /// A constant in steps of 2^-(31 - I).
    fn constant(steps: i32) -> Self {
        Self(R::saturated(divide_away(i64::from(steps), 31 - R::BITS)))
    }
}

/// e^x for -1/4 <= x < 0: four terms of the series about -1/8.
fn exp_of_quarter<R: Raw>(x: Fixed<R, 0>) -> Fixed<R, 0> {
    let (exp_of_eighth, third) = (Fixed::<R, 0>::constant(1_895_147_668), Fixed::<R, 0>::constant(715_827_883));
    let x = x.plus(Fixed::constant(1 << 28));
    let x2: Fixed<R, 0> = x.times(x);
    let (x3, x4): (Fixed<R, 0>, Fixed<R, 0>) = (x2.times(x), x2.times(x2));
    let x4_by_4 = x4.rescale::<2>().relabel::<0>();
    let thirds: Fixed<R, 0> = x4_by_4.plus(x3).times(third);
    let rest = thirds.plus(x2).rescale::<1>().relabel::<0>();
    let product: Fixed<R, 0> = exp_of_eighth.times(x.plus(rest));
    exp_of_eighth.plus(product)
}

/// e^x for x <= 0; e^0 is the largest number, as it is for x > 0.
pub fn exp_of_negative<R: Raw, const I: u32>(x: Fixed<R, I>) -> Fixed<R, 0> {
    /// e^-(2^k) for k = -2..=4, in steps of 2^-31.
    const POWERS: [i32; 7] = [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    let steps: i64 = x.raw().into();
    if steps >= 0 {
        return Fixed::one();
    }
    let bits = Fixed::<R, I>::FRACTION_BITS;
    if I > 5 && steps < -(32 << bits) {
        return Fixed(R::saturated(0));
    }
    // x is a number in -1/4..0 less multiples of 1/4. In more bits where there are few behind the point.
    let quarter = if bits >= 2 { 1i64 << (bits - 2) } else { 1 };
    let steps = if bits >= 2 { steps } else { steps << (2 - bits) };
    let bits = bits.max(2);
    let rest = (steps & (quarter - 1)) - quarter;
    let multiples = rest - steps;
    let mut result = exp_of_quarter(Fixed::<R, 0>(R::saturated(rest << (R::BITS - bits))));
    for (k, power) in POWERS.into_iter().enumerate() {
        if multiples & (quarter << k) != 0 {
            result = result.times::<0, 0>(Fixed::constant(power));
        }
    }
    result
}

/// Three steps of Newton's method for 2 / (1 + x), 0 <= x <= 1, from 48/17 - 32/17 * (1 + x) / 2.
fn two_over_one_plus<R: Raw>(x: Fixed<R, 0>) -> Fixed<R, 2> {
    // (1 + x) / 2, ties away from zero.
    let sum = Fixed::<R, 0>::one().raw().into() + x.raw().into();
    let half = Fixed::<R, 0>(R::saturated((sum + if sum >= 0 { 1 } else { -1 }) / 2));
    let (start, slope) = (Fixed::<R, 2>::constant(1_515_870_810), Fixed::<R, 2>::constant(-1_010_580_540));
    let mut y = start.plus(half.times(slope));
    for _ in 0..3 {
        let product: Fixed<R, 2> = half.times(y);
        let missing = Fixed::<R, 2>::one().minus(product);
        let more: Fixed<R, 4> = y.times(missing);
        y = y.plus(more.rescale());
    }
    y
}

/// 1 / (1 + x) for 0 <= x <= 1; for other x some number.
pub fn one_over_one_plus<R: Raw>(x: Fixed<R, 0>) -> Fixed<R, 0> {
    two_over_one_plus(x).relabel::<1>().rescale()
}

/// (1 - x) / (1 + x) for 0 <= x <= 1; for other x some number.
pub fn one_minus_over_one_plus<R: Raw>(x: Fixed<R, 0>) -> Fixed<R, 0> {
    two_over_one_plus(x).minus(Fixed::one()).rescale()
}

/// -|x|, saturated.
fn minus_magnitude<R: Raw, const I: u32>(x: Fixed<R, I>) -> Fixed<R, I> {
    let steps: i64 = x.raw().into();
    Fixed(R::saturated(-steps.abs()))
}

/// The hyperbolic tangent, odd to the last bit. `J` is `I + 1`: e^-2x needs twice the range of x.
///
/// ```
/// use zeropoint::fixedpoint::{Fixed, tanh};
/// let y = tanh::<i32, 3, 4>(Fixed::from_real(0.5));
/// assert!((y.to_real() - 0.5f64.tanh()).abs() < 1.5e-7);
/// ```
pub fn tanh<R: Raw, const I: u32, const J: u32>(x: Fixed<R, I>) -> Fixed<R, 0> {
    const { assert!(J == I + 1, "the doubled argument has one integer bit more") };
    let steps: i64 = x.raw().into();
    if steps == 0 {
        return Fixed(R::saturated(0));
    }
    let y = one_minus_over_one_plus(exp_of_negative(minus_magnitude(x).relabel::<J>()));
    let y_steps: i64 = y.raw().into();
    Fixed(R::saturated(if steps < 0 { -y_steps } else { y_steps }))
}

/// The logistic function 1 / (1 + e^-x); that of -x is one less it, to the last bit.
///
/// ```
/// use zeropoint::fixedpoint::{Fixed, logistic};
/// let y = logistic(Fixed::<i16, 4>::from_real(-2.0));
/// assert!((y.to_real() - 0.119_202_9).abs() < 8.0 / 32768.0);
/// ```
pub fn logistic<R: Raw, const I: u32>(x: Fixed<R, I>) -> Fixed<R, 0> {
    let steps: i64 = x.raw().into();
    if steps == 0 {
        return Fixed(R::saturated(1 << (R::BITS - 1)));
    }
    let y = one_over_one_plus(exp_of_negative(minus_magnitude(x)));
    if steps > 0 { y } else { Fixed::one().minus(y) }
}

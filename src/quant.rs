//! Scales and zero points from real numbers, and codes from reals and back (semantics.md 7 and 8).

use core::marker::PhantomData;

use zeropoint_kernels::Error;

use crate::stages::OutputCode;
use crate::training::Grid;

/// Which integer a tie is rounded to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ties {
    /// Away from zero: TFLite and gemmlowp.
    #[default]
    Away,
    /// To the even integer: ONNX.
    Even,
}

/// The nearest integer to `x`, which must be small enough for an `i64`.
pub(crate) fn nearest(x: f64, ties: Ties) -> i64 {
    let whole = x as i64;
    let rest = (x - whole as f64).abs();
    let tie_moves = ties == Ties::Away || whole % 2 != 0;
    if rest > 0.5 || (rest == 0.5 && tie_moves) { whole + if x < 0.0 { -1 } else { 1 } } else { whole }
}

/// `clamp(round(fl32(x / scale)) + zero_point, low, high)` (semantics.md 7.1). The tie is decided before the zero
/// point is added, so u8 and i8 agree. A NaN becomes the zero point.
///
/// ```
/// use zeropoint::quant::{Ties, quantize};
/// assert_eq!(quantize(-0.25, 0.1, 10, 0..=255, Ties::Away), 7); // -2.5
/// assert_eq!(quantize(-0.25, 0.1, 10, 0..=255, Ties::Even), 8);
/// ```
pub fn quantize(x: f32, scale: f32, zero_point: i32, range: core::ops::RangeInclusive<i32>, ties: Ties) -> i32 {
    let (low, high) = (i64::from(*range.start()), i64::from(*range.end()));
    let zero = i64::from(zero_point);
    let ratio = f64::from(x / scale);
    if ratio.is_nan() {
        return zero.max(low).min(high) as i32;
    }
    // One beyond each end, so that the conversion is exact and the clamp still decides.
    let bounded = ratio.max((low - zero - 1) as f64).min((high - zero + 1) as f64);
    (nearest(bounded, ties) + zero).max(low).min(high) as i32
}

/// The int32 bias of a layer: `real / (input * weight)` in binary64, ties away from zero, saturated
/// (semantics.md 3; paper 2.4: its zero point is 0 and its scale that of the sums).
///
/// # Errors
/// [`Error::Real`] if the quotient is NaN.
///
/// ```
/// assert_eq!(zeropoint::quant::quantize_bias(-0.5, 0.1, 0.02)?, -250);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn quantize_bias(real: f32, input_scale: f32, weight_scale: f32) -> Result<i32, Error> {
    let quotient = f64::from(real) / (f64::from(input_scale) * f64::from(weight_scale));
    if quotient.is_nan() {
        return Err(Error::Real { argument: "bias", value: quotient });
    }
    let bounded = quotient.clamp(f64::from(i32::MIN), f64::from(i32::MAX));
    Ok(nearest(bounded, Ties::Away) as i32)
}

/// What [`choose`] chooses.
pub(crate) struct Chosen {
    pub scale: f32,
    /// From the smallest code to that of 0.
    pub steps: i32,
    /// The range was 0..=0.
    pub degenerate: bool,
}

/// A scale and the place of 0 for reals in `min..=max`, extended to contain 0, and `steps` + 1 codes (semantics.md 8).
pub(crate) fn choose(min: f32, max: f32, steps: i32) -> Result<Chosen, Error> {
    // A NaN fails the comparison.
    if !(min <= max && min.is_finite() && max.is_finite()) {
        return Err(Error::RealRange { min, max });
    }
    let (low, high) = (f64::from(min.min(0.0)), f64::from(max.max(0.0)));
    let exact = (high - low) / f64::from(steps);
    // Counted from the smallest code, so that u8 and i8 agree; of the two ends the better conditioned.
    let zero = if exact == 0.0 {
        0.0
    } else if low.abs() <= high.abs() {
        -low / exact
    } else {
        f64::from(steps) - high / exact
    };
    let degenerate = low == high;
    // A floor that keeps the reciprocal finite.
    let scale = if degenerate { 1.0 } else { (exact as f32).max(f32::MIN_POSITIVE) };
    if !scale.is_finite() {
        return Err(Error::RealRange { min, max });
    }
    Ok(Chosen { scale, steps: (nearest(zero, Ties::Away) as i32).clamp(0, steps), degenerate })
}

/// How reals and codes of type `C` relate: `real = scale * (code - zero_point)` (paper, eq. 1).
///
/// ```
/// use zeropoint::quant::QuantParams;
/// let params = QuantParams::<u8>::from_range(-1.0, 3.0)?;
/// assert_eq!(params.zero_point(), 64);
/// assert_eq!(params.dequantize(params.quantize(0.0)), 0.0); // zero is always exact
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantParams<C> {
    scale: f32,
    zero_point: i32,
    low: i32,
    high: i32,
    degenerate: bool,
    code: PhantomData<C>,
}

impl<C: OutputCode> QuantParams<C> {
    /// From a scale and a zero point.
    ///
    /// # Errors
    /// [`Error::Real`] unless the scale is positive and finite; [`Error::ZeroPoint`] outside the codes.
    pub fn new(scale: f32, zero_point: i32) -> Result<Self, Error> {
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(Error::Real { argument: "scale", value: f64::from(scale) });
        }
        let (low, high) = C::RANGE;
        if zero_point < low || zero_point > high {
            return Err(Error::ZeroPoint { argument: "zero_point", value: zero_point, low, high });
        }
        Ok(Self { scale, zero_point, low, high, degenerate: false, code: PhantomData })
    }

    /// For reals in `min..=max`, extended to contain 0; the zero point is nudged to a code (paper 3.1,
    /// semantics.md 8). An empty range, 0..=0, gives scale 1 and is marked degenerate.
    ///
    /// # Errors
    /// [`Error::RealRange`] if the range is reversed, NaN or infinite.
    pub fn from_range(min: f32, max: f32) -> Result<Self, Error> {
        let (first, last) = C::RANGE;
        let Chosen { scale, steps, degenerate } = choose(min, max, last - first)?;
        Ok(Self { degenerate, ..Self::new(scale, first + steps)? })
    }

    /// With some of the codes of the type, the zero point among them.
    pub(crate) fn of_grid(grid: &Grid) -> Result<Self, Error> {
        let ((low, high), (min, max)) = (grid.codes(), C::RANGE);
        if low < min || high > max {
            return Err(Error::Clamp { low, high, min, max });
        }
        Ok(Self { low, high, degenerate: grid.is_degenerate(), ..Self::new(grid.scale(), grid.zero_point())? })
    }

    /// For weights of magnitude up to `largest`: symmetric, without the smallest code, so that the codes are
    /// -127..=127 about their zero point (semantics.md 11).
    ///
    /// # Errors
    /// [`Error::RealRange`] if `largest` is negative, NaN or infinite.
    pub fn symmetric(largest: f32) -> Result<Self, Error> {
        if !(largest >= 0.0 && largest.is_finite()) {
            return Err(Error::RealRange { min: -largest, max: largest });
        }
        let (first, last) = C::RANGE;
        let half = (last - first) / 2;
        let degenerate = largest == 0.0;
        let scale = if degenerate { 1.0 } else { (largest / half as f32).max(f32::MIN_POSITIVE) };
        let zero_point = first + half + 1;
        Ok(Self { low: first + 1, degenerate, ..Self::new(scale, zero_point)? })
    }

    /// The real difference between two neighbouring codes.
    pub const fn scale(&self) -> f32 {
        self.scale
    }

    /// The code of 0.
    pub const fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// The smallest and the largest code.
    pub const fn codes(&self) -> (i32, i32) {
        (self.low, self.high)
    }

    /// Whether the range was 0..=0, so that any scale would do.
    pub const fn is_degenerate(&self) -> bool {
        self.degenerate
    }

    /// The code nearest to `x`, ties away from zero; beyond the range the nearest end; NaN becomes the zero point.
    pub fn quantize(&self, x: f32) -> C
    where
        C: TryFrom<i32>,
    {
        let code = quantize(x, self.scale, self.zero_point, self.low..=self.high, Ties::Away);
        C::try_from(code).unwrap_or_default()
    }

    /// The real number of a code: the difference in integers, one float product (semantics.md 7.2).
    pub fn dequantize(&self, code: C) -> f32
    where
        C: Into<i32>,
    {
        self.scale * (code.into() - self.zero_point) as f32
    }

    /// [`QuantParams::quantize`] for a slice.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn quantize_slice(&self, reals: &[f32], codes: &mut [C]) -> Result<(), Error>
    where
        C: TryFrom<i32>,
    {
        if reals.len() != codes.len() {
            return Err(Error::Length { argument: "codes", expected: reals.len(), got: codes.len() });
        }
        codes.iter_mut().zip(reals).for_each(|(code, x)| *code = self.quantize(*x));
        Ok(())
    }
}

impl QuantParams<u8> {
    /// Parameters of a tensor at run time, as ONNX DynamicQuantizeLinear chooses them, all in float32
    /// (semantics.md 7.3). An empty or all-zero tensor gives scale 1.
    ///
    /// # Errors
    /// [`Error::RealRange`] if a value is NaN or infinite.
    pub fn dynamic(reals: &[f32]) -> Result<Self, Error> {
        let (mut min, mut max) = (0.0f32, 0.0f32);
        for &x in reals {
            if !x.is_finite() {
                return Err(Error::RealRange { min: x, max: x });
            }
            (min, max) = (min.min(x), max.max(x));
        }
        let scale = (max - min) / 255.0;
        if !scale.is_finite() {
            return Err(Error::RealRange { min, max });
        }
        if scale == 0.0 {
            return Ok(Self { degenerate: true, ..Self::new(1.0, 0)? });
        }
        let zero_point = (0.0 - min / scale).clamp(0.0, 255.0);
        Self::new(scale, nearest(f64::from(zero_point), Ties::Even) as i32)
    }
}

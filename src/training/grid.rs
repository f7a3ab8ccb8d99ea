//! The reals that codes stand for: how many there are, and where.

use zeropoint_kernels::Error;

use crate::quant::{Chosen, QuantParams, Ties, choose, quantize};
use crate::stages::OutputCode;

/// The most levels: those of 16 bits.
const MOST: u32 = 1 << 16;

/// Consecutive codes: 2 to 65,536 of them.
///
/// ```
/// use zeropoint::training::Levels;
/// assert_eq!(Levels::bits(8)?.codes(), (0, 255));
/// assert_eq!(Levels::bits(8)?.narrow()?.codes(), (1, 255)); // i8: -127..=127, 128 below
/// assert_eq!(Levels::new(5)?.codes(), (0, 4));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    low: i32,
    high: i32,
}

impl Levels {
    /// `0..=2^bits - 1`.
    ///
    /// # Errors
    /// [`Error::Limit`] unless there are 2 to 16 bits.
    pub const fn bits(bits: u32) -> Result<Self, Error> {
        match bits {
            2..=16 => Ok(Self { low: 0, high: (1 << bits) - 1 }),
            _ => Err(Error::Limit { argument: "bits", value: bits as usize, low: 2, high: 16 }),
        }
    }

    /// `0..=levels - 1`.
    ///
    /// # Errors
    /// [`Error::Limit`] unless there are 2 to 65,536 levels.
    pub const fn new(levels: u32) -> Result<Self, Error> {
        match levels {
            2..=MOST => Ok(Self { low: 0, high: levels as i32 - 1 }),
            _ => Err(Error::Limit { argument: "levels", value: levels as usize, low: 2, high: MOST as usize }),
        }
    }

    /// Without the smallest code, so that weights of 8 bits are never -128 (paper, appendix B).
    ///
    /// # Errors
    /// [`Error::Limit`] if fewer than two would be left.
    pub const fn narrow(self) -> Result<Self, Error> {
        let left = self.high - self.low;
        if left < 2 {
            return Err(Error::Limit { argument: "levels", value: left as usize, low: 2, high: MOST as usize });
        }
        Ok(Self { low: self.low + 1, high: self.high })
    }

    /// The smallest and the largest code.
    pub const fn codes(self) -> (i32, i32) {
        (self.low, self.high)
    }
}

/// Reals that codes stand for, `scale * (code - zero_point)` (paper, eq. 1 and 12): what a type's [`QuantParams`] are, for any
/// number of levels. 0 is always one of them.
///
/// ```
/// use zeropoint::training::{Grid, Levels};
/// let grid = Grid::from_range(-1.0, 2.0, Levels::bits(2)?)?;
/// assert_eq!((grid.scale(), grid.zero_point()), (1.0, 1));
/// assert_eq!([-9.0, -0.4, 0.5, 9.0].map(|x| grid.fake(x)), [-1.0, 0.0, 1.0, 2.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grid {
    scale: f32,
    zero_point: i32,
    low: i32,
    high: i32,
    degenerate: bool,
}

impl Grid {
    /// From a scale and a zero point.
    ///
    /// # Errors
    /// [`Error::Real`] unless the scale is positive and finite; [`Error::ZeroPoint`] outside the codes.
    pub fn new(scale: f32, zero_point: i32, levels: Levels) -> Result<Self, Error> {
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(Error::Real { argument: "scale", value: f64::from(scale) });
        }
        let (low, high) = levels.codes();
        if zero_point < low || zero_point > high {
            return Err(Error::ZeroPoint { argument: "zero_point", value: zero_point, low, high });
        }
        Ok(Self { scale, zero_point, low, high, degenerate: false })
    }

    /// For reals in `min..=max`, extended to contain 0, with the zero point nudged to a code (paper 3.1 and eq. 13), as
    /// [`QuantParams::from_range`] chooses. The range 0..=0 gives scale 1 and is marked degenerate.
    ///
    /// # Errors
    /// [`Error::RealRange`] if the range is reversed, NaN or infinite, or so wide that a step would be.
    pub fn from_range(min: f32, max: f32, levels: Levels) -> Result<Self, Error> {
        let (low, high) = levels.codes();
        let Chosen { scale, steps, degenerate } = choose(min, max, high - low)?;
        Ok(Self { degenerate, ..Self::new(scale, low + steps, levels)? })
    }

    /// For weights of magnitude up to `largest`: as many codes below that of 0 as above, as [`QuantParams::symmetric`] chooses. Of
    /// an even number of levels the smallest is left out.
    ///
    /// # Errors
    /// [`Error::RealRange`] if `largest` is negative, NaN or infinite; [`Error::Limit`] of two levels.
    pub fn symmetric(largest: f32, levels: Levels) -> Result<Self, Error> {
        if !(largest >= 0.0 && largest.is_finite()) {
            return Err(Error::RealRange { min: -largest, max: largest });
        }
        let (low, high) = levels.codes();
        let half = (high - low) / 2;
        if half == 0 {
            return Err(Error::Limit { argument: "levels", value: 2, low: 3, high: MOST as usize });
        }
        let degenerate = largest == 0.0;
        let scale = if degenerate { 1.0 } else { (largest / half as f32).max(f32::MIN_POSITIVE) };
        Ok(Self { scale, zero_point: high - half, low: high - 2 * half, high, degenerate })
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

    /// The smallest and the largest real: the nudged range.
    pub fn range(&self) -> (f32, f32) {
        (self.dequantize(self.low), self.dequantize(self.high))
    }

    /// Whether the range was 0..=0, so that any scale would do.
    pub const fn is_degenerate(&self) -> bool {
        self.degenerate
    }

    /// The code nearest to `x`, by [`quantize`] with ties away from zero; NaN becomes the zero point.
    pub fn quantize(&self, x: f32) -> i32 {
        quantize(x, self.scale, self.zero_point, self.low..=self.high, Ties::Away)
    }

    /// The real of a code: the difference in integers, one float product.
    pub fn dequantize(&self, code: i32) -> f32 {
        self.scale * code.wrapping_sub(self.zero_point) as f32
    }

    /// `dequantize(quantize(x))`; NaN stays NaN. [`FakeQuant`](super::FakeQuant) does this to many.
    pub fn fake(&self, x: f32) -> f32 {
        if x.is_nan() { x } else { self.dequantize(self.quantize(x)) }
    }

    /// The parameters of codes of a type.
    ///
    /// # Errors
    /// [`Error::Clamp`] if the codes are not all of the type.
    pub fn params<C: OutputCode>(&self) -> Result<QuantParams<C>, Error> {
        QuantParams::of_grid(self)
    }
}

impl<C: OutputCode> From<QuantParams<C>> for Grid {
    fn from(params: QuantParams<C>) -> Self {
        let (low, high) = params.codes();
        let (scale, zero_point) = (params.scale(), params.zero_point());
        Self { scale, zero_point, low, high, degenerate: params.is_degenerate() }
    }
}

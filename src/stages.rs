//! The output pipeline as its user composes it.

use core::marker::PhantomData;
use core::ops::Range;

use zeropoint_kernels::{Element, Error, Multiplier, Rounding};

/// One value for all, one a column, or one a row of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PerAxis<'a, T> {
    /// The same everywhere.
    One(T),
    /// One a column.
    PerColumn(&'a [T]),
    /// One a row.
    PerRow(&'a [T]),
}

impl<T> From<T> for PerAxis<'_, T> {
    fn from(value: T) -> Self {
        Self::One(value)
    }
}

impl<T: Copy> PerAxis<'_, T> {
    /// All the values there are.
    pub(crate) fn values(&self) -> &[T] {
        match self {
            Self::One(value) => core::slice::from_ref(value),
            Self::PerColumn(values) | Self::PerRow(values) => values,
        }
    }

    fn transposed(self) -> Self {
        match self {
            Self::One(value) => Self::One(value),
            Self::PerColumn(values) => Self::PerRow(values),
            Self::PerRow(values) => Self::PerColumn(values),
        }
    }
}

/// A float factor: `f32` scales of the float rule and of dequantization.
///
/// With both vectors the factor is `fl32(rows[i] * columns[j])`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FloatScale<'a> {
    /// The same everywhere.
    One(f32),
    /// One a column: weights quantized per channel.
    PerColumn(&'a [f32]),
    /// One a row: activations quantized per token.
    PerRow(&'a [f32]),
    /// One a row and one a column: dynamic quantization.
    Both {
        /// One a row.
        rows: &'a [f32],
        /// One a column.
        columns: &'a [f32],
    },
}

impl From<f32> for FloatScale<'_> {
    fn from(scale: f32) -> Self {
        Self::One(scale)
    }
}

impl<'a> FloatScale<'a> {
    /// Factors of the rows and of the columns.
    pub(crate) fn axes(self) -> (Option<&'a [f32]>, Option<&'a [f32]>) {
        match self {
            Self::One(_) => (None, None),
            Self::PerColumn(columns) => (None, Some(columns)),
            Self::PerRow(rows) => (Some(rows), None),
            Self::Both { rows, columns } => (Some(rows), Some(columns)),
        }
    }

    fn transposed(self) -> Self {
        match self {
            Self::One(scale) => Self::One(scale),
            Self::PerColumn(columns) => Self::PerRow(columns),
            Self::PerRow(rows) => Self::PerColumn(rows),
            Self::Both { rows, columns } => Self::Both { rows: columns, columns: rows },
        }
    }
}

/// How sums are scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scaling<'a> {
    Raw,
    Fixed(PerAxis<'a, Multiplier>),
    Float(FloatScale<'a>),
}

/// What happens to an int32 sum on its way to an output of type `O`:
/// sum + bias, then scale and round, then + zero point, then clamp, then cast.
///
/// The methods only compose; a call that uses the stages checks them.
///
/// ```
/// use zeropoint::{Multiplier, PerAxis, Rounding, Stages};
/// // int32 sums, added to what the output holds
/// let sums = Stages::<i32>::raw().accumulate();
/// // u8 codes by the default rule (gemmlowp, TFLite), one multiplier a column, ReLU by the clamp
/// let multipliers = [Multiplier::from_real(0.02)?, Multiplier::from_real(0.007)?];
/// let codes = Stages::<u8>::fixed(PerAxis::PerColumn(&multipliers)).bias(&[10, -20]).zero_point(3).clamp(3, 255);
/// // f32, dequantized
/// let reals = Stages::<f32>::dequantize(0.001).float_bias(&[0.5, -0.5]);
/// # let _ = (sums, codes, reals);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug, PartialEq)]
pub struct Stages<'a, O> {
    pub(crate) bias: Option<&'a [i32]>,
    pub(crate) row_bias: Option<&'a [i32]>,
    pub(crate) scaling: Scaling<'a>,
    pub(crate) rounding: Rounding,
    pub(crate) float_bias: PerAxis<'a, f32>,
    pub(crate) zero_point: i32,
    pub(crate) clamp: Option<(i32, i32)>,
    pub(crate) accumulate: bool,
    pub(crate) element: PhantomData<O>,
}

impl<O> Clone for Stages<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Stages<'_, O> {}

impl<'a, O: Element> Stages<'a, O> {
    const fn new(scaling: Scaling<'a>) -> Self {
        Self {
            bias: None,
            row_bias: None,
            scaling,
            rounding: Rounding::DoubleAway,
            float_bias: PerAxis::One(0.0),
            zero_point: 0,
            clamp: None,
            accumulate: false,
            element: PhantomData,
        }
    }

    /// An int32 bias a column, added to the sums, wrapping. Its scale is that of lhs times that of rhs.
    pub const fn bias(mut self, bias: &'a [i32]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// An int32 bias a row; both biases may be given.
    pub const fn row_bias(mut self, bias: &'a [i32]) -> Self {
        self.row_bias = Some(bias);
        self
    }

    /// The stages of some columns; the lengths are checked.
    pub(crate) fn of_columns(self, columns: Range<usize>) -> Self {
        fn some<T>(values: &[T], columns: Range<usize>) -> &[T] {
            values.get(columns).unwrap_or_default()
        }
        fn axis<'v, T: Copy>(axis: PerAxis<'v, T>, columns: Range<usize>) -> PerAxis<'v, T> {
            match axis {
                PerAxis::PerColumn(values) => PerAxis::PerColumn(some(values, columns)),
                other => other,
            }
        }
        Self {
            bias: self.bias.map(|bias| some(bias, columns.clone())),
            scaling: match self.scaling {
                Scaling::Raw => Scaling::Raw,
                Scaling::Fixed(multipliers) => Scaling::Fixed(axis(multipliers, columns.clone())),
                Scaling::Float(FloatScale::PerColumn(scales)) => {
                    Scaling::Float(FloatScale::PerColumn(some(scales, columns.clone())))
                }
                Scaling::Float(FloatScale::Both { rows, columns: scales }) => {
                    Scaling::Float(FloatScale::Both { rows, columns: some(scales, columns.clone()) })
                }
                Scaling::Float(scale) => Scaling::Float(scale),
            },
            float_bias: axis(self.float_bias, columns),
            ..self
        }
    }

    /// Rows as columns: the stages of the transposed product.
    pub(crate) fn transposed(self) -> Self {
        Self {
            bias: self.row_bias,
            row_bias: self.bias,
            scaling: match self.scaling {
                Scaling::Raw => Scaling::Raw,
                Scaling::Fixed(multipliers) => Scaling::Fixed(multipliers.transposed()),
                Scaling::Float(scale) => Scaling::Float(scale.transposed()),
            },
            float_bias: self.float_bias.transposed(),
            ..self
        }
    }

    /// Smallest and largest output.
    pub(crate) fn bounds(&self) -> (i32, i32) {
        self.clamp.unwrap_or(O::RANGE)
    }

    /// Checks everything; lengths only over dimensions that are known.
    pub(crate) fn check(&self, rows: Option<usize>, cols: Option<usize>) -> Result<(), Error> {
        self.check_lengths(rows, cols)?;
        self.check_values()
    }

    /// Checks the lengths of vectors over dimensions that are known.
    pub(crate) fn check_lengths(&self, rows: Option<usize>, cols: Option<usize>) -> Result<(), Error> {
        let check = |argument, got: Option<usize>, expected: Option<usize>| match (got, expected) {
            (Some(got), Some(expected)) if got != expected => Err(Error::Length { argument, expected, got }),
            _ => Ok(()),
        };
        check("bias", self.bias.map(<[i32]>::len), cols)?;
        check("row_bias", self.row_bias.map(<[i32]>::len), rows)?;
        match &self.scaling {
            Scaling::Raw | Scaling::Fixed(PerAxis::One(_)) => {}
            Scaling::Fixed(PerAxis::PerColumn(by)) => check("multipliers", Some(by.len()), cols)?,
            Scaling::Fixed(PerAxis::PerRow(by)) => check("row multipliers", Some(by.len()), rows)?,
            Scaling::Float(scale) => {
                let (by_row, by_column) = scale.axes();
                check("row scales", by_row.map(<[f32]>::len), rows)?;
                check("column scales", by_column.map(<[f32]>::len), cols)?;
            }
        }
        match self.float_bias {
            PerAxis::One(_) => Ok(()),
            PerAxis::PerColumn(bias) => check("float_bias", Some(bias.len()), cols),
            PerAxis::PerRow(bias) => check("float_row_bias", Some(bias.len()), rows),
        }
    }

    /// Checks every value.
    pub(crate) fn check_values(&self) -> Result<(), Error> {
        match &self.scaling {
            Scaling::Raw => {}
            Scaling::Fixed(multipliers) => {
                if let Some(by) = multipliers.values().iter().find(|by| !self.rounding.accepts(**by)) {
                    return Err(Error::FixedPoint { multiplier: by.multiplier(), shift: by.shift() });
                }
            }
            Scaling::Float(scale) => check_scale(scale)?,
        }
        if let Some(value) = self.float_bias.values().iter().find(|b| !b.is_finite()) {
            return Err(Error::Real { argument: "float_bias", value: f64::from(*value) });
        }
        let ((low, high), (min, max)) = (self.bounds(), O::RANGE);
        if low > high || low < min || high > max {
            return Err(Error::Clamp { low, high, min, max });
        }
        if self.zero_point < min || self.zero_point > max {
            let value = self.zero_point;
            return Err(Error::ZeroPoint { argument: "zero_point", value, low: min, high: max });
        }
        Ok(())
    }
}

/// Factors must not be negative, NaN or infinite, and neither may be the product of two: a NaN has different bits
/// on different CPUs.
fn check_scale(scale: &FloatScale<'_>) -> Result<(), Error> {
    /// The largest factor.
    fn check(argument: &'static str, values: &[f32]) -> Result<f32, Error> {
        let refused = values.iter().find(|v| !(**v >= 0.0 && v.is_finite()));
        match refused {
            Some(value) => Err(Error::Real { argument, value: f64::from(*value) }),
            None => Ok(values.iter().fold(0.0, |a, b| a.max(*b))),
        }
    }
    if let FloatScale::One(scale) = scale {
        return check("scale", core::slice::from_ref(scale)).map(|_| ());
    }
    let (by_row, by_column) = scale.axes();
    let row = by_row.map_or(Ok(1.0), |values| check("row scales", values))?;
    let column = by_column.map_or(Ok(1.0), |values| check("column scales", values))?;
    if (row * column).is_finite() {
        return Ok(());
    }
    Err(Error::Real { argument: "row scale times column scale", value: f64::from(row) * f64::from(column) })
}

impl Stages<'_, i32> {
    /// The sums themselves.
    pub const fn raw() -> Self {
        Self::new(Scaling::Raw)
    }

    /// Adds to what the output holds, wrapping, instead of overwriting it.
    pub const fn accumulate(mut self) -> Self {
        self.accumulate = true;
        self
    }
}

impl<'a> Stages<'a, f32> {
    /// Reals: `fl32(fl32(fl32(sum) * scale) + bias)`, without fused multiply-add, rounded to nearest even.
    pub fn dequantize(scale: impl Into<FloatScale<'a>>) -> Self {
        Self::new(Scaling::Float(scale.into()))
    }

    /// A float bias a column.
    pub const fn float_bias(mut self, bias: &'a [f32]) -> Self {
        self.float_bias = PerAxis::PerColumn(bias);
        self
    }

    /// A float bias a row; replaces one a column.
    pub const fn float_row_bias(mut self, bias: &'a [f32]) -> Self {
        self.float_bias = PerAxis::PerRow(bias);
        self
    }
}

/// A type of output codes: `u8`, `i8` or `i16`.
pub trait OutputCode: Element {}
impl OutputCode for u8 {}
impl OutputCode for i8 {}
impl OutputCode for i16 {}

impl<'a, O: OutputCode> Stages<'a, O> {
    /// Codes by a fixed-point rule, [`Rounding::DoubleAway`] unless [`Stages::rounding`] says otherwise.
    pub fn fixed(multipliers: impl Into<PerAxis<'a, Multiplier>>) -> Self {
        Self::new(Scaling::Fixed(multipliers.into()))
    }

    /// Codes by the float rule, `half_even(fl32(fl32(sum) * scale))` (semantics.md 5.2, f32_even; what ONNX means).
    pub fn float(scale: impl Into<FloatScale<'a>>) -> Self {
        Self::new(Scaling::Float(scale.into()))
    }

    /// The fixed-point rule.
    pub const fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// The code of the real number 0, added after scaling. Default 0.
    pub const fn zero_point(mut self, zero_point: i32) -> Self {
        self.zero_point = zero_point;
        self
    }

    /// The smallest and the largest code. Default: all of the type. A ReLU clamps from the zero point up; a ReLU6
    /// also to the code of 6 (semantics.md 5).
    pub const fn clamp(mut self, low: i32, high: i32) -> Self {
        self.clamp = Some((low, high));
        self
    }
}

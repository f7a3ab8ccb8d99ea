//! The one error type of both crates. Every message names the offending argument and both numbers.

use core::fmt;

use crate::backend;
use crate::element::Dest;

/// What was wrong with the arguments of a call.
///
/// Allocates nothing, and is `Send + Sync + 'static`.
///
/// ```
/// use zeropoint_kernels::{Error, MatRef};
/// let error = MatRef::row_major(&[1u8, 2, 3], 2, 2).unwrap_err();
/// assert_eq!(error.to_string(), "data: 2 x 2 with strides (2, 1) spans 4 elements, but there are 3");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// A view reaches beyond its data.
    Span {
        /// Rows of the view.
        rows: usize,
        /// Columns of the view.
        cols: usize,
        /// Elements between two rows.
        row_stride: usize,
        /// Elements between two columns.
        col_stride: usize,
        /// Elements the view spans.
        needed: usize,
        /// Elements there are.
        got: usize,
    },
    /// Two elements of an output would share memory.
    Overlap {
        /// Rows of the view.
        rows: usize,
        /// Columns of the view.
        cols: usize,
        /// Elements between two rows.
        row_stride: usize,
        /// Elements between two columns.
        col_stride: usize,
    },
    /// A view of an image reaches beyond its data.
    TensorSpan {
        /// Batch, height, width, channels.
        shape: [usize; 4],
        /// Elements between two of each.
        strides: [usize; 4],
        /// Elements the view spans.
        needed: usize,
        /// Elements there are.
        got: usize,
    },
    /// Two elements of an output image could share memory.
    TensorOverlap {
        /// Batch, height, width, channels.
        shape: [usize; 4],
        /// Elements between two of each.
        strides: [usize; 4],
    },
    /// An image has another shape than the rest of the call asks for.
    TensorShape {
        /// The image.
        argument: &'static str,
        /// Batch, height, width, channels it should have.
        expected: [usize; 4],
        /// What it has.
        got: [usize; 4],
    },
    /// A view whose elements do not lie together in order cannot take another shape.
    TensorGaps {
        /// Batch, height, width, channels.
        shape: [usize; 4],
        /// Elements between two of each.
        strides: [usize; 4],
    },
    /// A layer that moves codes was given another scale or zero point than its output has.
    Params {
        /// Whose parameters.
        argument: &'static str,
        /// Scale and zero point they should be.
        expected: (f32, i32),
        /// What they are.
        got: (f32, i32),
    },
    /// A number of a layer, a stride for one, that is too small or too large.
    Limit {
        /// Which number.
        argument: &'static str,
        /// Its value.
        value: usize,
        /// The smallest it may be.
        low: usize,
        /// The largest.
        high: usize,
    },
    /// A number that has to divide another.
    Divisor {
        /// Which number.
        argument: &'static str,
        /// Its value.
        value: usize,
        /// What it has to divide.
        of: usize,
    },
    /// A size does not fit `usize`.
    Overflow {
        /// What was being sized.
        argument: &'static str,
        /// One factor or summand.
        a: usize,
        /// The other.
        b: usize,
    },
    /// A part of a view reaches beyond the view.
    Range {
        /// Which limit was passed: "rows" or "cols".
        argument: &'static str,
        /// First index beyond the part.
        end: usize,
        /// What the view has.
        len: usize,
    },
    /// A matrix has another shape than the rest of the call asks for.
    Shape {
        /// The matrix.
        argument: &'static str,
        /// Rows and columns it should have.
        expected: (usize, usize),
        /// Rows and columns it has.
        got: (usize, usize),
    },
    /// A vector has another length than the rest of the call asks for.
    Length {
        /// The vector.
        argument: &'static str,
        /// Elements it should have.
        expected: usize,
        /// Elements it has.
        got: usize,
    },
    /// A zero point lies outside the type of its codes.
    ZeroPoint {
        /// Whose zero point.
        argument: &'static str,
        /// Its value.
        value: i32,
        /// Smallest code.
        low: i32,
        /// Largest code.
        high: i32,
    },
    /// A clamp with low > high, or beyond the output type.
    Clamp {
        /// Lower bound.
        low: i32,
        /// Upper bound.
        high: i32,
        /// Smallest value of the output type.
        min: i32,
        /// Largest value of the output type.
        max: i32,
    },
    /// A real factor that is negative, NaN, infinite, or 2^30 and more.
    Real {
        /// Which factor.
        argument: &'static str,
        /// Its value.
        value: f64,
    },
    /// A fixed-point multiplier outside its range: 0 or 2^30..=2^31-1, shift -31..=30 (semantics.md 4);
    /// for `IntMulShift` any integer and a right shift of 0..=31.
    FixedPoint {
        /// The integer factor.
        multiplier: i32,
        /// The exponent; negative shifts right.
        shift: i32,
    },
    /// A range of real numbers from which no scale can be chosen.
    RealRange {
        /// Its lower end.
        min: f32,
        /// Its upper end.
        max: f32,
    },
    /// An element that is NaN or infinite.
    NotFinite {
        /// The slice.
        argument: &'static str,
        /// Which element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A number of a layer that integers cannot hold.
    Layer {
        /// The layer, cut to what fits.
        layer: Name,
        /// Which number.
        argument: &'static str,
        /// Of which output channel.
        channel: usize,
        /// Its value.
        value: f64,
        /// The smallest it may be.
        low: f64,
        /// The largest.
        high: f64,
    },
    /// Accumulation into an output that may be uninitialized.
    Uninitialized,
    /// A backend name that is unknown, or not available on this CPU.
    Backend {
        /// The name, cut to what fits.
        name: Name,
        /// Whether the list of backends knows it.
        known: bool,
    },
    /// Codes that the kernel cannot read where they are.
    InPlace {
        /// What they are.
        argument: &'static str,
        /// The kernel, [`crate::Backend::kernel`].
        kernel: &'static str,
        /// Their type.
        codes: Dest,
    },
    /// Packed weights of another backend, kernel, shape, side, or format.
    Packed {
        /// What differs.
        argument: &'static str,
        /// What it should be.
        expected: Name,
        /// What it is.
        got: Name,
    },
    /// A workspace that is too small.
    Workspace {
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        got: usize,
    },
    /// Memory that could not be allocated.
    Memory {
        /// What it was for.
        argument: &'static str,
        /// Bytes needed.
        bytes: usize,
    },
    /// A lent thread pool returned before all its tasks were done.
    Threads {
        /// Blocks finished.
        done: usize,
        /// Blocks there were.
        total: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Span { rows, cols, row_stride, col_stride, needed, got } => write!(
                f,
                "data: {rows} x {cols} with strides ({row_stride}, {col_stride}) spans {needed} elements, but there are {got}"
            ),
            Self::Overlap { rows, cols, row_stride, col_stride } => write!(
                f,
                "data: elements of an output of {rows} x {cols} with strides ({row_stride}, {col_stride}) share memory"
            ),
            Self::TensorSpan { shape, strides, needed, got } => {
                write!(f, "data: {shape:?} with strides {strides:?} spans {needed} elements, but there are {got}")
            }
            Self::TensorOverlap { shape, strides } => {
                write!(f, "data: elements of an output of {shape:?} with strides {strides:?} could share memory")
            }
            Self::TensorShape { argument, expected, got } => {
                write!(f, "{argument}: expected {expected:?} (batch, height, width, channels), got {got:?}")
            }
            Self::TensorGaps { shape, strides } => {
                write!(f, "data: {shape:?} with strides {strides:?} has gaps, so it cannot take another shape")
            }
            Self::Params { argument, expected: (scale, zero), got: (got_scale, got_zero) } => write!(
                f,
                "{argument}: expected scale {scale} and zero point {zero}, got {got_scale} and {got_zero}"
            ),
            Self::Limit { argument, value, low, high } => {
                write!(f, "{argument}: {value} is outside {low}..={high}")
            }
            Self::Divisor { argument, value, of } => write!(f, "{argument}: {value} does not divide {of}"),
            Self::Overflow { argument, a, b } => {
                write!(f, "{argument}: sizes {a} and {b} together overflow usize")
            }
            Self::Range { argument, end, len } => {
                write!(f, "{argument}: the part ends at {end}, but the view has {len}")
            }
            Self::Shape { argument, expected: (r, c), got: (gr, gc) } => {
                write!(f, "{argument}: expected {r} x {c}, got {gr} x {gc}")
            }
            Self::Length { argument, expected, got } => {
                write!(f, "{argument}: expected {expected} elements, got {got}")
            }
            Self::ZeroPoint { argument, value, low, high } => {
                write!(f, "{argument}: zero point {value} is outside {low}..={high}")
            }
            Self::Clamp { low, high, min, max } => {
                write!(f, "clamp: {low}..={high} is empty or outside {min}..={max}")
            }
            Self::Real { argument, value } => {
                write!(f, "{argument}: {value} is not a finite number from 0 up to its limit")
            }
            Self::FixedPoint { multiplier, shift } => write!(
                f,
                "multiplier: {multiplier} with shift {shift} is outside the fixed-point range of its rounding rule"
            ),
            Self::RealRange { min, max } => {
                write!(f, "range: {min}..{max} is reversed, NaN, infinite or too wide")
            }
            Self::NotFinite { argument, index, value } => {
                write!(f, "{argument}: element {index} is {value}, which is no finite number")
            }
            Self::Layer { layer, argument, channel, value, low, high } => write!(
                f,
                "layer {layer}: {argument} of channel {channel} is {}, outside {}..={}",
                Number(value),
                Number(low),
                Number(high)
            ),
            Self::Uninitialized => write!(f, "out: cannot accumulate into uninitialized memory"),
            Self::Backend { name, known } => {
                let why = if known { "is not available on this CPU" } else { "is unknown" };
                write!(f, "backend: {name:?} {why}; available:")?;
                backend::names(backend::available()).try_for_each(|name| write!(f, " {name}"))
            }
            Self::InPlace { argument, kernel, codes } => {
                write!(f, "{argument}: {kernel} does not read windows of {codes:?} codes")
            }
            Self::Packed { argument, expected, got } => {
                write!(f, "packed: {argument} should be {expected}, but is {got}")
            }
            Self::Workspace { needed, got } => {
                write!(f, "workspace: {needed} bytes are needed, but there are {got}")
            }
            Self::Memory { argument, bytes } => {
                write!(f, "{argument}: {bytes} bytes of memory could not be allocated")
            }
            Self::Threads { done, total } => {
                write!(f, "threads: the pool returned after {done} of {total} blocks")
            }
        }
    }
}

impl core::error::Error for Error {}

/// A number of any size, with an exponent only where it reads better.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if f64::from(number as i32) == number && number.abs() < 1e6 {
            write!(f, "{number}")
        } else {
            write!(f, "{number:e}")
        }
    }
}

/// A short text inside an [`Error`], cut to 40 bytes, so that errors allocate nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; 40],
    len: u8,
}

impl Name {
    /// The first 40 bytes of whatever `text` prints.
    pub fn new(text: impl fmt::Display) -> Self {
        let mut name = Self { bytes: [0; 40], len: 0 };
        // An error means that the text was cut, which is allowed.
        let _ = fmt::Write::write_fmt(&mut name, format_args!("{text}"));
        name
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("?")
    }
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let at = usize::from(self.len);
            let Some(room) = self.bytes.get_mut(at..at + c.len_utf8()) else {
                return Err(fmt::Error);
            };
            c.encode_utf8(room);
            self.len += c.len_utf8() as u8;
        }
        Ok(())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

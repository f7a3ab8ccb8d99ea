//! AveragePool2d, MaxPool2d, Mean: windows of pixels to one pixel, each channel by itself.

use core::marker::PhantomData;
use core::ops::{AddAssign, Range};

use zeropoint_kernels::{Code, Error, Rounding, TensorMut, TensorRef};

use super::finish::{Bytes, Finisher, flip};
use super::window::{Axis, Window, limit};
use super::{Activation, run};
use crate::Threads;
use crate::quant::QuantParams;
use crate::stages::OutputCode;

/// Channels that are reduced together, in L1.
const TOGETHER: usize = 256;
/// Cells of a window of which 255 each, and half of them, sum to less than 2^31.
const CELLS: usize = 1 << 23;
/// Cells whose codes sum to less than 2^16.
const FEW_CELLS: usize = 257;

/// A window of pixels to one pixel.
trait Reduce: Sync {
    type Sum: Copy + Default;
    /// Takes in the codes of a pixel, as unsigned bytes if `flip` says how.
    fn add(&self, sums: &mut [Self::Sum], codes: &[u8]);
    /// Codes of what was taken in from so many cells, at least one.
    fn finish(&self, sums: &[Self::Sum], cells: usize, codes: &mut [u8]);
    /// The code of a window without a cell.
    fn nothing(&self) -> u8;
}

/// Which taps of the window of an output lie inside.
fn inside(axis: &Axis, output: usize) -> Range<usize> {
    let first = axis.first(output);
    let start = if first < 0 { first.unsigned_abs().div_ceil(axis.dilation) } else { 0 };
    // Both are below 2^62.
    let room = usize::try_from(axis.input as isize - first).unwrap_or(0);
    let end = room.div_ceil(axis.dilation).min(axis.kernel);
    start.min(end)..end
}

/// Reduces all windows; shapes are checked.
fn reduce(
    threads: &dyn Threads,
    axes: [Axis; 2],
    input: TensorRef<'_, u8>,
    out: TensorMut<'_, u8>,
    by: &impl Reduce,
) -> Result<(), Error> {
    run::strips(threads, out, |mut strip| {
        let [_, lines, width, channels] = strip.out.shape();
        let [down, across] = &axes;
        for (y, x) in (0..lines).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let (rows, cols) = (inside(down, strip.line + y), inside(across, x));
            let at = |axis: &Axis, output, tap| axis.at(output, tap).unwrap_or_default();
            for first in (0..channels).step_by(TOGETHER) {
                let count = TOGETHER.min(channels - first);
                let mut sums = [Default::default(); TOGETHER];
                for row in rows.clone() {
                    let line = [strip.batch, at(down, strip.line + y, row)];
                    for col in cols.clone() {
                        let pixel = [line[0], line[1], at(across, x, col)];
                        if let Some(codes) = input.run(pixel, 1) {
                            by.add(&mut sums[..count], &codes[first..first + count]);
                            continue;
                        }
                        for (c, sum) in sums.iter_mut().enumerate().take(count) {
                            let code = input.get([pixel[0], pixel[1], pixel[2], first + c]);
                            by.add(core::slice::from_mut(sum), code.as_slice());
                        }
                    }
                }
                let cells = rows.len() * cols.len();
                let mut codes = [by.nothing(); TOGETHER];
                if cells > 0 {
                    by.finish(&sums[..count], cells, &mut codes[..count]);
                }
                match strip.out.run([0, y, x], 1) {
                    Some(to) => to[first..first + count].copy_from_slice(&codes[..count]),
                    None => {
                        for (c, code) in codes.iter().enumerate().take(count) {
                            strip.out.set([0, y, x, first + c], *code);
                        }
                    }
                }
            }
        }
        Ok(())
    })
}

/// How the average of integers is rounded where it lies between two codes (semantics.md 10.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AverageTies {
    /// The average of codes, ties away from code 0, as TFLite has it: upward for u8. The i8 codes of the same image
    /// may be rounded otherwise.
    #[default]
    AwayFromCodeZero,
    /// The average of differences to the zero point, ties away from real 0: the same for u8 and i8.
    AwayFromZeroPoint,
}

/// What [`AveragePool2d`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool2dSpec<C> {
    /// Lines and pixels of a window.
    pub kernel: [usize; 2],
    /// How it moves.
    pub window: Window,
    /// Parameters of input and output, which are the same.
    pub params: QuantParams<C>,
    /// What is applied to the result.
    pub activation: Activation,
    /// Where ties go.
    pub ties: AverageTies,
}

impl<C> AveragePool2dSpec<C> {
    /// Stride 1, no padding, no activation, ties as TFLite has them.
    pub fn new(kernel: [usize; 2], params: QuantParams<C>) -> Self {
        let (window, activation) = (Window::default(), Activation::None);
        Self { kernel, window, params, activation, ties: AverageTies::default() }
    }
}

/// What [`MaxPool2d`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2dSpec<C> {
    /// Lines and pixels of a window.
    pub kernel: [usize; 2],
    /// How it moves.
    pub window: Window,
    /// Parameters of input and output, which are the same.
    pub params: QuantParams<C>,
    /// What is applied to the result.
    pub activation: Activation,
}

impl<C> MaxPool2dSpec<C> {
    /// Stride 1, no padding, no activation.
    pub fn new(kernel: [usize; 2], params: QuantParams<C>) -> Self {
        Self { kernel, window: Window::default(), params, activation: Activation::None }
    }
}

/// A number of cells to divide by.
struct Divisor {
    cells: i32,
    reciprocal: u64,
}

impl Divisor {
    fn new(cells: usize) -> Self {
        // At most CELLS, and at least 1.
        Self { cells: cells as i32, reciprocal: (1 << 54) / cells as u64 + 1 }
    }

    /// The nearest integer, ties away from zero, to a sum of as many differences of codes.
    ///
    /// With n cells, dividend a < 256 n and reciprocal r = (2^54 + e) / n, 0 < e <= n, the quotient is right if
    /// `a * e < 2^54`, which 256 n^2 bounds; and a * r < 2^63.
    #[inline]
    fn nearest(&self, sum: i32) -> i32 {
        let magnitude = u64::from(sum.unsigned_abs() + (self.cells / 2) as u32);
        let quotient = ((magnitude * self.reciprocal) >> 54) as i32;
        if sum < 0 { -quotient } else { quotient }
    }
}

/// Sums in one type or another, and what becomes of them: `finish` is given sums of differences to `base`.
struct Summed<'a, S, F> {
    base: i32,
    bytes: &'a Bytes,
    finish: F,
    sum: PhantomData<fn() -> S>,
}

impl<S, F> Reduce for Summed<'_, S, F>
where
    S: Copy + Default + AddAssign + From<u8> + Into<u32>,
    F: Fn(&[i32], usize, &mut [u8]) + Sync,
{
    type Sum = S;

    fn add(&self, sums: &mut [S], codes: &[u8]) {
        let flip = self.bytes.flip;
        for (sum, code) in sums.iter_mut().zip(codes) {
            *sum += S::from(code ^ flip);
        }
    }

    fn finish(&self, sums: &[S], cells: usize, codes: &mut [u8]) {
        let mut differences = [0; TOGETHER];
        // At most CELLS.
        let all = self.base * cells as i32;
        for (difference, sum) in differences.iter_mut().zip(sums) {
            let sum: u32 = (*sum).into();
            *difference = sum as i32 - all;
        }
        (self.finish)(&differences[..codes.len()], cells, codes);
    }

    fn nothing(&self) -> u8 {
        self.bytes.code(0)
    }
}

/// An image whose windows are summed.
struct Summing<'a> {
    axes: [Axis; 2],
    input: TensorRef<'a, u8>,
    out: TensorMut<'a, u8>,
    bytes: &'a Bytes,
    /// What the codes are differences to, as an unsigned byte.
    base: i32,
}

impl Summing<'_> {
    /// Sums of `most` cells at most.
    fn run(
        self,
        threads: &dyn Threads,
        most: usize,
        finish: impl Fn(&[i32], usize, &mut [u8]) + Sync,
    ) -> Result<(), Error> {
        let Self { axes, input, out, bytes, base } = self;
        if most <= FEW_CELLS {
            reduce(threads, axes, input, out, &Summed { base, bytes, finish, sum: PhantomData::<fn() -> u16> })
        } else {
            reduce(threads, axes, input, out, &Summed { base, bytes, finish, sum: PhantomData::<fn() -> u32> })
        }
    }
}

/// A kernel and how it moves, checked.
#[derive(Clone, Copy, Debug)]
struct Pool {
    kernel: [usize; 2],
    window: Window,
    bytes: Bytes,
}

impl Pool {
    fn new(kernel: [usize; 2], window: Window, bytes: Bytes) -> Result<Self, Error> {
        window.output(kernel, [1, 1])?;
        limit("kernel", kernel[0] * kernel[1], 1, CELLS)?;
        Ok(Self { kernel, window, bytes })
    }

    fn output(&self, [batch, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        let [height, width] = self.window.output(self.kernel, [height, width])?;
        Ok([batch, height, width, channels])
    }

    /// Where the kernel is, if `out` is of the right shape.
    fn placed(&self, input: [usize; 4], out: [usize; 4]) -> Result<[Axis; 2], Error> {
        run::shape("out", self.output(input)?, out)?;
        self.window.placed(self.kernel, [input[1], input[2]])
    }
}

/// The average of each window, over the cells that lie inside the image (semantics.md 10.4). A window without such a cell
/// gives the zero point.
///
/// ```
/// use zeropoint::layers::{AveragePool2d, AveragePool2dSpec};
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let spec = AveragePool2dSpec::new([1, 2], QuantParams::new(0.5, 0)?);
/// let mut codes = [0u8; 2];
/// let input = TensorRef::nhwc(&[1u8, 4, 255], [1, 1, 3, 1])?;
/// AveragePool2d::new(&spec)?.run(input, TensorMut::nhwc(&mut codes, [1, 1, 2, 1])?)?;
/// assert_eq!(codes, [3, 130]); // of 2.5 and 129.5
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AveragePool2d<C> {
    pool: Pool,
    /// What ties go away from, as an unsigned byte.
    base: i32,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> AveragePool2d<C> {
    /// For images of any size.
    ///
    /// # Errors
    /// [`Error::Limit`] for a window that is none, or has more than 2^23 cells.
    pub fn new(spec: &AveragePool2dSpec<C>) -> Result<Self, Error> {
        let bytes = Bytes::new(&spec.params, spec.activation);
        let base = match spec.ties {
            AverageTies::AwayFromCodeZero => flip::<C>().into(),
            AverageTies::AwayFromZeroPoint => bytes.zero,
        };
        Ok(Self { pool: Pool::new(spec.kernel, spec.window, bytes)?, base, code: PhantomData })
    }

    /// The shape of the output for the shape of an input.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is too large.
    pub fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Error> {
        self.pool.output(input)
    }

    run::serial!(C, C);

    /// Runs on threads lent by the caller.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Limit`] if an image is too large, [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, C>,
        out: TensorMut<'_, C>,
    ) -> Result<(), Error> {
        let Self { pool: Pool { kernel, bytes, .. }, base, .. } = self;
        let axes = self.pool.placed(input.shape(), out.shape())?;
        // Averages are differences to `base`, not to the zero point.
        let to = Bytes { zero: *base, ..*bytes };
        let summing = Summing { axes, input: input.bytes(), out: out.into_bytes(), bytes, base: *base };
        summing.run(threads, kernel[0] * kernel[1], |sums, cells, codes| {
            let divisor = Divisor::new(cells);
            for (code, sum) in codes.iter_mut().zip(sums) {
                *code = to.code(divisor.nearest(*sum).into());
            }
        })
    }
}

/// The largest code of each window, over the cells that lie inside the image (semantics.md 10.6). A window without such a
/// cell gives the zero point.
///
/// ```
/// use zeropoint::layers::{MaxPool2d, MaxPool2dSpec};
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let spec = MaxPool2dSpec::new([1, 2], QuantParams::new(0.5, 0)?);
/// let mut codes = [0i8; 2];
/// let input = TensorRef::nhwc(&[-128i8, -1, 3], [1, 1, 3, 1])?;
/// MaxPool2d::new(&spec)?.run(input, TensorMut::nhwc(&mut codes, [1, 1, 2, 1])?)?;
/// assert_eq!(codes, [-1, 3]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaxPool2d<C> {
    pool: Pool,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> MaxPool2d<C> {
    /// For images of any size.
    ///
    /// # Errors
    /// [`Error::Limit`] for a window that is none, or has more than 2^23 cells.
    pub fn new(spec: &MaxPool2dSpec<C>) -> Result<Self, Error> {
        let bytes = Bytes::new(&spec.params, spec.activation);
        Ok(Self { pool: Pool::new(spec.kernel, spec.window, bytes)?, code: PhantomData })
    }

    /// The shape of the output for the shape of an input.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is too large.
    pub fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Error> {
        self.pool.output(input)
    }

    run::serial!(C, C);

    /// Runs on threads lent by the caller.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Limit`] if an image is too large, [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, C>,
        out: TensorMut<'_, C>,
    ) -> Result<(), Error> {
        let axes = self.pool.placed(input.shape(), out.shape())?;
        reduce(threads, axes, input.bytes(), out.into_bytes(), &Largest(self.pool.bytes))
    }
}

/// Unsigned bytes of which the largest counts.
struct Largest(Bytes);

impl Reduce for Largest {
    type Sum = u8;

    fn add(&self, sums: &mut [u8], codes: &[u8]) {
        for (sum, code) in sums.iter_mut().zip(codes) {
            *sum = (*sum).max(code ^ self.0.flip);
        }
    }

    fn finish(&self, sums: &[u8], _: usize, codes: &mut [u8]) {
        codes.iter_mut().zip(sums).for_each(|(code, sum)| *code = self.0.clamp(*sum));
    }

    fn nothing(&self) -> u8 {
        self.0.code(0)
    }
}

/// What [`Mean`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct MeanSpec<C> {
    /// Whether all lines become one.
    pub height: bool,
    /// Whether all pixels of a line become one.
    pub width: bool,
    /// Parameters of the input.
    pub input: QuantParams<C>,
    /// Parameters of the output.
    pub output: QuantParams<C>,
    /// What is applied to the result.
    pub activation: Activation,
    /// The rule of the rescaling; any but [`Rounding::IntMulShift`], whose multipliers no scale has.
    pub rounding: Rounding,
}

impl<C> MeanSpec<C> {
    /// Over lines and pixels, without an activation, by the default rule.
    pub fn new(input: QuantParams<C>, output: QuantParams<C>) -> Self {
        let (activation, rounding) = (Activation::None, Rounding::default());
        Self { height: true, width: true, input, output, activation, rounding }
    }
}

/// The mean over lines, pixels or both, of which one remains (semantics.md 10.5). The mean of nothing is the zero point.
///
/// ```
/// use zeropoint::layers::{Mean, MeanSpec};
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let mean = Mean::new(&MeanSpec::new(QuantParams::<u8>::new(0.5, 10)?, QuantParams::new(0.25, 0)?))?;
/// let mut codes = [0u8; 1];
/// let input = TensorRef::nhwc(&[10u8, 11, 12, 15], [1, 2, 2, 1])?; // 0, 0.5, 1, 2.5
/// mean.run(input, TensorMut::nhwc(&mut codes, [1, 1, 1, 1])?)?;
/// assert_eq!(codes, [4]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mean<C> {
    over: [bool; 2],
    /// The zero point of the input, as an unsigned byte.
    zero: i32,
    finisher: Finisher,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> Mean<C> {
    /// For images of up to 2^23 cells that become one.
    ///
    /// # Errors
    /// [`Error::Real`] if the factor reaches 2^30, [`Error::FixedPoint`] for [`Rounding::IntMulShift`].
    pub fn new(spec: &MeanSpec<C>) -> Result<Self, Error> {
        let MeanSpec { height, width, input, output, activation, rounding } = spec;
        let real = f64::from(input.scale()) / f64::from(output.scale());
        let finisher = Finisher::new(real, *rounding, output, *activation)?;
        let zero = Bytes::new(input, Activation::None).zero;
        Ok(Self { over: [*height, *width], zero, finisher, code: PhantomData })
    }

    /// The shape of the output for the shape of an input.
    pub fn output(&self, [batch, height, width, channels]: [usize; 4]) -> [usize; 4] {
        let [over_height, over_width] = self.over;
        [batch, if over_height { 1 } else { height }, if over_width { 1 } else { width }, channels]
    }

    run::serial!(C, C);

    /// Runs on threads lent by the caller.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Limit`] for more than 2^23 cells, [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, C>,
        out: TensorMut<'_, C>,
    ) -> Result<(), Error> {
        let shape = input.shape();
        run::shape("out", self.output(shape), out.shape())?;
        let axis = |over: bool, size: usize| match over {
            true => Axis { kernel: size, stride: 1, dilation: 1, before: 0, input: size, output: 1 },
            false => Axis { kernel: 1, stride: 1, dilation: 1, before: 0, input: size, output: size },
        };
        let axes = [axis(self.over[0], shape[1]), axis(self.over[1], shape[2])];
        let cells = axes[0].kernel.saturating_mul(axes[1].kernel);
        limit("cells", cells, 0, CELLS)?;
        let finisher = Finisher { by: self.finisher.by.mean(cells as u32), ..self.finisher };
        let (bytes, base) = (&self.finisher.bytes, self.zero);
        let summing = Summing { axes, input: input.bytes(), out: out.into_bytes(), bytes, base };
        summing.run(threads, cells, |sums, _, codes| finisher.all(sums, codes))
    }
}

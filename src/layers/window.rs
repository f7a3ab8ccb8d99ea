//! How a kernel moves over an image, and which inputs an output sees.

use core::ops::Range;

use zeropoint_kernels::Error;

/// The largest kernel, stride, dilation or padding.
const LIMIT: usize = 32767;

/// What surrounds an image: real zeros, so that a code is the zero point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Padding {
    /// Nothing: a kernel stays inside.
    #[default]
    Valid,
    /// As much as makes `output = ceil(input / stride)`, the smaller half first (semantics.md 10.1).
    Same,
    /// So many lines and pixels.
    Explicit {
        /// Lines above the first.
        top: usize,
        /// Lines below the last.
        bottom: usize,
        /// Pixels before the first.
        left: usize,
        /// Pixels behind the last.
        right: usize,
    },
}

/// How a kernel moves over an image: down, then across.
///
/// ```
/// use zeropoint::layers::{Padding, Window};
/// let window = Window { stride: [2, 2], padding: Padding::Same, ..Window::default() };
/// assert_eq!(window.output([3, 3], [224, 225])?, [112, 113]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Lines and pixels from one output to the next.
    pub stride: [usize; 2],
    /// Lines and pixels from one tap of the kernel to the next.
    pub dilation: [usize; 2],
    /// What surrounds the image.
    pub padding: Padding,
}

impl Default for Window {
    fn default() -> Self {
        Self { stride: [1, 1], dilation: [1, 1], padding: Padding::Valid }
    }
}

impl Window {
    /// Height and width of the output for a kernel and an input of height and width.
    ///
    /// # Errors
    /// [`Error::Limit`] if one of the numbers is 0 (but for those of the input and the padding) or over 32,767 (but
    /// for those of the input).
    pub fn output(&self, kernel: [usize; 2], input: [usize; 2]) -> Result<[usize; 2], Error> {
        Ok(self.placed(kernel, input)?.map(|axis| axis.output))
    }

    pub(crate) fn placed(&self, kernel: [usize; 2], input: [usize; 2]) -> Result<[Axis; 2], Error> {
        let Self { stride, dilation, padding } = *self;
        let explicit = match padding {
            Padding::Valid => [(0, 0); 2],
            Padding::Same => [(0, 0); 2],
            Padding::Explicit { top, bottom, left, right } => [(top, bottom), (left, right)],
        };
        let axis = |i: usize| {
            let [kernel, stride, dilation, input] = [kernel[i], stride[i], dilation[i], input[i]];
            let (mut before, after) = explicit[i];
            limit("kernel", kernel, 1, LIMIT)?;
            limit("stride", stride, 1, LIMIT)?;
            limit("dilation", dilation, 1, LIMIT)?;
            limit("padding", before, 0, LIMIT)?;
            limit("padding", after, 0, LIMIT)?;
            limit("input", input, 0, isize::MAX as usize / 4)?;
            // What the kernel covers; below 2^30.
            let covered = (kernel - 1) * dilation + 1;
            let output = if padding == Padding::Same {
                let output = input.div_ceil(stride);
                before = ((output.max(1) - 1) * stride + covered).saturating_sub(input) / 2;
                output
            } else {
                (input + before + after + 1).saturating_sub(covered).div_ceil(stride)
            };
            Ok(Axis { kernel, stride, dilation, before: before as isize, input, output })
        };
        Ok([axis(0)?, axis(1)?])
    }
}

/// Whether a number lies between two others.
pub(crate) fn limit(argument: &'static str, value: usize, low: usize, high: usize) -> Result<(), Error> {
    if value < low || value > high { Err(Error::Limit { argument, value, low, high }) } else { Ok(()) }
}

/// One direction of a kernel that moves over an input of known size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// How far the first tap of the first output lies before the input; negative: behind its start.
    pub before: isize,
    pub input: usize,
    pub output: usize,
}

impl Axis {
    /// Where the first tap of an output lies, maybe outside.
    #[inline]
    pub fn first(&self, output: usize) -> isize {
        (output * self.stride) as isize - self.before
    }

    /// Those of some outputs whose taps are all inside.
    pub fn inside(&self, outputs: Range<usize>) -> Range<usize> {
        let covered = (self.kernel.saturating_sub(1) * self.dilation + 1) as isize;
        let low = self.before.max(0).unsigned_abs().div_ceil(self.stride);
        let room = self.input as isize + self.before - covered;
        let high = usize::try_from(room).map_or(0, |room| room / self.stride + 1);
        let start = low.clamp(outputs.start, outputs.end);
        start..high.clamp(start, outputs.end)
    }

    /// The input under a tap of an output, if it is inside.
    #[inline]
    pub fn at(&self, output: usize, tap: usize) -> Option<usize> {
        let at = self.first(output) + (tap * self.dilation) as isize;
        usize::try_from(at).ok().filter(|at| *at < self.input)
    }
}

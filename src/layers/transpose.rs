//! Transposed convolution as one convolution a phase of the stride.
//!
//! Output `o` sees input `i` through tap `k` where `o = i * stride - before + k * dilation`. Outputs of the same phase, `o` mod
//! stride, see the same taps, at steps of one input: each phase is a convolution of its own, written to every stride-th output.

use alloc::vec::Vec;
use core::marker::PhantomData;

use zeropoint_kernels::{Code, Element, Error, TensorMut, TensorRef, ZeroPoint};

use super::product::{Part, Product, Reads, room, workspace_bytes};
use super::run;
use super::window::{Axis, Window};
use crate::{Gemm, PackOptions, Stages, Threads, Workspace};

/// What a transposed convolution is made of, but for its output stages.
#[derive(Clone, Copy, Debug)]
pub struct TransposeConv2dSpec<'a, W> {
    /// Output channels x kernel height x kernel width x input channels.
    pub weights: TensorRef<'a, W>,
    /// One, or one an output channel.
    pub weight_zero_point: ZeroPoint<'a>,
    /// The code of 0.
    pub input_zero_point: i32,
    /// How the kernel would move over the output, to give the input.
    pub window: Window,
    /// Height and width of the output.
    pub output: [usize; 2],
    /// How to pack the weights.
    pub pack: PackOptions,
}

/// A transposed convolution: what each input adds through each tap to the output that it came from, were the output the
/// input of a convolution.
///
/// ```
/// use zeropoint::layers::{TransposeConv2d, TransposeConv2dSpec, Window};
/// use zeropoint::{PackOptions, Stages, TensorMut, TensorRef, ZeroPoint};
/// let weights = [1i8, 2, 3, 4]; // one output channel, 2 x 2, one input channel
/// let spec = TransposeConv2dSpec {
///     weights: TensorRef::nhwc(&weights, [1, 2, 2, 1])?,
///     weight_zero_point: ZeroPoint::One(0),
///     input_zero_point: 0,
///     window: Window { stride: [2, 2], ..Window::default() },
///     output: [2, 4],
///     pack: PackOptions::default(),
/// };
/// let layer = TransposeConv2d::<u8, i32>::new(&spec, &Stages::raw())?;
/// let mut sums = [0; 8];
/// let (image, out) = (TensorRef::nhwc(&[1u8, 10], [1, 1, 2, 1])?, TensorMut::nhwc(&mut sums, [1, 2, 4, 1])?);
/// layer.run(image, out, &mut layer.workspace())?;
/// assert_eq!(sums, [1, 2, 10, 20, 3, 4, 30, 40]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct TransposeConv2d<L, O> {
    /// Line by line.
    phases: Vec<Phase>,
    products: Vec<Gemm<'static, O>>,
    stride: [usize; 2],
    /// Height, width and channels.
    input: [usize; 3],
    output: [usize; 3],
    zero: i32,
    code: PhantomData<L>,
}

#[derive(Debug)]
struct Phase {
    start: [usize; 2],
    axes: [Axis; 2],
}

/// The taps that outputs `phase`, `phase + stride`, ... see, in the order of their inputs, and where those are.
fn taps(axis: Axis, phase: usize) -> (Vec<usize>, Axis) {
    // Here `axis` is that of the convolution from output to input.
    let Axis { kernel, stride, dilation, before, input: output, output: input } = axis;
    let from = |tap: usize| phase as isize + before - (tap * dilation) as isize;
    let seen: Vec<usize> = (0..kernel).rev().filter(|tap| from(*tap).rem_euclid(stride as isize) == 0).collect();
    let input_of = |tap: Option<&usize>| tap.map_or(0, |tap| from(*tap).div_euclid(stride as isize));
    let (first, second) = (input_of(seen.first()), input_of(seen.get(1)));
    let dilation = if seen.len() > 1 { (second - first).unsigned_abs() } else { 1 };
    let outputs = output.saturating_sub(phase).div_ceil(stride);
    (seen.clone(), Axis { kernel: seen.len(), stride: 1, dilation, before: -first, input, output: outputs })
}

impl<L: Code, O: Element> TransposeConv2d<L, O> {
    /// Packs the weights, copies the vectors of the stages.
    ///
    /// # Errors
    /// As [`Conv2d::new`](super::Conv2d::new).
    pub fn new<W: Code>(spec: &TransposeConv2dSpec<'_, W>, stages: &Stages<'_, O>) -> Result<Self, Error> {
        let [outputs, height, width, channels] = spec.weights.shape();
        stages.check(Some(0), Some(outputs))?;
        ZeroPoint::One(spec.input_zero_point).check("input_zero_point", 0, L::RANGE.0, L::RANGE.1)?;
        spec.weight_zero_point.check("weight_zero_point", outputs, W::RANGE.0, W::RANGE.1)?;
        let [down, across] = spec.window.placed([height, width], spec.output)?;
        let count = down.stride.min(spec.output[0]) * across.stride.min(spec.output[1]);
        let (mut phases, mut products) = (room(count)?, room(count)?);
        for y in 0..down.stride.min(spec.output[0]) {
            for x in 0..across.stride.min(spec.output[1]) {
                let ((ys, down), (xs, across)) = (taps(down, y), taps(across, x));
                phases.push(Phase { start: [y, x], axes: [down, across] });
                let part = Part {
                    weights: spec.weights,
                    zero_point: spec.weight_zero_point,
                    columns: 0..outputs,
                    down: &ys,
                    across: &[xs.into_iter().map(Some).collect()],
                    options: spec.pack,
                    reads: Reads::Gathered,
                };
                products.push(part.product(stages)?);
            }
        }
        let [height, width] = spec.output;
        Ok(Self {
            phases,
            products,
            stride: spec.window.stride,
            input: [down.output, across.output, channels],
            output: [height, width, outputs],
            zero: spec.input_zero_point,
            code: PhantomData,
        })
    }

    /// Bytes of workspace that runs on up to `threads` threads need.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn workspace_bytes(&self, threads: usize) -> Result<usize, Error> {
        workspace_bytes(&self.products, Reads::Gathered, threads)
    }

    run::workspaces!();

    run::serial!(L, O, workspace);

    /// Runs on threads lent by the caller. The bits do not depend on them.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Limit`] if an image is too large, [`Error::Workspace`], [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, L>,
        mut out: TensorMut<'_, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        let [batch, ..] = input.shape();
        for (argument, [h, w, c], got) in [("input", self.input, input.shape()), ("out", self.output, out.shape())]
        {
            let expected = [batch, h, w, c];
            if got != expected {
                return Err(Error::TensorShape { argument, expected, got });
            }
        }
        let [height, width, channels] = self.output;
        for (Phase { start: [y, x], axes }, gemm) in self.phases.iter().zip(&self.products) {
            let shape = [batch, height - y, width - x, channels];
            let out = out.reborrow().part([0, *y, *x, 0], shape)?.every(self.stride)?;
            Product { gemm, zero: self.zero, reads: Reads::Gathered }
                .run(threads, input, *axes, out, workspace)?;
        }
        Ok(())
    }
}

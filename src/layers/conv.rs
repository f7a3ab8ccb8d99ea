//! Convolution as a matrix product of the windows of an image.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::slice;

use zeropoint_kernels::{Code, Element, Error, TensorMut, TensorRef, ZeroPoint};

use super::product::{Part, Product, Reads, room, workspace_bytes};
use super::run;
use super::window::{Axis, Window, limit};
use crate::{Gemm, PackOptions, Stages, Threads, Workspace, packed, plan};

/// What a convolution is made of, but for its output stages.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dSpec<'a, W> {
    /// Output channels x kernel height x kernel width x input channels of a group.
    pub weights: TensorRef<'a, W>,
    /// One, or one an output channel.
    pub weight_zero_point: ZeroPoint<'a>,
    /// The code of 0, which also surrounds the image.
    pub input_zero_point: i32,
    /// How the kernel moves.
    pub window: Window,
    /// Into how many equal groups, in order, input and output channels are divided.
    pub groups: usize,
    /// How to pack the weights.
    pub pack: PackOptions,
}

impl<'a, W: Code> Conv2dSpec<'a, W> {
    /// With zero points 0, stride 1, no padding, one group.
    pub fn new(weights: TensorRef<'a, W>) -> Self {
        Self {
            weights,
            weight_zero_point: ZeroPoint::One(0),
            input_zero_point: 0,
            window: Window::default(),
            groups: 1,
            pack: PackOptions::default(),
        }
    }
}

/// A convolution: `out = stages(sum over taps and channels of (input - zi) * (weight - zw))` (semantics.md 10.1).
///
/// A column of the [`Stages`] is an output channel: bias, multipliers, zero point, clamp, every rounding rule. Rows, output pixels,
/// have no vectors of their own.
///
/// ```
/// use zeropoint::layers::{Conv2d, Conv2dSpec, Padding, Window};
/// use zeropoint::{Stages, TensorMut, TensorRef};
/// let weights = [1i8; 9]; // one output channel, 3 x 3, one input channel
/// let window = Window { padding: Padding::Same, ..Window::default() };
/// let spec = Conv2dSpec { input_zero_point: 1, window, ..Conv2dSpec::new(TensorRef::nhwc(&weights, [1, 3, 3, 1])?) };
/// let conv = Conv2d::<u8, i32>::new(&spec, &Stages::raw())?;
///
/// let (image, mut sums) = ([2u8; 6], [0; 6]);
/// let (image, out) = (TensorRef::nhwc(&image, [1, 2, 3, 1])?, TensorMut::nhwc(&mut sums, [1, 2, 3, 1])?);
/// conv.run(image, out, &mut conv.workspace())?;
/// assert_eq!(sums, [4, 6, 4, 4, 6, 4]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct Conv2d<L, O> {
    groups: Vec<Gemm<'static, O>>,
    /// The same of some pixels of a line at once, where one leaves vectors of the kernel half empty.
    merged: Option<Box<Merged<O>>>,
    kernel: [usize; 2],
    /// Input channels of a group.
    channels: usize,
    window: Window,
    zero: i32,
    reads: Reads,
    input: PhantomData<L>,
}

/// A convolution each of whose rows makes so many pixels: its kernel is as wide as what they see, most of its weights 0.
#[derive(Debug)]
struct Merged<O> {
    gemm: Gemm<'static, O>,
    pixels: usize,
    reads: Reads,
}

impl<O: Element> Merged<O> {
    fn new<W: Code>(spec: &Conv2dSpec<'_, W>, stages: &Stages<'_, O>) -> Result<Option<Self>, Error> {
        let [outputs, height, width, channels] = spec.weights.shape();
        let step = spec.window.stride[1];
        let pixels = plan::pixels(packed::kernel(1, outputs, spec.pack)?, outputs);
        if spec.groups != 1 || pixels < 2 {
            return Ok(None);
        }
        let wide = width + (pixels - 1) * step;
        let window = Window { stride: [spec.window.stride[0], pixels * step], ..spec.window };
        let reads = Reads::of([height, wide, channels], window, pixels * outputs, spec.pack)?;
        if reads == Reads::Gathered {
            return Ok(None);
        }
        let down: Vec<usize> = (0..height).collect();
        let tap = |x: usize, pixel: usize| x.checked_sub(pixel * step).filter(|tap| *tap < width);
        let across = (0..pixels).map(|pixel| (0..wide).map(|x| tap(x, pixel)).collect());
        let across: Vec<Vec<Option<usize>>> = across.collect();
        let part = Part {
            weights: spec.weights,
            zero_point: spec.weight_zero_point,
            columns: 0..outputs,
            down: &down,
            across: &across,
            options: spec.pack,
            reads,
        };
        Ok(Some(Self { gemm: part.product(stages)?, pixels, reads }))
    }

    fn axis(&self, one: Axis) -> Axis {
        let kernel = one.kernel + (self.pixels - 1) * one.stride;
        Axis { kernel, stride: self.pixels * one.stride, output: one.output / self.pixels, ..one }
    }
}

impl<L: Code, O: Element> Conv2d<L, O> {
    /// Packs the weights, copies the vectors of the stages.
    ///
    /// # Errors
    /// [`Error::Divisor`] if the groups do not divide the output channels, [`Error::Limit`] for a window that is none,
    /// [`Error::ZeroPoint`], and those of [`Packed::rhs`](crate::Packed::rhs) and [`Gemm::new`].
    pub fn new<W: Code>(spec: &Conv2dSpec<'_, W>, stages: &Stages<'_, O>) -> Result<Self, Error> {
        let [outputs, height, width, channels] = spec.weights.shape();
        // Rows have no vectors: there are none of them.
        stages.check(Some(0), Some(outputs))?;
        ZeroPoint::One(spec.input_zero_point).check("input_zero_point", 0, L::RANGE.0, L::RANGE.1)?;
        spec.weight_zero_point.check("weight_zero_point", outputs, W::RANGE.0, W::RANGE.1)?;
        spec.window.output([height, width], [1, 1])?;
        limit("groups", spec.groups, 1, outputs.max(1))?;
        if !outputs.is_multiple_of(spec.groups) {
            return Err(Error::Divisor { argument: "groups", value: spec.groups, of: outputs });
        }
        let each = outputs / spec.groups;
        let (down, across): (Vec<_>, Vec<_>) = ((0..height).collect(), (0..width).map(Some).collect());
        let reads = Reads::of([height, width, channels], spec.window, each, spec.pack)?;
        let mut groups = room(spec.groups)?;
        for group in 0..spec.groups {
            let columns = group * each..(group + 1) * each;
            let zero_point = spec.weight_zero_point;
            let part = Part {
                weights: spec.weights,
                zero_point,
                columns,
                down: &down,
                across: slice::from_ref(&across),
                options: spec.pack,
                reads,
            };
            groups.push(part.product(stages)?);
        }
        Ok(Self {
            groups,
            merged: Merged::new(spec, stages)?.map(Box::new),
            kernel: [height, width],
            channels,
            window: spec.window,
            zero: spec.input_zero_point,
            reads,
            input: PhantomData,
        })
    }

    /// The products, one a group: what was chosen is in [`Gemm::explain`].
    pub fn products(&self) -> &[Gemm<'static, O>] {
        &self.groups
    }

    /// Bytes of the packed weights: of all products, and of the one that makes some pixels a row, if there is one.
    pub fn packed_bytes(&self) -> usize {
        let merged = self.merged.iter().map(|merged| &merged.gemm);
        self.groups.iter().chain(merged).map(|gemm| gemm.packed().as_bytes().len()).sum()
    }

    /// The shape of the output for the shape of an input.
    ///
    /// # Errors
    /// [`Error::TensorShape`] if it has another number of channels, [`Error::Limit`] if it is too large.
    pub fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Error> {
        let [batch, height, width, channels] = input;
        let expected = self.channels * self.groups.len();
        if channels != expected {
            let expected = [batch, height, width, expected];
            return Err(Error::TensorShape { argument: "input", expected, got: input });
        }
        let [height, width] = self.window.output(self.kernel, [height, width])?;
        Ok([batch, height, width, self.groups.iter().map(|gemm| gemm.packed().columns()).sum()])
    }

    /// Bytes of workspace that runs on up to `threads` threads need, whatever the size of the image.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn workspace_bytes(&self, threads: usize) -> Result<usize, Error> {
        let merged = match &self.merged {
            Some(merged) => workspace_bytes(slice::from_ref(&merged.gemm), merged.reads, threads)?,
            None => 0,
        };
        Ok(merged.max(workspace_bytes(&self.groups, self.reads, threads)?))
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
        let expected = self.output(input.shape())?;
        if out.shape() != expected {
            return Err(Error::TensorShape { argument: "out", expected, got: out.shape() });
        }
        let [batch, height, width, _] = input.shape();
        let [_, out_height, out_width, _] = expected;
        let axes = self.window.placed(self.kernel, [height, width])?;
        if let Some(merged) = &self.merged
            && let Some(out) = out.reborrow().merged(merged.pixels)
        {
            let axes = [axes[0], merged.axis(axes[1])];
            let product = Product { gemm: &merged.gemm, zero: self.zero, reads: merged.reads };
            return product.run(threads, input, axes, out, workspace);
        }
        let (mut first_in, mut first_out) = (0, 0);
        for gemm in &self.groups {
            let columns = gemm.packed().columns();
            let input = input.part([0, 0, 0, first_in], [batch, height, width, self.channels])?;
            let out = out.reborrow().part([0, 0, 0, first_out], [batch, out_height, out_width, columns])?;
            Product { gemm, zero: self.zero, reads: self.reads }.run(threads, input, axes, out, workspace)?;
            (first_in, first_out) = (first_in + self.channels, first_out + columns);
        }
        Ok(())
    }
}

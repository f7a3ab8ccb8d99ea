//! Depthwise convolution: input lines are copied, with what surrounds them, into a ring that the kernel reads.

use alloc::vec::Vec;
use core::marker::PhantomData;

use zeropoint_kernels::{
    Backend, Code, Depthwise, DepthwiseForm, DepthwiseShape, DepthwiseWeights, Element, Error, Strip, Strips,
    TensorMut, TensorRef, ZeroPoint,
};

use super::gather::Surrounded;
use super::run;
use super::window::{Axis, Window, limit};
use crate::lower::{self, OwnedStages};
use crate::packed::{Aligned, aligned};
use crate::parallel::{self, Few};
use crate::{Stages, Threads, Workspace, dispatch, plan};

/// What a depthwise convolution is made of, but for its output stages.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseConv2dSpec<'a, W> {
    /// 1 x kernel height x kernel width x output channels.
    pub weights: TensorRef<'a, W>,
    /// One, or one an output channel.
    pub weight_zero_point: ZeroPoint<'a>,
    /// The code of 0, which also surrounds the image.
    pub input_zero_point: i32,
    /// Output channels of each input channel, side by side.
    pub multiplier: usize,
    /// How the kernel moves.
    pub window: Window,
    /// The backend; if `None`, the [`selected`](crate::selected) one.
    pub backend: Option<Backend>,
}

impl<'a, W: Code> DepthwiseConv2dSpec<'a, W> {
    /// With zero points 0, multiplier 1, stride 1, no padding.
    pub fn new(weights: TensorRef<'a, W>) -> Self {
        Self {
            weights,
            weight_zero_point: ZeroPoint::One(0),
            input_zero_point: 0,
            multiplier: 1,
            window: Window::default(),
            backend: None,
        }
    }
}

/// A depthwise convolution: output channel `c` is input channel `c / multiplier` by a kernel of its own
/// (semantics.md 10.1). Columns of the [`Stages`] are output channels.
///
/// ```
/// use zeropoint::layers::{DepthwiseConv2d, DepthwiseConv2dSpec};
/// use zeropoint::{Stages, TensorMut, TensorRef};
/// let weights = [1i8, -1, 10, 100]; // 1 x 2 taps of two channels
/// let spec = DepthwiseConv2dSpec::new(TensorRef::nhwc(&weights, [1, 1, 2, 2])?);
/// let layer = DepthwiseConv2d::<u8, i32>::new(&spec, &Stages::raw())?;
/// let mut sums = [0; 4];
/// let image = TensorRef::nhwc(&[1, 1, 2, 2, 3, 3], [1, 1, 3, 2])?;
/// let mut workspace = layer.workspace(image.shape())?;
/// layer.run(image, TensorMut::nhwc(&mut sums, [1, 1, 2, 2])?, &mut workspace)?;
/// assert_eq!(sums, [21, 199, 32, 298]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct DepthwiseConv2d<L, O> {
    backend: Backend,
    shape: DepthwiseShape,
    /// The same of two output pixels at once, for lines of whole pairs.
    paired: Option<DepthwiseShape>,
    weights: Weights,
    /// Of the weights of each channel, in whole panels.
    sums: Vec<i32>,
    stages: OwnedStages<O>,
    near: bool,
    /// Vectors of the stages, for the kernel.
    columns: Aligned<u8>,
    multiplier: usize,
    window: Window,
    zero: i32,
    input: PhantomData<L>,
}

/// Packed weights.
#[derive(Debug)]
enum Weights {
    Pairs(Aligned<i16>),
    Woven(Aligned<i16>),
    Quads(Aligned<i8>),
}

impl Weights {
    fn zeros(form: DepthwiseForm, count: usize) -> Result<Self, Error> {
        Ok(match form {
            DepthwiseForm::Pairs => Self::Pairs(aligned("weights", count)?),
            DepthwiseForm::Woven => Self::Woven(aligned("weights", count)?),
            DepthwiseForm::Quads => Self::Quads(aligned("weights", count)?),
        })
    }

    /// A weight less its zero point: of nine bits, or of eight in quads.
    fn set(&mut self, places: [usize; 2], difference: i32) {
        for at in places {
            match self {
                Self::Pairs(numbers) | Self::Woven(numbers) => numbers[at] = difference as i16,
                Self::Quads(numbers) => numbers[at] = difference as i8,
            }
        }
    }

    fn borrow(&self) -> DepthwiseWeights<'_> {
        match self {
            Self::Pairs(numbers) => DepthwiseWeights::Pairs(numbers),
            Self::Woven(numbers) => DepthwiseWeights::Woven(numbers),
            Self::Quads(numbers) => DepthwiseWeights::Quads(numbers),
        }
    }
}

impl<L: Code, O: Element> DepthwiseConv2d<L, O> {
    /// Packs the weights, copies the vectors of the stages.
    ///
    /// # Errors
    /// [`Error::TensorShape`] if the weights are not 1 x height x width x channels, [`Error::Divisor`] if the multiplier
    /// does not divide the channels, [`Error::Limit`] for a window that is none, [`Error::ZeroPoint`], [`Error::Overflow`],
    /// [`Error::Memory`], [`Error::Backend`], and those of [`crate::Gemm::new`] for the stages.
    pub fn new<W: Code>(spec: &DepthwiseConv2dSpec<'_, W>, stages: &Stages<'_, O>) -> Result<Self, Error> {
        let DepthwiseConv2dSpec { weights, weight_zero_point, input_zero_point, multiplier, window, .. } = *spec;
        let [one, height, width, channels] = weights.shape();
        if one != 1 {
            let expected = [1, height, width, channels];
            return Err(Error::TensorShape { argument: "weights", expected, got: weights.shape() });
        }
        // Rows have no vectors: there are none of them.
        stages.check(Some(0), Some(channels))?;
        ZeroPoint::One(input_zero_point).check("input_zero_point", 0, L::RANGE.0, L::RANGE.1)?;
        weight_zero_point.check("weight_zero_point", channels, W::RANGE.0, W::RANGE.1)?;
        window.output([height, width], [1, 1])?;
        limit("multiplier", multiplier, 1, channels.max(1))?;
        if !channels.is_multiple_of(multiplier) {
            return Err(Error::Divisor { argument: "multiplier", value: multiplier, of: channels });
        }
        let backend = match spec.backend {
            Some(backend) => backend,
            None => plan::depthwise(dispatch::candidates()?).map_or_else(dispatch::selected, Ok)?,
        };
        let shape = DepthwiseShape {
            kernel: [height, width],
            stride: window.stride[1],
            dilation: window.dilation,
            channels,
            pixel: channels,
        };
        let paired = shape.paired(backend);
        // Twice, for pairs: within the vector that there is anyway.
        let copies = if paired.is_some() { 2 } else { 1 };
        let difference = |channel: usize, [y, x]: [usize; 2]| {
            let zero = match weight_zero_point {
                ZeroPoint::One(zero) => zero,
                ZeroPoint::Each(zeros) => zeros[channel],
            };
            weights.get([0, y, x, channel]).map_or(0, |weight| weight.into() - zero)
        };
        let taps = || (0..height).flat_map(|y| (0..width).map(move |x| [y, x]));
        let fits = |channel| taps().all(|tap| i8::try_from(difference(channel, tap)).is_ok());
        let form = match shape.takes_quads(backend) && (0..channels).all(fits) {
            true => DepthwiseForm::Quads,
            false if shape.takes_woven(backend) => DepthwiseForm::Woven,
            false => DepthwiseForm::Pairs,
        };
        let (mut packed, columns) =
            (Weights::zeros(form, shape.weights(backend, form)?)?, backend.columns(channels)?);
        let memory = Error::Memory { argument: "weights", bytes: columns };
        let mut sums = Vec::new();
        sums.try_reserve_exact(columns).map_err(|_| memory)?;
        sums.resize(columns, 0);
        for (column, sum) in sums.iter_mut().take(copies * channels).enumerate() {
            for tap in taps() {
                let difference = difference(column % channels, tap);
                packed.set(shape.place(backend, form, column, tap)?, difference);
                *sum += difference;
            }
        }
        let bytes = lower::column_bytes(columns).ok_or(memory)?;
        let (mut vectors, near) = (aligned("stages", bytes)?, lower::near(stages, height * width));
        let stages = OwnedStages::repeated(stages, copies);
        lower::write_columns(&stages.borrow(), columns, &mut vectors)?;
        Ok(Self {
            backend,
            shape,
            paired,
            weights: packed,
            sums,
            stages,
            near,
            columns: vectors,
            multiplier,
            window,
            zero: input_zero_point,
            input: PhantomData,
        })
    }

    /// The backend that runs it.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Bytes of the packed weights.
    pub fn packed_bytes(&self) -> usize {
        match &self.weights {
            Weights::Pairs(numbers) | Weights::Woven(numbers) => size_of_val(&numbers[..]),
            Weights::Quads(numbers) => numbers.len(),
        }
    }

    /// The shape of the output for the shape of an input.
    ///
    /// # Errors
    /// [`Error::TensorShape`] if it has another number of channels, [`Error::Limit`] if it is too large.
    pub fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Error> {
        let [batch, height, width, channels] = input;
        let expected = self.shape.channels / self.multiplier;
        if channels != expected {
            let expected = [batch, height, width, expected];
            return Err(Error::TensorShape { argument: "input", expected, got: input });
        }
        let [height, width] = self.window.output(self.shape.kernel, [height, width])?;
        Ok([batch, height, width, self.shape.channels])
    }

    /// Codes of a line of the ring, or of as many as are woven.
    fn line(&self, width: usize) -> Result<usize, Error> {
        let form = self.weights.borrow().form();
        let pairs = self.paired.map_or(Ok(0), |paired| paired.line(form, width / 2))?;
        let line = self.shape.line(form, width)?.max(pairs);
        line.checked_next_multiple_of(64).ok_or(Error::Overflow { argument: "workspace", a: line, b: 64 })
    }

    /// Lines that are woven.
    fn together(&self) -> usize {
        self.weights.borrow().form().lines()
    }

    /// Lines of the ring for an output of so many lines: what some of them see, or as many woven ones as hold them.
    fn ring(&self, line: usize, height: usize) -> Result<usize, Error> {
        let (span, together) = (self.shape.span()?, self.together());
        let all = height.saturating_sub(1).saturating_mul(self.window.stride[0]).saturating_add(span);
        // They may begin and end with any line of those that are woven.
        let least = |lines: usize| lines.saturating_add(together - 1).div_ceil(together);
        Ok(plan::ring(line, together > 1).clamp(least(span), least(all)))
    }

    fn slot(&self, height: usize, width: usize) -> Result<usize, Error> {
        let line = self.line(width)?;
        let ring = self.ring(line, height)?;
        line.checked_mul(ring).ok_or(Error::Overflow { argument: "workspace", a: line, b: ring })
    }

    /// Bytes of workspace that runs on inputs of this shape, on up to `threads` threads, need.
    ///
    /// # Errors
    /// As [`DepthwiseConv2d::output`]; [`Error::Overflow`].
    pub fn workspace_bytes(&self, input: [usize; 4], threads: usize) -> Result<usize, Error> {
        let [_, height, width, _] = self.output(input)?;
        let slot = self.slot(height, width)?;
        slot.checked_mul(threads.max(1)).ok_or(Error::Overflow { argument: "workspace", a: slot, b: threads })
    }

    /// A workspace for serial runs on inputs of this shape.
    ///
    /// # Errors
    /// As [`DepthwiseConv2d::workspace_bytes`].
    pub fn workspace(&self, input: [usize; 4]) -> Result<Workspace<'static>, Error> {
        self.workspace_for(input, 1)
    }

    /// A workspace for runs on inputs of this shape, on up to `threads` threads.
    ///
    /// # Errors
    /// As [`DepthwiseConv2d::workspace_bytes`].
    pub fn workspace_for(&self, input: [usize; 4], threads: usize) -> Result<Workspace<'static>, Error> {
        Ok(Workspace::new(self.workspace_bytes(input, threads)?))
    }

    run::serial!(L, O, workspace);

    /// Runs on threads lent by the caller. The bits do not depend on them.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Limit`] if an image is too large, [`Error::Workspace`], [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, L>,
        out: TensorMut<'_, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        let expected = self.output(input.shape())?;
        if out.shape() != expected {
            return Err(Error::TensorShape { argument: "out", expected, got: out.shape() });
        }
        if out.is_empty() {
            return Ok(());
        }
        let [_, height, width, _] = input.shape();
        let [batch, out_height, out_width, _] = expected;
        let axes = self.window.placed(self.shape.kernel, [height, width])?;
        let (line, slot) = (self.line(out_width)?, self.slot(out_height, out_width)?);
        let bytes = workspace.bytes();
        if bytes.len() < slot {
            return Err(Error::Workspace { needed: slot, got: bytes.len() });
        }
        let [height, width] = self.shape.kernel;
        let outputs = expected.iter().fold(1, |count: usize, size| count.saturating_mul(*size));
        let nanoseconds = plan::depthwise_ns(outputs, height * width);
        let threads = Few::new(threads, nanoseconds);
        let lines = plan::strip(batch * out_height, threads.threads(), nanoseconds);
        // Codes are multiplied as unsigned ones.
        let flip = if L::SIGNED { 0x80 } else { 0 };
        let image = Surrounded { input: input.bytes(), zero: self.zero as u8 ^ flip, flip };
        parallel::run(&threads, &Strips::new(out, lines), bytes, slot, |strip, ring| {
            self.strip(&image, axes, strip, ring, line)
        })
    }

    /// Computes a strip of output lines.
    fn strip(
        &self,
        image: &Surrounded<'_>,
        [down, across]: [Axis; 2],
        mut strip: Strip<'_, O>,
        lines: &mut [u8],
        line: usize,
    ) -> Result<(), Error> {
        let (span, together) = (self.shape.span()?, self.together());
        let (slots, ring) = (lines.len() / line, lines.len() / line * together);
        let stages = self.stages.borrow();
        let finish = lower::finish(&stages, self.near, self.sums.len(), &self.columns)?;
        let [_, count, width, channels] = strip.out.shape();
        // Where lines are woven, a window spans three and the ring is even, so that what sees all of it begins with an even line.
        // Lines of outputs that come at once: none but one where there are gaps between them.
        let most = if strip.out.as_ref().pixels().is_some() { (ring - span) / down.stride + 1 } else { 1 };
        // Input lines, from the first that the strip sees: line `i` is line `i % ring` of the ring.
        let top = down.first(strip.line);
        let (mut copied, mut y) = (0, 0);
        while y < count {
            let (first, some) = (y * down.stride, most.min(count - y));
            let end = first + (some - 1) * down.stride + span;
            for slot in copied.max(first / together)..end.div_ceil(together) {
                let to = &mut lines[slot % slots * line..][..line];
                let from = [top + (slot * together) as isize, across.first(0)];
                if together == 2 {
                    let to = to.as_chunks_mut().0;
                    image.weave(self.backend, strip.batch, from, self.multiplier, to)?;
                } else {
                    image.copy(strip.batch, from, self.multiplier, to);
                }
            }
            copied = end.div_ceil(together);
            let mut out = strip.out.reborrow().part([0, y, 0, 0], [1, some, width, channels])?;
            y += some;
            let (shape, out) = match self.paired.zip(out.reborrow().merged(2)) {
                Some(pairs) => pairs,
                None => (self.shape, out),
            };
            let Some(out) = out.into_pixels() else { continue };
            Depthwise {
                shape,
                lines,
                line_step: line,
                ring,
                first: first % ring,
                down: down.stride,
                width: out.rows() / some,
                weights: self.weights.borrow(),
                sums: &self.sums,
                zero_point: self.zero + if L::SIGNED { 128 } else { 0 },
                finish,
                out,
            }
            .run(self.backend)?;
        }
        Ok(())
    }
}

//! Convolution as a matrix product whose rows are gathered a few at a time, or read where they are.

use alloc::vec::Vec;
use core::marker::PhantomData;

use zeropoint_kernels::bytes::codes;
use zeropoint_kernels::{Blocks, Code, Elem, Element, Error, MatMut, MatRef, TensorMut, TensorRef, ZeroPoint};

use super::gather::Windows;
use super::run;
use super::window::{Axis, Window, limit};
use crate::parallel::{self, Few};
use crate::{Gemm, PackOptions, Packed, Stages, Threads, Workspace, plan};

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
    kernel: [usize; 2],
    /// Input channels of a group.
    channels: usize,
    window: Window,
    zero: i32,
    input: PhantomData<L>,
}

impl<L: Code, O: Element> Conv2d<L, O> {
    /// Packs the weights, copies the vectors of the stages.
    ///
    /// # Errors
    /// [`Error::Divisor`] if the groups do not divide the output channels, [`Error::Limit`] for a window that is none,
    /// [`Error::ZeroPoint`], and those of [`Packed::rhs`] and [`Gemm::new`].
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
        let taps: [Vec<usize>; 2] = [(0..height).collect(), (0..width).collect()];
        let mut groups = room(spec.groups)?;
        for group in 0..spec.groups {
            let columns = group * each..(group + 1) * each;
            groups.push(product(spec.weights, spec.weight_zero_point, columns, &taps, spec.pack, stages)?);
        }
        Ok(Self {
            groups,
            kernel: [height, width],
            channels,
            window: spec.window,
            zero: spec.input_zero_point,
            input: PhantomData,
        })
    }

    /// The products, one a group: what was chosen is in [`Gemm::explain`].
    pub fn products(&self) -> &[Gemm<'static, O>] {
        &self.groups
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
        workspace_bytes(&self.groups, threads)
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
        let (mut first_in, mut first_out) = (0, 0);
        for gemm in &self.groups {
            let columns = gemm.packed().columns();
            let input = input.part([0, 0, 0, first_in], [batch, height, width, self.channels])?;
            let out = out.reborrow().part([0, 0, 0, first_out], [batch, out_height, out_width, columns])?;
            Product { gemm, zero: self.zero }.run(threads, input, axes, out, workspace)?;
            (first_in, first_out) = (first_in + self.channels, first_out + columns);
        }
        Ok(())
    }
}

/// Room for so many layers' parts, if there is memory for it.
pub(crate) fn room<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut parts = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    parts.try_reserve_exact(count).map_err(|_| Error::Memory { argument: "weights", bytes })?;
    Ok(parts)
}

/// The product of a convolution with some taps, down and across, of some output channels.
pub(crate) fn product<W: Code, O: Element>(
    weights: TensorRef<'_, W>,
    zero_point: ZeroPoint<'_>,
    columns: core::ops::Range<usize>,
    [down, across]: &[Vec<usize>; 2],
    options: PackOptions,
    stages: &Stages<'_, O>,
) -> Result<Gemm<'static, O>, Error> {
    let [.., channels] = weights.shape();
    // A kernel has at most 32,767 taps either way.
    let (n, taps) = (columns.len(), down.len() * across.len());
    let k = taps.checked_mul(channels).ok_or(Error::Overflow { argument: "weights", a: taps, b: channels })?;
    // Each column together.
    let mut dense = room(k.checked_mul(n).ok_or(Error::Overflow { argument: "weights", a: k, b: n })?)?;
    for o in columns.clone() {
        for y in down {
            for x in across {
                dense.extend((0..channels).filter_map(|c| weights.get([o, *y, *x, c])));
            }
        }
    }
    let zero_point = match zero_point {
        ZeroPoint::One(zero) => ZeroPoint::One(zero),
        ZeroPoint::Each(zeros) => ZeroPoint::Each(zeros.get(columns.clone()).unwrap_or_default()),
    };
    let packed = Packed::rhs_with(MatRef::col_major(&dense, k, n)?.zero_point(zero_point), options)?;
    Gemm::new(packed, &stages.of_columns(columns))
}

/// What one of several products needs at most.
pub(crate) fn workspace_bytes<O: Element>(products: &[Gemm<'static, O>], threads: usize) -> Result<usize, Error> {
    let mut most = 0;
    for gemm in products {
        most = most.max(Product { gemm, zero: 0 }.slot()?.bytes);
    }
    most.checked_mul(threads.max(1)).ok_or(Error::Overflow { argument: "workspace", a: most, b: threads })
}

/// A product whose lhs is an image.
#[derive(Clone, Copy)]
pub(crate) struct Product<'g, O> {
    pub gemm: &'g Gemm<'static, O>,
    /// The zero point of the image.
    pub zero: i32,
}

/// What a task has in its part of the workspace: gathered rows, then what the product needs.
struct Slot {
    step: usize,
    /// Rows that are gathered at a time.
    rows: usize,
    gathered: usize,
    bytes: usize,
}

/// What tells an i8 code from the u8 code 128 above it.
const SIGN: u8 = 0x80;

/// Where rows of lhs are.
enum Rows<'a, L> {
    /// The pixels themselves.
    InPlace(MatRef<'a, L>),
    /// Windows from the one of output pixel `first` on.
    Gathered { windows: Windows<'a>, first: usize },
}

impl<O: Element> Product<'_, O> {
    fn slot(&self) -> Result<Slot, Error> {
        let parts = self.gemm.parts()?;
        let k = self.gemm.packed().k();
        let overflow = Error::Overflow { argument: "workspace", a: k, b: parts.plan.rows() };
        let step = Windows::step(k).ok_or(overflow)?;
        let rows = plan::gathered(parts.backend, step, parts.plan.rows());
        let gathered = step.checked_mul(rows).and_then(|bytes| bytes.checked_next_multiple_of(64));
        let gathered = gathered.ok_or(overflow)?;
        let bytes = gathered.checked_add(parts.plan.workspace_bytes()).ok_or(overflow)?;
        Ok(Slot { step, rows, gathered, bytes })
    }

    /// Multiplies the windows of an image; all shapes are checked.
    pub fn run<L: Code>(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, L>,
        axes: [Axis; 2],
        mut out: TensorMut<'_, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        if out.is_empty() {
            return Ok(());
        }
        let slot = self.slot()?;
        let bytes = workspace.bytes();
        if bytes.len() < slot.bytes {
            return Err(Error::Workspace { needed: slot.bytes, got: bytes.len() });
        }
        let flip = if self.gathers_signed::<L>()? == L::SIGNED { 0 } else { SIGN };
        let windows = Windows { input: input.bytes(), axes, zero: self.zero as u8 ^ flip, flip };
        let still =
            |axis: &Axis| axis.kernel == 1 && axis.stride == 1 && axis.before == 0 && axis.input == axis.output;
        let in_place = input.pixels().filter(|_| axes.iter().all(still)).map(Rows::InPlace);
        if out.as_ref().pixels().is_some() {
            let rows = in_place.unwrap_or(Rows::Gathered { windows, first: 0 });
            let Some(out) = out.into_pixels() else { return Ok(()) };
            return self.blocks(threads, &rows, out, bytes, &slot);
        }
        // Gaps between lines, or between images: one line at a time.
        let [batch, height, width, channels] = out.shape();
        for line in 0..batch * height {
            let start = [line / height, line % height, 0, 0];
            let rows: Rows<'_, L> = Rows::Gathered { windows, first: line * width };
            let Some(out) = out.reborrow().part(start, [1, 1, width, channels])?.into_pixels() else { continue };
            self.blocks(threads, &rows, out, bytes, &slot)?;
        }
        Ok(())
    }

    fn blocks<L: Code>(
        &self,
        threads: &dyn Threads,
        rows: &Rows<'_, L>,
        out: MatMut<'_, O>,
        workspace: &mut [u8],
        slot: &Slot,
    ) -> Result<(), Error> {
        let (parts, signed) = (self.gemm.parts()?, self.gathers_signed::<L>()?);
        let k = self.gemm.packed().k();
        let most = if matches!(rows, Rows::InPlace(_)) { parts.plan.rows() } else { slot.rows };
        let (m, n) = (out.rows(), out.cols());
        let threads = Few::new(threads, plan::product_ns(parts.backend, [m, k, n]));
        let (block_rows, block_cols) = match (rows, threads.threads()) {
            (Rows::InPlace(_), ..2) => (m, n),
            (_, ..2) => (most, n),
            (_, threads) => plan::shares(parts.backend, [m, k, n], threads, most),
        };
        let blocks = Blocks::new(out, block_rows, block_cols);
        parallel::run(&threads, &blocks, workspace, slot.bytes, |block, bytes| {
            let (gathered, own) = bytes.split_at_mut(slot.gathered);
            let m = block.out.rows();
            match rows {
                Rows::InPlace(pixels) => {
                    parts.run(pixels.part(block.row, 0, m, k)?.zero_point(self.zero), block, own)
                }
                Rows::Gathered { windows, first } => {
                    windows.write(first + block.row, m, slot.step, gathered);
                    let raised = i32::from(SIGN) * (i32::from(L::SIGNED) - i32::from(signed));
                    let zero = self.zero + raised;
                    if signed {
                        let lhs = MatRef::new(codes::<i8>(gathered), m, k, slot.step, 1)?;
                        parts.run(lhs.zero_point(zero), block, own)
                    } else {
                        let lhs = MatRef::new(codes::<u8>(gathered), m, k, slot.step, 1)?;
                        parts.run(lhs.zero_point(zero), block, own)
                    }
                }
            }
        })
    }

    /// Whether codes are gathered as i8: as the kernel multiplies them, so that it need not pack them.
    fn gathers_signed<L: Code>(&self) -> Result<bool, Error> {
        Ok(match self.gemm.parts()?.backend.lhs().elem {
            Elem::U8 => false,
            Elem::I8 => true,
            Elem::I16 => L::SIGNED,
        })
    }
}

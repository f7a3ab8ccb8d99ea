//! A matrix product whose lhs is an image: rows are pixels where they are, windows in a copy of a few lines with what
//! surrounds them, or windows that are gathered a few at a time.

use alloc::vec::Vec;
use core::ops::Range;

use zeropoint_kernels::bytes::{codes, numbers_mut};
use zeropoint_kernels::{
    Block, Blocks, Code, Elem, Element, Error, MatMut, MatRef, TensorMut, TensorRef, Windows, WindowsRef,
    ZeroPoint,
};

use super::gather::{Gathered, Strip};
use super::window::{Axis, Window};
use crate::gemm::Parts;
use crate::lower::OwnedStages;
use crate::parallel::{self, Few};
use crate::{Gemm, PackOptions, Packed, Stages, Threads, Workspace, packed, plan};

/// Room for so many layers' parts, if there is memory for it.
pub(crate) fn room<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut parts = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    parts.try_reserve_exact(count).map_err(|_| Error::Memory { argument: "weights", bytes })?;
    Ok(parts)
}

/// How a convolution reads its windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reads {
    /// Each is gathered.
    Gathered,
    /// Where it lies, in a copy of a few lines. What it sees of a line are so many codes, weights of 0 at the end: whole steps of
    /// the kernel. The copy of what one window sees has so many codes.
    Strips { piece: usize, least: usize },
}

impl Reads {
    /// For a kernel of height x width x channels, of so many output channels.
    pub fn of(kernel: [usize; 3], window: Window, outputs: usize, options: PackOptions) -> Result<Self, Error> {
        let [height, width, channels] = kernel;
        let Window { stride, dilation, .. } = window;
        let overflow = Error::Overflow { argument: "weights", a: height, b: width };
        let line = width.checked_mul(channels).ok_or(overflow)?;
        let k = height.checked_mul(line).ok_or(overflow)?;
        let step = packed::kernel(k, outputs, options)?.k_step();
        let piece = line.checked_next_multiple_of(step).ok_or(overflow)?;
        // What is packed may be longer than the kernel.
        let backend = packed::kernel(height.checked_mul(piece).ok_or(overflow)?, outputs, options)?;
        let suits = backend.reads_windows() && piece.is_multiple_of(backend.k_step()) && dilation[1] == 1;
        let proof = !plan::windows_beat_proof(k, outputs) && plan::proven(backend).is_some();
        if !suits || proof || !plan::windows_pay([height, width], stride, [line, piece]) {
            return Ok(Self::Gathered);
        }
        let covered =
            (height - 1).checked_mul(dilation[0]).and_then(|lines| lines.checked_add(1)).ok_or(overflow)?;
        let least = covered.checked_mul(line).and_then(|codes| codes.checked_add(piece - line)).ok_or(overflow)?;
        Ok(Self::Strips { piece, least })
    }
}

/// Some output channels of a convolution, with some taps.
pub(crate) struct Part<'a, W> {
    pub weights: TensorRef<'a, W>,
    pub zero_point: ZeroPoint<'a>,
    pub columns: Range<usize>,
    pub down: &'a [usize],
    /// Of each output pixel that a row makes, as many of each: `None` is a weight of 0.
    pub across: &'a [Vec<Option<usize>>],
    pub options: PackOptions,
    pub reads: Reads,
}

impl<W: Code> Part<'_, W> {
    /// Their product.
    pub fn product<O: Element>(&self, stages: &Stages<'_, O>) -> Result<Gemm<'static, O>, Error> {
        let Self { weights, down, across, .. } = *self;
        let [.., channels] = weights.shape();
        let overflow = |a, b| Error::Overflow { argument: "weights", a, b };
        let (pixels, taps) = (across.len(), across.first().map_or(0, Vec::len));
        let line = taps.checked_mul(channels).ok_or(overflow(taps, channels))?;
        let piece = if let Reads::Strips { piece, .. } = self.reads { piece } else { line };
        let k = down.len().checked_mul(piece).ok_or(overflow(down.len(), piece))?;
        let n = pixels.checked_mul(self.columns.len()).ok_or(overflow(pixels, self.columns.len()))?;
        // Each column together.
        let mut dense = room(k.checked_mul(n).ok_or(overflow(k, n))?)?;
        for (across, o) in across.iter().flat_map(|across| self.columns.clone().map(move |o| (across, o))) {
            let zero = W::low_bits(match self.zero_point {
                ZeroPoint::One(zero) => zero,
                ZeroPoint::Each(zeros) => zeros.get(o).copied().unwrap_or_default(),
            });
            for y in down {
                for x in across {
                    let weight = |c| x.and_then(|x| weights.get([o, *y, x, c])).unwrap_or(zero);
                    dense.extend((0..channels).map(weight));
                }
                dense.extend((line..piece).map(|_| zero));
            }
        }
        let zeros = match self.zero_point {
            ZeroPoint::One(_) => Vec::new(),
            ZeroPoint::Each(zeros) => zeros.get(self.columns.clone()).unwrap_or_default().repeat(pixels),
        };
        let zero_point = match self.zero_point {
            ZeroPoint::One(zero) => ZeroPoint::One(zero),
            ZeroPoint::Each(_) => ZeroPoint::Each(&zeros),
        };
        let mut options = self.options;
        if self.reads != Reads::Gathered {
            // The kernel that was asked whether it reads windows, not one that needs a proof.
            let backend = packed::kernel(k, n, options)?;
            if plan::proven(backend).is_some() {
                options.backend = Some(backend);
            }
            // Nothing is packed, but plans have room for it.
            let rows = plan::window_rows(backend, k);
            options.expected_rows = Some(options.expected_rows.map_or(rows, |expected| expected.min(rows)));
        }
        let packed = Packed::rhs_with(MatRef::col_major(&dense, k, n)?.zero_point(zero_point), options)?;
        Gemm::new(packed, &OwnedStages::repeated(&stages.of_columns(self.columns.clone()), pixels).borrow())
    }
}

/// What one of several products needs at most.
pub(crate) fn workspace_bytes<O: Element>(
    products: &[Gemm<'static, O>],
    reads: Reads,
    threads: usize,
) -> Result<usize, Error> {
    let mut most = 0;
    for gemm in products {
        most = most.max(Product { gemm, zero: 0, reads }.slot()?.bytes);
    }
    most.checked_mul(threads.max(1)).ok_or(Error::Overflow { argument: "workspace", a: most, b: threads })
}

/// A product whose lhs is an image.
#[derive(Clone, Copy)]
pub(crate) struct Product<'g, O> {
    pub gemm: &'g Gemm<'static, O>,
    /// The zero point of the image.
    pub zero: i32,
    pub reads: Reads,
}

/// What a task has in its part of the workspace: copied lines or gathered rows, then what the product needs.
struct Slot {
    copied: usize,
    /// Rows that are gathered at a time, and codes from one to the next.
    rows: usize,
    step: usize,
    bytes: usize,
}

/// What tells an i8 code from the u8 code 128 above it.
const SIGN: u8 = 0x80;

/// Where rows of lhs are.
enum Rows<'a, L> {
    /// The pixels themselves.
    InPlace(MatRef<'a, L>),
    /// Windows from the one of output pixel `first` on.
    Windows { windows: Gathered<'a>, first: usize },
}

/// The form of codes that are copied, what they are combined with (exclusive or) on their way, and their zero point in it.
#[derive(Clone, Copy)]
struct Copied {
    elem: Elem,
    flip: u8,
    zero: i32,
}

impl<O: Element> Product<'_, O> {
    fn slot(&self) -> Result<Slot, Error> {
        let parts = self.gemm.parts()?;
        let k = self.gemm.packed().k();
        let overflow = Error::Overflow { argument: "workspace", a: k, b: parts.plan.rows() };
        let (rows, step, copied) = match self.reads {
            Reads::Strips { least, .. } => {
                let least = least.checked_mul(parts.backend.lhs().elem.size()).ok_or(overflow)?;
                (0, 0, Some(plan::strip_bytes(least)))
            }
            Reads::Gathered => {
                let step = Gathered::step(k).ok_or(overflow)?;
                let rows = plan::gathered(parts.backend, step, parts.plan.rows());
                (rows, step, step.checked_mul(rows))
            }
        };
        let copied = copied.and_then(|bytes| bytes.checked_next_multiple_of(64)).ok_or(overflow)?;
        let bytes = copied.checked_add(parts.plan.workspace_bytes()).ok_or(overflow)?;
        Ok(Slot { copied, rows, step, bytes })
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
        let flip = self.copied::<L>()?.flip;
        let windows = Gathered { input: input.bytes(), axes, zero: self.zero as u8 ^ flip, flip };
        let still =
            |axis: &Axis| axis.kernel == 1 && axis.stride == 1 && axis.before == 0 && axis.input == axis.output;
        let in_place = input.pixels().filter(|_| axes.iter().all(still)).map(Rows::InPlace);
        if out.as_ref().pixels().is_some() {
            let rows = in_place.unwrap_or(Rows::Windows { windows, first: 0 });
            let Some(out) = out.into_pixels() else { return Ok(()) };
            return self.blocks(threads, &rows, out, bytes, &slot);
        }
        // Gaps between lines, or between images: one line at a time.
        let [batch, height, width, channels] = out.shape();
        for line in 0..batch * height {
            let start = [line / height, line % height, 0, 0];
            let rows: Rows<'_, L> = Rows::Windows { windows, first: line * width };
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
        let (parts, copied) = (self.gemm.parts()?, self.copied::<L>()?);
        let (m, k, n) = (out.rows(), self.gemm.packed().k(), out.cols());
        // Rows at a time, and what blocks of them have to be multiples of.
        let (most, whole) = match (rows, self.reads) {
            (Rows::InPlace(_), _) => (parts.plan.rows(), 1),
            (Rows::Windows { .. }, Reads::Gathered) => (slot.rows, 1),
            (Rows::Windows { windows, .. }, Reads::Strips { .. }) => (m, windows.axes[1].output),
        };
        let threads = Few::new(threads, plan::product_ns(parts.backend, [m, k, n]));
        let (block_rows, block_cols) = match (rows, threads.threads()) {
            (Rows::InPlace(_), ..2) => (m, n),
            (_, ..2) => (most, n),
            (_, threads) => plan::shares(parts.backend, [m, k, n], threads, [most, whole]),
        };
        let blocks = Blocks::new(out, (block_rows / whole).max(1) * whole, block_cols);
        parallel::run(&threads, &blocks, workspace, slot.bytes, |block, bytes| {
            let (room, own) = bytes.split_at_mut(slot.copied);
            let m = block.out.rows();
            match (rows, self.reads) {
                (Rows::InPlace(pixels), _) => {
                    parts.run(pixels.part(block.row, 0, m, k)?.zero_point(self.zero), block, own)
                }
                (Rows::Windows { windows, first }, Reads::Gathered) => {
                    windows.write(first + block.row, m, slot.step, room);
                    if copied.elem == Elem::I8 {
                        let lhs = MatRef::new(codes::<i8>(room), m, k, slot.step, 1)?;
                        parts.run(lhs.zero_point(copied.zero), block, own)
                    } else {
                        let lhs = MatRef::new(codes::<u8>(room), m, k, slot.step, 1)?;
                        parts.run(lhs.zero_point(copied.zero), block, own)
                    }
                }
                (Rows::Windows { windows, first }, Reads::Strips { piece, .. }) => {
                    strips(&parts, windows, *first, piece, copied, block, [room, own])
                }
            }
        })
    }

    /// Codes are copied as the kernel multiplies them, so that it need not pack them. Gathered ones stay bytes, which it widens if it
    /// must.
    fn copied<L: Code>(&self) -> Result<Copied, Error> {
        let (elem, flip) = match (self.gemm.parts()?.backend.lhs().elem, self.reads) {
            (Elem::I16, Reads::Gathered) => (if L::SIGNED { Elem::I8 } else { Elem::U8 }, 0),
            (Elem::I16, Reads::Strips { .. }) => (Elem::I16, if L::SIGNED { SIGN } else { 0 }),
            (elem, _) => (elem, if L::SIGNED == (elem == Elem::I8) { 0 } else { SIGN }),
        };
        let lower = i32::from(elem == Elem::I8) - i32::from(L::SIGNED);
        let zero = if elem == Elem::I16 { self.zero } else { self.zero - i32::from(SIGN) * lower };
        Ok(Copied { elem, flip, zero })
    }
}

/// Multiplies the windows of a block, which is whole lines of output pixels from pixel `first` of all on, strip by strip.
fn strips<O: Element>(
    parts: &Parts<'_>,
    windows: &Gathered<'_>,
    first: usize,
    piece: usize,
    copied: Copied,
    block: Block<'_, O>,
    [room, own]: [&mut [u8]; 2],
) -> Result<(), Error> {
    let [down, across] = windows.axes;
    let Block { row: start, col, mut out } = block;
    let (m, n) = (out.rows(), out.cols());
    let mut row = 0;
    while row < m {
        let pixel = first + start + row;
        let (line, x) = (pixel / across.output, pixel % across.output);
        let (image, y) = (line / down.output, line % down.output);
        let most = (m - row) / across.output;
        let strip = windows.strip(x, most.min(down.output - y), room.len() / copied.elem.size(), piece);
        let Strip { lines, pixels, step } = strip;
        let (rows, channels) = (lines * pixels, windows.channels());
        let lie = Windows {
            rows,
            line: pixels,
            row_stride: across.stride * channels,
            line_stride: down.stride * step,
            pieces: down.kernel,
            piece,
            piece_stride: down.dilation * step,
        };
        let block = Block { row: start + row, col, out: out.reborrow().part(row, 0, rows, n)? };
        let (at, zero) = ([image, y, x], copied.zero);
        match copied.elem {
            Elem::U8 => {
                windows.copy(strip, at, room);
                parts.run(WindowsRef::new(&*room, lie, zero)?, block, own)?;
            }
            Elem::I8 => {
                windows.copy(strip, at, room);
                parts.run(WindowsRef::new(codes::<i8>(room), lie, zero)?, block, own)?;
            }
            Elem::I16 => {
                let wide = numbers_mut::<i16>("workspace", room, room.len() / size_of::<i16>())?;
                windows.copy(strip, at, wide);
                parts.run(WindowsRef::new(&*wide, lie, zero)?, block, own)?;
            }
        }
        row += rows;
    }
    Ok(())
}

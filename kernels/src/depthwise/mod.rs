//! Depthwise convolution: each channel by a kernel of its own.
//!
//! The input comes as lines that were copied, padding and all, so that no window has an edge. Lanes are channels. A line of outputs
//! is made in tiles of [`ROWS`] pixels by a vector of channels, which go through the same epilogue as those of a product; common
//! kernels with common ways to finish are finished on registers. Two lines of the input are multiplied at a time, as pairs of 16-bit
//! numbers, and each pair is made once for all pixels that see it. Where pairs are multiplied by one instruction, lines are woven two by two
//! as they are copied, so that a pair is made by a load; a window that begins with the second line of two takes that of the first by weights of 0.
//! Where there is an instruction for it, and weights fit i8, it is four lines at a time, as quads of bytes.
//!
//! ```text
//! one step, kernel 3 x 3: column x of the input, N channels
//!   (line 0, line 1), (line 2, line 3)      pairs of codes, widened
//!   acc[x]     += pairs * weights[kx = 0]     (w0, w1), (w2, 0): an even line
//!   acc[x - 1] += pairs * weights[kx = 1]     (0, w0), (w1, w2): an odd one
//!   acc[x - 2] += pairs * weights[kx = 2]
//! registers, AVX2: 7 acc, 6 weights, 2 pairs of codes, 1 product
//! ```
//! Of quads, a column of the input is made once for four vectors of channels, and read back three times.
//!
//! On Emerald Rapids, 2026-11-26, 14x14x512 i8 codes by 3 x 3 taps at stride 1, AVX-512 lanes: pairs 46 us (39 GOP/s), quads 33 us (54).
//! Pairs by `vpdpwssd` gained nothing: the compiler makes two instructions of it again.
//!
//! On Zen 3, 2026-11-27, woven pairs, 3 x 3 taps at stride 1, i8 codes: 35 to 45 GOP/s, at stride 2 29 to 32 (pairs made in every tile: 33 to 39,
//! 26 to 28). A vector of sums takes 8 cycles, with codes 11: 30 vector operations, of which a core does no more than four a cycle. Lost: sums in
//! an order of the compiler's, which keeps a dozen columns in memory, 3.0 ns a vector instead of 2.5; sums through a scratch tile.

mod columns;
mod shape;

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use columns::{Columns, Quads};
pub use shape::{DepthwiseForm, DepthwiseShape, DepthwiseWeights};

use crate::Error;
use crate::backend::Backend;
use crate::element::Element;
use crate::finish::{Epilogue, Finish, Finisher, PerRow, RowTerms, TileAt, byte_clamp, column_term, copy_few};
use crate::lanes::Lanes;
use crate::microkernel::Microkernel;
use crate::scatter::Staged;
use crate::view::{MatMut, plus, times};
use crate::ways::{Rest, WithFinisher, finish_tile, with_finisher};

/// Output pixels of a tile, and of a scratch tile.
const ROWS: usize = 7;
/// The same where it suits the width of a line better: eight pixels are twice four, as bytes are stored.
const MOST: usize = 8;
const FEWEST: usize = 4;
/// Columns of the widest panel.
pub(crate) const WIDEST: usize = 64;

/// Lines of outputs: `out = finish(sum over taps of (input - zero point) * weight)`.
///
/// ```
/// use zeropoint_kernels::{Depthwise, DepthwiseForm, DepthwiseShape, DepthwiseWeights, Finish, MatMut, available};
/// let backend = available().last().unwrap();
/// let shape = DepthwiseShape { kernel: [1, 2], stride: 1, dilation: [1, 1], channels: 2, pixel: 2 };
/// let mut weights = vec![0i16; shape.weights(backend, DepthwiseForm::Pairs)?];
/// for (channel, x, weight) in [(0, 0, 1), (0, 1, 10), (1, 0, -1), (1, 1, 100)] {
///     weights[shape.place(backend, DepthwiseForm::Pairs, channel, [0, x])?[0]] = weight;
/// }
/// let mut lines = vec![0u8; shape.line(DepthwiseForm::Pairs, 2)?];
/// lines[..6].copy_from_slice(&[1, 1, 2, 2, 3, 3]); // three pixels of two channels
/// let (mut out, columns) = ([0i32; 4], vec![0; backend.columns(2)?]);
/// Depthwise {
///     shape,
///     lines: &lines,
///     line_step: lines.len(),
///     ring: 1,
///     first: 0,
///     down: 1,
///     width: 2,
///     weights: DepthwiseWeights::Pairs(&weights),
///     sums: &columns, // of the weights of each channel; they do not matter where the zero point is 0
///     zero_point: 0,
///     finish: Finish::raw(&columns),
///     out: MatMut::row_major(&mut out, 2, 2)?,
/// }
/// .run(backend)?;
/// assert_eq!(out, [21, 199, 32, 298]);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Depthwise<'a, O> {
    /// The kernel.
    pub shape: DepthwiseShape,
    /// Lines of [`DepthwiseShape::line`] codes each; padding holds the zero point. Of `i8` codes the sign bit is flipped, and the
    /// zero point raised by 128.
    pub lines: &'a [u8],
    /// Codes from a line to the next, or from two woven ones to the next two.
    pub line_step: usize,
    /// How many lines there are, the first of which follows the last: all that the outputs see, [`DepthwiseShape::span`] for one, and
    /// those woven with them.
    pub ring: usize,
    /// Which of them the first tap of the first output sees.
    pub first: usize,
    /// Lines of the input from a line of outputs to the next.
    pub down: usize,
    /// Pixels of a line of outputs.
    pub width: usize,
    /// Packed weights.
    pub weights: DepthwiseWeights<'a>,
    /// The sum of the weights of each channel, in whole panels.
    pub sums: &'a [i32],
    /// The zero point of the codes.
    pub zero_point: i32,
    /// The output stage.
    pub finish: Finish<'a>,
    /// Output pixels x channels: one line after the other.
    pub out: MatMut<'a, O>,
}

/// A depthwise run: everything checked, types erased. Made by [`Depthwise`].
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseRun<'a> {
    shape: DepthwiseShape,
    lines: *const u8,
    line_step: usize,
    ring: usize,
    first: usize,
    down: usize,
    /// Lines of outputs; pixels of one, and the first of them.
    count: usize,
    width: usize,
    row: usize,
    weights: *const u8,
    form: DepthwiseForm,
    /// Bytes from a panel of weights to the next.
    panel: usize,
    epilogue: Epilogue<'a>,
}

impl<O: Element> Depthwise<'_, O> {
    /// Runs the lines. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another number of channels, [`Error::Divisor`] if it is not whole lines, [`Error::Length`] for
    /// what is too short, [`Error::Limit`], [`Error::Overflow`], [`Error::Clamp`], [`Error::ZeroPoint`], [`Error::Uninitialized`].
    pub fn run(self, backend: Backend) -> Result<(), Error> {
        let Self { shape, lines, line_step, ring, first, down, width, weights, sums, zero_point, finish, out } =
            self;
        let (rows, channels) = (out.rows(), out.cols());
        if channels != shape.channels {
            let (expected, got) = ((rows, shape.channels), (rows, channels));
            return Err(Error::Shape { argument: "out", expected, got });
        }
        if rows == 0 || channels == 0 {
            return Ok(());
        }
        if !rows.is_multiple_of(width) {
            return Err(Error::Divisor { argument: "width", value: width, of: rows });
        }
        let count = rows / width;
        let (form, columns, span) = (weights.form(), backend.columns(channels)?, shape.span()?);
        let taken = match form {
            DepthwiseForm::Pairs => true,
            DepthwiseForm::Woven => shape.takes_woven(backend),
            DepthwiseForm::Quads => shape.takes_quads(backend),
        };
        if !taken {
            let [height, width] = shape.kernel;
            let argument = if form == DepthwiseForm::Woven { "woven weights" } else { "weights in quads" };
            return Err(Error::Shape { argument, expected: (3, 3), got: (height, width) });
        }
        let together = form.lines();
        if !ring.is_multiple_of(together) {
            return Err(Error::Divisor { argument: "lines woven together", value: together, of: ring });
        }
        let seen = plus("lines", times("lines", count - 1, down)?, span)?;
        // From the first of those woven with the first to the last of those woven with the last.
        let seen = plus("lines", plus("lines", seen, first % together)?, together - 1)? / together * together;
        for (argument, value, low, high) in
            [("ring", ring, seen, usize::MAX), ("first", first, 0, ring.saturating_sub(1))]
        {
            if value < low || value > high {
                return Err(Error::Limit { argument, value, low, high });
            }
        }
        let before = times("lines", ring / together - 1, line_step)?;
        for (argument, expected, got) in [
            ("lines", plus("lines", before, shape.line(form, width)?)?, lines.len()),
            ("weights", shape.weights(backend, form)?, weights.count()),
            ("sums", columns, sums.len()),
        ] {
            if got < expected {
                return Err(Error::Length { argument, expected, got });
            }
        }
        finish.check::<O>(rows, columns)?;
        if finish.accumulate && !out.initialized {
            return Err(Error::Uninitialized);
        }
        let run = DepthwiseRun {
            shape,
            lines: lines.as_ptr(),
            line_step,
            ring,
            first,
            down,
            count,
            width,
            row: 0,
            weights: weights.pointer(),
            form,
            panel: {
                let panel = form.panel(backend);
                times("weights", panel.strides(shape.k(form)?).panel, panel.elem.size())?
            },
            epilogue: Epilogue {
                finish: &finish,
                column_sums: sums,
                lhs_zero: zero_point,
                column_zeros: None,
                dest: O::DEST,
                out: out.ptr.cast(),
                row_stride: out.row_stride(),
                col_stride: out.col_stride(),
            },
        };
        // SAFETY: Features: the backend exists, so the CPU has them. Depthwise: every size was checked above, and `self` is
        // borrowed until the call returns.
        unsafe { (backend.row().depthwise)(&run) };
        Ok(())
    }
}

/// Sums of a tile, or outputs on their way to memory without contiguous pixels.
#[repr(align(64))]
struct Scratch(MaybeUninit<[i32; ROWS * WIDEST]>);

/// Runs the lines.
///
/// # Safety
/// * **Features** of `K`.
/// * **Depthwise**: `run` was made by [`Depthwise`], which checked every size, for the table row of `K`, and the memory it points
///   to is still borrowed.
pub(crate) unsafe fn run<K: Microkernel>(run: &DepthwiseRun<'_>) {
    // SAFETY: our caller's clauses. Pairs are everybody's, and the base has as many lanes.
    unsafe {
        if const { K::QUADS } && run.form == DepthwiseForm::Quads {
            run_by::<K, true>(run);
        } else {
            run_by::<K::Base, false>(run);
        }
    }
}

/// Runs lines with weights of one form.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn run_by<K: Microkernel, const QUADS: bool>(run: &DepthwiseRun<'_>) {
    struct Lines<'a, 'b, K, const QUADS: bool>(&'a DepthwiseRun<'b>, PhantomData<K>);
    impl<K: Microkernel, const QUADS: bool> WithFinisher<K::Lanes> for Lines<'_, '_, K, QUADS> {
        #[inline(always)]
        unsafe fn call<F: Finisher<K::Lanes>>(self) {
            // SAFETY: our caller's clauses.
            unsafe {
                if F::HOT {
                    K::enter_depthwise::<F, QUADS>(self.0);
                } else {
                    K::enter_depthwise::<Rest, QUADS>(self.0);
                }
            }
        }
    }
    let e = &run.epilogue;
    let plain = e.col_stride == 1 && matches!(e.finish.row_bias, PerRow::One(_));
    let common = match run.form {
        DepthwiseForm::Pairs => !K::Lanes::WOVEN && run.shape.is_common(),
        DepthwiseForm::Woven | DepthwiseForm::Quads => true,
    };
    // SAFETY: our caller's clauses.
    unsafe {
        if const { !K::ONE_LOOP && !K::Lanes::RULE_AT_RUN_TIME } && common && plain {
            with_finisher::<K::Lanes, _>(e, Lines::<K, QUADS>(run, PhantomData));
        } else {
            K::enter_depthwise::<Rest, QUADS>(run);
        }
    }
}

/// Runs lines of 3 x 3 taps, finished by `F` on registers, or of any taps, each tile finished as the epilogue asks.
///
/// # Safety
/// As [`run`].
#[inline(always)]
pub(crate) unsafe fn lines<K: Microkernel, F: Finisher<K::Lanes>, const QUADS: bool>(run: &DepthwiseRun<'_>) {
    // Quads wait for the next vector of channels of the same line; else all lines share what a vector of channels needs.
    let together = if F::HOT && !QUADS { run.count } else { 1 };
    let mut some = DepthwiseRun { count: together, ..*run };
    for _ in 0..run.count / together.max(1) {
        // SAFETY: our caller's clauses.
        unsafe {
            if !F::HOT {
                tiles::<K, K::Lanes, QUADS>(&some);
            } else {
                // A tile costs its pixels, and about two for what it prepares.
                let cost = |rows: usize| run.width.div_ceil(rows) * (rows + 2);
                let best = [ROWS, MOST, FEWEST].into_iter().min_by_key(|rows| cost(*rows));
                match best {
                    // Other outputs are rare.
                    Some(MOST) if const { F::CODES } => strided::<K::Lanes, F, MOST, QUADS>(&some),
                    Some(FEWEST) if const { F::CODES } => strided::<K::Lanes, F, FEWEST, QUADS>(&some),
                    _ => strided::<K::Lanes, F, ROWS, QUADS>(&some),
                }
            }
        }
        (some.first, some.row) = (run.down_from(some.first), some.row + run.width);
    }
}

impl DepthwiseRun<'_> {
    /// The line of the ring that the next line of outputs begins with.
    #[inline(always)]
    fn down_from(&self, line: usize) -> usize {
        let next = line + self.down;
        if next < self.ring { next } else { next % self.ring }
    }
}

#[inline(always)]
unsafe fn strided<L: Lanes, F: Finisher<L>, const R: usize, const QUADS: bool>(run: &DepthwiseRun<'_>) {
    // SAFETY: our caller's clauses.
    unsafe {
        if run.shape.stride == 1 {
            on_registers::<L, F, 1, R, QUADS>(run);
        } else {
            on_registers::<L, F, 2, R, QUADS>(run);
        }
    }
}

#[inline(always)]
unsafe fn on_registers<L: Lanes, F: Finisher<L>, const STRIDE: usize, const R: usize, const QUADS: bool>(
    run: &DepthwiseRun<'_>,
) {
    let (e, channels) = (&run.epilogue, run.shape.channels);
    // SAFETY: Depthwise: vectors from a channel of a line, weights and columns of whole panels, outputs of `width` pixels. There is
    // one row bias for all rows.
    unsafe {
        let (common, clamp) = (F::common(e), byte_clamp::<L>(e));
        let row_bias = L::splat(e.finish.row_bias.at(0));
        let mut quads = Quads::<L>::uninit();
        let bytes = L::QUADS && F::CODES && size_of::<F::Out>() == 1;
        let mut next = 0;
        while next < run.width {
            // Bytes of the last pixels of a line are made again rather than in a smaller tile.
            let x = if bytes { next.min(run.width.saturating_sub(R)) } else { next };
            let rows = R.min(run.width - x);
            let mut col = 0;
            while col < channels {
                // In memory, from where it comes back to registers once the sums have left some: left to itself, the compiler reads it again
                // for each pixel.
                let mut kept = MaybeUninit::uninit();
                let kept = kept.write((L::add(column_term::<L, F>(e, col), row_bias), F::columns(e, col)));
                let left = channels - col;
                let (mut line, mut row) = (run.first, run.row + x);
                for _ in 0..run.count {
                    let at = Columns::new::<L>(run, line, x * STRIDE, col);
                    let sums = at.three::<L, STRIDE, R, QUADS>(&mut quads);
                    // SAFETY: a comment.
                    core::arch::asm!("/* {0} */", in(reg) &raw mut *kept, options(nostack, preserves_flags));
                    let (term, columns) = *kept;
                    let out = e.out.cast::<F::Out>().add(row * e.row_stride + col);
                    if bytes {
                        let mut edge = MaybeUninit::<[u8; MOST * 16]>::uninit();
                        let edge: *mut u8 = edge.as_mut_ptr().cast();
                        let whole = rows == R && left >= L::N;
                        let (to, step) = if whole { (out.cast(), e.row_stride) } else { (edge, L::N) };
                        let mut codes = [L::splat(0); R];
                        for (code, sum) in codes.iter_mut().zip(sums) {
                            *code = F::code(&common, L::add(sum, term), &columns, &F::row(e, 0));
                        }
                        // Twice four pixels, of fewer than eight some twice.
                        for first in [0, R - 4].into_iter().take(if R == 4 { 1 } else { 2 }) {
                            let four = [codes[first], codes[first + 1], codes[first + 2], codes[first + 3]];
                            L::store_codes(to.add(first * step), step, 4, four, &clamp);
                        }
                        for r in 0..if whole { 0 } else { rows } {
                            let (from, to) =
                                (edge.add(r * L::N).cast_const(), out.add(r * e.row_stride).cast::<u8>());
                            if left >= L::N {
                                to.copy_from_nonoverlapping(from, L::N);
                            } else {
                                copy_few(from, to, left);
                            }
                        }
                    } else {
                        for (r, sum) in sums.into_iter().enumerate().take(rows) {
                            let (sum, row) = (L::add(sum, term), F::row(e, row + r));
                            let to = out.add(r * e.row_stride);
                            if left >= L::N {
                                F::put(&common, sum, &columns, &row, to);
                            } else {
                                let mut edge = [F::Out::default(); 16];
                                F::put(&common, sum, &columns, &row, edge.as_mut_ptr());
                                copy_few(edge.as_ptr(), to, left);
                            }
                        }
                    }
                    (line, row) = (run.down_from(line), row + run.width);
                }
                col += L::N;
            }
            next = x + rows;
        }
    }
}

#[inline(always)]
unsafe fn tiles<K: Microkernel, L: Lanes, const QUADS: bool>(run: &DepthwiseRun<'_>) {
    const { assert!(K::NR <= WIDEST) };
    let DepthwiseShape { stride, channels, .. } = run.shape;
    let e = &run.epilogue;
    let (mut acc, mut staging) = (Scratch(MaybeUninit::uninit()), Scratch(MaybeUninit::uninit()));
    let (acc, staging): (*mut i32, *mut u8) = (acc.0.as_mut_ptr().cast(), staging.0.as_mut_ptr().cast());
    let (mut terms, mut quads) = ([0; ROWS], Quads::<L>::uninit());
    let mut x = 0;
    while x < run.width {
        let rows = ROWS.min(run.width - x);
        // SAFETY: Depthwise: vectors from a channel of a line, weights of whole panels; the scratch tile has `ROWS` x `NR` sums.
        unsafe {
            for (r, term) in terms.iter_mut().take(rows).enumerate() {
                *term = e.finish.row_bias.at(run.row + x + r);
            }
            let mut col = 0;
            while col < channels {
                let mut v = 0;
                while v < K::NR && col + v < channels {
                    let (at, acc) = (Columns::new::<L>(run, run.first, x * stride, col + v), acc.add(v));
                    if run.form == DepthwiseForm::Pairs {
                        at.any::<L>(rows, acc, K::NR);
                    } else {
                        let sums = match stride {
                            1 => at.three::<L, 1, ROWS, QUADS>(&mut quads),
                            _ => at.three::<L, 2, ROWS, QUADS>(&mut quads),
                        };
                        at.keep::<L, ROWS>(sums, rows, acc, K::NR);
                    }
                    v += L::N;
                }
                let null = core::ptr::null();
                let terms = RowTerms { term: terms.as_ptr(), same: false, sum_factor: null, zero_factor: null };
                let cols = K::NR.min(channels - col);
                finish_tile::<K>(
                    e,
                    &TileAt { acc, staging, width: K::NR, terms, row: run.row + x, col, rows, cols },
                );
                if e.col_stride != 1 {
                    K::enter_scatter(e, &Staged { from: staging, row: run.row + x, col, rows, cols });
                }
                col += K::NR;
            }
        }
        x += rows;
    }
}

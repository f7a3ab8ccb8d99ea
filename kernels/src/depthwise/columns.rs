//! The sums of a vector of channels.

use core::mem::MaybeUninit;

use super::{DepthwiseRun, DepthwiseShape, MOST};
use crate::lanes::Lanes;

/// Columns of the input that a tile of 3 x 3 taps sees, at most.
const SEEN: usize = (MOST - 1) * 2 + 3;

/// The codes of a tile as quads of bytes, one a lane: of each column of the input, four vectors.
pub(super) struct Quads<L: Lanes>(MaybeUninit<[[L::I; 4]; SEEN]>);

impl<L: Lanes> Quads<L> {
    pub fn uninit() -> Self {
        Self(MaybeUninit::uninit())
    }

    fn column(&mut self, x: usize) -> *mut [L::I; 4] {
        self.0.as_mut_ptr().cast::<[L::I; 4]>().wrapping_add(x)
    }
}

/// The pixel of a tile that sees a column of the input through a tap.
#[inline(always)]
const fn seen(column: usize, tap: usize, [stride, rows]: [usize; 2]) -> Option<usize> {
    if column < tap || !(column - tap).is_multiple_of(stride) || (column - tap) / stride >= rows {
        return None;
    }
    Some((column - tap) / stride)
}

/// A vector of channels of a tile.
pub(super) struct Columns<'a, 'b> {
    run: &'a DepthwiseRun<'b>,
    /// The line of the ring that the first tap sees.
    first: usize,
    /// Codes of a line before the first pixel of the tile.
    before: usize,
    /// Of the first tap.
    weights: *const u8,
    channel: usize,
}

impl<'a, 'b> Columns<'a, 'b> {
    /// Channels from `channel` on, a multiple of the lanes, of windows from the `pixel` of a line of the ring on.
    #[inline(always)]
    pub fn new<L: Lanes>(run: &'a DepthwiseRun<'b>, first: usize, pixel: usize, channel: usize) -> Self {
        Self {
            run,
            first,
            before: pixel * run.shape.pixel + channel,
            weights: run.weights.wrapping_add(channel / L::N * run.panel),
            channel,
        }
    }

    /// The codes that tap line `y` sees.
    #[inline(always)]
    fn line(&self, y: usize) -> *const u8 {
        let at = self.first + y * self.run.shape.dilation[0];
        // Less than two rounds.
        let at = if at >= self.run.ring { at - self.run.ring } else { at };
        self.run.lines.wrapping_add(at * self.run.line_step + self.before)
    }

    /// The codes of the two lines that are woven, one of which a window sees first, or of the two behind them.
    #[inline(always)]
    fn woven(&self, behind: usize) -> *const u8 {
        let (at, ring) = (self.first / 2 + behind, self.run.ring / 2);
        let at = if at >= ring { at - ring } else { at };
        self.run.lines.wrapping_add(at * self.run.line_step + 2 * self.before)
    }

    /// The weights of a pair of taps.
    #[inline(always)]
    unsafe fn pair<L: Lanes>(&self, pair: usize) -> L::Pairs {
        // SAFETY: Depthwise: whole panels.
        unsafe { L::load_pairs(self.weights.cast::<i16>().add(pair * 2 * L::N)) }
    }

    /// 3 x 3 taps, side by side, `STRIDE` pixels from a window to the next, `R` windows.
    ///
    /// # Safety
    /// Features of `L`; Depthwise. `quads` are those that the vector of channels before left there.
    #[inline(always)]
    pub unsafe fn three<L: Lanes, const STRIDE: usize, const R: usize, const QUADS: bool>(
        &self,
        quads: &mut Quads<L>,
    ) -> [L::I; R] {
        // SAFETY: our caller's.
        unsafe { if QUADS { self.three_quads::<L, STRIDE, R>(quads) } else { self.three_pairs::<L, STRIDE, R>() } }
    }

    /// The same of quads, which are made every four vectors.
    #[inline(always)]
    unsafe fn three_quads<L: Lanes, const STRIDE: usize, const R: usize>(
        &self,
        quads: &mut Quads<L>,
    ) -> [L::I; R] {
        let (vector, left) = (self.channel / L::N % 4, self.run.shape.channels - self.channel);
        // SAFETY: passed on.
        unsafe {
            if vector == 0 && left <= L::N {
                // Four vectors would be made for one.
                return self.dots::<L, STRIDE, R, true>(quads);
            }
            if vector == 0 {
                for x in 0..(R - 1) * STRIDE + 3 {
                    quads.column(x).write(L::quads(self.column(x)));
                }
            }
            self.dots::<L, STRIDE, R, false>(quads)
        }
    }

    /// The codes of a column of 3 taps, and of a fourth, whose weights are 0.
    #[inline(always)]
    fn column(&self, x: usize) -> [*const u8; 4] {
        [0, 1, 2, 2].map(|y| self.line(y).wrapping_add(x * self.run.shape.pixel))
    }

    /// Sums of quads, which are made column by column, or have been.
    #[inline(always)]
    unsafe fn dots<L: Lanes, const STRIDE: usize, const R: usize, const MAKE: bool>(
        &self,
        quads: &mut Quads<L>,
    ) -> [L::I; R] {
        // SAFETY: Depthwise: whole panels, lines as far as a whole tile looks, and four vectors further.
        unsafe {
            let weights: [L::I; 3] = core::array::from_fn(|x| L::load(self.weights.add(x * 4 * L::N).cast()));
            let mut acc = [L::splat(0); R];
            for x in 0..(R - 1) * STRIDE + 3 {
                let codes =
                    if MAKE { L::quad(self.column(x)) } else { (*quads.column(x))[self.channel / L::N % 4] };
                for (tap, weights) in weights.into_iter().enumerate() {
                    if let Some(row) = seen(x, tap, [STRIDE, R]) {
                        acc[row] = L::add_dots(acc[row], codes, weights);
                    }
                }
            }
            acc
        }
    }

    /// The same of pairs: of two lines and of the third, or of woven lines, two and two, of which one has weights of 0.
    #[inline(always)]
    unsafe fn three_pairs<L: Lanes, const STRIDE: usize, const R: usize>(&self) -> [L::I; R] {
        let ([a, b, c], first, step) = if L::WOVEN {
            ([self.woven(0), self.woven(0), self.woven(1)], self.first % 2 * 6, 2 * self.run.shape.pixel)
        } else {
            ([self.line(0), self.line(1), self.line(2)], 0, self.run.shape.pixel)
        };
        // SAFETY: Depthwise: lines reach as far as a whole tile looks.
        unsafe {
            let weights: [[L::Pairs; 2]; 3] = [
                [self.pair::<L>(first), self.pair::<L>(first + 1)],
                [self.pair::<L>(first + 2), self.pair::<L>(first + 3)],
                [self.pair::<L>(first + 4), self.pair::<L>(first + 5)],
            ];
            let mut acc = [L::splat(0); R];
            macro_rules! columns {
                ($($x:literal)*) => {$(
                    if $x < (R - 1) * STRIDE + 3 {
                        let at = $x * step;
                        let (two, more) = if L::WOVEN {
                            (L::woven(a.add(at)), L::woven(c.add(at)))
                        } else {
                            (L::code_pairs(a.add(at), b.add(at)), L::code_singles(c.add(at)))
                        };
                        for (tap, weights) in weights.into_iter().enumerate() {
                            if let Some(row) = seen($x, tap, [STRIDE, R]) {
                                acc[row] = L::add_products(acc[row], two, weights[0]);
                                acc[row] = L::opaque(L::add_products(acc[row], more, weights[1]));
                            }
                        }
                    }
                )*};
            }
            columns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
            acc
        }
    }

    /// Sums of `rows` pixels to `to`, `step` apart.
    ///
    /// # Safety
    /// As [`Columns::any`].
    #[inline(always)]
    pub unsafe fn keep<L: Lanes, const R: usize>(&self, sums: [L::I; R], rows: usize, to: *mut i32, step: usize) {
        for (r, sum) in sums.into_iter().enumerate().take(rows) {
            // SAFETY: our caller's.
            unsafe { L::store(to.add(r * step), sum) }
        }
    }

    /// Any taps: sums of `rows` pixels to `to`, `step` apart.
    ///
    /// # Safety
    /// Features of `L`; Depthwise; `to` is a scratch tile.
    #[inline(always)]
    pub unsafe fn any<L: Lanes>(&self, rows: usize, to: *mut i32, step: usize) {
        let DepthwiseShape { kernel: [height, width], stride, dilation, pixel, .. } = self.run.shape;
        // SAFETY: Depthwise, as above.
        unsafe {
            for r in 0..rows {
                let mut acc = L::splat(0);
                for y in (0..height).step_by(2) {
                    let mut at = r * stride * pixel;
                    for x in 0..width {
                        let first = self.line(y).add(at);
                        let codes = if y + 1 < height {
                            L::code_pairs(first, self.line(y + 1).add(at))
                        } else {
                            L::code_singles(first)
                        };
                        let weights = self.pair::<L>(x * height.div_ceil(2) + y / 2);
                        acc = L::add_products(acc, codes, weights);
                        at += dilation[1] * pixel;
                    }
                }
                L::store(to.add(r * step), acc);
            }
        }
    }
}

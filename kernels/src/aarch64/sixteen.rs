//! The tile loop of plain NEON: 16 k of 4 columns by 16 k of each row, in an order that suits cores which do not reorder.
//! ```text
//! T steps, a turn                 lhs: l[0..T][0..R], 16 k of a row     rhs: r[0..T][0..4], 16 k of a column
//! item t: of row i and column j     products in 16 bits, of all 16 k or of either half, then added to acc[i][j]
//!   first(t)                        multiplies
//!   second(t - 3)                   multiplies the other half and adds, if a road does
//!   widen(t - 6)                    adds neighbours to 4 sums of 32 bits; t - 3 on roads without `second`
//! the end: two rounds of `addp` make acc[i][0..4] row i of the tile
//! ```
//! Each instruction stands six or more from the one that it waits for. A register is loaded for the next turn right after
//! its last use, rhs from below a pointer (`dot.rs`). Registers: 16 accumulators, 4 lhs, 4 rhs, 7 products.
//!
//! At the end of a turn products wait for one another. So one row takes four steps at a time: 4 accumulators, 4 lhs, 16 rhs,
//! 7 products. Lost: one step, 2.3 on Cortex-A53 and 6.4 on Neoverse N1 where four give 2.8 and 8.0.

use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

use crate::microkernel::Tile;

/// Rows and columns of a tile.
pub(super) const MR: usize = 4;
pub(super) const NR: usize = 4;
/// k of a step.
pub(super) const STEP: usize = 16;
/// Items from an instruction to the one that needs its result.
const LAG: usize = 3;

/// A way to multiply 16 k of a row with 16 k of a column.
///
/// # Safety
/// Arithmetic only. A caller upholds Features.
pub(super) unsafe trait Road {
    /// Whether `second` adds the products of the other half to those of the first, or each half is an item of its own.
    const ADDS: bool;
    /// The products of the lower half, or of the upper one.
    unsafe fn first(upper: bool, l: uint8x16_t, r: uint8x16_t) -> int16x8_t;
    /// `products` and those of the upper half.
    unsafe fn second(products: int16x8_t, l: uint8x16_t, r: uint8x16_t) -> int16x8_t;
    /// `sums` and the sums of neighbours among `products`.
    unsafe fn widen(sums: int32x4_t, products: int16x8_t) -> int32x4_t;
}

/// Keeps a value, and all loads, at this place among others.
macro_rules! pin {
    ($x:expr) => {{
        let mut x = $x;
        asm!("/* {0:v} */", inout(vreg) x, options(nostack, preserves_flags));
        x
    }};
}

/// Multiplies the rows of a tile.
///
/// # Safety
/// Features, Lhs, Rhs and Acc of [`crate::Microkernel`]: contiguous rows of bytes, 4 columns in groups of 16.
#[inline(always)]
pub(super) unsafe fn tile<P: Road>(tile: &Tile) {
    // SAFETY: passed on.
    unsafe {
        match tile.rows {
            1 => lower::<P, 1, 4>(tile),
            2 => lower::<P, 2, 2>(tile),
            3 => lower::<P, 3, 1>(tile),
            _ => multiply::<P, 4, 1>(tile),
        }
    }
}

/// [`multiply`] for fewer rows, outside of block loops.
#[target_feature(enable = "neon")]
unsafe fn lower<P: Road, const R: usize, const T: usize>(tile: &Tile) {
    // SAFETY: passed on.
    unsafe { multiply::<P, R, T>(tile) }
}

/// Multiplies `R` rows, `T` steps a turn.
#[inline(always)]
unsafe fn multiply<P: Road, const R: usize, const T: usize>(tile: &Tile) {
    // SAFETY: Features; Lhs and Rhs: addresses of steps there are; Acc: rows below `R`.
    unsafe {
        let mut acc = [[vdupq_n_s32(0); NR]; R];
        let steps = tile.k / STEP;
        let odd = steps % T;
        if odd != 0 {
            turns::<P, R, 1>(&mut acc, tile, 0..odd);
        }
        if steps > odd {
            turns::<P, R, T>(&mut acc, tile, odd..steps);
        }
        for (i, [a, b, c, d]) in acc.into_iter().enumerate() {
            let mut sums = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
            let p = tile.acc.add(i * NR);
            if tile.add {
                sums = vaddq_s32(sums, vld1q_s32(p));
            }
            vst1q_s32(p, sums);
        }
    }
}

/// Multiplies some steps, a multiple of `T` and not none.
#[inline(always)]
unsafe fn turns<P: Road, const R: usize, const T: usize>(
    acc: &mut [[int32x4_t; NR]; R],
    tile: &Tile,
    steps: Range<usize>,
) {
    // SAFETY: Features; Lhs and Rhs: addresses of steps there are.
    unsafe {
        let turn = T * STEP;
        let last = steps.end * STEP - turn;
        // Counts up to 0, which ends the loop.
        let mut k = (steps.start * STEP) as isize - last as isize;
        let ends: [*const u8; R] = core::array::from_fn(|i| opaque!(tile.lhs.add(i * tile.lhs_member + last)));
        let mut rhs = tile.rhs.add(steps.start * STEP * NR);
        let step = |u: usize| (u * STEP) as isize;
        let mut next = Next::<R, T> {
            lhs: core::array::from_fn(|u| ends.map(|end| vld1q_u8(end.offset(k + step(u))))),
            rhs: core::array::from_fn(|u| core::array::from_fn(|j| vld1q_u8(rhs.add((u * NR + j) * STEP)))),
        };
        rhs = rhs.add(turn * NR);
        while k != 0 {
            k = opaque!(k + turn as isize);
            rhs = opaque!(rhs.add(turn * NR));
            next.turn::<P>(acc, Some((&ends, k, rhs)));
        }
        next.turn::<P>(acc, None);
    }
}

/// What is multiplied next.
struct Next<const R: usize, const T: usize> {
    lhs: [[uint8x16_t; R]; T],
    rhs: [[uint8x16_t; NR]; T],
}

impl<const R: usize, const T: usize> Next<R, T> {
    /// Multiplies `T` steps, and loads as many: `(rows, k, the end of rhs)`, if there are.
    #[inline(always)]
    unsafe fn turn<P: Road>(
        &mut self,
        acc: &mut [[int32x4_t; NR]; R],
        next: Option<(&[*const u8; R], isize, *const u8)>,
    ) {
        let Self { lhs, rhs } = self;
        let halves = if P::ADDS { 1 } else { 2 };
        let items = halves * NR * R * T;
        // SAFETY: Features; what is next is there.
        unsafe {
            let mut products = [vdupq_n_s16(0); 8];
            // Literal indices, so that everything stays in registers.
            macro_rules! slots {
                ($($t:literal)*) => {$(
                    if $t < items {
                        let (u, i, j) = ($t / halves / NR / R, $t / halves / NR % R, $t % NR);
                        lhs[u][i] = pin!(lhs[u][i]);
                        products[$t % 8] = pin!(P::first($t / NR % halves == 1, lhs[u][i], rhs[u][j]));
                    }
                    // What has been multiplied for the last time.
                    let used = if P::ADDS { usize::wrapping_sub($t, LAG) } else { $t };
                    if used < items {
                        let (u, i, j) = (used / halves / NR / R, used / halves / NR % R, used % NR);
                        if P::ADDS {
                            let half = pin!(products[used % 8]);
                            products[used % 8] = pin!(P::second(half, lhs[u][i], rhs[u][j]));
                        }
                        if let Some((ends, k, end)) = next.filter(|_| used / NR % halves == halves - 1) {
                            if i == R - 1 {
                                rhs[u][j] = vld1q_u8(end.sub(((T - u) * NR - j) * STEP));
                            }
                            if j == NR - 1 {
                                lhs[u][i] = vld1q_u8(ends[i].offset(k + (u * STEP) as isize));
                            }
                        }
                    }
                    let whole = usize::wrapping_sub(used, LAG);
                    if whole < items {
                        let sums = &mut acc[whole / halves / NR % R][whole % NR];
                        *sums = pin!(P::widen(*sums, pin!(products[whole % 8])));
                    }
                )*};
            }
            slots!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34);
        }
    }
}

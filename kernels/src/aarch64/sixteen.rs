//! The tile loop of plain NEON: 16 k of 4 columns by 16 k of each row, in an order that suits cores which do not reorder.
//! ```text
//! one step                        lhs: l[0..R], 16 k of a row     rhs: r[0..4], 16 k of a column
//! item t: of row i and column j     products in 16 bits, of all 16 k or of either half, then added to acc[i][j]
//!   first(t)                        multiplies
//!   second(t - 3)                   multiplies the other half and adds, if a road does
//!   widen(t - 6)                    adds neighbours to 4 sums of 32 bits; t - 3 on roads without `second`
//! the end: two rounds of `addp` make acc[i][0..4] row i of the tile
//! ```
//! Each instruction stands six or more from the one that it waits for. A register is loaded for the next step right after
//! its last use. Registers: 16 accumulators, 4 lhs, 4 rhs, 7 products.

use core::arch::aarch64::*;
use core::arch::asm;

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
            1 => lower::<P, 1>(tile),
            2 => lower::<P, 2>(tile),
            3 => lower::<P, 3>(tile),
            _ => multiply::<P, 4>(tile),
        }
    }
}

/// [`multiply`] for fewer rows, outside of block loops.
#[target_feature(enable = "neon")]
unsafe fn lower<P: Road, const R: usize>(tile: &Tile) {
    // SAFETY: passed on.
    unsafe { multiply::<P, R>(tile) }
}

/// Multiplies `R` rows.
#[inline(always)]
unsafe fn multiply<P: Road, const R: usize>(tile: &Tile) {
    // SAFETY: Features; Lhs and Rhs: addresses of steps there are; Acc: rows below `R`.
    unsafe {
        let mut state =
            State { acc: [[vdupq_n_s32(0); NR]; R], lhs: [vdupq_n_u8(0); R], rhs: [vdupq_n_u8(0); NR] };
        if let Some(last) = tile.k.checked_sub(STEP) {
            // Counts up to 0, which ends the loop.
            let mut k = -(last as isize);
            let ends: [*const u8; R] = core::array::from_fn(|i| opaque!(tile.lhs.add(i * tile.lhs_member + last)));
            let mut rhs = tile.rhs;
            state.lhs = ends.map(|end| vld1q_u8(end.offset(k)));
            state.rhs = core::array::from_fn(|j| vld1q_u8(rhs.add(j * STEP)));
            while k != 0 {
                k = opaque!(k + STEP as isize);
                rhs = opaque!(rhs.add(NR * STEP));
                state.step::<P>(Some((&ends, k, rhs)));
            }
            state.step::<P>(None);
        }
        for (i, [a, b, c, d]) in state.acc.into_iter().enumerate() {
            let mut sums = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
            let p = tile.acc.add(i * NR);
            if tile.add {
                sums = vaddq_s32(sums, vld1q_s32(p));
            }
            vst1q_s32(p, sums);
        }
    }
}

/// Sums, and what is multiplied next.
struct State<const R: usize> {
    acc: [[int32x4_t; NR]; R],
    lhs: [uint8x16_t; R],
    rhs: [uint8x16_t; NR],
}

impl<const R: usize> State<R> {
    /// Multiplies a step, and loads the next one: `(rows, k, rhs)`, if there is one.
    #[inline(always)]
    unsafe fn step<P: Road>(&mut self, next: Option<(&[*const u8; R], isize, *const u8)>) {
        let Self { acc, lhs, rhs } = self;
        let halves = if P::ADDS { 1 } else { 2 };
        let items = halves * NR * R;
        // SAFETY: Features; what is next is there.
        unsafe {
            let mut products = [vdupq_n_s16(0); 8];
            // Literal indices, so that everything stays in registers.
            macro_rules! slots {
                ($($t:literal)*) => {$(
                    if $t < items {
                        let (i, j) = ($t / halves / NR, $t % NR);
                        lhs[i] = pin!(lhs[i]);
                        products[$t % 8] = pin!(P::first($t / NR % halves == 1, lhs[i], rhs[j]));
                    }
                    // What has been multiplied for the last time.
                    let used = if P::ADDS { usize::wrapping_sub($t, LAG) } else { $t };
                    if used < items {
                        let (i, j) = (used / halves / NR, used % NR);
                        if P::ADDS {
                            let half = pin!(products[used % 8]);
                            products[used % 8] = pin!(P::second(half, lhs[i], rhs[j]));
                        }
                        if let Some((ends, k, from)) = next.filter(|_| used / NR % halves == halves - 1) {
                            if i == R - 1 {
                                rhs[j] = vld1q_u8(from.add(j * STEP));
                            }
                            if j == NR - 1 {
                                lhs[i] = vld1q_u8(ends[i].offset(k));
                            }
                        }
                    }
                    let whole = usize::wrapping_sub(used, LAG);
                    if whole < items {
                        let sums = &mut acc[whole / halves / NR][whole % NR];
                        *sums = pin!(P::widen(*sums, pin!(products[whole % 8])));
                    }
                )*};
            }
            slots!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34);
        }
    }
}

//! Matrix products: `usmmla` over u8 x i8.
//!
//! Instruction: `usmmla` multiplies 2 rows by 2 columns of 8 k each, u8 by i8, and adds to 2 x 2 sums. Weights that are i8,
//! or that are once their zero point is subtracted, need no sums of rows; `ummla` would want them, at the same speed.
//! Registers: 24 accumulators (8 rows x 12), 4 lhs, a register of rhs and the one that follows.
//! ```text
//! one step, 8 k                             rhs panel: 8 k of each of 12 columns
//!   ldr     l[p] = rows 2p and 2p + 1         00 .. 70 01 .. 71 | 02 .. 72 03 .. 73 | ..    r[0], r[1], ..
//!   usmmla  acc[p][c] += l[p] * r[c]        lhs panel: 8 k of each of 8 rows
//! the end: acc[p][c] = (2p, 2c) (2p, 2c+1) (2p+1, 2c) (2p+1, 2c+1); `zip1` and `zip2` of two make rows
//! ```
//! Modelled, not measured (llvm-mca 22), the compiled loop of 37 instructions for 768 products: 63.8 products a cycle on
//! Neoverse N2, 126.9 on V1, where the pipes give 64 and 128.
//!
//! One row, which fills half of an instruction: 6 accumulators, 6 rhs, 2 lhs; 30.7 products a cycle on N2, 40.7 on V1, and two
//! rows twice that. What bounds it: 5 instructions a cycle of N2, at best 31.0, and 3 loads of V1, 41.1. 12 accumulators are no
//! faster.
//!
//! Lost in the model: two registers of rhs at a time, 40 on N2, for want of a register. Rows read where they are would need a
//! `zip` for each six `usmmla`.

use core::arch::aarch64::*;
use core::arch::asm;

use super::dot::{Dot, products};
use super::gather::NeonGather;
use super::lanes::NeonLanes;
use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile, entries};
use crate::panel::{Elem, Panel};

/// The microkernel.
pub struct I8mm;

const MR: usize = 8;
const NR: usize = 12;
const STEP: usize = 8;
/// Registers of rhs in a step.
const PAIRS: usize = NR / 2;

// SAFETY: `products` reads the steps of whole pairs of rows and of 12 columns; `multiply` writes `R` x 12 sums.
unsafe impl Microkernel for I8mm {
    const BACKEND: &'static str = "neon-i8mm";
    const NAME: &'static str = "arm-neon-i8mm-usmmla-8x12";
    const NEEDS: Features = Features::NEON.with(Features::I8MM);
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = STEP;
    const LHS: Panel = Panel { width: MR, group: STEP, elem: Elem::U8 };
    const RHS: Panel = Panel { width: NR, group: STEP, elem: Elem::I8 };
    type Lanes = NeonLanes;
    type Base = super::neon::Neon;
    type Gather = NeonGather;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe {
            match tile.rows.div_ceil(2) {
                1 => lower::<1, PAIRS>(&tile),
                2 => lower::<2, 1>(&tile),
                3 => lower::<3, 1>(&tile),
                _ => multiply::<4, 1>(&tile),
            }
        }
    }

    entries!("neon");
}

// SAFETY: a pair of rows of a panel, which is whole; an instruction on registers.
unsafe impl Dot<PAIRS> for I8mm {
    const STEP: usize = STEP;
    const GROUPS: usize = PAIRS;
    const LHS_STEP: usize = MR * STEP;

    #[inline(always)]
    fn lhs(tile: &Tile, i: usize) -> *const u8 {
        tile.lhs.wrapping_add(i * 2 * STEP)
    }

    #[inline(always)]
    unsafe fn multiply<const G: usize>(acc: &mut [int32x4_t; PAIRS], lhs: uint8x16_t, rhs: uint8x16_t) {
        // SAFETY: Features. Not `pure`, so that loads stay where they are.
        unsafe {
            asm!(
                ".arch_extension i8mm",
                "usmmla {acc:v}.4s, {lhs:v}.16b, {rhs:v}.16b",
                acc = inout(vreg) acc[G],
                lhs = in(vreg) lhs,
                rhs = in(vreg) rhs,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// [`multiply`] for fewer rows, outside of block loops.
#[target_feature(enable = "neon")]
unsafe fn lower<const R: usize, const D: usize>(tile: &Tile) {
    // SAFETY: passed on.
    unsafe { multiply::<R, D>(tile) }
}

/// Multiplies `R` pairs of rows. Of the last pair there may be one row only: the sums of the other are nobody's.
#[inline(always)]
unsafe fn multiply<const R: usize, const D: usize>(tile: &Tile) {
    // SAFETY: Features, Lhs, Rhs; Acc: rows below MR.
    unsafe {
        let acc = products::<I8mm, R, PAIRS, D>(tile);
        for (p, acc) in acc.iter().enumerate() {
            for (v, pairs) in acc.chunks_exact(2).enumerate() {
                let (a, b) = (vreinterpretq_s64_s32(pairs[0]), vreinterpretq_s64_s32(pairs[1]));
                for (row, sums) in [(2 * p, vzip1q_s64(a, b)), (2 * p + 1, vzip2q_s64(a, b))] {
                    let to = tile.acc.add(row * NR + 4 * v);
                    let mut sums = vreinterpretq_s32_s64(sums);
                    if tile.add {
                        sums = vaddq_s32(sums, vld1q_s32(to));
                    }
                    vst1q_s32(to, sums);
                }
            }
        }
    }
}

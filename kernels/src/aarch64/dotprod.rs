//! Dot products: `udot` over u8.
//!
//! Instruction: `udot` by element adds to each of 4 sums the products of 4 k of a column with 4 k of a row, which are an
//! element of a register of lhs. A register of lhs is 16 k of a row, so rows are read where they are. Registers:
//! 16 accumulators (8 rows x 2), 8 lhs, a register of rhs and the one that follows.
//! ```text
//! one step, 16 k                            rhs panel: 4 k of each of 8 columns, 4 times
//!   ldr   l[i] = row i, k..k+16               00 10 20 30 | 01 11 21 31 | ..       r[0], r[1]
//!   for g in 0..8, for each row i:            40 50 60 70 | 41 51 61 71 | ..       r[2], r[3]
//!     udot  acc[i][g % 2] += l[i][g / 2] * r[g]
//! ```
//! Modelled, not measured (llvm-mca 22), the compiled loop for 1024 products: 13.1 products a cycle on Cortex-A55, 32.0 on
//! A76, Neoverse N1 and N2, 63.8 on V1, where the pipes give 16, 32 and 64.
//!
//! One row: 8 accumulators, 8 rhs, 2 lhs; 6.6 products a cycle on A55, 14.2 on A76, 18.9 on N1, 31.8 on N2, 42.4 on V1. What
//! bounds it: 9 loads for 8 `udot`, at one a cycle of A76, whose model is that of Cortex-A57, and three of V1; on A55, which
//! starts no load beside a `udot`, 17 instructions one by one, at best 7.5; on N1, three instructions a cycle, at best 19.2; on
//! N2, its pipes.
//!
//! Lost in the model: both registers of rhs by one `ldp`, 12.2 on A55, 28.4 on A76 and 29.2 on N1, and one row 4.0 on A55, 12.8
//! on A76 and N1, 23.1 on N2; one row from a register for each address, 9.8 on A55 but 20.1 on N2 and 33.3 on V1; addresses
//! computed from one another, 10.4 on A55; a tile of 8 x 12, 10.4 there (limits.md 10).

use core::arch::aarch64::*;
use core::arch::asm;

use super::dot::{Dot, products};
use super::gather::NeonGather;
use super::lanes::NeonLanes;
use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile, entries};
use crate::panel::{Elem, Panel};

/// The microkernel.
pub struct Dotprod;

const MR: usize = 8;
const NR: usize = 4 * VECTORS;
/// Vectors of columns.
const VECTORS: usize = 2;
const STEP: usize = 16;
/// Registers of rhs in a step.
const GROUPS: usize = STEP / 4 * VECTORS;

// SAFETY: `products` reads the steps of `R` <= `rows` rows and of 8 columns; `multiply` writes `R` x 8 sums.
unsafe impl Microkernel for Dotprod {
    const BACKEND: &'static str = "neon-dotprod";
    const NAME: &'static str = "arm-neon-dotprod-udot-8x8";
    const NEEDS: Features = Features::NEON.with(Features::DOTPROD);
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = STEP;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: NR, group: 4, elem: Elem::U8 };
    type Lanes = NeonLanes;
    type Base = super::neon::Neon;
    type Gather = NeonGather;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe {
            match tile.rows {
                1 => lower::<1, 8, GROUPS>(&tile),
                2 => lower::<2, 4, GROUPS>(&tile),
                3 => lower::<3, 4, GROUPS>(&tile),
                4 => lower::<4, 2, 1>(&tile),
                5 => lower::<5, 2, 1>(&tile),
                6 => lower::<6, 2, 1>(&tile),
                7 => lower::<7, 2, 1>(&tile),
                _ => multiply::<8, 2, 1>(&tile),
            }
        }
    }

    entries!("neon");
}

// SAFETY: rows below `R`; an instruction on registers.
unsafe impl<const A: usize> Dot<A> for Dotprod {
    const STEP: usize = STEP;
    const GROUPS: usize = GROUPS;
    const LHS_STEP: usize = STEP;

    #[inline(always)]
    fn lhs(tile: &Tile, i: usize) -> *const u8 {
        tile.lhs.wrapping_add(i * tile.lhs_member)
    }

    /// Adds the products of 4 columns with their element of lhs.
    #[inline(always)]
    unsafe fn multiply<const G: usize>(acc: &mut [int32x4_t; A], lhs: uint8x16_t, rhs: uint8x16_t) {
        // SAFETY: Features. Not `pure`, so that loads stay where they are.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "udot {acc:v}.4s, {rhs:v}.16b, {lhs:v}.4b[{g}]",
                acc = inout(vreg) acc[G % A],
                rhs = in(vreg) rhs,
                lhs = in(vreg) lhs,
                g = const G / VECTORS,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// [`multiply`] for fewer rows, outside of block loops.
#[target_feature(enable = "neon")]
unsafe fn lower<const R: usize, const A: usize, const D: usize>(tile: &Tile) {
    // SAFETY: passed on.
    unsafe { multiply::<R, A, D>(tile) }
}

/// Multiplies `R` rows, into `A` accumulators a row: more than two where sums would wait for one another.
#[inline(always)]
unsafe fn multiply<const R: usize, const A: usize, const D: usize>(tile: &Tile) {
    // SAFETY: Features, Lhs, Rhs; Acc: rows below `R`.
    unsafe {
        let acc = products::<Dotprod, R, A, D>(tile);
        for (i, acc) in acc.iter().enumerate() {
            for v in 0..VECTORS {
                let p = tile.acc.add(i * NR + 4 * v);
                let mut sums = if tile.add { vld1q_s32(p) } else { vdupq_n_s32(0) };
                for acc in acc.iter().skip(v).step_by(VECTORS) {
                    sums = vaddq_s32(sums, *acc);
                }
                vst1q_s32(p, sums);
            }
        }
    }
}

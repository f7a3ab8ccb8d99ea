//! NEON: `umull` and `uadalp` over u8, exact for all input, on any ARMv8 core.
//!
//! Instruction: `umull` multiplies 8 pairs of u8 into u16, where 255 * 255 fits; `uadalp` adds neighbouring u16 to
//! 4 sums of 32 bits. Nothing before those can wrap. Registers: 16 accumulators (4 x 4, each with 4 partial sums),
//! 4 rhs, 2 lhs, 4 or 5 products.
//! ```text
//! one step (16 k) of row i                  rhs panel: 4 columns of 16 k
//!   ldr      a = l[i][k..k+16]                00 10 20 .. f0     r0
//!   umull    p = a[0..8] * rj[0..8]           01 11 21 .. f1     r1
//!   uadalp   acc[i][j] += p[2t] + p[2t+1]     02 12 22 .. f2     r2
//!   umull2   p = a[8..16] * rj[8..16]         03 13 23 .. f3     r3
//!   uadalp   acc[i][j] += p[2t] + p[2t+1]
//! the end: two rounds of `addp` make acc[i][0..4] row i of the tile
//! ```
//! Modelled, not measured (limits.md 10), the compiled loop of 73 instructions for 256 products: 8.0 products a
//! cycle on Cortex-A57 and A76 and Neoverse N1 and N2, 15.9 on V1 and V2, at least 99 % of what their vector pipes
//! give this sequence; in order, A53 3.1, A55 3.2, A510 2.1.
//!
//! Lost in the model: `smull`, `smlal2` and `sadalp`, 10.6 on N2 and equal on A57, A76, N1, V1 and V2, but two
//! products of -128 by -128 wrap int16; starting from -1 instead makes it exact, and as long as this one.
//! `smlal` by lane over i16: half.

use core::arch::aarch64::*;

use super::gather::NeonGather;
use super::lanes::NeonLanes;
use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile, entries};
use crate::panel::{Elem, Panel};

/// The microkernel.
pub struct Neon;

const MR: usize = 4;
const NR: usize = 4;
/// Codes of a register.
const STEP: usize = 16;

// SAFETY: `multiply` reads `rows` x k of lhs and 4 x k of rhs at the offsets of their layouts, and writes
// `rows` x 4 sums.
unsafe impl Microkernel for Neon {
    const BACKEND: &'static str = "neon";
    const NAME: &'static str = "arm-neon-umull-4x4";
    const NEEDS: Features = Features::NEON;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = STEP;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: NR, group: STEP, elem: Elem::U8 };
    type Lanes = NeonLanes;
    type Gather = NeonGather;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe {
            match tile.rows {
                1 => multiply::<1>(tile),
                2 => multiply::<2>(tile),
                3 => multiply::<3>(tile),
                _ => multiply::<4>(tile),
            }
        }
    }

    entries!("neon");
}

/// Multiplies `R` rows.
#[inline(always)]
unsafe fn multiply<const R: usize>(tile: Tile) {
    // SAFETY: Lhs: 16 codes of each row below `R` a step; Rhs: 64 bytes a step; Acc: rows below `R`.
    unsafe {
        let mut acc = [[vdupq_n_u32(0); NR]; R];
        for k in (0..tile.k).step_by(STEP) {
            let rhs = tile.rhs.add(k * NR);
            let r =
                [vld1q_u8(rhs), vld1q_u8(rhs.add(STEP)), vld1q_u8(rhs.add(2 * STEP)), vld1q_u8(rhs.add(3 * STEP))];
            for (i, acc) in acc.iter_mut().enumerate() {
                let a = vld1q_u8(tile.lhs.add(i * tile.lhs_member + k));
                for (acc, r) in acc.iter_mut().zip(r) {
                    *acc = vpadalq_u16(*acc, vmull_u8(vget_low_u8(a), vget_low_u8(r)));
                }
                for (acc, r) in acc.iter_mut().zip(r) {
                    *acc = vpadalq_u16(*acc, vmull_high_u8(a, r));
                }
            }
        }
        for (i, [a, b, c, d]) in acc.into_iter().enumerate() {
            let mut sums = vpaddq_u32(vpaddq_u32(a, b), vpaddq_u32(c, d));
            let p = tile.acc.add(i * NR).cast::<u32>();
            if tile.add {
                sums = vaddq_u32(sums, vld1q_u32(p));
            }
            vst1q_u32(p, sums);
        }
    }
}

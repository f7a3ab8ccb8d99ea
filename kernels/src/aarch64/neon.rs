//! NEON: `umull` and `uadalp` over u8, exact for all input, on any ARMv8 core.
//!
//! Instruction: `umull` multiplies 8 pairs of u8 into u16, where 255 * 255 fits; `uadalp` adds neighbouring u16 to
//! 4 sums of 32 bits. Nothing before those can wrap. Registers: 16 accumulators (4 x 4, each with 4 partial sums),
//! 4 rhs, 4 lhs, 4 products.
//! ```text
//! one step (16 k) of row i                  rhs panel: 4 columns of 16 k
//!   ldr      a = l[i][k..k+16]                00 10 20 .. f0     r0
//!   umull    p = a[0..8] * rj[0..8]           01 11 21 .. f1     r1
//!   uadalp   acc[i][j] += p[2t] + p[2t+1]     02 12 22 .. f2     r2
//!   umull2   p = a[8..16] * rj[8..16]         03 13 23 .. f3     r3
//!   uadalp   acc[i][j] += p[2t] + p[2t+1]
//! ```
//! `sixteen.rs` has the loop and its order. Modelled, not measured (llvm-mca 22), the compiled loop of 75 instructions for 256
//! products: a cycle of Cortex-A76 and Neoverse N1 and N2 has 8.0 products, of V1 15.9, at least 99 % of what their vector
//! pipes give this sequence; in order, A53 3.2, A55 3.5. One row is as fast, but for A53, 2.8, and A55, 2.9: they begin loads and
//! products one by one, 88 instructions for 256 products, with 20 loads where whole tiles have 8.
//!
//! Lost in the model: the order that the compiler chooses, 3.1 on A53 and 3.2 on A55; `smlal` by lane over i16: half.

use core::arch::aarch64::*;

use super::gather::NeonGather;
use super::lanes::NeonLanes;
use super::sixteen::{self, MR, NR, Road, STEP};
use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile, entries};
use crate::panel::{Elem, Panel};

/// The microkernel.
pub struct Neon;

// SAFETY: the loop reads `rows` x k of lhs and 4 x k of rhs at the offsets of their layouts, and writes `rows` x 4 sums.
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
    type Base = Self;
    type Gather = NeonGather;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe { sixteen::tile::<Umull>(&tile) }
    }

    entries!("neon");
}

/// `umull`, `uadalp`, `umull2`, `uadalp`.
struct Umull;

// SAFETY: arithmetic.
unsafe impl Road for Umull {
    const ADDS: bool = false;

    #[inline(always)]
    unsafe fn first(upper: bool, l: uint8x16_t, r: uint8x16_t) -> int16x8_t {
        // SAFETY: Features.
        unsafe {
            let products = if upper { vmull_high_u8(l, r) } else { vmull_u8(vget_low_u8(l), vget_low_u8(r)) };
            vreinterpretq_s16_u16(products)
        }
    }

    #[inline(always)]
    unsafe fn second(products: int16x8_t, _: uint8x16_t, _: uint8x16_t) -> int16x8_t {
        products
    }

    #[inline(always)]
    unsafe fn widen(sums: int32x4_t, products: int16x8_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe {
            let sums = vpadalq_u16(vreinterpretq_u32_s32(sums), vreinterpretq_u16_s16(products));
            vreinterpretq_s32_u32(sums)
        }
    }
}

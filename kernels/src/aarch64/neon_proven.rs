//! NEON: `smull` and `smlal2` over i8, where packing has proven that 16 bits hold the sum of two products.
//!
//! Instruction: `smull` multiplies 8 pairs of i8 into i16, `smlal2` adds the products of the other half to them: three
//! instructions for 16 products, with `sadalp`, where `umull` and `uadalp` take four. Only two products of -128 by -128 in one
//! lane wrap; a panel whose weights could meet so, k and k + 8 of 16 both -128, is multiplied by `smull`, `sadalp`, `smull2`
//! and `sadalp`. Registers, step and loop are those of `neon.rs`, but for 7 products:
//! ```text
//!   smull    p = a[0..8] * rj[0..8]
//!   smlal2   p += a[8..16] * rj[8..16]
//!   sadalp   acc[i][j] += p[2t] + p[2t+1]
//! ```
//! Modelled, not measured (llvm-mca 22), the compiled loop of 59 instructions for 256 products: in order, A53 4.1 and A55 4.5
//! products a cycle; A76 and Neoverse N1 8.0, N2 10.6, V1 15.9. One row is as fast, but for A53, 3.4, and A55, 3.5: 72
//! instructions one by one. The other road is as fast as `neon.rs`.
//!
//! Lost in the model: an item behind the other, 3.3 on A53 and 3.9 on A55; tiles of 4 x 3, 4.1 and 4.2 (limits.md 10).

use core::arch::aarch64::*;

use super::gather::NeonGather;
use super::lanes::NeonLanes;
use super::sixteen::{self, MR, NR, Road, STEP};
use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile, entries};
use crate::panel::{Elem, Panel};
use crate::proof::{Proof, pairs};

/// The microkernel.
pub struct NeonProven;

// SAFETY: as `Neon`, behind the head of the panel, which only chooses between two ways to multiply the same.
unsafe impl Microkernel for NeonProven {
    const BACKEND: &'static str = "neon";
    const NAME: &'static str = "arm-neon-smlal-4x4";
    const NEEDS: Features = Features::NEON;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = STEP;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::I8 };
    const RHS: Panel = Panel { width: NR, group: STEP, elem: Elem::I8 };
    const PROOF: Option<Proof> = Some(Proof::Pairs);
    type Lanes = NeonLanes;
    type Base = super::neon::Neon;
    type Gather = NeonGather;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe {
            let weights = Tile { rhs: tile.rhs.add(pairs::HEAD), ..tile };
            if *tile.rhs == pairs::PROVEN {
                sixteen::tile::<Smull<true>>(&weights)
            } else {
                sixteen::tile::<Smull<false>>(&weights)
            }
        }
    }

    entries!("neon");
}

/// `smull`, then `smlal2` and `sadalp`, or `sadalp`, `smull2` and `sadalp`.
struct Smull<const ADDS: bool>;

// SAFETY: arithmetic.
unsafe impl<const ADDS: bool> Road for Smull<ADDS> {
    const ADDS: bool = ADDS;

    #[inline(always)]
    unsafe fn first(upper: bool, l: uint8x16_t, r: uint8x16_t) -> int16x8_t {
        // SAFETY: Features.
        unsafe {
            let (l, r) = (vreinterpretq_s8_u8(l), vreinterpretq_s8_u8(r));
            if upper { vmull_high_s8(l, r) } else { vmull_s8(vget_low_s8(l), vget_low_s8(r)) }
        }
    }

    #[inline(always)]
    unsafe fn second(products: int16x8_t, l: uint8x16_t, r: uint8x16_t) -> int16x8_t {
        // SAFETY: Features.
        unsafe { vmlal_high_s8(products, vreinterpretq_s8_u8(l), vreinterpretq_s8_u8(r)) }
    }

    #[inline(always)]
    unsafe fn widen(sums: int32x4_t, products: int16x8_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vpadalq_s16(sums, products) }
    }
}

//! AVX-512 without VNNI: `vpmaddwd` over i16 on zmm registers, exact for all input.
//!
//! Instruction: `vpmaddwd` multiplies 32 pairs of i16 and adds neighbours into 16 int32, as in `avx2.rs`.
//! Registers: 28 accumulators (14 x 32), 2 rhs, 1 broadcast, 1 product.
//! ```text
//! one step (k, k+1) of row i           rhs panel: 32 columns of (k, k+1)
//!   vpbroadcastd  a = l[i][k..k+2]       00 10 | 01 11 | ... | 0f 1f     r0
//!   acc[i][0] += vpmaddwd(a, r0)         the same of columns 10..1f      r1
//!   acc[i][1] += vpmaddwd(a, r1)
//! ```
//! Share of the peak, Zen 4, 175 GOP/s: 64 cubed 87 %, 256 and 512 cubed 96 %, 1024 cubed 93 %. That CPU halves zmm
//! instructions and adds no multiplier, so AVX2 with 190 GOP/s is ahead of it there; Intel's has 31 products a cycle
//! against 22 (limits.md 3).
//!
//! Lost: 8 x 48, 56 % at K = 32 and 94 % at 512. 12 x 32 and 6 x 64 are equal within 2 %, but for int32 out at K = 32:
//! 82 and 84 % against 78 %, where u8 out is equal.
use core::arch::x86_64::*;

use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile};
use crate::panel::{Elem, Panel};
use crate::x86::avx2::Avx2Gather;
use crate::x86::dot::{Dot, dot_entries, multiply};
use crate::x86::zmm::ZmmLanes;

/// The microkernel.
pub struct Avx512;

const MR: usize = 14;
const NR: usize = 32;

// SAFETY: the loop of `dot` reads and writes what the contract states.
unsafe impl Microkernel for Avx512 {
    const BACKEND: &'static str = "avx512";
    const NAME: &'static str = "x86-avx512-vpmaddwd-14x32";
    const NEEDS: Features = Features::AVX512;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = 2;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::I16 };
    const RHS: Panel = Panel { width: NR, group: 2, elem: Elem::I16 };
    type Lanes = ZmmLanes<false>;
    type Base = Self;
    type Gather = Avx2Gather;

    dot_entries!("avx512f,avx512bw,avx512dq,avx512vl", MR, NR / 16);
}

// SAFETY: pairs of i16 are multiplied and added; the largest sum is far from wrapping.
unsafe impl Dot for Avx512 {
    const LONG: bool = false;

    #[inline(always)]
    unsafe fn dot(acc: __m512i, lhs: __m512i, rhs: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_add_epi32(acc, _mm512_madd_epi16(lhs, rhs)) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn lower<const R: usize>(tile: Tile) {
        // SAFETY: passed on.
        unsafe { multiply::<Self, R, { NR / 16 }>(tile) }
    }
}

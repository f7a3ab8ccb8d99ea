//! AVX-512 without VNNI: `vpmaddwd` over i16 on zmm registers, exact for all input.

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
    type Lanes = ZmmLanes;
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

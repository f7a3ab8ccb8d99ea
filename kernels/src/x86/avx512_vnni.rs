//! AVX-512 VNNI: `vpdpbusd` on zmm registers, u8 x i8 with a 32-bit sum, exact for all input.

use core::arch::x86_64::*;

use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile};
use crate::panel::{Elem, Panel};
use crate::x86::bytes::BytesGather;
use crate::x86::dot::{Dot, dot_entries, multiply};
use crate::x86::zmm::ZmmLanes;

/// The microkernel of `ROWS` rows and `V` vectors of 16 columns.
pub struct Avx512Vnni<const ROWS: usize, const V: usize>;

// SAFETY: the loop of `dot` reads and writes what the contract states.
unsafe impl<const ROWS: usize, const V: usize> Microkernel for Avx512Vnni<ROWS, V> {
    const BACKEND: &'static str = "avx512-vnni";
    const NAME: &'static str = match (ROWS, V) {
        (6, 4) => "x86-avx512-vnni-vpdpbusd-6x64",
        (14, 2) => "x86-avx512-vnni-vpdpbusd-14x32",
        _ => panic!("no such tile"),
    };
    const NEEDS: Features = Features::AVX512.with(Features::AVX512_VNNI);
    const MR: usize = ROWS;
    const NR: usize = 16 * V;
    const K_STEP: usize = 4;
    const LHS: Panel = Panel { width: ROWS, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: Self::NR, group: 4, elem: Elem::I8 };
    type Lanes = ZmmLanes;
    type Gather = BytesGather;

    dot_entries!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", ROWS, V);
}

// SAFETY: the products of u8 and i8 are added without saturation.
unsafe impl<const ROWS: usize, const V: usize> Dot for Avx512Vnni<ROWS, V> {
    const LONG: bool = true;

    #[inline(always)]
    unsafe fn dot(acc: __m512i, lhs: __m512i, rhs: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_dpbusd_epi32(acc, lhs, rhs) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn lower<const R: usize>(tile: Tile) {
        // SAFETY: passed on.
        unsafe { multiply::<Self, R, { V }>(tile) }
    }
}

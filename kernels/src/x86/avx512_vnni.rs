//! AVX-512 VNNI: `vpdpbusd` on zmm registers, u8 x i8 into int32, exact for all input.
//!
//! Instruction: each of 16 lanes adds four products of u8 and i8 to an int32; nothing saturates (`vpdpbusds` would).
//! Registers: 14 x 32 has 28 accumulators, 2 rhs, 2 broadcasts; 6 x 64 has 24, 4 and 4; 12 x 16, for few columns, has 12.
//! ```text
//! one step (k .. k+3) of row i, 14 x 32        rhs panel: 32 columns of (k .. k+3)
//!   vpbroadcastd  a = l[i][k..k+4]               00 10 20 30 | 01 11 21 31 | ... | 0f 1f 2f 3f    r0
//!   acc[i][0] = vpdpbusd(acc[i][0], a, r0)       the same of columns 10..1f                       r1
//!   acc[i][1] = vpdpbusd(acc[i][1], a, r1)
//! ```
//! Share of the peak, a loop of the instruction in registers, Zen 4, 473 GOP/s, 14 x 32 and 6 x 64: 64 cubed 72 and 72 %,
//! 256 cubed 94 and 94 %, 512 cubed 96 and 97 %, 12544 x 32 x 64 61 and 61 %. u8 out is 2-7 % faster with 14 x 32, whose
//! narrower panels also waste less of an odd N; 6 x 64 is ahead by 1-2 % with int32 out and by 6 % at M = 1.
//!
//! Lost: a last tile that makes rows again rather than a lower one, 3 to 45 % from 15 to 196 rows; addresses of rows in an array,
//! or in a vector that the compiler makes of them (`dot.rs` says how that is prevented), unless rows lie in windows; a finish that
//! reads clamp and zero point again for every vector, 5-10 % of u8.

use core::arch::x86_64::*;

use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile};
use crate::panel::{Elem, Panel};
use crate::x86::avx512::Avx512;
use crate::x86::bytes::BytesGather;
use crate::x86::dot::{Dot, dot_entries, multiply};
use crate::x86::zmm::ZmmLanes;

/// Columns of a panel, which both of the wider tiles read.
const WIDTH: usize = 32;

/// The microkernel of `ROWS` rows and `V` vectors of 16 columns.
pub struct Avx512Vnni<const ROWS: usize, const V: usize>;

// SAFETY: the loop of `dot` reads and writes what the contract states.
unsafe impl<const ROWS: usize, const V: usize> Microkernel for Avx512Vnni<ROWS, V> {
    const BACKEND: &'static str = "avx512-vnni";
    const NAME: &'static str = match (ROWS, V) {
        (6, 4) => "x86-avx512-vnni-vpdpbusd-6x64",
        (14, 2) => "x86-avx512-vnni-vpdpbusd-14x32",
        (12, 1) => "x86-avx512-vnni-vpdpbusd-12x16",
        _ => panic!("no such tile"),
    };
    const NEEDS: Features = Features::AVX512.with(Features::AVX512_VNNI);
    const MR: usize = ROWS;
    const NR: usize = 16 * V;
    const K_STEP: usize = 4;
    const FETCHES: bool = true;
    const LHS: Panel = Panel { width: ROWS, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: if V == 1 { 16 } else { WIDTH }, group: 4, elem: Elem::I8 };
    type Lanes = ZmmLanes<true>;
    type Base = Avx512;
    const QUADS: bool = ROWS == 14;
    type Gather = BytesGather<true>;

    dot_entries!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", ROWS, V);
}

// SAFETY: the products of u8 and i8 are added without saturation.
unsafe impl<const ROWS: usize, const V: usize> Dot for Avx512Vnni<ROWS, V> {
    const LONG: bool = true;
    const SPREADS: bool = true;

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

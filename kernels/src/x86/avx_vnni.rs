//! AVX-VNNI: `vpdpbusd` on ymm registers, u8 x i8 into int32, exact for all input.
//!
//! Instruction: each of 8 lanes adds four products of u8 and i8 to an int32; nothing saturates.
//! Registers: 12 accumulators (6 x 16), 2 rhs, 1 broadcast: the 16 that VEX encoding has.
//! ```text
//! one step (k .. k+3) of row i         rhs panel: 16 columns of (k .. k+3)
//!   vpbroadcastd  a = l[i][k..k+4]       00 10 20 30 | 01 11 21 31 | ... | 07 17 27 37    r0
//!   acc[i][0] = vpdpbusd(.., a, r0)      08 18 28 38 | 09 19 29 39 | ... | 0f 1f 2f 3f    r1
//!   acc[i][1] = vpdpbusd(.., a, r1)
//! ```
//! Share of the peak: 512 cubed 96 % on Emerald Rapids (343 of 358 GOP/s in one run), and 96 % with the EVEX twin on Zen 4 (of
//! 472), where 64 cubed had 72 %, 256 cubed 95 %, 2048 cubed 87 %. Loops have 85 instructions for 48 products and spill
//! nothing. At M = 1 each step of a turn has sums of its own: 1 x 1024 x 1001 71 to 140 GOP/s.
use core::arch::x86_64::*;

use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile};
use crate::panel::{Elem, Panel};
use crate::x86::avx2::Avx2;
use crate::x86::bytes::BytesGather;
use crate::x86::dot::{Dot, dot_entries, multiply};
use crate::x86::ymm::YmmLanes;

const MR: usize = 6;
const NR: usize = 16;

/// Writes a kernel of one encoding of the instruction.
macro_rules! kernel {
    ($kernel:ident, $backend:literal, $name:literal, $needs:expr, $features:literal, $lanes:ty, $dpbusd:ident) => {
        // SAFETY: the loop of `dot` reads and writes what the contract states.
        unsafe impl Microkernel for $kernel {
            const BACKEND: &'static str = $backend;
            const NAME: &'static str = $name;
            const NEEDS: Features = $needs;
            const MR: usize = MR;
            const NR: usize = NR;
            const K_STEP: usize = 4;
            const FETCHES: bool = true;
            const BESIDE: usize = 2;
            const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::U8 };
            const RHS: Panel = Panel { width: NR, group: 4, elem: Elem::I8 };
            type Lanes = $lanes;
            type Base = Avx2<2>;
            type Gather = BytesGather<false>;

            dot_entries!($features, MR, NR / 8);
        }

        // SAFETY: the products of u8 and i8 are added without saturation.
        unsafe impl Dot for $kernel {
            const LONG: bool = true;

            #[inline(always)]
            unsafe fn dot(acc: __m256i, lhs: __m256i, rhs: __m256i) -> __m256i {
                // SAFETY: Features.
                unsafe { $dpbusd(acc, lhs, rhs) }
            }

            #[target_feature(enable = $features)]
            unsafe fn lower<const R: usize>(tile: Tile) {
                // SAFETY: passed on.
                unsafe { multiply::<Self, R, { NR / 8 }>(tile) }
            }
        }
    };
}

/// The microkernel, in VEX encoding.
pub struct AvxVnni;
kernel!(
    AvxVnni,
    "avx-vnni",
    "x86-avx-vnni-vpdpbusd-6x16",
    Features::AVX2.with(Features::AVX_VNNI),
    "avx2,avxvnni",
    YmmLanes<true>,
    _mm256_dpbusd_avx_epi32
);

/// The same in EVEX encoding, for tests on CPUs that have no other: nor can their lanes have dots, which are VEX-encoded.
pub struct AvxVnniEvex;
kernel!(
    AvxVnniEvex,
    "twin",
    "x86-twin-avx-vnni-evex",
    Features::AVX2.with(Features::AVX512).with(Features::AVX512_VNNI),
    "avx2,avx512vl,avx512vnni",
    YmmLanes<false>,
    _mm256_dpbusd_epi32
);

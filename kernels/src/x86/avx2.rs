//! AVX2: `vpmaddwd` over i16, exact for all input.
//!
//! Instruction: `vpmaddwd` multiplies 16 pairs of i16 and adds neighbours into 8 int32; the largest sum,
//! 2 * 255 * 255, is far from wrapping. Registers: 12 accumulators (6 x 16), 2 rhs, 1 broadcast, 1 product.
//! ```text
//! one step (k, k+1) of row i           rhs panel: 16 columns of (k, k+1)
//!   vpbroadcastd  a = l[i][k..k+2]       00 10 | 01 11 | ... | 07 17     r0
//!   acc[i][0] += vpmaddwd(a, r0)         08 18 | 09 19 | ... | 0f 1f     r1
//!   acc[i][1] += vpmaddwd(a, r1)
//! ```
//! lhs is widened to i16 once a block, or once a line of an image whose windows are read in place; widening it here costs a
//! fifth of the speed (limits.md 5.1). Share of the peak, Zen 4, 190 GOP/s: 64 cubed 85 %, 256 and 512 cubed 95 %.
//!
//! rhs is i16 too, or i8 and widened here, an instruction more for 16 weights: a tenth slower from L1, but half the
//! bytes. Few rows that meet weights from L3 or memory are 1.3 to 2.4 times as fast over i8 (Zen 3: 4 x 4096 x 4096 80
//! GOP/s against 34, 16 rows 114 against 80, 49 rows equal).

use core::arch::x86_64::*;

use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile};
use crate::packing::{Form, Gather};
use crate::panel::{Elem, Panel};
use crate::x86::dot::{Dot, dot_entries, multiply};
use crate::x86::ymm::YmmLanes;

/// The microkernel, with rhs in elements of so many bytes.
pub struct Avx2<const RHS: usize>;

const MR: usize = 6;
const NR: usize = 16;

// SAFETY: the loop of `dot` reads and writes what the contract states.
unsafe impl<const RHS: usize> Microkernel for Avx2<RHS> {
    const BACKEND: &'static str = "avx2";
    const NAME: &'static str = if RHS == 1 { "x86-avx2-vpmaddwd-i8-6x16" } else { "x86-avx2-vpmaddwd-6x16" };
    const NEEDS: Features = Features::AVX2;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = 2;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::I16 };
    const RHS: Panel = Panel { width: NR, group: 2, elem: if RHS == 1 { Elem::I8 } else { Elem::I16 } };
    type Lanes = YmmLanes<false>;
    type Base = Avx2<2>;
    // Weights as i8 are for few rows that wait for them.
    const ONE_LOOP: bool = RHS == 1;
    type Gather = Avx2Gather;

    dot_entries!("avx2", MR, NR / 8);
}

// SAFETY: pairs of i16 are multiplied and added; the largest sum is far from wrapping.
unsafe impl<const RHS: usize> Dot for Avx2<RHS> {
    const LONG: bool = false;

    #[inline(always)]
    unsafe fn rhs(p: *const u8) -> __m256i {
        // SAFETY: Features; 16 elements.
        unsafe {
            if RHS == 1 { _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast())) } else { _mm256_loadu_si256(p.cast()) }
        }
    }

    #[inline(always)]
    unsafe fn dot(acc: __m256i, lhs: __m256i, rhs: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(lhs, rhs)) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn lower<const R: usize>(tile: Tile) {
        // SAFETY: passed on.
        unsafe { multiply::<Self, R, { NR / 8 }>(tile) }
    }
}

/// Vectors of eight groups of two i16.
pub struct Avx2Gather;

/// Sixteen codes as i16.
#[inline(always)]
unsafe fn widen(codes: __m128i, form: Form) -> __m256i {
    // SAFETY: Features.
    unsafe { if form.signed { _mm256_cvtepi8_epi16(codes) } else { _mm256_cvtepu8_epi16(codes) } }
}

// SAFETY: the operations read and write what the trait states: 16 codes, two times 8 codes, 32 bytes, 8 sums.
unsafe impl Gather for Avx2Gather {
    const N: usize = 8;
    type V = __m256i;
    // SAFETY: all bit patterns are valid.
    const ZERO: __m256i = unsafe { core::mem::transmute([0u8; 32]) };

    #[inline(always)]
    unsafe fn along_k(codes: *const u8, form: Form) -> __m256i {
        // SAFETY: Features; 16 contiguous codes.
        unsafe { widen(_mm_loadu_si128(codes.cast()), form) }
    }

    #[inline(always)]
    unsafe fn along_members(codes: *const u8, k_stride: usize, form: Form) -> __m256i {
        // SAFETY: Features; twice 8 contiguous codes.
        unsafe {
            let even = _mm_loadl_epi64(codes.cast());
            let odd = _mm_loadl_epi64(codes.add(k_stride).cast());
            widen(_mm_unpacklo_epi8(even, odd), form)
        }
    }

    #[inline(always)]
    unsafe fn transpose(v: &mut [__m256i; 8]) {
        // SAFETY: Features. Three rounds: dwords, pairs of dwords, halves.
        unsafe {
            let [a, b, c, d, e, f, g, h] = *v;
            let (ab, ab1) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd, cd1) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            let (ef, ef1) = (_mm256_unpacklo_epi32(e, f), _mm256_unpackhi_epi32(e, f));
            let (gh, gh1) = (_mm256_unpacklo_epi32(g, h), _mm256_unpackhi_epi32(g, h));
            let top = [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab1, cd1),
                _mm256_unpackhi_epi64(ab1, cd1),
            ];
            let bottom = [
                _mm256_unpacklo_epi64(ef, gh),
                _mm256_unpackhi_epi64(ef, gh),
                _mm256_unpacklo_epi64(ef1, gh1),
                _mm256_unpackhi_epi64(ef1, gh1),
            ];
            for i in 0..4 {
                v[i] = _mm256_permute2x128_si256::<0x20>(top[i], bottom[i]);
                v[i + 4] = _mm256_permute2x128_si256::<0x31>(top[i], bottom[i]);
            }
        }
    }

    #[inline(always)]
    unsafe fn copy(codes: *const u8, out: *mut u8, count: usize, form: Form) -> i32 {
        // SAFETY: Features; `count` codes and twice as many bytes.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut sums = _mm256_setzero_si256();
            let mut i = 0;
            while count - i >= 16 {
                let v = widen(_mm_loadu_si128(codes.add(i).cast()), form);
                _mm256_storeu_si256(out.add(2 * i).cast(), v);
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(v, ones));
                i += 16;
            }
            // Halves and quarters of a vector; what is beyond them is zero.
            if count & 8 != 0 {
                let v = widen(_mm_loadl_epi64(codes.add(i).cast()), form);
                _mm_storeu_si128(out.add(2 * i).cast(), _mm256_castsi256_si128(v));
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(v, ones));
                i += 8;
            }
            if count & 4 != 0 {
                let v = widen(_mm_cvtsi32_si128(codes.add(i).cast::<i32>().read_unaligned()), form);
                _mm_storel_epi64(out.add(2 * i).cast(), _mm256_castsi256_si128(v));
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(v, ones));
            }
            let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
        }
    }

    #[inline(always)]
    unsafe fn sum(codes: *const u8, count: usize, signed: bool) -> i32 {
        // SAFETY: Features; `count` codes. i8 codes are summed with their sign bit flipped, which adds 128 to each.
        unsafe {
            let flip = _mm256_set1_epi8(if signed { i8::MIN } else { 0 });
            let mut sums = _mm256_setzero_si256();
            let mut i = 0;
            while count - i >= 32 {
                let v = _mm256_xor_si256(_mm256_loadu_si256(codes.add(i).cast()), flip);
                sums = _mm256_add_epi64(sums, _mm256_sad_epu8(v, _mm256_setzero_si256()));
                i += 32;
            }
            let two = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let sum = _mm_cvtsi128_si32(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
            if signed { sum.wrapping_sub((count as i32) << 7) } else { sum }
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        // SAFETY: Features; 32 bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(out: *mut u8, v: __m256i) {
        // SAFETY: Features; 32 bytes.
        unsafe { _mm256_storeu_si256(out.cast(), v) }
    }

    #[inline(always)]
    unsafe fn store_columns(out: *mut u8, col_stride: usize, v: __m256i) {
        // SAFETY: Features; four times 8 bytes. Four rows of a column together in each half, then the halves.
        unsafe {
            let fours = _mm256_setr_epi32(
                0x0c08_0400,
                0x0d09_0501,
                0x0e0a_0602,
                0x0f0b_0703,
                0x0c08_0400,
                0x0d09_0501,
                0x0e0a_0602,
                0x0f0b_0703,
            );
            let columns = _mm256_shuffle_epi8(v, fours);
            let columns = _mm256_permutevar8x32_epi32(columns, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            let (low, high) = (_mm256_castsi256_si128(columns), _mm256_extracti128_si256::<1>(columns));
            _mm_storel_epi64(out.cast(), low);
            _mm_storeh_pd(out.add(col_stride).cast(), _mm_castsi128_pd(low));
            _mm_storel_epi64(out.add(2 * col_stride).cast(), high);
            _mm_storeh_pd(out.add(3 * col_stride).cast(), _mm_castsi128_pd(high));
        }
    }

    #[inline(always)]
    unsafe fn add_sums(sums: *mut i32, v: &[__m256i; 8], _: Elem) {
        // SAFETY: Features; 8 sums. Eight codes of 16 bits cannot wrap i16 lanes: 8 * 255 < 2^15.
        unsafe {
            let mut pairs = v[0];
            for v in &v[1..] {
                pairs = _mm256_add_epi16(pairs, *v);
            }
            let gain = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            _mm256_storeu_si256(sums.cast(), _mm256_add_epi32(_mm256_loadu_si256(sums.cast()), gain));
        }
    }
}

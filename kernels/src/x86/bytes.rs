//! Vectors of bytes for the packer, of AVX2 instructions: panels of `vpdpbusd`.

use core::arch::x86_64::*;

use crate::packing::{self, Form, Gather, PackRun, Source};
use crate::panel::Elem;
use crate::x86::avx2::Avx2Gather;

/// Vectors of eight groups of four bytes; if `WIDE`, rows are summed by AVX-512 VNNI.
pub struct BytesGather<const WIDE: bool>;

/// The sign bits of eight bytes, or nothing: what exclusive or flips them with.
#[inline(always)]
const fn sign_bits(flip: bool) -> i64 {
    if flip { i64::from_ne_bytes([0x80; 8]) } else { 0 }
}

// SAFETY: the operations read and write what the trait states: 32 codes, four times 8 codes, 32 bytes, 8 sums.
unsafe impl<const WIDE: bool> Gather for BytesGather<WIDE> {
    const N: usize = 8;
    type V = __m256i;
    const ZERO: __m256i = Avx2Gather::ZERO;

    #[inline(always)]
    unsafe fn along_k(codes: *const u8, form: Form) -> __m256i {
        // SAFETY: Features; 32 contiguous codes.
        unsafe { _mm256_xor_si256(_mm256_loadu_si256(codes.cast()), _mm256_set1_epi64x(sign_bits(form.flips()))) }
    }

    #[inline(always)]
    unsafe fn along_members(codes: *const u8, k_stride: usize, form: Form) -> __m256i {
        // SAFETY: Features; four times 8 contiguous codes.
        unsafe {
            let first = _mm_loadl_epi64(codes.cast());
            let second = _mm_loadl_epi64(codes.add(k_stride).cast());
            let third = _mm_loadl_epi64(codes.add(2 * k_stride).cast());
            let fourth = _mm_loadl_epi64(codes.add(3 * k_stride).cast());
            let (low, high) = (_mm_unpacklo_epi8(first, second), _mm_unpacklo_epi8(third, fourth));
            let groups = _mm256_set_m128i(_mm_unpackhi_epi16(low, high), _mm_unpacklo_epi16(low, high));
            _mm256_xor_si256(groups, _mm256_set1_epi64x(sign_bits(form.flips())))
        }
    }

    #[inline(always)]
    unsafe fn transpose(v: &mut [__m256i; 8]) {
        // SAFETY: Features.
        unsafe { Avx2Gather::transpose(v) }
    }

    #[inline(always)]
    unsafe fn copy(codes: *const u8, out: *mut u8, count: usize, form: Form) -> i32 {
        // SAFETY: Features; `count` codes and as many bytes.
        unsafe {
            // Bytes are summed as u8, which i8 become when their sign bits are flipped.
            let signed = form.elem == Elem::I8;
            let (flip, raise) = (sign_bits(form.flips()), sign_bits(signed));
            let mut sums = _mm256_setzero_si256();
            let mut i = 0;
            while count - i >= 32 {
                let v = _mm256_xor_si256(_mm256_loadu_si256(codes.add(i).cast()), _mm256_set1_epi64x(flip));
                _mm256_storeu_si256(out.add(i).cast(), v);
                let v = _mm256_xor_si256(v, _mm256_set1_epi64x(raise));
                sums = _mm256_add_epi64(sums, _mm256_sad_epu8(v, _mm256_setzero_si256()));
                i += 32;
            }
            let mut sums = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            if count & 16 != 0 {
                let v = _mm_xor_si128(_mm_loadu_si128(codes.add(i).cast()), _mm_set1_epi64x(flip));
                _mm_storeu_si128(out.add(i).cast(), v);
                let v = _mm_xor_si128(v, _mm_set1_epi64x(raise));
                sums = _mm_add_epi64(sums, _mm_sad_epu8(v, _mm_setzero_si128()));
                i += 16;
            }
            if count & 8 != 0 {
                let v = codes.add(i).cast::<i64>().read_unaligned() ^ flip;
                out.add(i).cast::<i64>().write_unaligned(v);
                sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_cvtsi64_si128(v ^ raise), _mm_setzero_si128()));
                i += 8;
            }
            if count & 4 != 0 {
                let v = codes.add(i).cast::<i32>().read_unaligned() ^ flip as i32;
                out.add(i).cast::<i32>().write_unaligned(v);
                sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_cvtsi32_si128(v ^ raise as i32), _mm_setzero_si128()));
            }
            let sum = _mm_cvtsi128_si32(_mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums)));
            if signed { sum.wrapping_sub((count as i32) << 7) } else { sum }
        }
    }

    #[inline(always)]
    unsafe fn sum(codes: *const u8, count: usize, signed: bool) -> i32 {
        // SAFETY: Features; `count` codes.
        unsafe { Avx2Gather::sum(codes, count, signed) }
    }

    #[inline(always)]
    unsafe fn sums(run: &PackRun) {
        // SAFETY: passed on.
        unsafe { if WIDE { wide_sums(run) } else { packing::sums::<Self>(run) } }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        // SAFETY: Features; 32 bytes.
        unsafe { Avx2Gather::load(from) }
    }

    #[inline(always)]
    unsafe fn store(out: *mut u8, v: __m256i) {
        // SAFETY: Features; 32 bytes.
        unsafe { Avx2Gather::store(out, v) }
    }

    #[inline(always)]
    unsafe fn store_columns(out: *mut u8, col_stride: usize, v: __m256i) {
        // SAFETY: Features; four times 8 bytes.
        unsafe { Avx2Gather::store_columns(out, col_stride, v) }
    }

    #[inline(always)]
    unsafe fn add_sums(sums: *mut i32, v: &[__m256i; 8], elem: Elem) {
        // SAFETY: Features; 8 sums. Sixteen codes of 8 bits cannot wrap i16 lanes.
        unsafe {
            let (bytes, words) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
            let mut pairs = _mm256_setzero_si256();
            for v in v {
                // The first operand is unsigned, the second signed.
                let (a, b) = if elem == Elem::U8 { (*v, bytes) } else { (bytes, *v) };
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(a, b));
            }
            let gain = _mm256_madd_epi16(pairs, words);
            _mm256_storeu_si256(sums.cast(), _mm256_add_epi32(_mm256_loadu_si256(sums.cast()), gain));
        }
    }
}

/// Sums contiguous codes of rows, four rows at a time: `vpdpbusd` with ones, then the lanes of each row are added up. A
/// function of its own, so that it leaves the registers of tile loops alone.
///
/// # Safety
/// Features: these. The clauses of [`crate::packing::pack`]; `sums` is not null.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn wide_sums(run: &PackRun) {
    // SAFETY: our caller's.
    unsafe { if run.source.signed { wide_sums_of::<true>(run) } else { wide_sums_of::<false>(run) } }
}

#[inline(always)]
unsafe fn wide_sums_of<const SIGNED: bool>(run: &PackRun) {
    let PackRun { source: Source { codes: mut row, member_stride: step, .. }, mut sums, k, .. } = *run;
    let mut left = run.members;
    // SAFETY: our caller's.
    unsafe {
        let (factor, constant) = (_mm_set1_epi32(run.factor), _mm_set1_epi32(run.constant));
        while left >= 4 {
            let rows = [row, row.wrapping_add(step), row.wrapping_add(2 * step), row.wrapping_add(3 * step)];
            let four = _mm_mullo_epi32(four_sums::<SIGNED>(rows, k), factor);
            _mm_storeu_si128(sums.cast(), _mm_add_epi32(four, constant));
            (row, sums, left) = (row.wrapping_add(4 * step), sums.wrapping_add(4), left - 4);
        }
        while left > 0 {
            let sum = _mm_cvtsi128_si32(four_sums::<SIGNED>([row; 4], k));
            *sums = run.constant.wrapping_add(run.factor.wrapping_mul(sum));
            (row, sums, left) = (row.wrapping_add(step), sums.wrapping_add(1), left - 1);
        }
    }
}

/// The sums of `k` codes of four rows.
#[inline(always)]
unsafe fn four_sums<const SIGNED: bool>(rows: [*const u8; 4], k: usize) -> __m128i {
    // SAFETY: Features; so many codes of each row.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); 4];
        let mut at = 0;
        while k - at >= 64 {
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = add_codes::<SIGNED>(*sum, _mm512_loadu_si512(row.wrapping_add(at).cast()));
            }
            at += 64;
        }
        if at < k {
            let valid = u64::MAX >> (64 - (k - at));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = add_codes::<SIGNED>(*sum, _mm512_maskz_loadu_epi8(valid, row.wrapping_add(at).cast()));
            }
        }
        let (a, b) = (pairs(sums[0], sums[1]), pairs(sums[2], sums[3]));
        let quarters = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        let halves = _mm256_add_epi32(_mm512_castsi512_si256(quarters), _mm512_extracti64x4_epi64::<1>(quarters));
        _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    }
}

/// Adds to each lane of `sum` its four codes. Of the instruction, the first operand is unsigned, the second signed.
#[inline(always)]
unsafe fn add_codes<const SIGNED: bool>(sum: __m512i, codes: __m512i) -> __m512i {
    // SAFETY: Features.
    unsafe {
        let ones = _mm512_set1_epi8(1);
        if SIGNED { _mm512_dpbusd_epi32(sum, ones, codes) } else { _mm512_dpbusd_epi32(sum, codes, ones) }
    }
}

#[inline(always)]
unsafe fn pairs(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: Features.
    unsafe { _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)) }
}

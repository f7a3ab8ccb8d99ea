//! The packer's vectors for AVX2 kernels that read lhs as u8.

use core::arch::x86_64::*;

use super::avx2::Avx2Gather;
use crate::packing::Gather;

/// Vectors of eight groups of four u8.
pub struct Avx2Bytes;

/// What makes a u8 of every code.
#[inline(always)]
unsafe fn flip(signed: bool) -> __m256i {
    // SAFETY: Features.
    unsafe { _mm256_set1_epi8(if signed { i8::MIN } else { 0 }) }
}

// SAFETY: the operations read and write what the trait states: 32 codes, four times 8 codes, 32 bytes, 8 sums.
unsafe impl Gather for Avx2Bytes {
    const N: usize = 8;
    type V = __m256i;
    const ZERO: __m256i = Avx2Gather::ZERO;

    #[inline(always)]
    unsafe fn along_k(codes: *const u8, signed: bool) -> __m256i {
        // SAFETY: Features; 32 contiguous codes.
        unsafe { _mm256_xor_si256(_mm256_loadu_si256(codes.cast()), flip(signed)) }
    }

    #[inline(always)]
    unsafe fn along_members(codes: *const u8, k_stride: usize, signed: bool) -> __m256i {
        // SAFETY: Features; four times 8 contiguous codes.
        unsafe {
            let mut rows = [_mm_setzero_si128(); 4];
            for (k, row) in rows.iter_mut().enumerate() {
                *row = _mm_loadl_epi64(codes.add(k * k_stride).cast());
            }
            let (low, high) = (_mm_unpacklo_epi8(rows[0], rows[1]), _mm_unpacklo_epi8(rows[2], rows[3]));
            let (first, last) = (_mm_unpacklo_epi16(low, high), _mm_unpackhi_epi16(low, high));
            _mm256_xor_si256(_mm256_set_m128i(last, first), flip(signed))
        }
    }

    #[inline(always)]
    unsafe fn transpose(v: &mut [__m256i; 8]) {
        // SAFETY: Features.
        unsafe { Avx2Gather::transpose(v) }
    }

    #[inline(always)]
    unsafe fn copy(codes: *const u8, out: *mut u8, count: usize, signed: bool) -> i32 {
        // SAFETY: Features; `count` codes and as many bytes.
        unsafe {
            let zero = _mm256_setzero_si256();
            let mut sums = zero;
            let mut i = 0;
            while count - i >= 32 {
                let v = Self::along_k(codes.add(i), signed);
                _mm256_storeu_si256(out.add(i).cast(), v);
                sums = _mm256_add_epi32(sums, _mm256_sad_epu8(v, zero));
                i += 32;
            }
            // Groups of four; what is beyond them is zero.
            while i < count {
                let four = _mm_cvtsi32_si128(codes.add(i).cast::<i32>().read_unaligned());
                let four = _mm_xor_si128(four, _mm_cvtsi32_si128(if signed { 0x8080_8080_u32 as i32 } else { 0 }));
                out.add(i).cast::<i32>().write_unaligned(_mm_cvtsi128_si32(four));
                sums = _mm256_add_epi32(sums, _mm256_zextsi128_si256(_mm_sad_epu8(four, _mm_setzero_si128())));
                i += 4;
            }
            let two = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_unpackhi_epi64(two, two)))
        }
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
    unsafe fn add_sums(sums: *mut i32, v: &[__m256i; 8]) {
        // SAFETY: Features; 8 sums. Sixteen codes cannot wrap i16 lanes: 16 * 255 < 2^15.
        unsafe {
            let low = _mm256_set1_epi16(0xff);
            let mut pairs = _mm256_setzero_si256();
            for v in v {
                let both = _mm256_add_epi16(_mm256_and_si256(*v, low), _mm256_srli_epi16::<8>(*v));
                pairs = _mm256_add_epi16(pairs, both);
            }
            let gain = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            _mm256_storeu_si256(sums.cast(), _mm256_add_epi32(_mm256_loadu_si256(sums.cast()), gain));
        }
    }
}

//! Eight lanes: the epilogue of every AVX2 kernel.

use core::arch::x86_64::*;

use crate::lanes::{ByteClamp, Lanes};

/// Eight lanes; `VNNI`: the CPU has AVX-VNNI.
pub struct YmmLanes<const VNNI: bool>;

// SAFETY: loads and stores touch eight elements at the pointer; everything else is arithmetic.
unsafe impl<const VNNI: bool> Lanes for YmmLanes<VNNI> {
    const N: usize = 8;
    type I = __m256i;
    type F = __m256;

    #[inline(always)]
    unsafe fn load(p: *const i32) -> __m256i {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut i32, x: __m256i) {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_storeu_si256(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn stream(p: *mut i32, x: __m256i) {
        // SAFETY: Features, Pointers; aligned, says our caller.
        unsafe { if VNNI { _mm256_stream_si256(p.cast(), x) } else { Self::store(p, x) } }
    }

    #[inline(always)]
    unsafe fn fence() {
        // SAFETY: Features.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn splat(x: i32) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_add_epi32(a, b) }
    }

    type Pairs = __m256i;

    #[inline(always)]
    unsafe fn code_pairs(a: *const u8, b: *const u8) -> __m256i {
        // SAFETY: Features, Pointers.
        unsafe {
            let pairs = _mm_unpacklo_epi8(_mm_loadl_epi64(a.cast()), _mm_loadl_epi64(b.cast()));
            _mm256_cvtepu8_epi16(pairs)
        }
    }

    #[inline(always)]
    unsafe fn opaque(x: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { opaque(x) }
    }

    #[inline(always)]
    unsafe fn woven(p: *const u8) -> __m256i {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(p.cast())) }
    }

    const DOTS: bool = VNNI;

    #[inline(always)]
    unsafe fn quad(runs: [*const u8; 4]) -> __m256i {
        // SAFETY: Features, Pointers.
        unsafe {
            let [a, b, c, d] = runs.map(|p| _mm_loadl_epi64(p.cast()));
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd))
        }
    }

    #[inline(always)]
    unsafe fn quads(runs: [*const u8; 4]) -> [__m256i; 4] {
        // SAFETY: Features, Pointers. Halves unpack by themselves: each begins with the codes that it ends with.
        unsafe {
            let order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
            let [a, b, c, d] = runs.map(|p| _mm256_permutevar8x32_epi32(_mm256_loadu_si256(p.cast()), order));
            let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
            let (high_ab, high_cd) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
            [
                _mm256_unpacklo_epi16(ab, cd),
                _mm256_unpackhi_epi16(ab, cd),
                _mm256_unpacklo_epi16(high_ab, high_cd),
                _mm256_unpackhi_epi16(high_ab, high_cd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add_dots(acc: __m256i, codes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { if VNNI { _mm256_dpbusd_avx_epi32(acc, codes, weights) } else { acc } }
    }

    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> __m256i {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())) }
    }

    #[inline(always)]
    unsafe fn code_singles(a: *const u8) -> __m256i {
        // SAFETY: passed on.
        unsafe { Self::load_codes(a) }
    }

    #[inline(always)]
    unsafe fn load_pairs(p: *const i16) -> __m256i {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }

    #[inline(always)]
    unsafe fn xor_pairs(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: passed on.
        unsafe { Self::xor(a, b) }
    }

    #[inline(always)]
    unsafe fn add_products(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_mullo_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_hi(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        // SAFETY: Features. Even lanes as they are, odd lanes moved down, each as a 64-bit product.
        unsafe {
            let low = _mm256_set1_epi64x(0xffff_ffff);
            let even = _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_and_si256(c, low));
            let (a, b) = (_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
            let odd = _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_srli_epi64::<32>(c));
            _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd)
        }
    }

    #[inline(always)]
    unsafe fn min(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_min_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_max_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn xor(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn eq(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_cmpeq_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn gt(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_cmpgt_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn shl(x: __m256i, by: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_sllv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn shr(x: __m256i, by: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_srlv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn sar(x: __m256i, by: __m256i) -> __m256i {
        // SAFETY: Features.
        unsafe { _mm256_srav_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn fetch(p: *const f32) {
        // SAFETY: Features; a hint, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    const STREAMS: bool = true;

    #[inline(always)]
    unsafe fn stream_f(p: *mut f32, x: __m256) {
        // SAFETY: Features, Pointers; aligned, says our caller.
        unsafe { _mm256_stream_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn load_f(p: *const f32) -> __m256 {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store_f(p: *mut f32, x: __m256) {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn splat_f(x: f32) -> __m256 {
        // SAFETY: Features.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn to_f(x: __m256i) -> __m256 {
        // SAFETY: Features.
        unsafe { _mm256_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn to_i(x: __m256) -> __m256i {
        // SAFETY: Features. The default rounding mode is to nearest even.
        unsafe { _mm256_cvtps_epi32(x) }
    }

    #[inline(always)]
    unsafe fn mul_f(a: __m256, b: __m256) -> __m256 {
        // SAFETY: Features.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add_f(a: __m256, b: __m256) -> __m256 {
        // SAFETY: Features.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min_f(a: __m256, b: __m256) -> __m256 {
        // SAFETY: Features. The instruction returns `b` if either is NaN.
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max_f(a: __m256, b: __m256) -> __m256 {
        // SAFETY: Features. The instruction returns `b` if either is NaN.
        unsafe { _mm256_max_ps(a, b) }
    }

    const QUADS: bool = true;

    #[inline(always)]
    unsafe fn store_codes(p: *mut u8, step: usize, rows: usize, x: [__m256i; 4], clamp: &ByteClamp<__m256i>) {
        // SAFETY: Features, Pointers. Packing works in halves: each has four bytes of every vector.
        unsafe {
            let low = _mm256_adds_epi16(_mm256_packs_epi32(x[0], x[1]), clamp.zero_point);
            let high = _mm256_adds_epi16(_mm256_packs_epi32(x[2], x[3]), clamp.zero_point);
            let bytes = _mm256_min_epu8(_mm256_max_epu8(_mm256_packus_epi16(low, high), clamp.low), clamp.high);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(_mm256_xor_si256(bytes, clamp.flip), order);
            let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            match rows {
                1 => _mm256_storeu_si256(p.cast(), bytes),
                2 => {
                    _mm_storeu_si128(p.cast(), low);
                    _mm_storeu_si128(p.add(step).cast(), high);
                }
                _ => {
                    _mm_storel_epi64(p.cast(), low);
                    _mm_storeh_pd(p.add(step).cast(), _mm_castsi128_pd(low));
                    _mm_storel_epi64(p.add(2 * step).cast(), high);
                    _mm_storeh_pd(p.add(3 * step).cast(), _mm_castsi128_pd(high));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store_8(p: *mut u8, x: __m256i) {
        // SAFETY: Features, Pointers. Bytes 0, 4, 8, 12 of each half to its front.
        unsafe {
            let front = _mm256_set1_epi32(0x0c08_0400);
            let bytes = _mm256_shuffle_epi8(x, front);
            let halves = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            _mm_storel_epi64(p.cast(), halves);
        }
    }

    #[inline(always)]
    unsafe fn store_16(p: *mut i16, x: __m256i) {
        // SAFETY: Features, Pointers. Low halves of the lanes of each half to its front, then together.
        unsafe {
            let front = _mm256_set1_epi64x(0x0d0c_0908_0504_0100);
            let words = _mm256_shuffle_epi8(x, front);
            let together = _mm256_permute4x64_epi64::<0b1000>(words);
            _mm_storeu_si128(p.cast(), _mm256_castsi256_si128(together));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn opaque(mut x: __m256i) -> __m256i {
    // SAFETY: a comment.
    unsafe { core::arch::asm!("/* {0} */", inout(ymm_reg) x, options(pure, nomem, nostack, preserves_flags)) }
    x
}

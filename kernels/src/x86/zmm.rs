//! Sixteen lanes: the epilogue of every AVX-512 kernel.

use core::arch::x86_64::*;

use crate::lanes::{ByteClamp, Factor, Lanes, Narrows, Rule};
use crate::rounding::Rounding;

/// Sixteen lanes; `VNNI`: the CPU has AVX-512 VNNI.
pub struct ZmmLanes<const VNNI: bool>;

// SAFETY: loads and stores touch sixteen elements at the pointer; everything else is arithmetic.
unsafe impl<const VNNI: bool> Lanes for ZmmLanes<VNNI> {
    const N: usize = 16;
    type I = __m512i;
    type F = __m512;

    #[inline(always)]
    unsafe fn mul_hi(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: Features. Even lanes as they are, odd lanes moved down, each as a 64-bit product.
        unsafe {
            let low = _mm512_set1_epi64(0xffff_ffff);
            let even = _mm512_add_epi64(_mm512_mul_epu32(a, b), _mm512_and_si512(c, low));
            let (a, b) = (_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
            let odd = _mm512_add_epi64(_mm512_mul_epu32(a, b), _mm512_srli_epi64::<32>(c));
            merge(even, odd)
        }
    }

    type Pairs = __m512i;

    #[inline(always)]
    unsafe fn code_pairs(a: *const u8, b: *const u8) -> __m512i {
        // SAFETY: Features, Pointers.
        unsafe {
            let (a, b) = (_mm_loadu_si128(a.cast()), _mm_loadu_si128(b.cast()));
            let pairs = _mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b));
            _mm512_cvtepu8_epi16(pairs)
        }
    }

    #[inline(always)]
    unsafe fn opaque(x: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { opaque(x) }
    }

    #[inline(always)]
    unsafe fn woven(p: *const u8) -> __m512i {
        // SAFETY: Features, Pointers.
        unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> __m512i {
        // SAFETY: Features, Pointers.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())) }
    }

    #[inline(always)]
    unsafe fn code_singles(a: *const u8) -> __m512i {
        // SAFETY: passed on.
        unsafe { Self::load_codes(a) }
    }

    #[inline(always)]
    unsafe fn load_pairs(p: *const i16) -> __m512i {
        // SAFETY: Features, Pointers.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn xor_pairs(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: passed on.
        unsafe { Self::xor(a, b) }
    }

    #[inline(always)]
    unsafe fn add_products(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)) }
    }

    const DOTS: bool = VNNI;

    #[inline(always)]
    unsafe fn quad(runs: [*const u8; 4]) -> __m512i {
        // SAFETY: Features, Pointers. Each quarter gets four codes of each run, then turns them.
        unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let turn = _mm512_set4_epi32(0x0f0b_0703, 0x0e0a_0602, 0x0d09_0501, 0x0c08_0400);
            let [a, b, c, d] = runs.map(|p| _mm_loadu_si128(p.cast()));
            let halves = [[a, b], [c, d]].map(|[a, b]| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b));
            let all = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(halves[0]), halves[1]);
            _mm512_shuffle_epi8(_mm512_permutexvar_epi32(order, all), turn)
        }
    }

    #[inline(always)]
    unsafe fn quads(runs: [*const u8; 4]) -> [__m512i; 4] {
        // SAFETY: Features, Pointers. Quarters unpack by themselves: each begins with the codes that it ends with.
        unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let [a, b, c, d] = runs.map(|p| _mm512_permutexvar_epi32(order, _mm512_loadu_si512(p.cast())));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (high_ab, high_cd) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(high_ab, high_cd),
                _mm512_unpackhi_epi16(high_ab, high_cd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add_dots(acc: __m512i, codes: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { if VNNI { _mm512_dpbusd_epi32(acc, codes, weights) } else { acc } }
    }

    #[inline(always)]
    unsafe fn eq(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_movm_epi32(_mm512_cmpeq_epi32_mask(a, b)) }
    }

    #[inline(always)]
    unsafe fn gt(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(a, b)) }
    }

    const QUADS: bool = true;

    #[inline(always)]
    unsafe fn store_codes(p: *mut u8, step: usize, rows: usize, x: [__m512i; 4], clamp: &ByteClamp<__m512i>) {
        // SAFETY: Features, Pointers. Packing works in quarters: each has four bytes of every vector.
        unsafe {
            let (low, high) = (_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3]));
            let mut bytes = if clamp.narrows == Narrows::ToZero {
                _mm512_adds_epu8(_mm512_packus_epi16(low, high), clamp.low)
            } else {
                let [low, high] = [low, high].map(|x| _mm512_adds_epi16(x, clamp.zero_point));
                _mm512_packus_epi16(low, high)
            };
            if clamp.narrows == Narrows::More {
                bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, clamp.low), clamp.high);
            }
            if clamp.flips {
                bytes = _mm512_xor_si512(bytes, clamp.flip);
            }
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let bytes = _mm512_permutexvar_epi32(order, bytes);
            match rows {
                1 => _mm512_storeu_si512(p.cast(), bytes),
                2 => {
                    _mm256_storeu_si256(p.cast(), _mm512_castsi512_si256(bytes));
                    _mm256_storeu_si256(p.add(step).cast(), _mm512_extracti64x4_epi64::<1>(bytes));
                }
                _ => {
                    _mm_storeu_si128(p.cast(), _mm512_castsi512_si128(bytes));
                    _mm_storeu_si128(p.add(step).cast(), _mm512_extracti32x4_epi32::<1>(bytes));
                    _mm_storeu_si128(p.add(2 * step).cast(), _mm512_extracti32x4_epi32::<2>(bytes));
                    _mm_storeu_si128(p.add(3 * step).cast(), _mm512_extracti32x4_epi32::<3>(bytes));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store_8(p: *mut u8, x: __m512i) {
        // SAFETY: Features, Pointers.
        unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(x)) }
    }

    #[inline(always)]
    unsafe fn store_16(p: *mut i16, x: __m512i) {
        // SAFETY: Features, Pointers.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(x)) }
    }

    #[inline(always)]
    unsafe fn load(p: *const i32) -> __m512i {
        // SAFETY: Features, Pointers.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut i32, x: __m512i) {
        // SAFETY: Features, Pointers.
        unsafe { _mm512_storeu_si512(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn stream(p: *mut i32, x: __m512i) {
        // SAFETY: Features, Pointers; aligned, says our caller.
        unsafe { _mm512_stream_si512(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn fence() {
        // SAFETY: Features.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn splat(x: i32) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_min_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_max_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn xor(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn shl(x: __m512i, by: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_sllv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn shr(x: __m512i, by: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_srlv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn sar(x: __m512i, by: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe { _mm512_srav_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn fetch(p: *const f32) {
        // SAFETY: Features; a hint, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    const STREAMS: bool = true;

    #[inline(always)]
    unsafe fn stream_f(p: *mut f32, x: __m512) {
        // SAFETY: Features, Pointers; aligned, says our caller.
        unsafe { _mm512_stream_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn load_f(p: *const f32) -> __m512 {
        // SAFETY: Features, Pointers.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store_f(p: *mut f32, x: __m512) {
        // SAFETY: Features, Pointers.
        unsafe { _mm512_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn splat_f(x: f32) -> __m512 {
        // SAFETY: Features.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn to_f(x: __m512i) -> __m512 {
        // SAFETY: Features.
        unsafe { _mm512_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn to_i(x: __m512) -> __m512i {
        // SAFETY: Features. The default rounding mode is to nearest even.
        unsafe { _mm512_cvtps_epi32(x) }
    }

    #[inline(always)]
    unsafe fn mul_f(a: __m512, b: __m512) -> __m512 {
        // SAFETY: Features.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add_f(a: __m512, b: __m512) -> __m512 {
        // SAFETY: Features.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min_f(a: __m512, b: __m512) -> __m512 {
        // SAFETY: Features. The instruction returns `b` if either is NaN.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max_f(a: __m512, b: __m512) -> __m512 {
        // SAFETY: Features. The instruction returns `b` if either is NaN.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn requantize<R: Rule>(x: __m512i, m: __m512i, s: __m512i) -> __m512i {
        // SAFETY: Features.
        unsafe {
            if R::NEAR {
                near(x, m, s, matches!(R::ROUNDING, Rounding::DoubleAway))
            } else {
                Factor::<Self>::new(m, s).apply::<R>(x)
            }
        }
    }
}

/// The short forms of [`Factor::apply`] with `half - m` in the constant of the product: an addition less.
#[inline(always)]
unsafe fn near(x: __m512i, m: __m512i, s: __m512i, away: bool) -> __m512i {
    // SAFETY: Features.
    unsafe {
        let (ones, top) = (_mm512_set1_epi32(-1), _mm512_set1_epi64(1 << 31));
        let m2 = _mm512_add_epi32(m, m);
        let half = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_xor_si512(s, ones));
        let half = if away { _mm512_add_epi32(half, ones) } else { half };
        let upper = _mm512_sub_epi32(half, m);
        let even = _mm512_or_si512(_mm512_slli_epi64::<32>(upper), top);
        let odd = _mm512_mask_mov_epi32(top, 0xaaaa, upper);
        let even = _mm512_add_epi64(_mm512_mul_epu32(x, m2), even);
        let moved = _mm512_mul_epu32(_mm512_srli_epi64::<32>(x), _mm512_srli_epi64::<32>(m2));
        let sum = merge(even, _mm512_add_epi64(moved, odd));
        let sum = if away { _mm512_add_epi32(sum, _mm512_srli_epi32::<31>(x)) } else { sum };
        _mm512_srav_epi32(sum, _mm512_sub_epi32(_mm512_setzero_si512(), s))
    }
}

/// The high halves of 64-bit lanes: even ones, and odd ones.
#[inline(always)]
unsafe fn merge(even: __m512i, odd: __m512i) -> __m512i {
    // SAFETY: Features.
    unsafe { _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even) }
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn opaque(mut x: __m512i) -> __m512i {
    // SAFETY: a comment.
    unsafe { core::arch::asm!("/* {0} */", inout(zmm_reg) x, options(pure, nomem, nostack, preserves_flags)) }
    x
}

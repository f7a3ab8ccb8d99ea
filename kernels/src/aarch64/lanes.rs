//! Lanes of NEON instructions, for the epilogue of every ARM kernel.

use core::arch::aarch64::*;

use crate::lanes::{ByteClamp, Factor, Lanes, Rule};
use crate::rounding::Rounding;

/// Four lanes.
pub struct NeonLanes;

/// Four codes as 16-bit lanes.
#[inline(always)]
unsafe fn widened(codes: *const u8) -> int16x4_t {
    // SAFETY: Features, Pointers.
    unsafe {
        let bytes = vcreate_u8(u64::from(codes.cast::<u32>().read_unaligned()));
        vget_low_s16(vreinterpretq_s16_u16(vmovl_u8(bytes)))
    }
}

// SAFETY: loads and stores touch four elements at the pointer; everything else is arithmetic.
unsafe impl Lanes for NeonLanes {
    const N: usize = 4;
    type I = int32x4_t;
    type F = float32x4_t;

    #[inline(always)]
    unsafe fn load(p: *const i32) -> int32x4_t {
        // SAFETY: Features, Pointers.
        unsafe { vld1q_s32(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut i32, x: int32x4_t) {
        // SAFETY: Features, Pointers.
        unsafe { vst1q_s32(p, x) }
    }

    #[inline(always)]
    unsafe fn splat(x: i32) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vdupq_n_s32(x) }
    }

    #[inline(always)]
    unsafe fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vaddq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> int32x4_t {
        // SAFETY: passed on.
        unsafe { vmovl_s16(widened(p)) }
    }

    type Pairs = [int16x4_t; 2];

    #[inline(always)]
    unsafe fn code_pairs(a: *const u8, b: *const u8) -> [int16x4_t; 2] {
        // SAFETY: Features, Pointers.
        unsafe { [widened(a), widened(b)] }
    }

    #[inline(always)]
    unsafe fn code_singles(a: *const u8) -> [int16x4_t; 2] {
        // SAFETY: Features, Pointers.
        unsafe { [widened(a), vdup_n_s16(0)] }
    }

    /// Each product is an instruction.
    const WOVEN: bool = false;

    #[inline(always)]
    unsafe fn woven(p: *const u8) -> [int16x4_t; 2] {
        // SAFETY: Features, Pointers.
        unsafe {
            let pairs = p.cast::<[u16; 4]>().read_unaligned();
            let pairs = vld1_u16(pairs.as_ptr());
            [vreinterpret_s16_u16(vand_u16(pairs, vdup_n_u16(255))), vreinterpret_s16_u16(vshr_n_u16::<8>(pairs))]
        }
    }

    #[inline(always)]
    unsafe fn load_pairs(p: *const i16) -> [int16x4_t; 2] {
        // SAFETY: Features, Pointers.
        unsafe {
            let int16x4x2_t(first, second) = vld2_s16(p);
            [first, second]
        }
    }

    #[inline(always)]
    unsafe fn xor_pairs(a: [int16x4_t; 2], b: [int16x4_t; 2]) -> [int16x4_t; 2] {
        // SAFETY: Features.
        unsafe { [veor_s16(a[0], b[0]), veor_s16(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn add_products(acc: int32x4_t, a: [int16x4_t; 2], b: [int16x4_t; 2]) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vmlal_s16(vmlal_s16(acc, a[0], b[0]), a[1], b[1]) }
    }

    #[inline(always)]
    unsafe fn sub(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vsubq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vmulq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_hi(a: int32x4_t, b: int32x4_t, c: int32x4_t) -> int32x4_t {
        // SAFETY: Features. 64-bit products, which cannot wrap with a 32-bit term; then their odd dwords.
        unsafe {
            let (a, b, c) = (vreinterpretq_u32_s32(a), vreinterpretq_u32_s32(b), vreinterpretq_u32_s32(c));
            let low = vaddw_u32(vmull_u32(vget_low_u32(a), vget_low_u32(b)), vget_low_u32(c));
            let high = vaddw_high_u32(vmull_high_u32(a, b), c);
            vuzp2q_s32(vreinterpretq_s32_u64(low), vreinterpretq_s32_u64(high))
        }
    }

    #[inline(always)]
    unsafe fn min(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vminq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vmaxq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn and(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vandq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn xor(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { veorq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn eq(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vreinterpretq_s32_u32(vceqq_s32(a, b)) }
    }

    #[inline(always)]
    unsafe fn gt(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vreinterpretq_s32_u32(vcgtq_s32(a, b)) }
    }

    #[inline(always)]
    unsafe fn shl(x: int32x4_t, by: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe { vshlq_s32(x, by) }
    }

    #[inline(always)]
    unsafe fn shr(x: int32x4_t, by: int32x4_t) -> int32x4_t {
        // SAFETY: Features. A negative count shifts right.
        unsafe { vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), vnegq_s32(by))) }
    }

    #[inline(always)]
    unsafe fn sar(x: int32x4_t, by: int32x4_t) -> int32x4_t {
        // SAFETY: Features. A negative count shifts right.
        unsafe { vshlq_s32(x, vnegq_s32(by)) }
    }

    #[inline(always)]
    unsafe fn load_f(p: *const f32) -> float32x4_t {
        // SAFETY: Features, Pointers.
        unsafe { vld1q_f32(p) }
    }

    #[inline(always)]
    unsafe fn store_f(p: *mut f32, x: float32x4_t) {
        // SAFETY: Features, Pointers.
        unsafe { vst1q_f32(p, x) }
    }

    #[inline(always)]
    unsafe fn splat_f(x: f32) -> float32x4_t {
        // SAFETY: Features.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn to_f(x: int32x4_t) -> float32x4_t {
        // SAFETY: Features. The default rounding mode is to nearest even.
        unsafe { vcvtq_f32_s32(x) }
    }

    #[inline(always)]
    unsafe fn to_i(x: float32x4_t) -> int32x4_t {
        // SAFETY: Features. Of NaN and a number, `fmaxnm` takes the number.
        unsafe { vcvtnq_s32_f32(vmaxnmq_f32(x, vdupq_n_f32(-3e9))) }
    }

    #[inline(always)]
    unsafe fn mul_f(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: Features.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn add_f(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: Features.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn min_f(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: Features. `fminnm` is one instruction, but keeps a signalling NaN.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }

    #[inline(always)]
    unsafe fn max_f(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: Features. As above.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }

    const NEAR: bool = false;
    const QUADS: bool = true;

    #[inline(always)]
    unsafe fn store_codes(p: *mut u8, step: usize, rows: usize, x: [int32x4_t; 4], clamp: &ByteClamp<int32x4_t>) {
        // SAFETY: Features, Pointers.
        unsafe {
            let zero_point = vreinterpretq_s16_s32(clamp.zero_point);
            let low = vqaddq_s16(vcombine_s16(vqmovn_s32(x[0]), vqmovn_s32(x[1])), zero_point);
            let high = vqaddq_s16(vcombine_s16(vqmovn_s32(x[2]), vqmovn_s32(x[3])), zero_point);
            let bytes = vcombine_u8(vqmovun_s16(low), vqmovun_s16(high));
            let bytes = vmaxq_u8(bytes, vreinterpretq_u8_s32(clamp.low));
            let bytes = vminq_u8(bytes, vreinterpretq_u8_s32(clamp.high));
            let bytes = veorq_u8(bytes, vreinterpretq_u8_s32(clamp.flip));
            let pairs = vreinterpretq_u64_u8(bytes);
            let fours = vreinterpretq_u32_u8(bytes);
            match rows {
                1 => vst1q_u8(p, bytes),
                2 => {
                    p.cast::<u64>().write_unaligned(vgetq_lane_u64::<0>(pairs));
                    p.add(step).cast::<u64>().write_unaligned(vgetq_lane_u64::<1>(pairs));
                }
                _ => {
                    p.cast::<u32>().write_unaligned(vgetq_lane_u32::<0>(fours));
                    p.add(step).cast::<u32>().write_unaligned(vgetq_lane_u32::<1>(fours));
                    p.add(2 * step).cast::<u32>().write_unaligned(vgetq_lane_u32::<2>(fours));
                    p.add(3 * step).cast::<u32>().write_unaligned(vgetq_lane_u32::<3>(fours));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store_8(p: *mut u8, x: int32x4_t) {
        // SAFETY: Features, Pointers.
        unsafe {
            let words = vreinterpretq_s16_s32(x);
            let bytes = vmovn_s16(vuzp1q_s16(words, words));
            p.cast::<u32>().write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_s8(bytes)));
        }
    }

    #[inline(always)]
    unsafe fn store_16(p: *mut i16, x: int32x4_t) {
        // SAFETY: Features, Pointers.
        unsafe { vst1_s16(p, vmovn_s32(x)) }
    }

    /// The rules that have instructions of their own: `sqrdmulh` is the first rounding of
    /// [`Rounding::DoubleAway`], `srshl` a right shift that breaks ties upward, and neither can wrap.
    #[inline(always)]
    unsafe fn requantize<R: Rule>(x: int32x4_t, m: int32x4_t, s: int32x4_t) -> int32x4_t {
        // SAFETY: Features.
        unsafe {
            let zero = vdupq_n_s32(0);
            let (left, right) = (vmaxq_s32(s, zero), vminq_s32(s, zero));
            match R::ROUNDING {
                Rounding::DoubleAway => divide_away(vqrdmulhq_s32(vshlq_s32(x, left), m), right),
                Rounding::DoubleAwaySat => divide_away(vqrdmulhq_s32(vqshlq_s32(x, left), m), right),
                Rounding::DoubleUp => vrshlq_s32(vqrdmulhq_s32(vshlq_s32(x, left), m), right),
                Rounding::SingleUp => {
                    // With a right shift, the floor of x*m/2^31 and a rounding shift compose to one rounding.
                    let x = vqshlq_s32(x, left);
                    let shifts = vcltzq_s32(right);
                    vrshlq_s32(vbslq_s32(shifts, vqdmulhq_s32(x, m), vqrdmulhq_s32(x, m)), right)
                }
                Rounding::IntMulShift => divide_away(vmulq_s32(x, m), right),
                Rounding::SingleAway | Rounding::SingleEven => Factor::<Self>::new(m, s).apply::<R>(x),
            }
        }
    }
}

/// `y / 2^-right`, ties away from zero: upward after taking 1 from negative numbers that are shifted. Saturation
/// spares -2^31, which every shift divides.
#[inline(always)]
unsafe fn divide_away(y: int32x4_t, right: int32x4_t) -> int32x4_t {
    // SAFETY: Features. The top bit of `y & right` is set where both are negative.
    unsafe {
        let nudge = vshrq_n_s32::<31>(vandq_s32(y, right));
        vrshlq_s32(vqaddq_s32(y, nudge), right)
    }
}

//! NEON: `umull` and `uadalp` over u8, exact for all input, on any ARMv8 core.
//!
//! Instruction: `umull` multiplies 8 pairs of u8 into u16, where 255 * 255 fits; `uadalp` adds neighbouring u16 to
//! 4 sums of 32 bits. Nothing before those can wrap. Registers: 16 accumulators (4 x 4, each with 4 partial sums),
//! 4 rhs, 2 lhs, 4 or 5 products.
//! ```text
//! one step (16 k) of row i                  rhs panel: 4 columns of 16 k
//!   ldr      a = l[i][k..k+16]                00 10 20 .. f0     r0
//!   umull    p = a[0..8] * rj[0..8]           01 11 21 .. f1     r1
//!   uadalp   acc[i][j] += p[2t] + p[2t+1]     02 12 22 .. f2     r2
//!   umull2   p = a[8..16] * rj[8..16]         03 13 23 .. f3     r3
//!   uadalp   acc[i][j] += p[2t] + p[2t+1]
//! the end: two rounds of `addp` make acc[i][0..4] row i of the tile
//! ```
//! Modelled, not measured (limits.md 10), the compiled loop of 73 instructions for 256 products: 8.0 products a
//! cycle on Cortex-A57 and A76 and Neoverse N1 and N2, 15.9 on V1 and V2, at least 99 % of what their vector pipes
//! give this sequence; in order, A53 3.1, A55 3.2, A510 2.1.
//!
//! Lost in the model: `smull`, `smlal2` and `sadalp`, 10.6 on N2 and equal on A57, A76, N1, V1 and V2, but two
//! products of -128 by -128 wrap int16; starting from -1 instead makes it exact, and as long as this one.
//! `smlal` by lane over i16: half.

use core::arch::aarch64::*;

use crate::cpu::Features;
use crate::lanes::{ByteClamp, Factor, Lanes, Rule};
use crate::microkernel::{Microkernel, Tile, entries};
use crate::packing::{Form, Gather};
use crate::panel::{Elem, Panel};
use crate::rounding::Rounding;

/// The microkernel.
pub struct Neon;

const MR: usize = 4;
const NR: usize = 4;
/// Codes of a register.
const STEP: usize = 16;

// SAFETY: `multiply` reads `rows` x k of lhs and 4 x k of rhs at the offsets of their layouts, and writes
// `rows` x 4 sums.
unsafe impl Microkernel for Neon {
    const BACKEND: &'static str = "neon";
    const NAME: &'static str = "arm-neon-umull-4x4";
    const NEEDS: Features = Features::NEON;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = STEP;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: NR, group: STEP, elem: Elem::U8 };
    type Lanes = NeonLanes;
    type Gather = NeonGather;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe {
            match tile.rows {
                1 => multiply::<1>(tile),
                2 => multiply::<2>(tile),
                3 => multiply::<3>(tile),
                _ => multiply::<4>(tile),
            }
        }
    }

    entries!("neon");
}

/// Multiplies `R` rows.
#[inline(always)]
unsafe fn multiply<const R: usize>(tile: Tile) {
    // SAFETY: Lhs: 16 codes of each row below `R` a step; Rhs: 64 bytes a step; Acc: rows below `R`.
    unsafe {
        let mut acc = [[vdupq_n_u32(0); NR]; R];
        for k in (0..tile.k).step_by(STEP) {
            let rhs = tile.rhs.add(k * NR);
            let r =
                [vld1q_u8(rhs), vld1q_u8(rhs.add(STEP)), vld1q_u8(rhs.add(2 * STEP)), vld1q_u8(rhs.add(3 * STEP))];
            for (i, acc) in acc.iter_mut().enumerate() {
                let a = vld1q_u8(tile.lhs.add(i * tile.lhs_member + k));
                for (acc, r) in acc.iter_mut().zip(r) {
                    *acc = vpadalq_u16(*acc, vmull_u8(vget_low_u8(a), vget_low_u8(r)));
                }
                for (acc, r) in acc.iter_mut().zip(r) {
                    *acc = vpadalq_u16(*acc, vmull_high_u8(a, r));
                }
            }
        }
        for (i, [a, b, c, d]) in acc.into_iter().enumerate() {
            let mut sums = vpaddq_u32(vpaddq_u32(a, b), vpaddq_u32(c, d));
            let p = tile.acc.add(i * NR).cast::<u32>();
            if tile.add {
                sums = vaddq_u32(sums, vld1q_u32(p));
            }
            vst1q_u32(p, sums);
        }
    }
}

/// Four lanes.
pub struct NeonLanes;

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

/// Transposes four times four bytes.
const FOURS: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/// Vectors of four groups of four u8.
pub struct NeonGather;

// SAFETY: the operations read and write what the trait states: 16 codes, four times 4 codes, 16 bytes, 4 sums.
unsafe impl Gather for NeonGather {
    const N: usize = 4;
    type V = uint8x16_t;
    // SAFETY: all bit patterns are valid.
    const ZERO: uint8x16_t = unsafe { core::mem::transmute([0u8; 16]) };

    #[inline(always)]
    unsafe fn along_k(codes: *const u8, form: Form) -> uint8x16_t {
        // SAFETY: Features; 16 contiguous codes.
        unsafe { veorq_u8(vld1q_u8(codes), vdupq_n_u8(u8::from(form.flips()) << 7)) }
    }

    #[inline(always)]
    unsafe fn copy(codes: *const u8, out: *mut u8, count: usize, form: Form) -> i32 {
        // SAFETY: Features; `count` codes and as many bytes.
        unsafe {
            let mut sums = vdupq_n_u32(0);
            let mut i = 0;
            while count - i >= 16 {
                let v = Self::along_k(codes.add(i), form);
                vst1q_u8(out.add(i), v);
                sums = vpadalq_u16(sums, vpaddlq_u8(v));
                i += 16;
            }
            // Quarters of a vector; what is beyond them is zero.
            while i < count {
                let word = codes.add(i).cast::<u32>().read_unaligned() ^ (u32::from(form.flips()) * 0x8080_8080);
                out.add(i).cast::<u32>().write_unaligned(word);
                let v = vcombine_u8(vcreate_u8(u64::from(word)), vdup_n_u8(0));
                sums = vpadalq_u16(sums, vpaddlq_u8(v));
                i += 4;
            }
            vaddvq_u32(sums) as i32
        }
    }

    #[inline(always)]
    unsafe fn along_members(codes: *const u8, k_stride: usize, form: Form) -> uint8x16_t {
        // SAFETY: Features; four times 4 contiguous codes.
        unsafe {
            let mut rows = [0; 4];
            for (k, row) in rows.iter_mut().enumerate() {
                *row = codes.add(k * k_stride).cast::<u32>().read_unaligned();
            }
            let rows = vreinterpretq_u8_u32(vld1q_u32(rows.as_ptr()));
            veorq_u8(vqtbl1q_u8(rows, vld1q_u8(FOURS.as_ptr())), vdupq_n_u8(u8::from(form.flips()) << 7))
        }
    }

    #[inline(always)]
    unsafe fn transpose(v: &mut [uint8x16_t; 8]) {
        // SAFETY: Features. Two rounds: dwords, pairs of dwords.
        unsafe {
            let (a, b) = (vreinterpretq_u32_u8(v[0]), vreinterpretq_u32_u8(v[1]));
            let (c, d) = (vreinterpretq_u32_u8(v[2]), vreinterpretq_u32_u8(v[3]));
            let (ab, ab1) = (vreinterpretq_u64_u32(vtrn1q_u32(a, b)), vreinterpretq_u64_u32(vtrn2q_u32(a, b)));
            let (cd, cd1) = (vreinterpretq_u64_u32(vtrn1q_u32(c, d)), vreinterpretq_u64_u32(vtrn2q_u32(c, d)));
            v[0] = vreinterpretq_u8_u64(vtrn1q_u64(ab, cd));
            v[1] = vreinterpretq_u8_u64(vtrn1q_u64(ab1, cd1));
            v[2] = vreinterpretq_u8_u64(vtrn2q_u64(ab, cd));
            v[3] = vreinterpretq_u8_u64(vtrn2q_u64(ab1, cd1));
        }
    }

    #[inline(always)]
    unsafe fn sum(codes: *const u8, count: usize, signed: bool) -> i32 {
        // SAFETY: Features; `count` codes. i8 codes are summed with their sign bit flipped, which adds 128 to each.
        unsafe {
            let mut sums = vdupq_n_u32(0);
            let mut i = 0;
            while count - i >= 16 {
                let v = veorq_u8(vld1q_u8(codes.add(i)), vdupq_n_u8(u8::from(signed) << 7));
                sums = vpadalq_u16(sums, vpaddlq_u8(v));
                i += 16;
            }
            let sum = vaddvq_u32(sums) as i32;
            if signed { sum.wrapping_sub((count as i32) << 7) } else { sum }
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> uint8x16_t {
        // SAFETY: Features; 16 bytes.
        unsafe { vld1q_u8(from) }
    }

    #[inline(always)]
    unsafe fn store(out: *mut u8, v: uint8x16_t) {
        // SAFETY: Features; 16 bytes.
        unsafe { vst1q_u8(out, v) }
    }

    #[inline(always)]
    unsafe fn store_columns(out: *mut u8, col_stride: usize, v: uint8x16_t) {
        // SAFETY: Features; four times 4 bytes.
        unsafe {
            let columns = vreinterpretq_u32_u8(vqtbl1q_u8(v, vld1q_u8(FOURS.as_ptr())));
            out.cast::<u32>().write_unaligned(vgetq_lane_u32::<0>(columns));
            out.add(col_stride).cast::<u32>().write_unaligned(vgetq_lane_u32::<1>(columns));
            out.add(2 * col_stride).cast::<u32>().write_unaligned(vgetq_lane_u32::<2>(columns));
            out.add(3 * col_stride).cast::<u32>().write_unaligned(vgetq_lane_u32::<3>(columns));
        }
    }

    #[inline(always)]
    unsafe fn add_sums(sums: *mut i32, v: &[uint8x16_t; 8], _: Elem) {
        // SAFETY: Features; 4 sums. Eight codes cannot wrap u16 lanes.
        unsafe {
            let mut pairs = vpaddlq_u8(v[0]);
            pairs = vpadalq_u8(pairs, v[1]);
            pairs = vpadalq_u8(pairs, v[2]);
            pairs = vpadalq_u8(pairs, v[3]);
            let sums = sums.cast::<u32>();
            vst1q_u32(sums, vpadalq_u16(vld1q_u32(sums), pairs));
        }
    }
}

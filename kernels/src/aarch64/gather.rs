//! Vectors of bytes for the packer, of NEON instructions.

use core::arch::aarch64::*;

use crate::packing::{Form, Gather};
use crate::panel::Elem;

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
            let mut sums = vdupq_n_s32(0);
            let mut i = 0;
            while count - i >= 16 {
                let v = Self::along_k(codes.add(i), form);
                vst1q_u8(out.add(i), v);
                sums = vpadalq_s16(sums, pairs(v, form.elem));
                i += 16;
            }
            // Quarters of a vector; what is beyond them is zero.
            while i < count {
                let word = codes.add(i).cast::<u32>().read_unaligned() ^ (u32::from(form.flips()) * 0x8080_8080);
                out.add(i).cast::<u32>().write_unaligned(word);
                let v = vcombine_u8(vcreate_u8(u64::from(word)), vdup_n_u8(0));
                sums = vpadalq_s16(sums, pairs(v, form.elem));
                i += 4;
            }
            vaddvq_s32(sums)
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
    unsafe fn add_sums(sums: *mut i32, v: &[uint8x16_t; 8], elem: Elem) {
        // SAFETY: Features; 4 sums. Eight codes cannot wrap 16 bits.
        unsafe {
            let (a, b) =
                (vaddq_s16(pairs(v[0], elem), pairs(v[1], elem)), vaddq_s16(pairs(v[2], elem), pairs(v[3], elem)));
            vst1q_s32(sums, vpadalq_s16(vld1q_s32(sums), vaddq_s16(a, b)));
        }
    }

    const HALVES: bool = true;

    #[inline(always)]
    unsafe fn halves(v: &mut [uint8x16_t; 8]) {
        // SAFETY: Features.
        unsafe {
            for i in [0, 2] {
                let (a, b) = (vreinterpretq_u64_u8(v[i]), vreinterpretq_u64_u8(v[i + 1]));
                v[i] = vreinterpretq_u8_u64(vtrn1q_u64(a, b));
                v[i + 1] = vreinterpretq_u8_u64(vtrn2q_u64(a, b));
            }
        }
    }
}

/// The sums of neighbours.
#[inline(always)]
unsafe fn pairs(v: uint8x16_t, elem: Elem) -> int16x8_t {
    // SAFETY: Features.
    unsafe {
        if elem == Elem::I8 { vpaddlq_s8(vreinterpretq_s8_u8(v)) } else { vreinterpretq_s16_u16(vpaddlq_u8(v)) }
    }
}

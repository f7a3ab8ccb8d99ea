//! The backend without SIMD, and lanes that apply the scalar definitions.
//!
//! Instruction: whatever the compiler makes of it; with SSE2 it finds `pmaddwd` in [`Scalar`]'s loop.
//! ```text
//! one step: acc[i][j] += lhs[i][k] * rhs[k][j] + lhs[i][k+1] * rhs[k+1][j]    i < 4, j < 8, i16 x i16
//! ```

use crate::cpu::Features;
use crate::lanes::{Lanes, requantize_one};
use crate::microkernel::{Microkernel, Tile, entries};
use crate::packing::NoGather;
use crate::panel::{Elem, Panel};
use crate::rounding::Rounding;

/// Lanes in plain Rust.
pub struct Plain<const N: usize>;

/// Applies `f` lane by lane.
#[inline(always)]
fn map2<A: Copy, B: Copy, C: Copy + Default, const N: usize>(
    a: [A; N],
    b: [B; N],
    f: impl Fn(A, B) -> C,
) -> [C; N] {
    let mut c = [C::default(); N];
    for ((c, a), b) in c.iter_mut().zip(a).zip(b) {
        *c = f(a, b);
    }
    c
}

// SAFETY: loads and stores touch `N` elements at the pointer; everything else is arithmetic.
unsafe impl<const N: usize> Lanes for Plain<N> {
    const N: usize = N;
    type I = [i32; N];
    type F = [f32; N];

    #[inline(always)]
    unsafe fn load(p: *const i32) -> [i32; N] {
        // SAFETY: Pointers.
        unsafe { p.cast::<[i32; N]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(p: *mut i32, x: [i32; N]) {
        // SAFETY: Pointers.
        unsafe { p.cast::<[i32; N]>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn splat(x: i32) -> [i32; N] {
        [x; N]
    }

    #[inline(always)]
    unsafe fn add(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, i32::wrapping_add)
    }

    #[inline(always)]
    unsafe fn sub(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, i32::wrapping_sub)
    }

    #[inline(always)]
    unsafe fn mul(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, i32::wrapping_mul)
    }

    #[inline(always)]
    unsafe fn mul_hi(a: [i32; N], b: [i32; N], c: [i32; N]) -> [i32; N] {
        let product = map2(a, b, |a, b| u64::from(a as u32) * u64::from(b as u32));
        map2(product, c, |p, c| ((p + u64::from(c as u32)) >> 32) as i32)
    }

    #[inline(always)]
    unsafe fn min(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, i32::min)
    }

    #[inline(always)]
    unsafe fn max(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, i32::max)
    }

    #[inline(always)]
    unsafe fn and(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, |a, b| a & b)
    }

    #[inline(always)]
    unsafe fn xor(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, |a, b| a ^ b)
    }

    #[inline(always)]
    unsafe fn eq(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, |a, b| -i32::from(a == b))
    }

    #[inline(always)]
    unsafe fn gt(a: [i32; N], b: [i32; N]) -> [i32; N] {
        map2(a, b, |a, b| -i32::from(a > b))
    }

    #[inline(always)]
    unsafe fn shl(x: [i32; N], by: [i32; N]) -> [i32; N] {
        map2(x, by, |x, by| x.wrapping_shl(by as u32))
    }

    #[inline(always)]
    unsafe fn shr(x: [i32; N], by: [i32; N]) -> [i32; N] {
        map2(x, by, |x, by| (x as u32).wrapping_shr(by as u32) as i32)
    }

    #[inline(always)]
    unsafe fn sar(x: [i32; N], by: [i32; N]) -> [i32; N] {
        map2(x, by, |x, by| x.wrapping_shr(by as u32))
    }

    #[inline(always)]
    unsafe fn load_f(p: *const f32) -> [f32; N] {
        // SAFETY: Pointers.
        unsafe { p.cast::<[f32; N]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_f(p: *mut f32, x: [f32; N]) {
        // SAFETY: Pointers.
        unsafe { p.cast::<[f32; N]>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn splat_f(x: f32) -> [f32; N] {
        [x; N]
    }

    #[inline(always)]
    unsafe fn to_f(x: [i32; N]) -> [f32; N] {
        x.map(|x| x as f32)
    }

    #[inline(always)]
    unsafe fn to_i(x: [f32; N]) -> [i32; N] {
        // 1.5 * 2^23: the sum has no fraction bits left, and float addition rounds half to even.
        const MAGIC: f32 = 12_582_912.0;
        x.map(|x| (x + MAGIC - MAGIC) as i32)
    }

    #[inline(always)]
    unsafe fn mul_f(a: [f32; N], b: [f32; N]) -> [f32; N] {
        map2(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn add_f(a: [f32; N], b: [f32; N]) -> [f32; N] {
        map2(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn min_f(a: [f32; N], b: [f32; N]) -> [f32; N] {
        map2(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn max_f(a: [f32; N], b: [f32; N]) -> [f32; N] {
        map2(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn store_8(p: *mut u8, x: [i32; N]) {
        // SAFETY: Pointers.
        unsafe { p.cast::<[u8; N]>().write_unaligned(x.map(|x| x as u8)) }
    }

    #[inline(always)]
    unsafe fn store_16(p: *mut i16, x: [i32; N]) {
        // SAFETY: Pointers.
        unsafe { p.cast::<[i16; N]>().write_unaligned(x.map(|x| x as i16)) }
    }

    const DOTS: bool = true;

    #[inline(always)]
    unsafe fn quad(runs: [*const u8; 4]) -> [i32; N] {
        // SAFETY: Pointers.
        core::array::from_fn(|i| i32::from_le_bytes(runs.map(|p| unsafe { *p.add(i) })))
    }

    #[inline(always)]
    unsafe fn quads(runs: [*const u8; 4]) -> [[i32; N]; 4] {
        core::array::from_fn(|j| {
            core::array::from_fn(|i| {
                // SAFETY: Pointers.
                i32::from_le_bytes(runs.map(|p| unsafe { *p.add(j * N + i) }))
            })
        })
    }

    #[inline(always)]
    unsafe fn add_dots(acc: [i32; N], codes: [i32; N], weights: [i32; N]) -> [i32; N] {
        let dot = |a: i32, b: i32| {
            let terms = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
            terms.map(|(code, weight)| i32::from(code) * i32::from(weight as i8)).sum::<i32>()
        };
        map2(acc, map2(codes, weights, dot), i32::wrapping_add)
    }

    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> [i32; N] {
        // SAFETY: Pointers.
        unsafe { p.cast::<[u8; N]>().read_unaligned().map(i32::from) }
    }

    type Pairs = [[i16; 2]; N];

    #[inline(always)]
    unsafe fn code_pairs(a: *const u8, b: *const u8) -> [[i16; 2]; N] {
        // SAFETY: Pointers.
        let (a, b) = unsafe { (a.cast::<[u8; N]>().read_unaligned(), b.cast::<[u8; N]>().read_unaligned()) };
        map2(a, b, |a, b| [a.into(), b.into()])
    }

    #[inline(always)]
    unsafe fn code_singles(a: *const u8) -> [[i16; 2]; N] {
        // SAFETY: passed on.
        unsafe { Self::code_pairs(a, a) }
    }

    #[inline(always)]
    unsafe fn woven(p: *const u8) -> [[i16; 2]; N] {
        // SAFETY: Pointers.
        unsafe { p.cast::<[[u8; 2]; N]>().read_unaligned().map(|pair| pair.map(i16::from)) }
    }

    #[inline(always)]
    unsafe fn load_pairs(p: *const i16) -> [[i16; 2]; N] {
        // SAFETY: Pointers.
        unsafe { p.cast::<[[i16; 2]; N]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn xor_pairs(a: [[i16; 2]; N], b: [[i16; 2]; N]) -> [[i16; 2]; N] {
        map2(a, b, |a, b| [a[0] ^ b[0], a[1] ^ b[1]])
    }

    #[inline(always)]
    unsafe fn add_products(acc: [i32; N], a: [[i16; 2]; N], b: [[i16; 2]; N]) -> [i32; N] {
        let sum = |a: [i16; 2], b: [i16; 2]| i32::from(a[0]) * i32::from(b[0]) + i32::from(a[1]) * i32::from(b[1]);
        map2(acc, map2(a, b, sum), i32::wrapping_add)
    }

    const RULE_AT_RUN_TIME: bool = true;

    /// The definition itself, lane by lane.
    #[inline(always)]
    unsafe fn requantize_any(rounding: Rounding, x: [i32; N], m: [i32; N], s: [i32; N]) -> [i32; N] {
        map2(x, map2(m, s, |m, s| (m, s)), |x, (m, s)| requantize_one(rounding, x, m, s))
    }
}

/// The backend that every CPU can run.
pub struct Scalar;

const MR: usize = 4;
const NR: usize = 8;

// SAFETY: `tile` reads `rows` x k of lhs and NR x k of rhs at the offsets of their layouts and writes MR x NR sums.
unsafe impl Microkernel for Scalar {
    const BACKEND: &'static str = "scalar";
    const NAME: &'static str = "scalar-i16-4x8";
    const NEEDS: Features = Features::NONE;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = 2;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::I16 };
    const RHS: Panel = Panel { width: NR, group: 2, elem: Elem::I16 };
    type Lanes = Plain<8>;
    type Base = Self;
    type Gather = NoGather;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Lhs, Rhs, Acc; rows beyond `rows` reread the last row, and their sums are unspecified.
        unsafe {
            let row = |i: usize| tile.lhs.cast::<i16>().wrapping_add(i.min(tile.rows - 1) * tile.lhs_member);
            let rows = [row(0), row(1), row(2), row(3)];
            let mut sums = [[0i32; NR]; MR];
            let mut rhs = tile.rhs.cast::<[[i16; 2]; NR]>();
            for k in (0..tile.k).step_by(2) {
                let r = *rhs;
                rhs = rhs.add(1);
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let l = row.add(k).cast::<[i16; 2]>().read_unaligned();
                    for (sum, r) in sums.iter_mut().zip(r) {
                        let pair = i32::from(l[0]) * i32::from(r[0]) + i32::from(l[1]) * i32::from(r[1]);
                        *sum = sum.wrapping_add(pair);
                    }
                }
            }
            let acc = tile.acc.cast::<[[i32; NR]; MR]>();
            if tile.add {
                for (sums, old) in sums.iter_mut().zip(*acc) {
                    *sums = map2(*sums, old, i32::wrapping_add);
                }
            }
            *acc = sums;
        }
    }

    entries!();
}

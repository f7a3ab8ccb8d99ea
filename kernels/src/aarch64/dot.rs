//! The tile loop of the ARM kernels: each register of lhs meets `W` registers of rhs at a time.
//! ```text
//! one step                  lhs: R registers, l[0..R]    rhs: GROUPS x W registers, D x W of them held, r[g % D][0..W] at a time
//!   for each group g of rhs:
//!     for each i < R:
//!       K::multiply::<g>(acc[i], l[i], r[g % D])     A accumulators a register of lhs
//!       load one of group g + D, or, where that begins the next step, its l[i]
//! ```
//! Loads stand between multiplies, far ahead of what needs them: cores that do not reorder run what is written. To that
//! end nothing may move across a multiply, which has an `asm!` that might touch memory for all the compiler knows. Nor are two
//! loads ever neighbours, which the compiler would make one: on most cores a pair costs more than its halves. Addresses of rhs
//! lie below a pointer: Neoverse N1, as modelled, spends less on `ldur` than on `ldr`.

use core::arch::aarch64::*;

use crate::microkernel::Tile;

/// How a kernel multiplies in this loop.
///
/// # Safety
/// `lhs` gives addresses inside the panel; `multiply` touches no memory. A caller upholds Features of the kernel.
pub(super) unsafe trait Dot<const W: usize, const A: usize> {
    /// k of a step.
    const STEP: usize;
    /// Groups of `W` registers of rhs in a step.
    const GROUPS: usize;
    /// Bytes from a step of lhs to the next.
    const LHS_STEP: usize;

    /// Where register `i` of lhs lies, at step 0.
    fn lhs(tile: &Tile, i: usize) -> *const u8;

    /// Adds products with group `G` of rhs. Keeps its place among loads.
    unsafe fn multiply<const G: usize>(acc: &mut [int32x4_t; A], lhs: uint8x16_t, rhs: &[uint8x16_t; W]);
}

/// Bytes of a register.
const REGISTER: usize = 16;

/// The sums of `R` registers of lhs, and what is multiplied next.
struct State<const R: usize, const W: usize, const A: usize, const D: usize> {
    acc: [[int32x4_t; A]; R],
    lhs: [uint8x16_t; R],
    /// Group g of a step is in `g % D`.
    rhs: [[uint8x16_t; W]; D],
}

/// Where a step is.
#[derive(Clone, Copy)]
struct At<'a, const R: usize> {
    /// Registers of lhs, at step 0.
    bases: &'a [*const u8; R],
    /// From there to those of the next step, if there is one.
    next: Option<usize>,
    /// The end of the next step of rhs, were there one.
    end: *const u8,
}

/// The sums of all steps, of `R` registers of lhs. Loads rhs `D` groups ahead; a turn of the loop has `T` steps, one or two.
///
/// # Safety
/// Features, Lhs and Rhs of [`crate::Microkernel`].
#[inline(always)]
pub(super) unsafe fn products<
    K: Dot<W, A>,
    const R: usize,
    const W: usize,
    const A: usize,
    const D: usize,
    const T: usize,
>(
    tile: &Tile,
) -> [[int32x4_t; A]; R] {
    const { assert!(R <= 8 && W <= 2 && K::GROUPS <= 8 && K::GROUPS.is_multiple_of(D) && (T == 1 || T == 2)) }
    // SAFETY: Features; Lhs and Rhs: addresses are those of steps there are.
    unsafe {
        let mut state = State {
            acc: [[vdupq_n_s32(0); A]; R],
            lhs: [vdupq_n_u8(0); R],
            rhs: [[vdupq_n_u8(0); W]; D],
        };
        let steps = tile.k / K::STEP;
        if steps == 0 {
            return state.acc;
        }
        let bases: [*const u8; R] = core::array::from_fn(|i| opaque!(K::lhs(tile, i)));
        state.lhs = bases.map(|base| vld1q_u8(base));
        state.rhs = core::array::from_fn(|d| core::array::from_fn(|w| vld1q_u8(tile.rhs.add((d * W + w) * REGISTER))));
        let bytes = K::GROUPS * W * REGISTER;
        let (mut next, mut end) = (0, tile.rhs.wrapping_add(bytes));
        for _ in 0..(steps - 1) / T {
            next = opaque!(next + T * K::LHS_STEP);
            end = opaque!(end.wrapping_add(T * bytes));
            if T == 2 {
                let (next, end) = (next - K::LHS_STEP, end.wrapping_sub(bytes));
                state.step::<K>(At { bases: &bases, next: Some(next), end });
            }
            state.step::<K>(At { bases: &bases, next: Some(next), end });
        }
        if !(steps - 1).is_multiple_of(T) {
            next += K::LHS_STEP;
            end = end.wrapping_add(bytes);
            state.step::<K>(At { bases: &bases, next: Some(next), end });
        }
        state.step::<K>(At { bases: &bases, next: None, end: end.wrapping_add(bytes) });
        state.acc
    }
}

impl<const R: usize, const W: usize, const A: usize, const D: usize> State<R, W, A, D> {
    /// Multiplies a step, and loads what is ahead.
    #[inline(always)]
    unsafe fn step<K: Dot<W, A>>(&mut self, at: At<'_, R>) {
        // SAFETY: passed on.
        unsafe {
            let mut next = self.lhs;
            self.group::<K, 0>(at, &mut next);
            self.group::<K, 1>(at, &mut next);
            self.group::<K, 2>(at, &mut next);
            self.group::<K, 3>(at, &mut next);
            self.group::<K, 4>(at, &mut next);
            self.group::<K, 5>(at, &mut next);
            self.group::<K, 6>(at, &mut next);
            self.group::<K, 7>(at, &mut next);
            self.lhs = next;
        }
    }

    /// Multiplies by group `G` of rhs.
    #[inline(always)]
    unsafe fn group<K: Dot<W, A>, const G: usize>(&mut self, at: At<'_, R>, lhs: &mut [uint8x16_t; R]) {
        if G >= K::GROUPS {
            return;
        }
        let now = self.rhs[G % D];
        // Literal indices, so that sums stay in registers.
        macro_rules! rows {
            ($($i:literal)*) => {$(
                if $i < R {
                    // SAFETY: passed on; Lhs and Rhs: what is loaded is there.
                    unsafe {
                        K::multiply::<G>(&mut self.acc[$i], self.lhs[$i], &now);
                        if G + D < K::GROUPS || at.next.is_some() {
                            let groups = 2 * K::GROUPS - (G + D);
                            self.load::<G, $i>(at.end.wrapping_sub(groups * W * REGISTER));
                        }
                        if let Some(next) = at.next.filter(|_| G + D == K::GROUPS) {
                            lhs[$i] = vld1q_u8(at.bases[$i].add(next));
                        }
                    }
                }
            )*};
        }
        rows!(0 1 2 3 4 5 6 7);
    }

    /// Loads those of the group that follows group `G` in its place that are due after row `I`.
    #[inline(always)]
    unsafe fn load<const G: usize, const I: usize>(&mut self, from: *const u8) {
        macro_rules! registers {
            ($($w:literal)*) => {$(
                if $w < W && $w * R / W == I {
                    // SAFETY: Features, Rhs.
                    self.rhs[G % D][$w] = unsafe { vld1q_u8(from.wrapping_add($w * REGISTER)) };
                }
            )*};
        }
        registers!(0 1);
    }
}

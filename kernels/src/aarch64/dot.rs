//! The tile loop of the ARM kernels: each register of lhs meets `W` registers of rhs at a time.
//! ```text
//! one step                       lhs: R registers, l[0..R]    rhs: GROUPS x W registers, r[0..W] at a time
//!   for each group g of rhs:
//!     for each i < R:
//!       K::multiply::<g>(acc[i], l[i], r)     A accumulators a register of lhs
//!       load one of the next r, or, in the last group, l[i] of the next step
//! ```
//! Loads stand between multiplies, far ahead of what needs them: cores that do not reorder run what is written. To that
//! end nothing may move across a multiply, which has an `asm!` that might touch memory for all the compiler knows.

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
    /// Registers of rhs that are loaded together, by one instruction if there are two.
    const TOGETHER: usize = 1;
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
struct State<const R: usize, const W: usize, const A: usize> {
    acc: [[int32x4_t; A]; R],
    lhs: [uint8x16_t; R],
    rhs: [uint8x16_t; W],
}

/// The sums of all steps, of `R` registers of lhs.
///
/// # Safety
/// Features, Lhs and Rhs of [`crate::Microkernel`].
#[inline(always)]
pub(super) unsafe fn products<K: Dot<W, A>, const R: usize, const W: usize, const A: usize>(
    tile: &Tile,
) -> [[int32x4_t; A]; R] {
    const { assert!(R <= 8 && W <= 4 && K::GROUPS <= 6) }
    // SAFETY: Features; Lhs and Rhs: addresses are those of steps there are.
    unsafe {
        let mut state = State { acc: [[vdupq_n_s32(0); A]; R], lhs: [vdupq_n_u8(0); R], rhs: [vdupq_n_u8(0); W] };
        let steps = tile.k / K::STEP;
        if steps == 0 {
            return state.acc;
        }
        let bases: [*const u8; R] = core::array::from_fn(|i| opaque!(K::lhs(tile, i)));
        state.lhs = bases.map(|base| vld1q_u8(base));
        let mut rhs = tile.rhs;
        state.rhs = core::array::from_fn(|w| vld1q_u8(rhs.add(w * REGISTER)));
        let mut next = 0;
        for _ in 1..steps {
            next = opaque!(next + K::LHS_STEP);
            state.step::<K>(&bases, rhs, Some(next));
            rhs = opaque!(rhs.add(K::GROUPS * W * REGISTER));
        }
        state.step::<K>(&bases, rhs, None);
        state.acc
    }
}

impl<const R: usize, const W: usize, const A: usize> State<R, W, A> {
    /// Multiplies a step, and loads the next one, whose lhs lies at `next`, if there is one.
    #[inline(always)]
    unsafe fn step<K: Dot<W, A>>(&mut self, bases: &[*const u8; R], rhs: *const u8, next: Option<usize>) {
        // SAFETY: passed on.
        unsafe {
            self.group::<K, 0>(bases, rhs, next);
            self.group::<K, 1>(bases, rhs, next);
            self.group::<K, 2>(bases, rhs, next);
            self.group::<K, 3>(bases, rhs, next);
            self.group::<K, 4>(bases, rhs, next);
            self.group::<K, 5>(bases, rhs, next);
        }
    }

    /// Multiplies by group `G` of rhs.
    #[inline(always)]
    unsafe fn group<K: Dot<W, A>, const G: usize>(
        &mut self,
        bases: &[*const u8; R],
        rhs: *const u8,
        next: Option<usize>,
    ) {
        if G >= K::GROUPS {
            return;
        }
        let more = G + 1 < K::GROUPS;
        let now = self.rhs;
        // Literal indices, so that sums stay in registers.
        macro_rules! rows {
            ($($i:literal)*) => {$(
                if $i < R {
                    // SAFETY: passed on; Lhs and Rhs: what follows is there.
                    unsafe {
                        K::multiply::<G>(&mut self.acc[$i], self.lhs[$i], &now);
                        if more || next.is_some() {
                            self.load::<K, $i>(rhs.add((G + 1) * W * REGISTER));
                        }
                        if let Some(next) = next.filter(|_| !more) {
                            self.lhs[$i] = vld1q_u8(bases[$i].add(next));
                        }
                    }
                }
            )*};
        }
        rows!(0 1 2 3 4 5 6 7);
    }

    /// Loads those of a group of rhs that are due after row `I`.
    #[inline(always)]
    unsafe fn load<K: Dot<W, A>, const I: usize>(&mut self, from: *const u8) {
        macro_rules! registers {
            ($($w:literal)*) => {$(
                if $w < W && $w / K::TOGETHER * K::TOGETHER * R / W == I {
                    // SAFETY: Features, Rhs.
                    self.rhs[$w] = unsafe { vld1q_u8(from.add($w * REGISTER)) };
                }
            )*};
        }
        registers!(0 1 2 3);
    }
}

//! The tile loop of the ARM kernels: each register of rhs meets each register of lhs.
//! ```text
//! one step                  lhs: R registers, l[0..R]    rhs: GROUPS registers, D of them held, r[g % D] at a time
//!   for each g of GROUPS:
//!     for each i < R:
//!       K::multiply::<g>(acc[i], l[i], r[g % D])     A accumulators a register of lhs
//!       load register g + D of rhs, or, where that is the first of the next step, l[i] as well
//! ```
//! Loads stand between multiplies, far ahead of what needs them: cores that do not reorder run what is written. To that
//! end nothing may move across a multiply, which has an `asm!` that might touch memory for all the compiler knows. Nor are two
//! loads of rhs ever neighbours, which the compiler would make one: on most cores a pair costs more than its halves. Addresses of rhs
//! lie below a pointer: Neoverse N1, as modelled, spends less on `ldur` than on `ldr`.

use core::arch::aarch64::*;

use crate::microkernel::Tile;

/// How a kernel multiplies in this loop.
///
/// # Safety
/// `lhs` gives addresses inside the panel; `multiply` touches no memory. A caller upholds Features of the kernel.
pub(super) unsafe trait Dot<const A: usize> {
    /// k of a step.
    const STEP: usize;
    /// Registers of rhs in a step.
    const GROUPS: usize;
    /// Bytes from a step of lhs to the next.
    const LHS_STEP: usize;

    /// Where register `i` of lhs lies, at step 0.
    fn lhs(tile: &Tile, i: usize) -> *const u8;

    /// Adds products with register `G` of rhs. Keeps its place among loads.
    unsafe fn multiply<const G: usize>(acc: &mut [int32x4_t; A], lhs: uint8x16_t, rhs: uint8x16_t);
}

/// Bytes of a register.
const REGISTER: usize = 16;

/// The sums of `R` registers of lhs, and what is multiplied next.
struct State<const R: usize, const A: usize, const D: usize> {
    acc: [[int32x4_t; A]; R],
    lhs: [uint8x16_t; R],
    /// Register g of a step is in `g % D`.
    rhs: [uint8x16_t; D],
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

/// The sums of all steps, of `R` registers of lhs. Rhs is loaded `D` registers ahead: one, or all of a step, of which a turn
/// then has two.
///
/// # Safety
/// Features, Lhs and Rhs of [`crate::Microkernel`].
#[inline(always)]
pub(super) unsafe fn products<K: Dot<A>, const R: usize, const A: usize, const D: usize>(
    tile: &Tile,
) -> [[int32x4_t; A]; R] {
    const { assert!(R <= 8 && K::GROUPS <= 8 && (D == 1 || D == K::GROUPS)) }
    // SAFETY: Features; Lhs and Rhs: addresses are those of steps there are.
    unsafe {
        let mut state = State { acc: [[vdupq_n_s32(0); A]; R], lhs: [vdupq_n_u8(0); R], rhs: [vdupq_n_u8(0); D] };
        let steps = tile.k / K::STEP;
        if steps == 0 {
            return state.acc;
        }
        let bases: [*const u8; R] = core::array::from_fn(|i| opaque!(K::lhs(tile, i)));
        state.lhs = bases.map(|base| vld1q_u8(base));
        state.rhs = core::array::from_fn(|g| vld1q_u8(tile.rhs.add(g * REGISTER)));
        let bytes = K::GROUPS * REGISTER;
        let turn = if D == 1 { 1 } else { 2 };
        let (mut next, mut end) = (0, tile.rhs.wrapping_add(bytes));
        for _ in 0..(steps - 1) / turn {
            next = opaque!(next + turn * K::LHS_STEP);
            end = opaque!(end.wrapping_add(turn * bytes));
            if turn == 2 {
                let (next, end) = (next - K::LHS_STEP, end.wrapping_sub(bytes));
                state.step::<K>(At { bases: &bases, next: Some(next), end });
            }
            state.step::<K>(At { bases: &bases, next: Some(next), end });
        }
        if !(steps - 1).is_multiple_of(turn) {
            next += K::LHS_STEP;
            end = end.wrapping_add(bytes);
            state.step::<K>(At { bases: &bases, next: Some(next), end });
        }
        state.step::<K>(At { bases: &bases, next: None, end: end.wrapping_add(bytes) });
        state.acc
    }
}

impl<const R: usize, const A: usize, const D: usize> State<R, A, D> {
    /// Multiplies a step, and loads what is ahead.
    #[inline(always)]
    unsafe fn step<K: Dot<A>>(&mut self, at: At<'_, R>) {
        let mut next = self.lhs;
        macro_rules! groups {
            ($($g:literal)*) => {$(
                // SAFETY: passed on.
                unsafe { self.group::<K, $g>(at, &mut next) };
            )*};
        }
        groups!(0 1 2 3 4 5 6 7);
        self.lhs = next;
    }

    /// Multiplies by register `G` of rhs.
    #[inline(always)]
    unsafe fn group<K: Dot<A>, const G: usize>(&mut self, at: At<'_, R>, lhs: &mut [uint8x16_t; R]) {
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
                        K::multiply::<G>(&mut self.acc[$i], self.lhs[$i], now);
                        if $i == 0 && (G + D < K::GROUPS || at.next.is_some()) {
                            self.rhs[G % D] = vld1q_u8(at.end.wrapping_sub((2 * K::GROUPS - (G + D)) * REGISTER));
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
}

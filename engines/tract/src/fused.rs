//! What tract fuses to a product, on a tile of int32 sums, as its portable kernels define it; sums wrap. All is inlined
//! into the one caller, [`crate::edge::vectorized`] there.

use tract_linalg::mmm::RoundingPolicy;
use tract_linalg::{BinOp, ScaleShiftAndRound, Scaler};

/// The other operand of an operation: one for all, one a row, one a column.
#[derive(Clone, Copy)]
pub(crate) enum With<'a> {
    All(i32),
    Rows(&'a [i32]),
    Cols(&'a [i32]),
}

/// `sums`, rows of `nr`, by `op`.
#[inline(always)]
pub(crate) fn combine(sums: &mut [i32], nr: usize, op: BinOp, with: With<'_>) {
    match op {
        BinOp::Min => each(sums, nr, with, |with, sum| with.min(sum)),
        BinOp::Max => each(sums, nr, with, |with, sum| with.max(sum)),
        BinOp::Add => each(sums, nr, with, |with, sum| with.wrapping_add(sum)),
        BinOp::Mul => each(sums, nr, with, |with, sum| with.wrapping_mul(sum)),
        BinOp::Sub => each(sums, nr, with, |with, sum| with.wrapping_sub(sum)),
        BinOp::SubF => each(sums, nr, with, |with, sum| sum.wrapping_sub(with)),
    }
}

#[inline(always)]
fn each(sums: &mut [i32], nr: usize, with: With<'_>, f: impl Fn(i32, i32) -> i32) {
    for (i, row) in sums.chunks_exact_mut(nr).enumerate() {
        match with {
            With::All(with) => row.iter_mut().for_each(|sum| *sum = f(with, *sum)),
            With::Rows(with) => row.iter_mut().for_each(|sum| *sum = f(with[i], *sum)),
            With::Cols(with) => row.iter_mut().zip(with).for_each(|(sum, with)| *sum = f(*with, *sum)),
        }
    }
}

/// Adds the product of a column and a row.
#[inline(always)]
pub(crate) fn add_products(sums: &mut [i32], nr: usize, rows: &[i32], cols: &[i32]) {
    for (sums, row) in sums.chunks_exact_mut(nr).zip(rows) {
        for (sum, col) in sums.iter_mut().zip(cols) {
            *sum = sum.wrapping_add(row.wrapping_mul(*col));
        }
    }
}

/// Scales as tract's scalar definition does; `None` if it has none.
#[inline(always)]
pub(crate) fn scale(sums: &mut [i32], shift: isize, policy: RoundingPolicy, multiplier: i32) -> Option<()> {
    let all = shift.checked_add(31)?;
    if all <= 0 && policy != RoundingPolicy::Native && all > -32 {
        let scaler = Scaler::from_fuse_params(shift, policy, multiplier);
        sums.iter_mut().for_each(|sum| *sum = sum.q_scale(scaler));
        return Some(());
    }
    round(sums, multiplier, u32::try_from(all).ok().filter(|all| (1..=62).contains(all))?, policy)
}

/// Shifts to the right, rounding; `None` if tract does not define it.
#[inline(always)]
pub(crate) fn shift_right(sums: &mut [i32], shift: usize, policy: RoundingPolicy) -> Option<()> {
    round(sums, 1, u32::try_from(shift).ok().filter(|shift| (1..32).contains(shift))?, policy)
}

/// `sum * multiplier / 2^shift`, rounded to the nearest: of the magnitude, ties down where the policy says so.
#[inline(always)]
fn round(sums: &mut [i32], multiplier: i32, shift: u32, policy: RoundingPolicy) -> Option<()> {
    // What is taken off a magnitude that has half a unit more: 1 lets ties go down, 0 up. `odd` is the last bit of its
    // integer part, `negative` the sign.
    match policy {
        RoundingPolicy::Native => return None,
        RoundingPolicy::Zero => magnitudes(sums, multiplier, shift, |_, _| 1),
        RoundingPolicy::Away => magnitudes(sums, multiplier, shift, |_, _| 0),
        RoundingPolicy::MinusInf => magnitudes(sums, multiplier, shift, |_, negative| u64::from(!negative)),
        RoundingPolicy::PlusInf => magnitudes(sums, multiplier, shift, |_, negative| u64::from(negative)),
        RoundingPolicy::Even => magnitudes(sums, multiplier, shift, |odd, _| 1 - odd),
        RoundingPolicy::Odd => magnitudes(sums, multiplier, shift, |odd, _| odd),
    }
    Some(())
}

#[inline(always)]
fn magnitudes(sums: &mut [i32], multiplier: i32, shift: u32, off: impl Fn(u64, bool) -> u64) {
    let (factor, half) = (u64::from(multiplier.unsigned_abs()), 1u64 << (shift - 1));
    for sum in sums {
        let negative = (*sum < 0) != (multiplier < 0);
        let magnitude = u64::from(sum.unsigned_abs()) * factor;
        let rounded = ((magnitude + half - off(magnitude >> shift & 1, negative)) >> shift) as i32;
        *sum = if negative { rounded.wrapping_neg() } else { rounded };
    }
}

/// Shifts to the left; `None` if by more than there is.
#[inline(always)]
pub(crate) fn shift_left(sums: &mut [i32], shift: usize) -> Option<()> {
    (shift < 32).then(|| sums.iter_mut().for_each(|sum| *sum <<= shift))
}

//! What tract fuses to a product, on a tile of int32 sums, as its portable kernels define it; sums wrap.

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
pub(crate) fn add_products(sums: &mut [i32], nr: usize, rows: &[i32], cols: &[i32]) {
    for (sums, row) in sums.chunks_exact_mut(nr).zip(rows) {
        for (sum, col) in sums.iter_mut().zip(cols) {
            *sum = sum.wrapping_add(row.wrapping_mul(*col));
        }
    }
}

/// Scales as tract's scalar definition does; `None` if it has none.
pub(crate) fn scale(sums: &mut [i32], shift: isize, policy: RoundingPolicy, multiplier: i32) -> Option<()> {
    let defined = policy != RoundingPolicy::Native && (-31..=31).contains(&shift);
    let scaler = Scaler::from_fuse_params(shift, policy, multiplier);
    defined.then(|| sums.iter_mut().for_each(|sum| *sum = sum.q_scale(scaler)))
}

/// Shifts to the right, rounding; `None` if tract does not define it.
pub(crate) fn shift_right(sums: &mut [i32], shift: usize, policy: RoundingPolicy) -> Option<()> {
    let defined = policy != RoundingPolicy::Native && (1..32).contains(&shift);
    defined.then(|| sums.iter_mut().for_each(|sum| *sum = sum.q_shr(shift, policy)))
}

/// Shifts to the left; `None` if by more than there is.
pub(crate) fn shift_left(sums: &mut [i32], shift: usize) -> Option<()> {
    (shift < 32).then(|| sums.iter_mut().for_each(|sum| *sum <<= shift))
}

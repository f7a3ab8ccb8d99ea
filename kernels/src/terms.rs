//! What the rows of lhs add to sums: packing them, or taking their sums where they are read in place.

use crate::block::{BlockRun, Plan};
use crate::finish::{PerRow, RowTerms};
use crate::matching::Effort;
use crate::microkernel::Microkernel;
use crate::packing::{Gather, PackRun, Side, Source};
use crate::windows::Windows;

impl BlockRun<'_> {
    /// The usual case: terms of rows differ by their sums only.
    #[inline(always)]
    pub(crate) fn plain_terms(&self) -> bool {
        let e = &self.epilogue;
        matches!((self.lhs_zeros, e.finish.row_bias, e.column_zeros), (PerRow::One(_), PerRow::One(_), None))
    }

    /// What the terms of all rows begin with, in that case: `bias + zb * K * za`.
    #[inline(always)]
    fn constant(&self) -> i32 {
        let (PerRow::One(za), PerRow::One(bias)) = (self.lhs_zeros, self.epilogue.finish.row_bias) else {
            return 0;
        };
        let za = za.wrapping_add(self.lhs_offset);
        bias.wrapping_add(self.rhs_zero.wrapping_mul((self.plan.k as i32).wrapping_mul(za)))
    }

    /// Packs `members` rows from `first` on, or takes their sums, or what they come to.
    #[inline(always)]
    fn lhs_run(&self, first: usize, members: usize, out: *mut u8, sums: *mut i32) -> PackRun {
        let Plan { k, padded_k, .. } = *self.plan;
        let source = self.lhs.member(first);
        let (factor, constant) =
            if self.plain_terms() { (self.rhs_zero.wrapping_neg(), self.constant()) } else { (1, 0) };
        let effort = Effort::Fast;
        PackRun { side: Side::Lhs, source, members, k, padded_k, gap: 0, out, sums, factor, constant, effort }
    }

    /// Computes terms that wait for their tile, of `count` rows from `first` on.
    ///
    /// # Safety
    /// Features of `K`; Job; `terms` has room for so many; the rows are read in place, and their terms are the usual ones.
    #[allow(dead_code)] // kernels of some architectures go across, others do not
    #[inline(always)]
    pub(crate) unsafe fn late_terms<K: Microkernel>(&self, first: usize, count: usize, terms: *mut i32) {
        // SAFETY: our caller's.
        unsafe { K::Gather::sums(&self.lhs_run(first, count, core::ptr::null_mut(), terms)) }
    }
}

/// Packs `count` rows of lhs from `first` on, unless they are read `in_place`, and computes their terms (semantics.md 3):
/// `row bias - zb * (rowsum - K * za)`.
#[inline(always)]
pub(crate) unsafe fn pack_rows<K: Microkernel>(
    run: &BlockRun<'_>,
    first: usize,
    count: usize,
    in_place: bool,
    late: bool,
) -> RowTerms {
    let e = &run.epilogue;
    let sums_needed = run.rhs_zero != 0 || e.column_zeros.is_some();
    // SAFETY: Job: `lhs` has `m` rows of `k` codes; the workspace has room for `block_rows` rows and terms.
    unsafe {
        let vectors = run.workspace.add(run.plan.room.row_terms).cast::<i32>();
        let (term, sum_factor, zero_factor) =
            (vectors, vectors.add(run.plan.room.terms), vectors.add(2 * run.plan.room.terms));
        let null = core::ptr::null_mut();
        if run.windows.is_some() {
            if sums_needed {
                window_sums::<K>(run, first, count, [term, sum_factor]);
            }
        } else if (sums_needed && !late) || !in_place {
            let out = if in_place { null } else { run.workspace.add(run.plan.room.lhs) };
            K::enter_pack(&run.lhs_run(first, count, out, if sums_needed { term } else { null.cast() }));
        }
        let k = run.plan.k as i32;
        let (rhs_zero, offset) = (run.rhs_zero, run.lhs_offset);
        if run.plain_terms() {
            let constant = run.constant();
            for i in 0..if sums_needed { 0 } else { count } {
                *term.add(i) = constant;
            }
            let null = core::ptr::null();
            return RowTerms { term, same: !sums_needed, sum_factor: null, zero_factor: null };
        }
        for i in 0..count {
            let za = run.lhs_zeros.at(first + i).wrapping_add(offset);
            let sum = if sums_needed { *term.add(i) } else { 0 };
            let corrected = sum.wrapping_sub(k.wrapping_mul(za));
            *term.add(i) = e.finish.row_bias.at(first + i).wrapping_sub(rhs_zero.wrapping_mul(corrected));
            *sum_factor.add(i) = za.wrapping_neg();
            *zero_factor.add(i) = corrected.wrapping_neg();
        }
        let per_row = matches!(run.lhs_zeros, PerRow::Each(_));
        let null = core::ptr::null();
        RowTerms {
            term,
            same: false,
            sum_factor: if per_row { sum_factor } else { null },
            zero_factor: if e.column_zeros.is_some() { zero_factor } else { null },
        }
    }
}

/// What [`pack_rows`] asks of rows that lie in windows: the sums of their pieces, each with the factor, and the constant once. The second
/// vector has room for those of one line.
///
/// # Safety
/// As [`pack_rows`].
#[inline(always)]
unsafe fn window_sums<K: Microkernel>(
    run: &BlockRun<'_>,
    first: usize,
    count: usize,
    [sums, room]: [*mut i32; 2],
) {
    let Some(Windows { line, row_stride, line_stride, pieces, piece, piece_stride, .. }) = run.windows.copied()
    else {
        return;
    };
    // Rows of no codes have sums, too.
    let (pieces, piece) = if pieces == 0 { (1, 0) } else { (pieces, piece) };
    let (mut row, end) = (first, first + count);
    while row < end {
        // Of one line.
        let members = (line - row % line).min(end - row);
        let start = row / line * line_stride + row % line * row_stride;
        // SAFETY: Job: `lhs` has these rows; both vectors have room for `block_rows`.
        unsafe {
            let to = sums.add(row - first);
            if K::LHS.elem.size() > 1 {
                let all = run.lhs_run(row, members, core::ptr::null_mut(), to);
                for i in 0..members {
                    let at = |k: usize| start + i * row_stride + k / piece * piece_stride + k % piece;
                    let codes = (0..pieces * piece).map(|k| K::LHS.elem.read(run.lhs.codes, at(k)));
                    let sum = codes.fold(0i32, i32::wrapping_add);
                    *to.add(i) = sum.wrapping_mul(all.factor).wrapping_add(all.constant);
                }
                row += members;
                continue;
            }
            for i in 0..pieces {
                let codes = run.lhs.codes.wrapping_add(start + i * piece_stride);
                let all = run.lhs_run(row, members, core::ptr::null_mut(), if i == 0 { to } else { room });
                let constant = if i == 0 { all.constant } else { 0 };
                let source = Source { codes, ..all.source };
                K::enter_pack(&PackRun { source, k: piece, padded_k: piece, constant, ..all });
                for j in 0..if i == 0 { 0 } else { members } {
                    *to.add(j) = (*to.add(j)).wrapping_add(*room.add(j));
                }
            }
        }
        row += members;
    }
}

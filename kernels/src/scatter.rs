//! Outputs without contiguous rows: finished rows wait in a staging area, then whole squares of them are transposed.

use crate::element::Dest;
use crate::finish::{Epilogue, copy_few};
use crate::microkernel::Microkernel;
use crate::packing::Gather;

/// Finished rows on their way to an output without contiguous rows.
#[derive(Clone, Copy, Debug)]
pub struct Staged {
    /// `rows` x `NR` outputs, row-major, aligned to 64 bytes, in room of four bytes an output.
    pub(crate) from: *const u8,
    /// First row and column in the job.
    pub(crate) row: usize,
    pub(crate) col: usize,
    /// Valid rows and columns.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// Rows that are staged at most: whole tiles, and whole squares if tiles are whole.
pub(crate) const fn staged_rows(mr: usize) -> usize {
    let twos = mr.trailing_zeros();
    mr * (8 >> if twos < 3 { twos } else { 3 })
}

/// Moves staged rows to the output.
///
/// # Safety
/// * **Features** of `K`.
/// * **Staged**: `staged` describes initialized memory of the sizes it states.
/// * **Out**: its elements are valid for writes at the strides of `e`.
#[inline(always)]
pub(crate) unsafe fn scatter<K: Microkernel>(e: &Epilogue<'_>, staged: &Staged) {
    // SAFETY: our caller's clauses; the type has the size of the output's.
    unsafe {
        match e.dest {
            Dest::U8 | Dest::I8 => by::<K, u8>(e, staged),
            Dest::I16 => by::<K, u16>(e, staged),
            Dest::I32 | Dest::F32 => by::<K, u32>(e, staged),
        }
    }
}

#[inline(always)]
unsafe fn by<K: Microkernel, T: Copy>(e: &Epilogue<'_>, staged: &Staged) {
    let &Staged { from, row, col, rows, cols } = staged;
    if e.col_stride == 1 {
        // SAFETY: our caller's clauses.
        unsafe {
            let (from, to) = (from.cast::<T>(), e.out.cast::<T>().add(row * e.row_stride + col));
            let whole = cols / 8 * 8;
            for r in 0..rows {
                let (from, to) = (from.add(r * K::NR), to.add(r * e.row_stride));
                for at in (0..whole).step_by(8) {
                    to.add(at).copy_from_nonoverlapping(from.add(at), 8);
                }
                if whole < cols {
                    copy_few(from.add(whole), to.add(whole), cols - whole);
                }
            }
        }
        return;
    }
    let (size, n) = (size_of::<T>(), <K::Gather as Gather>::N);
    // Squares of n rows by n groups of four bytes; of bytes, columns come in fours.
    let squares = n > 0 && e.row_stride == 1 && size != 2;
    let step = 4 / size;
    let (whole_rows, whole_cols) = if squares { (rows / n * n, cols / step * step) } else { (0, 0) };
    // For wider elements a square is whole or not at all.
    let whole_cols = if size == 4 && n > 0 { whole_cols / n * n } else { whole_cols };
    // SAFETY: our caller's clauses. A square reads n groups in a row, which for bytes may reach into the next row
    // or, behind the last one, into the room that wider outputs would take.
    unsafe {
        let from = from.cast::<T>();
        let out = e.out.cast::<T>().add(row * e.row_stride + col * e.col_stride);
        for r in (0..whole_rows).step_by(n.max(1)) {
            for c in (0..whole_cols).step_by(n.max(1) * step) {
                let mut v = [<K::Gather as Gather>::ZERO; 8];
                for (i, v) in v.iter_mut().enumerate().take(n) {
                    *v = K::Gather::load(from.add((r + i) * K::NR + c).cast());
                }
                K::Gather::transpose(&mut v);
                for (i, v) in v.iter().enumerate().take(n.min((whole_cols - c) / step)) {
                    let to = out.add((c + i * step) * e.col_stride + r);
                    if size == 4 {
                        K::Gather::store(to.cast(), *v);
                    } else {
                        K::Gather::store_columns(to.cast(), e.col_stride, *v);
                    }
                }
            }
        }
        for c in 0..cols {
            for r in if c < whole_cols { whole_rows } else { 0 }..rows {
                *out.add(r * e.row_stride + c * e.col_stride) = *from.add(r * K::NR + c);
            }
        }
    }
}

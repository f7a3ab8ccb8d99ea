//! The epilogue: everything that happens to an int32 sum on its way out, written once for all lanes.
//!
//! `sum + column term + row term -> scale -> + zero point -> clamp -> cast`, where the column term is
//! `bias[j] - za * colsum[j]` (paper, eq. 7; semantics.md 3). It reads a scratch tile that lies in L1.

use crate::element::{Dest, Element};
use crate::lanes::*;
use crate::microkernel::Microkernel;
use crate::rounding::{Multiplier, Rounding};

/// One value for all rows, or one a row.
#[derive(Clone, Copy, Debug)]
pub enum PerRow<'a, T> {
    /// The same for every row.
    One(T),
    /// One a row.
    Each(&'a [T]),
}

impl<'a, T: Copy> PerRow<'a, T> {
    /// The values of `count` rows from `row` on.
    pub(crate) fn part(self, row: usize, count: usize) -> Self {
        match self {
            Self::One(value) => Self::One(value),
            Self::Each(values) => Self::Each(&values[row..row + count]),
        }
    }

    /// The value of a row.
    ///
    /// # Safety
    /// Row: `row` is less than the number of values, if there is one a row.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, row: usize) -> T {
        match self {
            Self::One(value) => *value,
            // SAFETY: Row, promised by our caller.
            Self::Each(values) => unsafe { *values.get_unchecked(row) },
        }
    }
}

/// How sums become outputs.
///
/// A slice over columns has as many elements as the columns have in whole panels.
#[derive(Clone, Copy, Debug)]
pub enum Scale<'a> {
    /// `i32` output: not at all.
    None,
    /// Codes by a fixed-point rule, a multiplier a column.
    Columns {
        /// The rule.
        rounding: Rounding,
        /// Fractions, [`Multiplier::multiplier`].
        multipliers: &'a [i32],
        /// Exponents, [`Multiplier::shift`].
        shifts: &'a [i32],
        /// The caller has proven that for every sum x and shift s: `s < 0` and `|x| + 2^(-s-1) < 2^31`.
        near: bool,
    },
    /// Codes by a fixed-point rule, a multiplier a row, or one for all.
    Rows {
        /// The rule.
        rounding: Rounding,
        /// The multipliers.
        multipliers: PerRow<'a, Multiplier>,
    },
    /// Codes by the float rule, or `f32` output: `fl32(rows[i] * columns[j])`.
    Float {
        /// Factors of the columns.
        columns: &'a [f32],
        /// Factors of the rows.
        rows: PerRow<'a, f32>,
        /// The caller has proven that every product of factors is less than 1 in magnitude.
        small: bool,
    },
}

/// The bias of `f32` output.
#[derive(Clone, Copy, Debug)]
pub enum FloatBias<'a> {
    /// One a column, in whole panels.
    Columns(&'a [f32]),
    /// One a row, or one for all.
    Rows(PerRow<'a, f32>),
}

/// The output stage in its normal form.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// Added to the sums of each column, in whole panels; wraps.
    pub bias: &'a [i32],
    /// Added to the sums of each row; wraps.
    pub row_bias: PerRow<'a, i32>,
    /// The scaling.
    pub scale: Scale<'a>,
    /// For `f32` output.
    pub float_bias: FloatBias<'a>,
    /// For codes: added after scaling.
    pub zero_point: i32,
    /// For codes: the smallest output.
    pub low: i32,
    /// For codes: the largest output.
    pub high: i32,
    /// For `i32` output: add to what is there.
    pub accumulate: bool,
}

/// A [`Finish`] with what a block run adds to it.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    pub(crate) finish: &'a Finish<'a>,
    /// Column sums of packed rhs, in whole panels.
    pub(crate) column_sums: &'a [i32],
    /// The lhs zero point, in packed terms; 0 where rows have their own.
    pub(crate) lhs_zero: i32,
    /// Zero points of rhs columns, in packed terms and whole panels, if columns have their own.
    pub(crate) column_zeros: Option<&'a [i32]>,
    pub(crate) dest: Dest,
    pub(crate) out: *mut u8,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

/// Row terms of the rows of a tile, computed while packing lhs.
#[derive(Clone, Copy, Debug)]
pub struct RowTerms {
    /// What every sum of the row gains.
    pub term: *const i32,
    /// Whether that is the same for all rows.
    pub same: bool,
    /// The factor of the column sums (minus the zero point of the row), or null.
    pub sum_factor: *const i32,
    /// The factor of the column zero points (minus the corrected row sum), or null.
    pub zero_factor: *const i32,
}

impl RowTerms {
    /// The terms from row `at` on.
    ///
    /// # Safety
    /// In bounds: each pointer that is not null has at least `at` terms.
    #[inline(always)]
    pub unsafe fn add(self, at: usize) -> Self {
        let step = |p: *const i32| if p.is_null() { p } else { p.wrapping_add(at) };
        Self {
            term: step(self.term),
            same: self.same,
            sum_factor: step(self.sum_factor),
            zero_factor: step(self.zero_factor),
        }
    }
}

/// A scratch tile and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct TileAt {
    /// `rows` x `width` sums, row-major.
    pub(crate) acc: *mut i32,
    /// Room for as many elements of the output, if that has no contiguous rows.
    pub(crate) staging: *mut u8,
    /// `NR` of the kernel that made the sums.
    pub(crate) width: usize,
    /// Terms of the tile's rows.
    pub(crate) terms: RowTerms,
    /// First row and column of the tile in the job.
    pub(crate) row: usize,
    pub(crate) col: usize,
    /// Valid rows and columns of the tile.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// One way to finish, with a loop of its own.
///
/// # Safety
/// `put` writes a vector of outputs at its pointer, reads it only if `READS` says so, and nothing else is
/// touched but the slices of the epilogue. The caller upholds the clauses of [`tile`].
#[allow(clippy::missing_safety_doc)] // the contract is the trait's
pub unsafe trait Finisher<L: Lanes>: 'static {
    /// Element of the output.
    type Out: Element;
    /// Common enough for a loop of its own, and for a copy of the microkernel.
    const HOT: bool = false;
    /// What belongs to every element.
    type Common: Copy;
    /// What is added to sums on their way here.
    const OFFSET: i32 = 0;
    /// What belongs to a vector of columns.
    type Columns: Copy;
    /// What belongs to a row.
    type Row: Copy;
    /// Whether rows cost more to prepare than columns.
    const BY_ROW: bool = false;
    /// Whether outputs are the sums and nothing else.
    const SUMS: bool = false;
    /// Whether outputs are read, too.
    const READS: bool = false;
    /// Whether outputs are what [`Finisher::code`] gives, with a zero point and a clamp.
    const CODES: bool = false;
    /// Whether columns have more constants than registers are left beside the sums of a tile.
    const MANY: bool = false;
    /// Prepares a tile. Outputs may lie anywhere, so what is read later is read again after every store.
    unsafe fn common(e: &Epilogue<'_>) -> Self::Common;
    /// Prepares a vector of columns.
    unsafe fn columns(e: &Epilogue<'_>, col: usize) -> Self::Columns;
    /// Prepares a row.
    unsafe fn row(e: &Epilogue<'_>, row: usize) -> Self::Row;
    /// A vector of codes before zero point and clamp; those beyond i16 may be anything beyond i16 of the same sign.
    #[inline(always)]
    unsafe fn code(common: &Self::Common, x: L::I, columns: &Self::Columns, row: &Self::Row) -> L::I {
        let _ = (common, columns, row);
        x
    }
    /// Finishes a vector and stores it at `p`.
    unsafe fn put(common: &Self::Common, x: L::I, columns: &Self::Columns, row: &Self::Row, p: *mut Self::Out);
}

/// Finishes a tile: into the output if that has contiguous rows, else into `staging`, for [`scatter`](crate::scatter).
///
/// # Safety
/// * **Features** of `L`.
/// * **Finish**: every slice over columns reaches the end of the panel that holds the tile; every slice over
///   rows the end of the tile; column slices of the finisher's kind exist.
/// * **Tile**: `at` describes initialized memory of the sizes it states, sums aligned to 64 bytes.
/// * **Out**: the tile's elements are valid for writes, and for reads where the finisher reads.
#[inline(always)]
pub(crate) unsafe fn tile<K: Microkernel, F: Finisher<K::Lanes>>(e: &Epilogue<'_>, at: &TileAt) {
    // SAFETY: our caller's clauses, passed on; a staged tile lies in `staging`, whose rows are as long as those of the sums.
    unsafe {
        let out = e.out.cast::<F::Out>().add(at.row * e.row_stride + at.col * e.col_stride);
        let staged = e.col_stride != 1;
        let staging = at.staging.cast::<F::Out>();
        if staged && F::READS {
            for c in 0..at.cols {
                for r in 0..at.rows {
                    *staging.add(r * at.width + c) = *out.add(r * e.row_stride + c * e.col_stride);
                }
            }
        }
        let (to, step) = if staged { (staging, at.width) } else { (out, e.row_stride) };
        finish_rows::<K, K::Lanes, F>(e, at, to, step);
    }
}

/// Finishes a tile into contiguous rows, `step` elements apart.
///
/// # Safety
/// As [`tile`], with outputs from `out` on.
#[inline(always)]
pub(crate) unsafe fn finish_rows<K: Microkernel<Lanes = L>, L: Lanes, F: Finisher<L>>(
    e: &Epilogue<'_>,
    at: &TileAt,
    out: *mut F::Out,
    step: usize,
) {
    // SAFETY: the clauses of `tile`; vectors start inside the panel, so its column slices reach their ends.
    unsafe {
        let common = F::common(e);
        let mut r = 0;
        let whole = at.cols == at.width;
        if L::QUADS
            && F::CODES
            && size_of::<F::Out>() == 1
            && whole
            && at.width.is_multiple_of(across::<K>() * L::N)
        {
            r = quads::<K, L, F>(e, at, &common, out, step);
            if r == at.rows {
                return;
            }
        } else if F::HOT && !F::BY_ROW && at.rows == K::MR && whole && at.width == K::NR {
            // Known bounds: both loops are unrolled.
            let mut v = 0;
            while v < K::NR {
                let (term, columns) = (column_term::<L, F>(e, at.col + v), F::columns(e, at.col + v));
                let mut r = 0;
                while r < K::MR {
                    let row = F::row(e, at.row + r);
                    let x = L::load(at.acc.add(r * K::NR + v));
                    let x = L::add(x, L::add(term, L::splat(*at.terms.term.add(r))));
                    F::put(&common, x, &columns, &row, out.add(r * step + v));
                    r += 1;
                }
                v += L::N;
            }
            return;
        }
        // Plain loops, and pointers that go on: iterators of steps, or products, cost as much as the work of a vector.
        let (first, mut v) = (r, 0);
        if F::BY_ROW {
            while r < at.rows {
                let row = F::row(e, at.row + r);
                while v < at.cols {
                    let (term, columns) = (column_term::<L, F>(e, at.col + v), F::columns(e, at.col + v));
                    let acc = at.acc.add(r * at.width + v);
                    one::<L, F>(&common, at, (r, v), acc, term, &columns, &row, out.add(r * step + v));
                    v += L::N;
                }
                (r, v) = (r + 1, 0);
            }
        } else {
            while v < at.cols {
                let (term, columns) = (column_term::<L, F>(e, at.col + v), F::columns(e, at.col + v));
                let (mut acc, mut to) = (at.acc.add(r * at.width + v), out.add(r * step + v));
                while r < at.rows {
                    let row = F::row(e, at.row + r);
                    one::<L, F>(&common, at, (r, v), acc, term, &columns, &row, to);
                    (r, acc, to) = (r + 1, acc.wrapping_add(at.width), to.wrapping_add(step));
                }
                (r, v) = (first, v + L::N);
            }
        }
    }
}

/// The clamp of `u8` and `i8` outputs.
///
/// # Safety
/// Features of [`tile`].
#[inline(always)]
pub(crate) unsafe fn byte_clamp<L: Lanes>(e: &Epilogue<'_>) -> ByteClamp<L::I> {
    let Finish { zero_point, low, high, .. } = *e.finish;
    // SAFETY: Features.
    unsafe { ByteClamp::new::<L>(zero_point, low, high, e.dest == Dest::I8) }
}

/// Vectors of a row that are narrowed together.
const fn across<K: Microkernel>() -> usize {
    let twos = (K::NR / <K::Lanes as Lanes>::N).trailing_zeros();
    1 << if twos < 2 { twos } else { 2 }
}

/// Finishes whole rows to bytes, four vectors at a time; returns how many.
#[inline(always)]
unsafe fn quads<K: Microkernel<Lanes = L>, L: Lanes, F: Finisher<L>>(
    e: &Epilogue<'_>,
    at: &TileAt,
    common: &F::Common,
    out: *mut F::Out,
    step: usize,
) -> usize {
    let across = const { across::<K>() };
    // Rows that are narrowed together.
    let rows = 4 / across;
    // SAFETY: the clauses of `tile`: rows of whole panels.
    unsafe {
        let clamp = byte_clamp::<L>(e);
        let mut left = 0;
        loop {
            let mut terms = [L::splat(0); 4];
            let mut columns = [F::columns(e, at.col + left); 4];
            for v in 0..across {
                terms[v] = column_term::<L, F>(e, at.col + left + v * L::N);
                columns[v] = F::columns(e, at.col + left + v * L::N);
            }
            let (mut r, mut acc, mut to) = (0, at.acc.add(left), out.add(left));
            while at.rows - r >= rows {
                let mut codes = [L::splat(0); 4];
                for i in 0..rows {
                    let row = F::row(e, at.row + r + i);
                    let row_term = L::splat(*at.terms.term.add(r + i));
                    for v in 0..across {
                        let x = L::load(acc.add(i * at.width + v * L::N));
                        let x = L::add(L::add(x, terms[v]), row_term);
                        codes[i * across + v] = F::code(common, x, &columns[v], &row);
                    }
                }
                L::store_codes(to.cast(), step, rows, codes, &clamp);
                (r, acc, to) = (r + rows, acc.wrapping_add(rows * at.width), to.wrapping_add(rows * step));
            }
            left += across * L::N;
            if left >= at.width {
                return r;
            }
        }
    }
}

/// `bias[j] - za * colsum[j]`, for a vector of columns, and what the finisher wants to be added.
///
/// # Safety
/// Features and Finish of [`tile`].
#[inline(always)]
pub(crate) unsafe fn column_term<L: Lanes, F: Finisher<L>>(e: &Epilogue<'_>, col: usize) -> L::I {
    // SAFETY: Finish: both slices reach the end of the panel.
    unsafe {
        let sums = L::load(e.column_sums.as_ptr().add(col));
        let term = L::sub(L::load(e.finish.bias.as_ptr().add(col)), L::mul(L::splat(e.lhs_zero), sums));
        if F::OFFSET == 0 { term } else { L::add(term, L::splat(F::OFFSET)) }
    }
}

/// Finishes one vector, which may be the incomplete last one of a row.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // inlined into two loops; a struct would only rename its locals
unsafe fn one<L: Lanes, F: Finisher<L>>(
    common: &F::Common,
    at: &TileAt,
    (r, v): (usize, usize),
    acc: *const i32,
    term: L::I,
    columns: &F::Columns,
    row: &F::Row,
    out: *mut F::Out,
) {
    // SAFETY: the clauses of `tile`; `edge` holds a whole vector, and only valid elements are copied.
    unsafe {
        let x = L::add(L::load(acc), L::add(term, L::splat(*at.terms.term.add(r))));
        let left = at.cols - v;
        if left >= L::N {
            return F::put(common, x, columns, row, out);
        }
        let mut edge = [F::Out::default(); 16];
        if F::READS {
            copy_few(out, edge.as_mut_ptr(), left);
        }
        F::put(common, x, columns, row, edge.as_mut_ptr());
        copy_few(edge.as_ptr(), out, left);
    }
}

/// Copies less than 16 elements: eight, four, two and one, each a move or two.
///
/// # Safety
/// Both are valid for `count` elements and do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_few<T: Copy>(from: *const T, to: *mut T, count: usize) {
    let mut at = 0;
    macro_rules! part {
        ($part:literal) => {
            if count & $part != 0 {
                // SAFETY: promised by our caller.
                unsafe { to.add(at).copy_from_nonoverlapping(from.add(at), $part) }
                at += $part;
            }
        };
    }
    part!(8);
    part!(4);
    part!(2);
    part!(1);
    let _ = at;
}

/// Adds what a zero point a row or a column adds to each sum: the rank-1 terms
/// `-za[i] * colsum[j]` and `-zb[j] * (rowsum[i] - K * za[i])` (semantics.md 3).
///
/// # Safety
/// As [`tile`].
#[inline(always)]
pub(crate) unsafe fn rank_one<L: Lanes>(e: &Epilogue<'_>, at: &TileAt) {
    let pairs = [(at.terms.sum_factor, Some(e.column_sums)), (at.terms.zero_factor, e.column_zeros)];
    for (factor, values) in pairs {
        let Some(values) = values.filter(|_| !factor.is_null()) else { continue };
        // SAFETY: Tile and Finish: whole vectors of the panel and of the scratch tile.
        unsafe {
            for v in (0..at.cols).step_by(L::N) {
                let column = L::load(values.as_ptr().add(at.col + v));
                for r in 0..at.rows {
                    let acc = at.acc.add(r * at.width + v);
                    let gain = L::mul(L::splat(*factor.add(r)), column);
                    L::store(acc, L::add(L::load(acc), gain));
                }
            }
        }
    }
}

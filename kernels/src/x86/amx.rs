//! AMX: `tdpbusd` on tiles of 16 x 64 bytes, u8 x i8 with a 32-bit sum, exact for all input.
//!
//! One instruction multiplies 16 rows of lhs, 64 bytes each, by 16 columns: 16,384 products. Tiles: 4 of sums
//! (32 x 32), 2 of lhs, 2 of rhs. A tile load takes a row step, so rows of lhs are read where they are.
//! ```text
//! 64 k of lhs, rows 0..16:  t4    rhs, columns 0..16:  t6    16..32:  t7      row of a rhs tile: 4 k of 16 columns
//!             rows 16..32:  t5    t0 += t4 t6     t1 += t4 t7
//!                                 t2 += t5 t6     t3 += t5 t7
//! ```
//! Order of a step: load rhs and lhs alternately, each first used at once (limits.md 5). The sums of the upper
//! tiles are left alone where there are at most 16 rows. Tiles go to the scratch tile, and are finished there.
//!
//! Rows go across: 32 rows of lhs stay in L1 while panels of rhs stream from L2. Rows of a tile are finished between the
//! steps of the next tile, a few at a time, where the tile unit leaves the vector units idle.
//!
//! On Emerald Rapids, 2026-11-26, GOP/s of full-range data, 512 x 512 x 512 unless said otherwise; products alone 4,500:
//! * u8, finished between the steps 3,180; behind the products of the next tile 2,730, as in a program of these loops, with
//!   oneDNN at 2,920 and 3,080 in the same runs (the program: 3,670 and 2,940, and 2,880 behind each tile);
//! * i32, 3,150; stored from the tiles where nothing is added, 3,050: better only below 256 k, where that is done;
//! * columns outermost 2,240 (i32) and 2,380 (u8), where both stay in L2;
//! * rhs in one panel of 32 columns 3 to 8 % slower than in two of 16, whose tiles are 1,024 bytes that lie together;
//! * row sums of 32 rows just before their tile, or of 256 at a time, cost the same in L2; of rows that are fetched
//!   meanwhile, 12 % less beyond L2, and 14 % more within. Sums between the steps, four rows at a time: up to 12 % slower.

use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use core::marker::PhantomData;

use crate::cpu::Features;
use crate::finish::{Epilogue, Finisher, RowTerms, byte_clamp, column_term};
use crate::lanes::{ByteClamp, Lanes};
use crate::microkernel::{Direct, Microkernel, Registers, Tile, entries};
use crate::panel::{Elem, Panel};
use crate::x86::tiles::{Config, Tiles};

/// The microkernel, of the real instructions or of a model of them.
pub struct Amx<T>(PhantomData<T>);

const MR: usize = 32;
const NR: usize = 32;
const STEP: usize = 64;
/// Columns of a tile register, and so of a panel: a load takes 1,024 bytes that lie together.
const WIDTH: usize = 16;
/// Bytes from a row of sums to the next, and from 4 k of rhs to the next.
const SUMS_ROW: usize = NR * size_of::<i32>();
const RHS_ROW: usize = WIDTH * 4;

// SAFETY: tiles have the rows and columns that the contract states; a tile of rhs is 16 groups of 16 columns.
unsafe impl<T: Tiles> Microkernel for Amx<T> {
    const BACKEND: &'static str = T::NAMES.0;
    const NAME: &'static str = T::NAMES.1;
    const NEEDS: Features = T::NEEDS;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = STEP;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: WIDTH, group: 4, elem: Elem::I8 };
    type Lanes = T::Lanes;
    type Base = T::Base;
    type Gather = T::Gather;
    const DIRECT: Registers = Registers::Hot;
    const ACROSS: bool = true;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn enter_direct<F: Finisher<T::Lanes>>(direct: Direct<'_>) {
        // SAFETY: Features, Lhs, Rhs, Direct, Entered.
        unsafe { across::<T, F>(&direct) }
    }

    #[inline(always)]
    unsafe fn enter(rows: usize) {
        // SAFETY: Features.
        unsafe { T::configure(&Config::new(rows)) }
    }

    #[inline(always)]
    unsafe fn leave() {
        // SAFETY: Features.
        unsafe { T::release() }
    }

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, Entered.
        unsafe {
            accumulate_rows::<T, _>(&tile, &mut ());
            store_rows::<T>(tile.rows, tile.acc.cast(), SUMS_ROW);
        }
    }

    entries!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
}

/// Steps of K from which finishing between the products of the next tile beats storing bare sums where they belong.
const STEPS_BETWEEN: usize = 4;

/// Multiplies and finishes tiles, those of a row one after the other: its lhs stays in L1. Each is finished between the
/// products of the next.
///
/// # Safety
/// Features, Lhs, Rhs, Direct and Entered of [`Microkernel`].
#[inline(always)]
unsafe fn across<T: Tiles, F: Finisher<T::Lanes>>(direct: &Direct<'_>) {
    let &Direct { mut rows, panels, mut first, panel, mut terms, mut row, row_stride, .. } = direct;
    let mut to = direct.to.cast::<F::Out>();
    let (acc, rhs) = (first.acc, first.rhs);
    let step = first.lhs_member;
    let mut work = Meanwhile::<T, F> { before: None, next: first.lhs, step, rows: 0 };
    // SAFETY: Direct: terms, columns and outputs of every tile.
    unsafe {
        let bare = F::SUMS && !direct.stream && first.k < STEPS_BETWEEN * STEP && are_zero::<T, F>(direct);
        while rows > 0 {
            first.rows = rows.min(MR);
            if first.rows < MR {
                T::configure(&Config::new(first.rows));
            }
            if let Some(run) = direct.late {
                run.late_terms::<Amx<T>>(row, first.rows, terms.term.cast_mut());
            }
            for p in 0..panels {
                let to = to.wrapping_add(p * NR);
                first.rhs = rhs.wrapping_add(p * panel);
                // A share of the next tile's rows for each panel.
                let ahead = if direct.fetch { (rows - first.rows).min(MR) } else { 0 };
                let share = |p: usize| p * ahead / panels;
                work.next = first.lhs.wrapping_add((MR + share(p)) * step);
                work.rows = share(p + 1) - share(p);
                accumulate_rows::<T, _>(&first, &mut work);
                if bare {
                    store_rows::<T>(first.rows, to.cast(), row_stride * size_of::<i32>());
                    continue;
                }
                store_rows::<T>(first.rows, acc.cast(), SUMS_ROW);
                let at = At { acc, terms, row, col: direct.col + p * NR, rows: first.rows, to, step: row_stride };
                work.before = Some(Between::new(direct, at, first.k));
            }
            first.lhs = first.lhs.wrapping_add(MR * first.lhs_member);
            (row, terms) = (row + first.rows, terms.add(first.rows));
            to = to.wrapping_add(MR * row_stride);
            rows -= first.rows;
        }
        if let Some(before) = &mut work.before {
            before.finish(MR);
        }
    }
}

/// What goes on between the steps of a product.
trait Work {
    /// # Safety
    /// As the implementation states.
    unsafe fn step(&mut self);
    /// Does what is left.
    ///
    /// # Safety
    /// As the implementation states.
    unsafe fn rest(&mut self);
}

impl Work for () {
    #[inline(always)]
    unsafe fn step(&mut self) {}
    #[inline(always)]
    unsafe fn rest(&mut self) {}
}

/// A tile to finish: `rows` rows of sums and their terms, from `row` and `col` on, and where they go.
#[derive(Clone, Copy)]
struct At<O> {
    acc: *const i32,
    terms: RowTerms,
    row: usize,
    col: usize,
    rows: usize,
    to: *mut O,
    step: usize,
}

/// Finishes a tile, some rows at a time.
struct Between<'a, T: Tiles, F: Finisher<T::Lanes>> {
    epilogue: &'a Epilogue<'a>,
    stream: bool,
    at: At<F::Out>,
    common: F::Common,
    clamp: ByteClamp<Ints<T>>,
    /// What belongs to the columns.
    column_terms: [Ints<T>; VECTORS],
    columns: [F::Columns; VECTORS],
    /// Rows finished, and those of a step.
    done: usize,
    rows: usize,
}

/// A vector of the epilogue.
type Ints<T> = <<T as Tiles>::Lanes as Lanes>::I;
/// Vectors of a row.
const VECTORS: usize = 2;

/// The tile before is finished, and rows whose sums come next are fetched.
struct Meanwhile<'a, T: Tiles, F: Finisher<T::Lanes>> {
    before: Option<Between<'a, T, F>>,
    /// The next codes to fetch, how far apart, and of how many rows.
    next: *const u8,
    step: usize,
    rows: usize,
}

impl<T: Tiles, F: Finisher<T::Lanes>> Work for Meanwhile<'_, T, F> {
    #[inline(always)]
    unsafe fn step(&mut self) {
        for i in 0..self.rows {
            // SAFETY: a hint, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.next.wrapping_add(i * self.step).cast()) }
        }
        self.next = self.next.wrapping_add(STEP);
        if let Some(before) = &mut self.before {
            // SAFETY: as `new`.
            unsafe { before.finish(before.done + before.rows) }
        }
    }

    #[inline(always)]
    unsafe fn rest(&mut self) {
        if let Some(before) = &mut self.before {
            // SAFETY: as `new`.
            unsafe { before.finish(MR) }
        }
    }
}

impl<'a, T: Tiles, F: Finisher<T::Lanes>> Between<'a, T, F> {
    /// Prepares to finish a tile during `k` of the next.
    ///
    /// # Safety
    /// Features; `at` has columns, terms, sums and outputs as [`crate::finish::tile`] wants them, until it is finished.
    #[inline(always)]
    unsafe fn new(direct: &Direct<'a>, at: At<F::Out>, k: usize) -> Self {
        let epilogue = direct.epilogue;
        const { assert!(NR == VECTORS * T::Lanes::N) }
        // SAFETY: our caller's.
        unsafe {
            let same = T::Lanes::splat(if at.terms.same { *at.terms.term } else { 0 });
            let mut column_terms = [same; VECTORS];
            let mut columns = [F::columns(epilogue, at.col); VECTORS];
            for v in 0..VECTORS {
                let col = at.col + v * T::Lanes::N;
                column_terms[v] = T::Lanes::add(same, column_term::<T::Lanes, F>(epilogue, col));
                columns[v] = F::columns(epilogue, col);
            }
            let rows = MR.div_ceil((k / STEP).max(1)).next_multiple_of(2);
            let (common, clamp) = (F::common(epilogue), byte_clamp::<T::Lanes>(epilogue));
            Self {
                epilogue,
                stream: F::SUMS && direct.stream,
                at,
                common,
                clamp,
                column_terms,
                columns,
                done: 0,
                rows,
            }
        }
    }

    /// Finishes rows up to `end`, two at a time, an odd last one alone.
    ///
    /// # Safety
    /// As [`Between::new`].
    #[inline(always)]
    unsafe fn finish(&mut self, end: usize) {
        let end = end.min(self.at.rows);
        // SAFETY: our caller's.
        unsafe {
            while self.done + 2 <= end {
                self.rows::<2>();
            }
            if self.done < end && end == self.at.rows {
                self.rows::<1>();
            }
        }
    }

    /// Finishes `R` rows.
    #[inline(always)]
    unsafe fn rows<const R: usize>(&mut self) {
        let narrow = F::CODES && T::Lanes::QUADS && R == 2;
        let (at, mut codes) = (&self.at, [self.column_terms[0]; 4]);
        let to = at.to.wrapping_add(self.done * at.step);
        // SAFETY: as `new`: two rows of two vectors; bytes where codes are narrowed, as only those have loops of their own.
        unsafe {
            for i in 0..R {
                let r = self.done + i;
                let row = F::row(self.epilogue, at.row + r);
                let sums = at.acc.add(r * NR);
                for v in 0..VECTORS {
                    let x = T::Lanes::load(sums.add(v * T::Lanes::N));
                    let x = T::Lanes::add(x, self.column_terms[v]);
                    let x =
                        if at.terms.same { x } else { T::Lanes::add(x, T::Lanes::splat(*at.terms.term.add(r))) };
                    if narrow {
                        codes[i * VECTORS + v] = F::code(&self.common, x, &self.columns[v], &row);
                    } else {
                        let to = to.wrapping_add(i * at.step + v * T::Lanes::N);
                        if self.stream {
                            T::Lanes::stream(to.cast(), x);
                            continue;
                        }
                        F::put(&self.common, x, &self.columns[v], &row, to);
                    }
                }
            }
            if narrow {
                T::Lanes::store_codes(to.cast(), at.step, R, codes, &self.clamp);
            }
        }
        self.done += R;
    }
}

/// Whether no row and no column adds anything.
#[inline(always)]
unsafe fn are_zero<T: Tiles, F: Finisher<T::Lanes>>(direct: &Direct<'_>) -> bool {
    // SAFETY: Direct: terms of every tile; Finish: columns of every panel.
    unsafe {
        if !direct.terms.same || *direct.terms.term != 0 {
            return false;
        }
        let mut column = [0i32; 16];
        for v in (0..direct.panels * NR).step_by(T::Lanes::N) {
            T::Lanes::store(column.as_mut_ptr(), column_term::<T::Lanes, F>(direct.epilogue, direct.col + v));
            if column != [0; 16] {
                return false;
            }
        }
        true
    }
}

/// Stores `rows` rows of sums, `step` bytes apart.
#[inline(always)]
unsafe fn store_rows<T: Tiles>(rows: usize, sums: *mut u8, step: usize) {
    // SAFETY: passed on.
    unsafe { if rows > 16 { store::<T, true>(sums, step) } else { store::<T, false>(sums, step) } }
}

/// Adds up products in the tiles of sums, and does some work between them.
#[inline(always)]
unsafe fn accumulate_rows<T: Tiles, W: Work>(tile: &Tile, work: &mut W) {
    // SAFETY: passed on.
    unsafe {
        if tile.rows > 16 { accumulate::<T, W, true>(tile, work) } else { accumulate::<T, W, false>(tile, work) }
    }
}

/// Stores the tiles of sums: of up to 16 rows, or of more if `TALL`.
#[inline(always)]
unsafe fn store<T: Tiles, const TALL: bool>(sums: *mut u8, step: usize) {
    let upper = sums.wrapping_add(16 * step);
    // SAFETY: Features, Entered; our caller's: 16 or 32 rows of 128 bytes.
    unsafe {
        T::store::<0>(sums, step);
        T::store::<1>(sums.add(64), step);
        if TALL {
            T::store::<2>(upper, step);
            T::store::<3>(upper.add(64), step);
        }
    }
}

/// The same, up to 16 rows, or more if `TALL`.
#[inline(always)]
unsafe fn accumulate<T: Tiles, W: Work, const TALL: bool>(tile: &Tile, work: &mut W) {
    let step = tile.lhs_member;
    let (mut low, mut high) = (tile.lhs, tile.lhs.wrapping_add(16 * step));
    let (mut left, mut right) = (tile.rhs, tile.rhs.wrapping_add(tile.rhs_panel));
    let sums = tile.acc.cast::<u8>();
    let upper = sums.wrapping_add(16 * SUMS_ROW);
    // SAFETY: Features, Entered; Lhs: 64 bytes of each row a step; Rhs: 16 rows of 128 bytes a step; Acc.
    unsafe {
        if tile.add {
            T::load::<0>(sums, SUMS_ROW);
            T::load::<1>(sums.add(64), SUMS_ROW);
            if TALL {
                T::load::<2>(upper, SUMS_ROW);
                T::load::<3>(upper.add(64), SUMS_ROW);
            }
        } else {
            T::zero::<0>();
            T::zero::<1>();
            if TALL {
                T::zero::<2>();
                T::zero::<3>();
            }
        }
        for _ in 0..tile.k / STEP {
            T::stream::<6>(left, RHS_ROW);
            T::load::<4>(low, step);
            T::multiply::<0, 4, 6>();
            T::stream::<7>(right, RHS_ROW);
            T::multiply::<1, 4, 7>();
            if TALL {
                T::load::<5>(high, step);
                T::multiply::<2, 5, 6>();
                T::multiply::<3, 5, 7>();
            }
            (low, high) = (low.wrapping_add(STEP), high.wrapping_add(STEP));
            (left, right) = (left.wrapping_add(STEP * WIDTH), right.wrapping_add(STEP * WIDTH));
            work.step();
        }
        work.rest();
    }
}

//! The seam between the two crates: a checked description of one block run. Everything below trusts it.

use crate::backend::Backend;
use crate::block::{BlockRun, Blocking, Room};
use crate::finish::{Epilogue, Finish, FloatBias, PerRow, Scale, TileAt};
use crate::microkernel::Tile;
use crate::packing::{PackRun, Side, Source};
use crate::panel::Panel;
use crate::view::{Code, Element, MatMut, MatRef, Quantized, ZeroPoint, plus, times};
use crate::{Dest, Error};

/// Packed rhs: its panels, its sums, its zero point.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Rows of rhs.
    pub k: usize,
    /// Columns of rhs.
    pub n: usize,
    /// Panels, as [`Backend::pack`] writes them, the first aligned to 64 bytes.
    pub panels: &'a [u8],
    /// The sum of each column, as packed, in whole panels.
    pub sums: &'a [i32],
    /// Zero points, in packed terms ([`crate::Elem::offset`] added); `Each` in whole panels.
    pub zero_point: ZeroPoint<'a>,
}

impl<'a> Weights<'a> {
    /// `n` columns from `col` on, which starts a panel of `backend`.
    ///
    /// # Errors
    /// [`Error::Range`] if there are fewer columns, or `col` starts no panel; [`Error::Overflow`].
    pub fn part(&self, backend: Backend, col: usize, n: usize) -> Result<Self, Error> {
        let end = plus("cols", col, n)?;
        if end > self.n || !col.is_multiple_of(backend.nr()) {
            return Err(Error::Range { argument: "cols", end, len: self.n });
        }
        let skip = backend.packed_bytes(Side::Rhs, col, self.k)?;
        let range = Error::Range { argument: "cols", end, len: self.sums.len() };
        Ok(Self {
            n,
            panels: self.panels.get(skip..).ok_or(range)?,
            sums: self.sums.get(col..).ok_or(range)?,
            zero_point: match self.zero_point {
                ZeroPoint::One(zero) => ZeroPoint::One(zero),
                ZeroPoint::Each(zeros) => ZeroPoint::Each(zeros.get(col..).ok_or(range)?),
            },
            ..*self
        })
    }
}

/// One block run: `out = finish(sum over k of (lhs - za) * (rhs - zb))`.
///
/// ```
/// use zeropoint_kernels::*;
/// let backend = available().last().unwrap();
/// let (lhs, rhs) = ([1u8, 2, 3, 4], [5u8, 6, 7, 8]);
/// // Pack rhs: its columns are the members.
/// #[repr(align(64))]
/// struct Aligned([u8; 4096]);
/// let (mut panels, mut workspace) = (Aligned([0; 4096]), Aligned([0; 4096]));
/// let mut sums = [0i32; 64];
/// backend.pack(Side::Rhs, MatRef::row_major(&rhs, 2, 2)?, &mut panels.0, Some(&mut sums[..2]))?;
/// let zero_point = ZeroPoint::One(6 + backend.rhs().elem.offset(false));
/// let weights = Weights { k: 2, n: 2, panels: &panels.0, sums: &sums, zero_point };
/// let mut out = [0i32; 4];
/// Job {
///     lhs: MatRef::row_major(&lhs, 2, 2)?.zero_point(1),
///     weights,
///     finish: Finish::raw(&[0; 64]),
///     out: MatMut::row_major(&mut out, 2, 2)?,
///     blocking: Blocking { rows: 4, depth: usize::MAX },
/// }
/// .run(backend, &mut workspace.0)?;
/// assert_eq!(out, [1, 2, 1, 6]); // [[0, 1], [2, 3]] times [[-1, 0], [1, 2]]
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Job<'a, L, O> {
    /// Activations and their zero point.
    pub lhs: Quantized<'a, L>,
    /// Packed weights.
    pub weights: Weights<'a>,
    /// The output stage.
    pub finish: Finish<'a>,
    /// Where the results go.
    pub out: MatMut<'a, O>,
    /// How the run is cut.
    pub blocking: Blocking,
}

impl<'a> Finish<'a> {
    /// Sums as they are, `i32`, with a bias over columns (in whole panels).
    pub const fn raw(bias: &'a [i32]) -> Self {
        Self {
            bias,
            row_bias: PerRow::One(0),
            scale: Scale::None,
            float_bias: FloatBias::Rows(PerRow::One(0.0)),
            zero_point: 0,
            low: i32::MIN,
            high: i32::MAX,
            accumulate: false,
        }
    }

    /// The finish of a part: `rows` rows from `row` on, and columns from `col` on, which starts a panel.
    ///
    /// # Panics
    /// If the part reaches beyond the slices.
    pub fn part(&self, row: usize, rows: usize, col: usize) -> Self {
        let scale = match self.scale {
            Scale::None => Scale::None,
            Scale::Columns { rounding, multipliers, shifts, near } => {
                Scale::Columns { rounding, multipliers: &multipliers[col..], shifts: &shifts[col..], near }
            }
            Scale::Rows { rounding, multipliers } => {
                Scale::Rows { rounding, multipliers: multipliers.part(row, rows) }
            }
            Scale::Float { columns, rows: factors } => {
                Scale::Float { columns: &columns[col..], rows: factors.part(row, rows) }
            }
        };
        let float_bias = match self.float_bias {
            FloatBias::Columns(bias) if !bias.is_empty() => FloatBias::Columns(&bias[col..]),
            FloatBias::Columns(bias) => FloatBias::Columns(bias),
            FloatBias::Rows(bias) => FloatBias::Rows(bias.part(row, rows)),
        };
        Self { bias: &self.bias[col..], row_bias: self.row_bias.part(row, rows), scale, float_bias, ..*self }
    }

    /// Checks every vector against `m` rows and `columns` columns in whole panels, and the clamp against `O`.
    fn check<O: Element>(&self, m: usize, columns: usize) -> Result<(), Error> {
        let at_least = |argument, len: usize, expected: usize| {
            if len < expected { Err(Error::Length { argument, expected, got: len }) } else { Ok(()) }
        };
        fn rows<T>(argument: &'static str, values: &PerRow<'_, T>, m: usize) -> Result<(), Error> {
            match values {
                PerRow::Each(v) if v.len() != m => Err(Error::Length { argument, expected: m, got: v.len() }),
                _ => Ok(()),
            }
        }
        at_least("finish.bias", self.bias.len(), columns)?;
        rows("finish.row_bias", &self.row_bias, m)?;
        match &self.scale {
            Scale::None => {}
            Scale::Columns { multipliers, shifts, .. } => {
                at_least("finish.scale.multipliers", multipliers.len(), columns)?;
                at_least("finish.scale.shifts", shifts.len(), columns)?;
            }
            Scale::Rows { multipliers, .. } => rows("finish.scale.multipliers", multipliers, m)?,
            Scale::Float { columns: factors, rows: row_factors } => {
                at_least("finish.scale.columns", factors.len(), columns)?;
                rows("finish.scale.rows", row_factors, m)?;
            }
        }
        let suits = match O::DEST {
            Dest::I32 => true,
            Dest::F32 => matches!(self.scale, Scale::Float { .. }),
            Dest::U8 | Dest::I8 | Dest::I16 => !matches!(self.scale, Scale::None),
        };
        if !suits {
            return Err(Error::Length { argument: "finish.scale", expected: columns, got: 0 });
        }
        if O::DEST == Dest::F32 {
            match &self.float_bias {
                FloatBias::Columns(bias) => at_least("finish.float_bias", bias.len(), columns)?,
                FloatBias::Rows(bias) => rows("finish.float_bias", bias, m)?,
            }
        }
        if matches!(O::DEST, Dest::U8 | Dest::I8 | Dest::I16) {
            let (min, max) = O::RANGE;
            let (low, high) = (self.low, self.high);
            if low > high || low < min || high > max {
                return Err(Error::Clamp { low, high, min, max });
            }
            ZeroPoint::One(self.zero_point).check("finish.zero_point", 0, min, max)?;
        }
        Ok(())
    }
}

impl<L: Code, O: Element> Job<'_, L, O> {
    /// Runs the block. Allocates nothing.
    ///
    /// `workspace` must be aligned to 64 bytes and have [`Backend::workspace`] bytes, unless `out` is empty.
    ///
    /// # Errors
    /// Whatever does not fit together: [`Error::Shape`], [`Error::Length`], [`Error::Overflow`],
    /// [`Error::Clamp`], [`Error::ZeroPoint`], [`Error::Uninitialized`], [`Error::Workspace`].
    pub fn run(self, backend: Backend, workspace: &mut [u8]) -> Result<(), Error> {
        let row = backend.row();
        let (m, n, k) = (self.out.rows(), self.out.cols(), self.weights.k);
        let codes = self.lhs.codes;
        if (codes.rows(), codes.cols()) != (m, k) {
            return Err(Error::Shape { argument: "lhs", expected: (m, k), got: (codes.rows(), codes.cols()) });
        }
        if self.weights.n != n {
            let got = (k, self.weights.n);
            return Err(Error::Shape { argument: "weights", expected: (k, n), got });
        }
        let (padded_k, columns) = (backend.padded_k(k)?, backend.columns(n)?);
        let panels = backend.packed_bytes(Side::Rhs, n, k)?;
        // A part may start at any panel, and those after the first are aligned as their size has it.
        let align = 1 << (64 | panels / (columns / row.nr).max(1)).trailing_zeros();
        check_aligned_to("weights.panels", self.weights.panels, panels, align)?;
        let expected = columns;
        if self.weights.sums.len() < columns {
            return Err(Error::Length { argument: "weights.sums", expected, got: self.weights.sums.len() });
        }
        let (rhs_zero, column_zeros) = match self.weights.zero_point {
            ZeroPoint::One(zero) => (zero, None),
            ZeroPoint::Each(zeros) if zeros.len() >= columns => (0, Some(zeros)),
            ZeroPoint::Each(zeros) => {
                return Err(Error::Length { argument: "weights.zero_point", expected, got: zeros.len() });
            }
        };
        self.finish.check::<O>(m, columns)?;
        if self.finish.accumulate && !self.out.initialized {
            return Err(Error::Uninitialized);
        }
        let lhs_offset = row.lhs.elem.offset(L::SIGNED);
        let (lhs_zeros, lhs_zero) = match self.lhs.zero_point {
            ZeroPoint::One(zero) => (PerRow::One(zero), zero.wrapping_add(lhs_offset)),
            ZeroPoint::Each(zeros) if zeros.len() == m => (PerRow::Each(zeros), 0),
            ZeroPoint::Each(zeros) => {
                return Err(Error::Length { argument: "lhs.zero_point", expected: m, got: zeros.len() });
            }
        };
        if m == 0 || n == 0 {
            return Ok(());
        }
        let (block_rows, block_k, room) = room(backend, m, padded_k, self.blocking)?;
        check_aligned("workspace", workspace, room.total)?;
        let run = BlockRun {
            m,
            n,
            k,
            padded_k,
            lhs: Source {
                codes: codes.ptr.cast(),
                member_stride: codes.row_stride(),
                k_stride: codes.col_stride(),
                signed: L::SIGNED,
            },
            lhs_zeros,
            lhs_offset,
            rhs: self.weights.panels.as_ptr(),
            rhs_zero,
            epilogue: Epilogue {
                finish: self.finish,
                column_sums: self.weights.sums,
                lhs_zero,
                column_zeros,
                dest: O::DEST,
                out: self.out.ptr.cast(),
                row_stride: self.out.row_stride(),
                col_stride: self.out.col_stride(),
            },
            block_rows,
            block_k,
            room,
            workspace: workspace.as_mut_ptr(),
        };
        // SAFETY: Features: `backend` exists, so the CPU has them. Job: every size was checked above, and `self`
        // and `workspace` are borrowed until the call returns.
        unsafe { (row.block)(&run) };
        Ok(())
    }
}

/// Checks the start and length of memory that kernels want aligned to 64 bytes.
fn check_aligned(argument: &'static str, memory: &[u8], needed: usize) -> Result<(), Error> {
    check_aligned_to(argument, memory, needed, 64)
}

fn check_aligned_to(argument: &'static str, memory: &[u8], needed: usize, align: usize) -> Result<(), Error> {
    if memory.len() < needed || (needed > 0 && !memory.as_ptr().addr().is_multiple_of(align)) {
        // What is left once the start is aligned.
        let got = memory.len().saturating_sub(memory.as_ptr().align_offset(align).min(align));
        return match argument {
            "workspace" => Err(Error::Workspace { needed, got }),
            _ => Err(Error::Length { argument, expected: needed, got }),
        };
    }
    Ok(())
}

/// Rows and k of a block as the kernel needs them, and the layout of the workspace.
fn room(backend: Backend, m: usize, padded_k: usize, blocking: Blocking) -> Result<(usize, usize, Room), Error> {
    let row = backend.row();
    let round = |n: usize, to: usize| n.div_ceil(to).max(1).checked_mul(to);
    let overflow = Error::Overflow { argument: "workspace", a: m, b: padded_k };
    let block_rows = round(blocking.rows.min(m), row.mr).ok_or(overflow)?;
    let block_k = round(blocking.depth.min(padded_k), row.k_step).ok_or(overflow)?;
    let lines = |bytes: usize| bytes.checked_next_multiple_of(64).ok_or(overflow);
    let tile = lines(row.mr * row.nr * size_of::<i32>())?;
    let tiles = if block_k < padded_k { block_rows / row.mr } else { 1 };
    let terms = lines(times("workspace", block_rows, size_of::<i32>())?)? / size_of::<i32>();

    let lhs = 0;
    let row_terms = plus("workspace", lhs, lines(row.lhs.bytes(block_rows, padded_k).ok_or(overflow)?)?)?;
    let scratch = plus("workspace", row_terms, times("workspace", terms, 3 * size_of::<i32>())?)?;
    let staging = plus("workspace", scratch, times("workspace", tiles, tile)?)?;
    let total = plus("workspace", staging, tile)?;
    let tile_step = if tiles > 1 { tile } else { 0 };
    Ok((block_rows, block_k, Room { lhs, row_terms, terms, scratch, tile_step, staging, total }))
}

/// The parts of a backend, for tests, benches, and engines that bring loops of their own.
impl Backend {
    /// `k` in whole steps of the kernel.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn padded_k(self, k: usize) -> Result<usize, Error> {
        let step = self.k_step();
        k.checked_next_multiple_of(step).ok_or(Error::Overflow { argument: "k", a: k, b: step })
    }

    /// `n` columns in whole panels.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn columns(self, n: usize) -> Result<usize, Error> {
        n.checked_next_multiple_of(self.nr()).ok_or(Error::Overflow { argument: "n", a: n, b: self.nr() })
    }

    fn panel(self, side: Side) -> Panel {
        match side {
            Side::Lhs => self.lhs(),
            Side::Rhs => self.rhs(),
        }
    }

    /// Bytes that `members` rows of lhs, or columns of rhs, of `k` codes take when packed.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn packed_bytes(self, side: Side, members: usize, k: usize) -> Result<usize, Error> {
        let overflow = Error::Overflow { argument: "packed", a: members, b: k };
        self.panel(side).bytes(members, self.padded_k(k)?).ok_or(overflow)
    }

    /// Bytes of workspace for a [`Job`] of `m` rows.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn workspace(self, m: usize, k: usize, blocking: Blocking) -> Result<usize, Error> {
        room(self, m, self.padded_k(k)?, blocking).map(|(_, _, room)| room.total)
    }

    /// Packs the rows of lhs or the columns of rhs, and their sums if asked for.
    ///
    /// `out` must be aligned to 64 bytes; a panel layout with contiguous members leaves its skew unwritten.
    ///
    /// # Errors
    /// [`Error::Length`] if `out` or `sums` have another size, [`Error::Overflow`].
    pub fn pack<C: Code>(
        self,
        side: Side,
        codes: MatRef<'_, C>,
        out: &mut [u8],
        sums: Option<&mut [i32]>,
    ) -> Result<(), Error> {
        let by_member = match side {
            Side::Lhs => codes,
            Side::Rhs => codes.transposed(),
        };
        let (members, k) = (by_member.rows(), by_member.cols());
        check_aligned("packed", out, self.packed_bytes(side, members, k)?)?;
        if let Some(sums) = &sums
            && sums.len() != members
        {
            return Err(Error::Length { argument: "sums", expected: members, got: sums.len() });
        }
        if members == 0 {
            return Ok(());
        }
        let run = PackRun {
            side,
            source: Source {
                codes: by_member.ptr.cast(),
                member_stride: by_member.row_stride(),
                k_stride: by_member.col_stride(),
                signed: C::SIGNED,
            },
            members,
            k,
            padded_k: self.padded_k(k)?,
            out: out.as_mut_ptr(),
            sums: sums.map_or(core::ptr::null_mut(), <[i32]>::as_mut_ptr),
        };
        // SAFETY: Features: `self` exists. Source: the view was checked. Room: checked above.
        unsafe { (self.row().pack)(&run) };
        Ok(())
    }

    /// Multiplies `rows` rows of a packed lhs panel by a packed rhs panel; `k` is padded already.
    ///
    /// `acc` holds `MR` x `NR` sums, row-major, and is aligned to 64 bytes.
    ///
    /// # Errors
    /// [`Error::Length`] if a buffer is too short or not aligned, [`Error::Range`] if `rows` is not in
    /// `1..=MR` or `k` not a multiple of the step.
    pub fn tile(
        self,
        rows: usize,
        k: usize,
        lhs: &[u8],
        rhs: &[u8],
        acc: &mut [i32],
        add: bool,
    ) -> Result<(), Error> {
        let row = self.row();
        if rows == 0 || rows > row.mr {
            return Err(Error::Range { argument: "rows", end: rows, len: row.mr });
        }
        if !k.is_multiple_of(row.k_step) {
            return Err(Error::Range { argument: "k", end: k, len: row.k_step });
        }
        check_aligned("lhs", lhs, self.packed_bytes(Side::Lhs, rows, k)?)?;
        check_aligned("rhs", rhs, self.packed_bytes(Side::Rhs, row.nr, k)?)?;
        if acc.len() != row.mr * row.nr || !acc.as_ptr().addr().is_multiple_of(64) {
            return Err(Error::Length { argument: "acc", expected: row.mr * row.nr, got: acc.len() });
        }
        let lhs_member = row.lhs.strides(k).member;
        let tile = Tile { rows, k, lhs: lhs.as_ptr(), lhs_member, rhs: rhs.as_ptr(), acc: acc.as_mut_ptr(), add };
        // SAFETY: Features: `self` exists. Lhs, Rhs, Acc: checked above. Entered: right here.
        unsafe {
            (row.enter)(rows);
            (row.tile)(tile);
            (row.leave)();
        }
        Ok(())
    }

    /// Finishes one tile of sums, `MR` x `NR` and row-major, into `out`, of at most that size.
    ///
    /// `acc` is aligned to 64 bytes; it is used up. `staging` is aligned to 64 bytes and has four bytes a sum.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn finish<O: Element>(
        self,
        finish: &Finish<'_>,
        acc: &mut [i32],
        staging: &mut [u8],
        out: MatMut<'_, O>,
    ) -> Result<(), Error> {
        let row = self.row();
        let (rows, cols) = (out.rows(), out.cols());
        if rows > row.mr || cols > row.nr {
            return Err(Error::Shape { argument: "out", expected: (row.mr, row.nr), got: (rows, cols) });
        }
        if acc.len() != row.mr * row.nr || !acc.as_ptr().addr().is_multiple_of(64) {
            return Err(Error::Length { argument: "acc", expected: row.mr * row.nr, got: acc.len() });
        }
        check_aligned("staging", staging, row.mr * row.nr * size_of::<i32>())?;
        finish.check::<O>(rows, row.nr)?;
        if finish.accumulate && !out.initialized {
            return Err(Error::Uninitialized);
        }
        // Row biases are the terms; without a product there is nothing else in them.
        let mut terms = [0i32; 64];
        let Some(terms) = terms.get_mut(..rows) else {
            return Err(Error::Range { argument: "rows", end: rows, len: 64 });
        };
        for (i, term) in terms.iter_mut().enumerate() {
            *term = match finish.row_bias {
                PerRow::One(bias) => bias,
                PerRow::Each(bias) => bias[i],
            };
        }
        let epilogue = Epilogue {
            finish: *finish,
            column_sums: finish.bias,
            lhs_zero: 0,
            column_zeros: None,
            dest: O::DEST,
            out: out.ptr.cast(),
            row_stride: out.row_stride(),
            col_stride: out.col_stride(),
        };
        let null = core::ptr::null();
        let at = TileAt {
            acc: acc.as_mut_ptr(),
            staging: staging.as_mut_ptr(),
            terms: crate::finish::RowTerms { term: terms.as_ptr(), sum_factor: null, zero_factor: null },
            row: 0,
            col: 0,
            rows,
            cols,
        };
        // SAFETY: Features: `self` exists. Finish, Tile, Out: checked above.
        unsafe { (row.finish)(&epilogue, &at) };
        Ok(())
    }
}

//! The seam between the two crates: a checked description of one block run. Everything below trusts it.

use crate::Error;
use crate::backend::Backend;
use crate::block::{BlockRun, Plan};
use crate::element::{Code, Dest, Element};
use crate::finish::{Epilogue, Finish, FloatBias, PerRow, Scale};
use crate::packing::{Side, Source};
use crate::panel::Elem;
use crate::parts::{check_aligned, check_aligned_to, panel_align};
use crate::view::{MatMut, MatRef, Quantized, ZeroPoint, plus, times};
use crate::windows::{Windows, WindowsRef};

/// A weight that its panel cannot hold: what is packed is `residual` less than the weight.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outlier {
    /// Row of rhs.
    pub k: u32,
    /// Column of rhs.
    pub col: u32,
    /// What was cut off; the sum of the column has it.
    pub residual: i32,
}

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
    /// Weights that the panels cannot hold.
    pub outliers: Outliers<'a>,
}

/// The [`Outlier`]s of some columns, in any order. Those of other columns are passed over.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outliers<'a> {
    /// The outliers of all columns that were packed together.
    pub list: &'a [Outlier],
    /// Which of those columns is column 0 here.
    pub first: usize,
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
            outliers: Outliers { first: plus("cols", self.outliers.first, col)?, ..self.outliers },
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
/// let weights =
///     Weights { k: 2, n: 2, panels: &panels.0, sums: &sums, zero_point, outliers: Outliers::default() };
/// let blocking = Blocking::of_rows(4);
/// let mut out = [0i32; 4];
/// Job {
///     lhs: MatRef::row_major(&lhs, 2, 2)?.zero_point(1),
///     weights,
///     finish: Finish::raw(&[0; 64]),
///     out: MatMut::row_major(&mut out, 2, 2)?,
/// }
/// .run(&backend.plan(2, 2, blocking)?, &mut workspace.0)?;
/// assert_eq!(out, [1, 2, 1, 6]); // [[0, 1], [2, 3]] times [[-1, 0], [1, 2]]
/// # Ok::<(), Error>(())
/// ```
///
/// Lhs is a [`Quantized`] matrix, or a [`WindowsRef`].
#[derive(Debug)]
pub struct Job<'a, R, O> {
    /// Activations and their zero point.
    pub lhs: R,
    /// Packed weights.
    pub weights: Weights<'a>,
    /// The output stage.
    pub finish: Finish<'a>,
    /// Where the results go.
    pub out: MatMut<'a, O>,
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
            Scale::Float { columns, rows: factors, small } => {
                Scale::Float { columns: &columns[col..], rows: factors.part(row, rows), small }
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
    pub(crate) fn check<O: Element>(&self, m: usize, columns: usize) -> Result<(), Error> {
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
            Scale::Float { columns: factors, rows: row_factors, .. } => {
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

mod sealed {
    pub trait Sealed {}
}

/// What the lhs of a [`Job`] may be.
pub trait Rows: sealed::Sealed {
    /// As the kernel reads them: `m` of `k` codes each.
    #[doc(hidden)]
    fn lhs(&self, plan: &Plan, k: usize, m: usize) -> Result<LhsRun<'_>, Error>;
}

/// Rows of lhs, checked, their type erased.
#[doc(hidden)]
#[derive(Debug)]
pub struct LhsRun<'a> {
    source: Source,
    in_place: usize,
    windows: Option<&'a Windows>,
    zeros: PerRow<'a, i32>,
    /// The zero point of all as packed; 0 where rows have their own.
    zero: i32,
    /// What packing adds to codes and zero points.
    offset: i32,
}

impl<L: Code> sealed::Sealed for Quantized<'_, L> {}
impl<L: Code> Rows for Quantized<'_, L> {
    #[inline]
    fn lhs(&self, plan: &Plan, k: usize, m: usize) -> Result<LhsRun<'_>, Error> {
        let codes = &self.codes;
        if (codes.rows(), codes.cols()) != (m, k) {
            return Err(Error::Shape { argument: "lhs", expected: (m, k), got: (codes.rows(), codes.cols()) });
        }
        let offset = plan.backend.row().lhs.elem.offset(L::SIGNED);
        let (zeros, zero) = match self.zero_point {
            ZeroPoint::One(zero) => (PerRow::One(zero), zero.wrapping_add(offset)),
            ZeroPoint::Each(zeros) if zeros.len() == m => (PerRow::Each(zeros), 0),
            ZeroPoint::Each(zeros) => {
                return Err(Error::Length { argument: "lhs.zero_point", expected: m, got: zeros.len() });
            }
        };
        let source = Source {
            codes: codes.ptr.cast(),
            member_stride: codes.row_stride(),
            k_stride: codes.col_stride(),
            signed: L::SIGNED,
        };
        Ok(LhsRun { source, in_place: rows_in_place(plan, codes), windows: None, zeros, zero, offset })
    }
}

impl<L: Element> sealed::Sealed for WindowsRef<'_, L> {}
impl<L: Element> Rows for WindowsRef<'_, L> {
    fn lhs(&self, plan: &Plan, k: usize, m: usize) -> Result<LhsRun<'_>, Error> {
        let (backend, windows, zero) = (plan.backend, &self.windows, self.zero_point);
        if (windows.rows, self.k()) != (m, k) {
            return Err(Error::Shape { argument: "lhs", expected: (m, k), got: (windows.rows, self.k()) });
        }
        let suits = match backend.lhs().elem {
            Elem::U8 => L::DEST == Dest::U8,
            Elem::I8 => L::DEST == Dest::I8,
            Elem::I16 => L::DEST == Dest::I16,
        };
        if !backend.reads_windows() || !suits {
            return Err(Error::InPlace { argument: "lhs", kernel: backend.kernel(), codes: L::DEST });
        }
        if !windows.piece.is_multiple_of(backend.k_step()) {
            return Err(Error::Divisor { argument: "k_step", value: backend.k_step(), of: windows.piece });
        }
        let signed = L::DEST == Dest::I8;
        let source = Source { codes: self.codes.cast(), member_stride: windows.row_stride, k_stride: 1, signed };
        Ok(LhsRun { source, in_place: m, windows: Some(windows), zeros: PerRow::One(zero), zero, offset: 0 })
    }
}

/// How many rows, from the first on, are as packing would have them, but for what follows each row: it may be anything
/// where packing has zeros, since rhs has them, too, as long as the view owns it.
fn rows_in_place<L: Code>(plan: &Plan, codes: &MatRef<'_, L>) -> usize {
    let row = plan.backend.row();
    let (m, stride) = (codes.rows(), codes.row_stride());
    let suits = row.lhs.is_rows() && row.lhs.elem.size() == 1 && row.lhs.elem.offset(L::SIGNED) == 0;
    if !suits || codes.col_stride() != 1 || stride.is_multiple_of(plan.blocking.packed_strides) {
        return 0;
    }
    let beyond = (plan.padded_k - plan.k).saturating_sub(codes.after);
    if beyond == 0 {
        return m;
    }
    // The last rows are packed, in a block of their own, which must not be all there is.
    let owned = m - beyond.div_ceil(stride).min(m);
    if owned < plan.blocking.rows_before_tail { 0 } else { owned - owned % row.mr }
}

impl<R: Rows, O: Element> Job<'_, R, O> {
    /// Runs the block. Allocates nothing.
    ///
    /// `workspace` must be aligned to 64 bytes and have [`Plan::workspace_bytes`]; neither it nor the plan matters if
    /// `out` is empty.
    ///
    /// # Errors
    /// Whatever does not fit together: [`Error::Shape`], [`Error::Length`], [`Error::Overflow`],
    /// [`Error::Clamp`], [`Error::ZeroPoint`], [`Error::Uninitialized`], [`Error::Workspace`]; of windows also
    /// [`Error::InPlace`] if the backend cannot read them, [`Error::Divisor`] if their pieces are not multiples of its `k_step`.
    #[inline]
    pub fn run(self, plan: &Plan, workspace: &mut [u8]) -> Result<(), Error> {
        let row = plan.backend.row();
        let (m, n, k) = (self.out.rows(), self.out.cols(), self.weights.k);
        if self.weights.n != n {
            let got = (k, self.weights.n);
            return Err(Error::Shape { argument: "weights", expected: (k, n), got });
        }
        if plan.k != k && m > 0 && n > 0 {
            return Err(Error::Shape { argument: "plan", expected: (k, n), got: (plan.k, n) });
        }
        let lhs = self.lhs.lhs(plan, k, m)?;
        if m == 0 || n == 0 {
            return Ok(());
        }
        let count = n.div_ceil(row.nr);
        let columns = times("n", count, row.nr)?;
        // A part may start at any panel, and those after the first are aligned as their size has it.
        let packed = times("packed", count, plan.panel)?;
        check_aligned_to("weights.panels", self.weights.panels, packed, panel_align(plan.panel))?;
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
        check_aligned("workspace", workspace, plan.room.total)?;
        let run = BlockRun {
            m,
            n,
            plan,
            lhs: lhs.source,
            windows: lhs.windows,
            in_place: lhs.in_place,
            lhs_zeros: lhs.zeros,
            lhs_offset: lhs.offset,
            rhs: self.weights.panels.as_ptr(),
            outliers: self.weights.outliers,
            rhs_zero,
            epilogue: Epilogue {
                finish: &self.finish,
                column_sums: self.weights.sums,
                lhs_zero: lhs.zero,
                column_zeros,
                dest: O::DEST,
                out: self.out.ptr.cast(),
                row_stride: self.out.row_stride(),
                col_stride: self.out.col_stride(),
            },
            workspace: workspace.as_mut_ptr(),
        };
        // SAFETY: Features: the plan's backend exists, so the CPU has them. Job: every size was checked above, and `self`
        // and `workspace` are borrowed until the call returns.
        unsafe { (row.block)(&run) };
        Ok(())
    }
}

//! Where tract's pointers are: all `unsafe` of this crate.
//!
//! # The contract
//! What tract's driver promises to a kernel, though its trait does not say so:
//!
//! * **View**: the elements of a view, at its strides, are in its tensor, which is there as long as the view.
//! * **Panels**: the pointers of a product are to panels of the packing that it names, as the formats wrote them, for
//!   the same K; convolutions write columns in groups of four, of `nr`, K padded with zeros to a multiple of 4.
//! * **Operands**: what is combined with rows has `mr` numbers, with columns `nr`, a tile that is loaded both.
//! * **Tile**: a tile that is added or stored has `mr` x `nr` elements at its strides, aligned as their size asks;
//!   nobody else uses those of a store meanwhile.
//! * **Time**: all of it is there until the kernel returns.

use std::slice::from_raw_parts;

use tract_data::internal::*;
use tract_linalg::BinOp;
use tract_linalg::mmm::{FusedKerSpec, OutputStoreKer, RoundingPolicy};
use zeropoint_kernels::MatRef;

use crate::fused::With;

/// The codes of a view as a matrix.
pub(crate) fn codes<'a>(
    view: &'a TensorView<'_>,
    rows_axis: usize,
    cols_axis: usize,
) -> TractResult<MatRef<'a, i8>> {
    let (shape, strides, dt) = (view.shape(), view.strides(), view.datum_type());
    ensure!(dt.unquantized() == DatumType::I8, "zeropoint packs i8 here, not {dt:?}");
    let axes = [rows_axis, cols_axis];
    ensure!(rows_axis != cols_axis && axes.iter().all(|axis| *axis < shape.len()), "axes {axes:?} of {shape:?}");
    let [rows, cols] = axes.map(|axis| shape[axis]);
    let [row_stride, col_stride] = axes.map(|axis| usize::try_from(strides[axis]));
    let (row_stride, col_stride) =
        (row_stride.context("negative stride")?, col_stride.context("negative stride")?);
    let span = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 };
    let data = if span == 0 {
        &[]
    } else {
        // SAFETY: View; the strides are not negative, so no element is before the first.
        unsafe { from_raw_parts(view.as_ptr_unchecked::<i8>(), span) }
    };
    Ok(MatRef::new(data, rows, cols, row_stride, col_stride)?)
}

/// Zeros, aligned to 64 bytes.
pub(crate) fn zeroed(bytes: usize) -> TractResult<Blob> {
    let layout = std::alloc::Layout::from_size_align(bytes, 64)?;
    // SAFETY: the layout is valid; bytes are written before anybody reads them.
    let mut blob = unsafe { Blob::for_layout(layout) };
    blob.as_bytes_mut().fill(0);
    Ok(blob)
}

/// Runs `body`, which has to be inlined, compiled for the vectors of this CPU.
#[inline(always)]
pub(crate) fn vectorized<R>(body: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512<R>(body: impl FnOnce() -> R) -> R {
            body()
        }
        #[target_feature(enable = "avx2")]
        fn avx2<R>(body: impl FnOnce() -> R) -> R {
            body()
        }
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if wide && is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has them all.
            return unsafe { avx512(body) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has it.
            return unsafe { avx2(body) };
        }
    }
    body()
}

/// An operation of tract's list, checked as far as it can be.
pub(crate) enum Step<'a> {
    Done,
    Clear,
    /// Sums, column after column.
    Load(&'a [i32]),
    Combine(BinOp, With<'a>),
    AddProducts(&'a [i32], &'a [i32]),
    Scale(isize, RoundingPolicy, i32),
    ShiftRight(usize, RoundingPolicy),
    ShiftLeft(usize),
    AddTile(Tile),
    Store(Tile),
    MatMul {
        k: usize,
        panels: [&'a [u8]; 2],
    },
}

/// What an operation of a list for tiles of `mr` x `nr` is; `lengths` are those of panels, by K. `None` if there is no
/// such operation on sums.
pub(crate) fn step<'a>(
    op: &'a FusedKerSpec<i32>,
    [mr, nr]: [usize; 2],
    lengths: impl FnOnce(usize) -> Option<[usize; 2]>,
) -> Option<Step<'a>> {
    use FusedKerSpec as Op;
    // SAFETY: Operands, Time.
    let numbers = |pointer: *const i32, len| unsafe { from_raw_parts(pointer, len) };
    let all = |op, with| Step::Combine(op, With::All(with));
    let rows = |op, with| Step::Combine(op, With::Rows(numbers(with, mr)));
    let cols = |op, with| Step::Combine(op, With::Cols(numbers(with, nr)));
    Some(match *op {
        Op::Done => Step::Done,
        Op::Clear => Step::Clear,
        Op::LoadTile(by_columns, _) => Step::Load(numbers(by_columns, mr * nr)),
        Op::ScalarMin(with) => all(BinOp::Min, with),
        Op::ScalarMax(with) => all(BinOp::Max, with),
        Op::ScalarAdd(with) => all(BinOp::Add, with),
        Op::ScalarMul(with) => all(BinOp::Mul, with),
        Op::ScalarSub(with) => all(BinOp::Sub, with),
        Op::ScalarSubF(with) => all(BinOp::SubF, with),
        Op::PerRowMin(with) => rows(BinOp::Min, with),
        Op::PerRowMax(with) => rows(BinOp::Max, with),
        Op::PerRowAdd(with) => rows(BinOp::Add, with),
        Op::PerRowMul(with) => rows(BinOp::Mul, with),
        Op::PerRowSub(with) => rows(BinOp::Sub, with),
        Op::PerRowSubF(with) => rows(BinOp::SubF, with),
        Op::PerColMin(with) => cols(BinOp::Min, with),
        Op::PerColMax(with) => cols(BinOp::Max, with),
        Op::PerColAdd(with) => cols(BinOp::Add, with),
        Op::PerColMul(with) => cols(BinOp::Mul, with),
        Op::PerColSub(with) => cols(BinOp::Sub, with),
        Op::PerColSubF(with) => cols(BinOp::SubF, with),
        Op::QScale(shift, policy, multiplier) => Step::Scale(shift, policy, multiplier),
        Op::RoundingShiftRight(shift, policy) => Step::ShiftRight(shift, policy),
        Op::ShiftLeft(shift) => Step::ShiftLeft(shift),
        Op::AddUnicast(tile) => Step::AddTile(Tile(tile)),
        Op::AddRowColProducts(rows, cols) => Step::AddProducts(numbers(rows, mr), numbers(cols, nr)),
        Op::Store(tile) => Step::Store(Tile(tile)),
        Op::AddMatMul { k, pa, pb, packing: 0 } => {
            let [lhs, rhs] = lengths(k)?;
            // SAFETY: Panels, Time.
            let panels = unsafe { [panel(pa, lhs), panel(pb, rhs)] };
            Step::MatMul { k, panels }
        }
        Op::AddMatMul { .. } | Op::LeakyRelu(_) => return None,
    })
}

/// The bytes of a panel; those of K = 0 have no address.
///
/// # Safety
/// Panels, Time.
unsafe fn panel<'a>(pointer: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: our caller's.
    if len == 0 { &[] } else { unsafe { from_raw_parts(pointer, len) } }
}

/// A tile of a tensor.
pub(crate) struct Tile(OutputStoreKer);

impl Tile {
    fn at(&self, row: usize, col: usize) -> *mut u8 {
        let offset = self.0.row_byte_stride * row as isize + self.0.col_byte_stride * col as isize;
        self.0.ptr.wrapping_offset(offset)
    }

    /// Adds its elements to sums, rows of `nr`; `None` if they are neither i8 nor i32.
    #[inline(always)]
    pub fn add_to(&self, sums: &mut [i32], nr: usize) -> Option<()> {
        for (i, row) in sums.chunks_exact_mut(nr).enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                let at = self.at(i, j);
                // SAFETY: Tile, of the elements of `sums`.
                let value = unsafe {
                    match self.0.item_size {
                        1 => i32::from(at.cast::<i8>().read()),
                        4 => at.cast::<i32>().read(),
                        _ => return None,
                    }
                };
                *sum = sum.wrapping_add(value);
            }
        }
        Some(())
    }

    /// Stores sums, rows of `nr`, or their low bytes; `None` if its elements have another size.
    #[inline(always)]
    pub fn store(&self, sums: &[i32], nr: usize) -> Option<()> {
        match self.0.item_size {
            1 => self.store_as(sums, nr, |sum| sum as u8),
            4 => self.store_as(sums, nr, |sum| sum),
            _ => return None,
        }
        Some(())
    }

    #[inline(always)]
    fn store_as<T>(&self, sums: &[i32], nr: usize, of: impl Fn(i32) -> T) {
        let OutputStoreKer { row_byte_stride, col_byte_stride, .. } = self.0;
        let together = size_of::<T>() as isize;
        // SAFETY: Tile, of the elements of `sums`.
        unsafe {
            if col_byte_stride == together {
                for (i, row) in sums.chunks_exact(nr).enumerate() {
                    let to = self.at(i, 0).cast::<T>();
                    row.iter().enumerate().for_each(|(j, sum)| to.add(j).write(of(*sum)));
                }
            } else {
                let (mr, row_step) = (sums.len() / nr, row_byte_stride / together);
                for j in 0..nr {
                    let to = self.at(0, j).cast::<T>();
                    if row_byte_stride == together {
                        (0..mr).for_each(|i| to.add(i).write(of(sums[i * nr + j])));
                    } else {
                        (0..mr).for_each(|i| to.offset(i as isize * row_step).write(of(sums[i * nr + j])));
                    }
                }
            }
        }
    }
}

//! A kernel of tract whose tiles are zeropoint's.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use tract_data::prelude::DatumType;
use tract_linalg::isa::{self, Arch, native};
use tract_linalg::mmm::{FusedKerSpec, FusedSpec, MMMInputFormat, MatMatMulKer};
use tract_linalg::pack::PackedI8K4;
use zeropoint_kernels::{Backend, Elem, Error, Side};

use crate::edge::{self, Step};
use crate::format::{Panels, Room};
use crate::fused;

thread_local! {
    static TILES: Cell<u64> = const { Cell::new(0) };
    static SUMS: RefCell<Vec<i32>> = const { RefCell::new(vec![]) };
}

/// Tiles that zeropoint multiplied for tract on this thread. Counts what ran, for those who want to be sure.
pub fn tiles() -> u64 {
    TILES.get()
}

/// Products of i8 by i8 to int32 sums on a backend of zeropoint, and what tract fuses to them.
///
/// ```
/// use tract_linalg::mmm::MatMatMul;
/// let backend = zeropoint_kernels::Backend::named("scalar")?;
/// let kernel = zeropoint_tract::Kernel::products(backend);
/// assert_eq!((MatMatMul::mr(&kernel), MatMatMul::nr(&kernel)), (backend.mr(), backend.nr()));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone)]
pub struct Kernel {
    name: String,
    lhs: Panels,
    /// Columns in a format of ours; else in the one of tract that the packings say.
    rhs: Option<Panels>,
    packings: Vec<Formats>,
}

type Formats = (Box<dyn MMMInputFormat>, Box<dyn MMMInputFormat>);

impl Kernel {
    /// For products: zeropoint packs both sides.
    pub fn products(backend: Backend) -> Self {
        let side = |side| Panels { backend, side, room: Room::Behind };
        let (lhs, rhs) = (side(Side::Lhs), side(Side::Rhs));
        let packings: Vec<Formats> = vec![(Box::new(lhs.clone()), Box::new(rhs.clone()))];
        Self { name: format!("zeropoint-{}", backend.kernel()), lhs, rhs: Some(rhs), packings }
    }

    /// For convolutions: tract writes the columns, which it can in groups of four i8. `None` if the backend wants
    /// others.
    pub fn convolutions(backend: Backend) -> Option<Self> {
        let (rows, cols) = (backend.lhs(), backend.rhs());
        let suits = rows.elem == Elem::U8
            && rows.is_rows()
            && (cols.elem, cols.group, cols.width) == (Elem::I8, 4, backend.nr())
            && backend.k_step() == 4
            && !backend.is_proven();
        suits.then(|| {
            let lhs = Panels { backend, side: Side::Lhs, room: Room::Row };
            let columns = PackedI8K4 { r: backend.nr(), align: 64 };
            let packings: Vec<Formats> = vec![(Box::new(lhs.clone()), Box::new(columns))];
            Self { name: format!("zeropoint-{}-columns", backend.kernel()), lhs, rhs: None, packings }
        })
    }

    /// Bytes of the panels of both sides, with what follows them.
    fn lengths(&self, k: usize) -> Result<[usize; 2], Error> {
        let rhs = match &self.rhs {
            Some(rhs) => rhs.step(k)?,
            None => self.lhs.backend.panel_bytes(Side::Rhs, k)?,
        };
        Ok([self.lhs.step(k)?, rhs])
    }

    /// Adds a product to the sums of a tile; `k` is not padded.
    #[inline(always)]
    fn multiply(&self, k: usize, [lhs, rhs]: [&[u8]; 2], acc: &mut [i32]) -> Result<(), Error> {
        let backend = self.lhs.backend;
        let (padded_k, mr, nr) = (backend.padded_k(k)?, backend.mr(), backend.nr());
        let offsets = [Side::Lhs, Side::Rhs].map(|side| backend.offset::<i8>(side));
        if let Some(panels) = &self.rhs {
            if offsets != [0, 0] {
                let (rows, cols) = (terms(lhs, self.lhs.behind(k)?), terms(rhs, panels.behind(k)?));
                for (sums, row) in acc.chunks_exact_mut(nr).zip(rows) {
                    let row = i32::from_ne_bytes(*row);
                    for (sum, col) in sums.iter_mut().zip(cols) {
                        *sum = sum.wrapping_add(row.wrapping_add(i32::from_ne_bytes(*col)));
                    }
                }
            }
            return backend.tile(mr, padded_k, lhs, rhs, acc, true);
        }
        let last = (mr - 1) * nr;
        acc[last..mr * nr].fill(0);
        backend.tile(mr, padded_k, lhs, rhs, acc, true)?;
        let (sums, cols) = acc.split_at_mut(last);
        for sums in sums.chunks_exact_mut(nr) {
            for (sum, col) in sums.iter_mut().zip(&*cols) {
                *sum = sum.wrapping_sub(offsets[0].wrapping_mul(*col));
            }
        }
        Ok(())
    }

    /// Does what a list of tract says. `None` if something in it is not defined.
    #[inline(always)]
    fn run(&self, ops: &[FusedKerSpec<i32>], acc: &mut [i32]) -> Option<()> {
        let (mr, nr) = (self.lhs.members(), self.lhs.backend.nr());
        for op in ops {
            let step = edge::step(op, [mr, nr], |k| self.lengths(k).ok())?;
            if let Step::MatMul { k, panels } = step {
                self.multiply(k, panels, acc).ok()?;
                TILES.set(TILES.get() + 1);
                continue;
            }
            let sums = &mut acc[..mr * nr];
            match step {
                Step::Done => break,
                Step::Clear => sums.fill(0),
                Step::Load(by_columns) => {
                    for (at, sum) in sums.iter_mut().enumerate() {
                        *sum = by_columns[at % nr * mr + at / nr];
                    }
                }
                Step::Combine(op, with) => fused::combine(sums, nr, op, with),
                Step::AddProducts(rows, cols) => fused::add_products(sums, nr, rows, cols),
                Step::Scale(shift, policy, multiplier) => fused::scale(sums, shift, policy, multiplier)?,
                Step::ShiftRight(shift, policy) => fused::shift_right(sums, shift, policy)?,
                Step::ShiftLeft(shift) => fused::shift_left(sums, shift)?,
                Step::AddTile(tile) => tile.add_to(sums, nr)?,
                Step::Store(tile) => tile.store(sums, nr)?,
                Step::MatMul { .. } => {}
            }
        }
        Some(())
    }
}

/// The terms behind a panel.
fn terms(panel: &[u8], behind: usize) -> &[[u8; 4]] {
    panel[behind..].as_chunks().0
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl MatMatMulKer for Kernel {
    type Acc = i32;

    fn name(&self) -> &str {
        &self.name
    }

    fn kernel(&self, ops: &[FusedKerSpec<i32>]) -> isize {
        SUMS.with_borrow_mut(|memory| {
            // Kernels with a proof of their weights ask for room by K.
            let k = ops.iter().map(|op| if let FusedKerSpec::AddMatMul { k, .. } = op { *k } else { 0 }).max();
            let backend = self.lhs.backend;
            let len = backend.padded_k(k.unwrap_or(0)).and_then(|k| backend.tile_len(k));
            let done = len.ok().and_then(|len| {
                if memory.len() < len + 16 {
                    memory.resize(len + 16, 0);
                }
                let start = memory.as_ptr().align_offset(64);
                edge::vectorized(|| self.run(ops, &mut memory[start..start + len]))
            });
            isize::from(done.is_none())
        })
    }

    fn mr(&self) -> usize {
        self.lhs.members()
    }

    fn nr(&self) -> usize {
        self.lhs.backend.nr()
    }

    // tract takes a kernel without one for a last resort.
    fn arch(&self) -> Option<Arch> {
        native().arch()
    }

    /// Never by tract's own order: only our tier asks for it.
    fn boost(&self) -> isize {
        isa::NEVER_PREFERRED
    }

    fn packings(&self) -> &[Formats] {
        &self.packings
    }

    fn stores(&self) -> Cow<'_, [DatumType]> {
        Cow::Borrowed(&[DatumType::I32, DatumType::I8, DatumType::U8])
    }

    /// What makes no sense on integers is left to tract.
    fn can_fuse(&self, spec: &FusedSpec<'_>) -> bool {
        !matches!(spec, FusedSpec::LeakyRelu(_))
    }

    fn stores_row_major_tile(&self) -> bool {
        true
    }
}

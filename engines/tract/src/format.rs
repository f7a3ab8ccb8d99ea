//! Panels of zeropoint as a packed format of tract.

use std::fmt;
use std::hash::{Hash, Hasher};

use tract_data::internal::*;
use tract_linalg::WeightType;
use tract_linalg::mmm::{EagerPackedInput, MMMInputFormat, MMMInputValue, PackedExoticFact, PackedMatrixStorage};
use zeropoint_kernels::{Backend, Error, MatRef, Side};

use crate::edge;

/// How one side of a product of i8 is packed: panels of a backend, each followed by what a [`Room`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panels {
    pub(crate) backend: Backend,
    pub(crate) side: Side,
    pub(crate) room: Room,
}

/// Where the terms are that moving i8 to u8 costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// Behind each panel, one a member.
    Behind,
    /// In the last row of a panel of lhs, all ones: its sums are those of the columns, whoever packed them.
    Row,
}

impl Panels {
    /// Rows or columns of a tile, as tract sees them.
    pub fn members(&self) -> usize {
        self.backend.members(self.side) - usize::from(self.room == Room::Row)
    }

    /// Bytes of a panel without its terms.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn panel_bytes(&self, k: usize) -> Result<usize, Error> {
        self.backend.panel_bytes(self.side, k)
    }

    /// Where the terms of a panel begin.
    pub(crate) fn behind(&self, k: usize) -> Result<usize, Error> {
        let bytes = self.panel_bytes(k)?;
        bytes.checked_next_multiple_of(64).ok_or(Error::Overflow { argument: "panel", a: bytes, b: 64 })
    }

    /// Bytes from a panel to the next, which is somewhere else even if K is 0.
    pub(crate) fn step(&self, k: usize) -> Result<usize, Error> {
        let behind = self.behind(k)?;
        let terms = if self.room == Room::Row { 0 } else { self.members() * size_of::<i32>() };
        let overflow = Error::Overflow { argument: "panel", a: behind, b: terms };
        behind.max(1).checked_add(terms).and_then(|bytes| bytes.checked_next_multiple_of(64)).ok_or(overflow)
    }

    /// Packs codes, a member a row.
    fn pack(&self, codes: MatRef<'_, i8>, out: &mut [u8]) -> Result<(), Error> {
        let (members, k) = (self.members(), codes.cols());
        let offsets = [Side::Lhs, Side::Rhs].map(|side| self.backend.offset::<i8>(side));
        let (behind, step) = (self.behind(k)?, self.step(k)?);
        let mut sums = vec![0; members];
        for (p, panel) in out.chunks_exact_mut(step).enumerate() {
            let count = members.min(codes.rows() - p * members);
            let part = codes.part(p * members, 0, count, k)?;
            let part = if self.side == Side::Lhs { part } else { part.transposed() };
            let (panel, terms) = panel.split_at_mut(behind);
            self.backend.pack(self.side, part, panel, Some(&mut sums[..count]))?;
            match self.room {
                Room::Row => {
                    let strides = self.backend.lhs().strides(self.backend.padded_k(k)?);
                    (0..k).for_each(|k| panel[strides.offset(members, k)] = 1);
                }
                // The other side's zero point times these sums; one side has the product of both.
                Room::Behind => {
                    let (zero, both) = match self.side {
                        Side::Lhs => (offsets[1], (k as i32).wrapping_mul(offsets[0] * offsets[1])),
                        Side::Rhs => (offsets[0], 0),
                    };
                    for (term, sum) in terms.chunks_exact_mut(size_of::<i32>()).zip(&sums[..count]) {
                        term.copy_from_slice(&both.wrapping_sub(zero.wrapping_mul(*sum)).to_ne_bytes());
                    }
                }
            }
        }
        Ok(())
    }
}

impl Hash for Panels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.backend.kernel(), self.side == Side::Lhs, self.room).hash(state);
    }
}

impl fmt::Display for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:?}[{}]", self.backend.kernel(), self.side, self.members())
    }
}

impl MMMInputFormat for Panels {
    fn prepare_tensor(&self, t: &Tensor, k_axis: usize, mn_axis: usize) -> TractResult<Tensor> {
        Ok(PackedMatrixStorage::new(self.prepare_one(t, k_axis, mn_axis)?).into_tensor(t.datum_type()))
    }

    fn prepare_one_view(
        &self,
        t: &TensorView,
        k_axis: usize,
        mn_axis: usize,
    ) -> TractResult<Box<dyn MMMInputValue>> {
        let codes = edge::codes(t, mn_axis, k_axis)?;
        let (mn, k) = (codes.rows(), codes.cols());
        let panel_bytes = self.step(k)?;
        let bytes = panel_bytes.checked_mul(mn.div_ceil(self.members())).context("packed size overflows")?;
        let mut packed = edge::zeroed(bytes)?;
        self.pack(codes, packed.as_bytes_mut())?;
        let fact = PackedExoticFact { format: Box::new(self.clone()), mn: mn.to_dim(), k };
        Ok(Box::new(EagerPackedInput { fact, packed: packed.into(), panel_bytes, mn }))
    }

    fn precursor(&self) -> WeightType {
        WeightType::Plain(DatumType::I8)
    }

    fn r(&self) -> usize {
        self.members()
    }

    fn k_alignment(&self) -> usize {
        self.backend.k_step()
    }

    fn mem_size(&self, k: TDim, mn: TDim) -> TDim {
        let panel = k.to_usize().ok().and_then(|k| self.step(k).ok()).unwrap_or(0);
        mn.divceil(self.members()) * panel
    }

    fn extract_at_mn_f16(&self, _: &EagerPackedInput, _: usize, _: &mut [f16]) -> TractResult<()> {
        bail!("{self} holds integers")
    }

    fn extract_at_mn_f32(&self, _: &EagerPackedInput, _: usize, _: &mut [f32]) -> TractResult<()> {
        bail!("{self} holds integers")
    }
}

//! Any layout in plain Rust, so that the packer, the block loop and the edges of every backend can be tested on
//! any machine, in debug builds, under Miri and sanitizers.

use crate::cpu::Features;
use crate::microkernel::{Microkernel, Tile, entries};
use crate::packing::NoGather;
use crate::panel::{Elem, Panel};

/// What a [`Twin`] imitates.
pub trait Shape: 'static {
    /// Its name: "twin-", then the name of its model, or of its oddity.
    const NAME: &'static str;
    /// Rows and columns of a tile.
    const TILE: (usize, usize);
    /// Columns of a panel of rhs.
    const WIDTH: usize = Self::TILE.1;
    /// What K is padded to.
    const K_STEP: usize;
    /// Groups of lhs and rhs.
    const GROUPS: (usize, usize);
    /// Element types of lhs and rhs.
    const ELEMS: (Elem, Elem);
    /// Lanes of its epilogue.
    type Lanes: crate::Lanes;
}

/// A microkernel in plain Rust with the layout of `S`.
pub struct Twin<S>(core::marker::PhantomData<S>);

// SAFETY: `tile` reads elements at the offsets of the layouts and writes the sums of `rows` rows.
unsafe impl<S: Shape> Microkernel for Twin<S> {
    const BACKEND: &'static str = "twin";
    const NAME: &'static str = S::NAME;
    const NEEDS: Features = Features::NONE;
    const MR: usize = S::TILE.0;
    const NR: usize = S::TILE.1;
    const K_STEP: usize = S::K_STEP;
    const LHS: Panel = Panel { width: S::TILE.0, group: S::GROUPS.0, elem: S::ELEMS.0 };
    const RHS: Panel = Panel { width: S::WIDTH, group: S::GROUPS.1, elem: S::ELEMS.1 };
    type Lanes = S::Lanes;
    type Base = Self;
    type Gather = NoGather;
    const ONE_LOOP: bool = true;
    const WINDOWS: bool = S::GROUPS.0 == Panel::ROWS;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // Only steps inside a panel are used, and those of groups do not depend on K.
        let lhs = crate::Strides { member: tile.lhs_member, ..Self::LHS.strides(tile.k) };
        let (rhs, width) = (Self::RHS.strides(tile.k), Self::RHS.width);
        for i in 0..tile.rows {
            for j in 0..Self::NR {
                // SAFETY: Lhs, Windows, Rhs, Acc.
                unsafe {
                    let acc = tile.acc.add(i * Self::NR + j);
                    let mut sum = if tile.add { *acc } else { 0 };
                    for k in 0..tile.k {
                        let a = if let Some(windows) = tile.windows.as_ref() {
                            windows.read(Self::LHS.elem, tile.lhs, i, k)
                        } else {
                            Self::LHS.elem.read(tile.lhs, lhs.offset(i, k))
                        };
                        let b =
                            Self::RHS.elem.read(tile.rhs, j / width * tile.rhs_panel + rhs.offset(j % width, k));
                        sum = sum.wrapping_add(a.wrapping_mul(b));
                    }
                    *acc = sum;
                }
            }
        }
    }

    entries!();
}

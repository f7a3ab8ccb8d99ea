//! Proofs that panels of rhs carry: where they hold, a fast instruction that adds products in 16 bits is exact for every lhs.

pub(crate) mod pairs;
pub(crate) mod strips;

use core::fmt;

use crate::panel::Panel;

/// What panels carry, and so their layout: [`crate::Microkernel::RHS`] states only their width and type, or the layout of
/// what follows a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Strips that look for an order of k (`strips.rs`): u8 by i8, several products a lane.
    Strips,
    /// A head that says whether all pairs fit (`pairs.rs`): i8 by i8.
    Pairs,
}

impl Proof {
    /// Bytes that panels take for `members` columns; `None` on overflow.
    pub(crate) fn bytes(self, panel: &Panel, members: usize, padded_k: usize) -> Option<usize> {
        match self {
            Self::Strips => strips::bytes(members, padded_k),
            Self::Pairs => pairs::bytes(panel, members, padded_k),
        }
    }

    /// Rows and bytes of a row that a kernel wants for copies of lhs, of tiles of `mr` rows.
    pub(crate) const fn buffer(self, mr: usize, padded_k: usize) -> (usize, usize) {
        match self {
            Self::Strips => (strips::PANEL / strips::STRIP * mr, strips::buffer_step(padded_k)),
            Self::Pairs => (0, 0),
        }
    }

    /// Checks whole panels: that the proof holds, and that heads are what they should be. Returns the shares, or what is
    /// wrong.
    pub(crate) fn verify(self, panel: &Panel, panels: &[u8], padded_k: usize) -> Result<Shares, &'static str> {
        match self {
            Self::Strips => strips::verify(panels, padded_k),
            Self::Pairs => pairs::verify(panel, panels, padded_k),
        }
    }
}

/// Which share of the weights is multiplied how, in steps: of eight k of sixteen columns, or of sixteen k of four where
/// the proof is about single pairs only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Four pairs are added in 16 bits.
    pub fours: usize,
    /// Two pairs are added in 16 bits.
    pub runs: usize,
    /// Single pairs.
    pub pairs: usize,
    /// Widened to 16 bits: exact without a proof.
    pub wides: usize,
    /// Steps for which the lhs is shuffled first; those that share the copy of others do not count.
    pub shuffled: usize,
}

impl Shares {
    /// What a step costs by `vpmaddwd`, on the scale of [`Shares::cost`].
    pub const ALWAYS_EXACT: usize = 150;

    /// All steps.
    pub fn steps(&self) -> usize {
        self.fours + self.runs + self.pairs + self.wides
    }

    /// What the steps cost, in percent of runs of two (Zen 4; section 3 of limits.md says the same of another CPU):
    /// the always-exact `vpmaddwd` kernel takes [`Shares::ALWAYS_EXACT`] for each.
    pub fn cost(&self) -> usize {
        93 * self.fours + 100 * self.runs + 121 * self.pairs + 190 * self.wides + 5 * self.shuffled
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |count: usize| 100.0 * count as f64 / self.steps().max(1) as f64;
        let Self { fours, runs, pairs, wides, shuffled } = *self;
        write!(f, "proven for runs of four {:.1} %, of two {:.1} %, ", percent(fours), percent(runs))?;
        write!(f, "pairs {:.1} %, widened {:.1} %; ", percent(pairs), percent(wides))?;
        write!(f, "lhs shuffled for {:.1} %", percent(shuffled))
    }
}

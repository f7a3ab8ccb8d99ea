//! The list of backends: one row a microkernel. Dispatch, tests, benches, fuzzers and documentation walk it.

use crate::block::{self, BlockRun};
use crate::cpu::Features;
use crate::depthwise::{self, DepthwiseRun};
use crate::fake_quant::FakeQuantRun;
use crate::finish::{Epilogue, TileAt};
use crate::lanes::Lanes;
use crate::microkernel::{Microkernel, Tile};
use crate::packing::{Gather, PackRun};
use crate::pairwise::{self, PairwiseRun};
use crate::panel::Panel;
use crate::proof::{Proof, pairs, strips};
use crate::ways;
use crate::weave::WeaveRun;
use crate::{Error, error::Name};

/// A microkernel as a row of the table: what it is, and its entries.
#[derive(Debug)]
pub struct Row {
    pub(crate) backend: &'static str,
    pub(crate) kernel: &'static str,
    pub(crate) needs: Features,
    pub(crate) mr: usize,
    pub(crate) nr: usize,
    pub(crate) k_step: usize,
    pub(crate) lhs: Panel,
    pub(crate) rhs: Panel,
    pub(crate) proof: Option<Proof>,
    pub(crate) across: bool,
    pub(crate) windows: bool,
    pub(crate) block: unsafe fn(&BlockRun<'_>),
    pub(crate) tile: unsafe fn(Tile),
    pub(crate) enter: unsafe fn(usize),
    pub(crate) leave: unsafe fn(),
    pub(crate) pack: unsafe fn(&PackRun),
    pub(crate) finish: unsafe fn(&Epilogue<'_>, &TileAt),
    pub(crate) depthwise: unsafe fn(&DepthwiseRun<'_>),
    pub(crate) quads: bool,
    pub(crate) woven: bool,
    pub(crate) lanes: usize,
    pub(crate) pairwise: unsafe fn(&PairwiseRun<'_>),
    pub(crate) fake_quant: unsafe fn(&FakeQuantRun<'_>),
    pub(crate) weave: unsafe fn(&WeaveRun),
}

impl Row {
    /// The backend's name: "avx2".
    pub const fn name(&self) -> &'static str {
        self.backend
    }

    /// The kernel's name: architecture, instruction, tile.
    pub const fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The CPU features it needs.
    pub const fn needs(&self) -> Features {
        self.needs
    }
}

/// The row of a microkernel.
///
/// ```
/// use zeropoint_kernels::{Backend, Row, describe, scalar::Scalar};
/// static ROW: Row = describe::<Scalar>();
/// assert_eq!(Backend::detect(&ROW).unwrap().name(), "scalar");
/// ```
pub const fn describe<K: Microkernel>() -> Row {
    assert!(K::MR > 0 && K::NR > 0 && K::K_STEP > 0 && K::NR.is_multiple_of(K::RHS.width));
    assert!(K::PROOF.is_none() || K::NR == K::RHS.width);
    assert!(K::LHS.is_rows() || (K::LHS.width == K::MR && K::K_STEP.is_multiple_of(K::LHS.group)));
    match K::PROOF {
        None => {}
        Some(Proof::Strips) => assert!(K::NR == strips::PANEL && K::K_STEP == strips::BLOCK),
        Some(Proof::Pairs) => assert!(K::RHS.group == pairs::STEP && K::RHS.elem.size() == 1),
    }
    assert!(!K::WINDOWS || (K::LHS.is_rows() && K::PROOF.is_none() && !K::ACROSS));
    assert!(K::NEEDS.contains(<K::Base as Microkernel>::NEEDS));
    assert!(<K::Lanes as Lanes>::N == <<K::Base as Microkernel>::Lanes as Lanes>::N);
    assert!(K::BESIDE > 0 && K::BESIDE <= K::MR);
    assert!(K::RHS.is_rows() || K::K_STEP.is_multiple_of(K::RHS.group));
    let squares = K::Gather::N;
    assert!(squares == 0 || K::LHS.is_rows() || K::LHS.width.is_multiple_of(squares));
    assert!(squares == 0 || K::RHS.is_rows() || K::RHS.width.is_multiple_of(squares));
    Row {
        backend: K::BACKEND,
        kernel: K::NAME,
        needs: K::NEEDS,
        mr: K::MR,
        nr: K::NR,
        k_step: K::K_STEP,
        lhs: K::LHS,
        rhs: K::RHS,
        proof: K::PROOF,
        across: K::ACROSS,
        windows: K::WINDOWS,
        block: block::run::<K>,
        tile: K::enter_tile,
        enter: K::enter,
        leave: K::leave,
        pack: K::enter_pack,
        finish: ways::finish_out::<K>,
        depthwise: depthwise::run::<K>,
        quads: K::QUADS,
        woven: <<K::Base as Microkernel>::Lanes as Lanes>::WOVEN,
        lanes: <K::Lanes as Lanes>::N,
        pairwise: pairwise::run::<K::Base>,
        fake_quant: <K::Base as Microkernel>::enter_fake_quant,
        weave: <K::Base as Microkernel>::enter_weave,
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(zeropoint_scalar_only, miri))] {
        /// Every backend this build knows, best first, scalar last.
        pub static TABLE: &[Row] = &[describe::<crate::scalar::Scalar>()];
    } else if #[cfg(target_arch = "x86_64")] {
        /// Every backend this build knows, best first, scalar last.
        pub static TABLE: &[Row] = &[
            describe::<crate::x86::amx::Amx<crate::x86::tiles::Instructions>>(),
            describe::<crate::x86::avx512_vnni::Avx512Vnni<14, 2>>(),
            describe::<crate::x86::avx512_vnni::Avx512Vnni<6, 4>>(),
            describe::<crate::x86::avx512_vnni::Avx512Vnni<12, 1>>(),
            describe::<crate::x86::avx_vnni::AvxVnni>(),
            describe::<crate::x86::avx512::Avx512>(),
            describe::<crate::x86::avx2::Avx2<2>>(),
            describe::<crate::x86::avx2::Avx2<1>>(),
            describe::<crate::x86::avx2_proven::Avx2Proven>(),
            describe::<crate::scalar::Scalar>(),
        ];
    } else if #[cfg(all(target_arch = "aarch64", target_feature = "neon"))] {
        /// Every backend this build knows, best first, scalar last.
        pub static TABLE: &[Row] = &[
            describe::<crate::aarch64::i8mm::I8mm>(),
            describe::<crate::aarch64::dotprod::Dotprod>(),
            describe::<crate::aarch64::neon::Neon>(),
            describe::<crate::aarch64::neon_proven::NeonProven>(),
            describe::<crate::scalar::Scalar>(),
        ];
    } else {
        /// Every backend this build knows, best first, scalar last.
        pub static TABLE: &[Row] = &[describe::<crate::scalar::Scalar>()];
    }
}

/// A row of the table that this CPU can run: holding one is the proof.
#[derive(Clone, Copy)]
pub struct Backend(&'static Row);

impl Backend {
    /// The row, if this CPU has the features it needs.
    pub fn detect(row: &'static Row) -> Option<Self> {
        Features::detect().contains(row.needs).then_some(Self(row))
    }

    /// The first kernel of the backend of this name: one that suits all operands.
    ///
    /// # Errors
    /// [`Error::Backend`], which lists the available names, if it is unknown or not available.
    ///
    /// ```
    /// use zeropoint_kernels::Backend;
    /// assert_eq!(Backend::named("scalar")?.name(), "scalar");
    /// assert!(Backend::named("abacus").unwrap_err().to_string().contains("scalar"));
    /// # Ok::<(), zeropoint_kernels::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Self, Error> {
        let known = TABLE.iter().any(|row| row.backend == name);
        available().find(|b| b.name() == name).ok_or(Error::Backend { name: Name::new(name), known })
    }

    /// The kernel of this full name.
    pub fn kernel_named(kernel: &str) -> Option<Self> {
        available().find(|b| b.kernel() == kernel)
    }

    pub(crate) fn row(self) -> &'static Row {
        self.0
    }

    /// The backend's name: "avx2".
    pub fn name(self) -> &'static str {
        self.0.backend
    }

    /// The kernel's name: architecture, instruction, tile.
    pub fn kernel(self) -> &'static str {
        self.0.kernel
    }

    /// The CPU features it needs.
    pub fn needs(self) -> Features {
        self.0.needs
    }

    /// Rows of a tile.
    pub fn mr(self) -> usize {
        self.0.mr
    }

    /// Columns of a tile; columns are packed in multiples of it.
    pub fn nr(self) -> usize {
        self.0.nr
    }

    /// What K is padded to a multiple of.
    pub fn k_step(self) -> usize {
        self.0.k_step
    }

    /// Layout of packed lhs.
    pub fn lhs(self) -> Panel {
        self.0.lhs
    }

    /// Layout of packed rhs; of its panels only what [`Proof`] says, where they carry one.
    pub fn rhs(self) -> Panel {
        self.0.rhs
    }

    /// Whether panels of rhs carry a proof that lets the kernel use an instruction which saturates.
    pub fn is_proven(self) -> bool {
        self.0.proof.is_some()
    }

    /// Whether it multiplies weights that were packed for `other`, just as they are, if there are columns enough for a tile.
    pub fn reads_panels_of(self, other: Self) -> bool {
        let layout = |row: &Row| (row.lhs.elem, row.rhs, row.k_step, row.proof);
        layout(self.0) == layout(other.0)
    }

    /// Whether a tile of rows can pass several panels of rhs before the next: [`crate::Blocking::panels`].
    pub fn goes_across(self) -> bool {
        self.0.across
    }

    /// Whether lhs may be [`crate::WindowsRef`], whose pieces are multiples of [`Backend::k_step`].
    pub fn reads_windows(self) -> bool {
        self.0.windows
    }

    /// Columns of a vector register.
    pub fn lanes(self) -> usize {
        self.0.lanes
    }

    /// The proof that panels of rhs carry, if they do.
    pub fn proof(self) -> Option<Proof> {
        self.0.proof
    }
}

impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        // The address of a row in a constant may differ from use to use.
        self.0.kernel == other.0.kernel
    }
}

impl Eq for Backend {}

impl core::fmt::Debug for Backend {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Backend({})", self.0.kernel)
    }
}

/// The rows of the table that this CPU can run, best first, scalar last.
///
/// ```
/// assert_eq!(zeropoint_kernels::available().last().unwrap().name(), "scalar");
/// ```
pub fn available() -> impl Iterator<Item = Backend> + Clone {
    let features = Features::detect();
    TABLE.iter().filter(move |row| features.contains(row.needs)).map(Backend)
}

/// The names of backends, each once.
pub fn names(backends: impl Iterator<Item = Backend>) -> impl Iterator<Item = &'static str> {
    let mut last = "";
    backends.map(Backend::name).filter(move |name| core::mem::replace(&mut last, name) != *name)
}

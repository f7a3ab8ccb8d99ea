//! The trait that the author of a backend implements. `README.md` of this crate says how, on one page.

use crate::block::BlockRun;
use crate::cpu::Features;
use crate::depthwise::DepthwiseRun;
use crate::fake_quant::FakeQuantRun;
use crate::finish::{Epilogue, Finisher, RowTerms, TileAt};
use crate::lanes::{Lanes, Rule};
use crate::packing::PackRun;
use crate::pairwise::PairwiseRun;
use crate::panel::Panel;
use crate::proof::Proof;
use crate::scatter::Staged;
use crate::weave::WeaveRun;
use crate::windows::Windows;

/// One multiplication of a lhs panel by a rhs panel.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Rows of lhs to multiply, `1..=MR`.
    pub rows: usize,
    /// Consecutive k, a multiple of `K_STEP`, may be 0.
    pub k: usize,
    /// The first element of the lhs panel.
    pub lhs: *const u8,
    /// Elements from a lhs row to the next.
    pub lhs_member: usize,
    /// How rows lie in an image, if they do, else null: `lhs` is a table of where they start then, an entry of which has the size of `lhs_member` elements.
    pub windows: *const Windows,
    /// The first element of the rhs panel, or of the first of those that a tile covers.
    pub rhs: *const u8,
    /// Elements from that panel to the next, if [`Microkernel::RHS`] is narrower than a tile.
    pub rhs_panel: usize,
    /// Bytes from what is read of rhs to what is read next from afar, and may be fetched meanwhile; 0 if it is near.
    pub ahead: usize,
    /// `MR` x `NR` sums, row-major, aligned to 64 bytes.
    pub acc: *mut i32,
    /// Add to the sums instead of storing them.
    pub add: bool,
    /// Room that the kernel may use, if its [`Microkernel::PROOF`] asks for it: copies of `MR` rows in the order of each strip.
    pub buffer: *mut u8,
}

/// Whole tiles that are finished at once, [`Microkernel::DIRECT`].
#[derive(Clone, Copy, Debug)]
pub struct Direct<'a> {
    /// Rows in all, of whole tiles one below the other; the last may have fewer if the kernel goes [`Microkernel::ACROSS`].
    pub rows: usize,
    /// How many of these columns, one beside the other: 1 but for [`Microkernel::ACROSS`] and [`Microkernel::BESIDE`].
    pub panels: usize,
    /// The first tile, `MR` rows; `acc` is a scratch tile if the kernel goes across.
    pub first: Tile,
    /// The run that computes the terms of each tile of rows, by its `late_terms`, if they are not there yet.
    pub late: Option<&'a BlockRun<'a>>,
    /// Whether to fetch rows before that.
    pub fetch: bool,
    /// Whether sums are to be stored past the caches, [`Lanes::stream`]; rows of outputs are aligned for it then.
    pub stream: bool,
    /// Bytes from a panel of rhs to the next.
    pub panel: usize,
    /// What each sum of a row gains, for all rows of all tiles.
    pub terms: RowTerms,
    /// What each sum of a column starts from, `NR` a panel, aligned to 64 bytes, if the kernel does not go across; with the term of a row
    /// where that is the same for all.
    pub column_terms: *const i32,
    /// How to finish.
    pub epilogue: &'a Epilogue<'a>,
    /// First row and column in the job.
    pub row: usize,
    /// The column.
    pub col: usize,
    /// The first output.
    pub to: *mut u8,
    /// Elements from an output row to the next.
    pub row_stride: usize,
}

/// Which ways to finish override the shared epilogue: on registers, where the way through a scratch tile costs too
/// much (limits.md 6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registers {
    /// None.
    Never,
    /// Sums as they are.
    Sums,
    /// All that are common.
    Hot,
}

/// A microkernel and the layouts it wants.
///
/// # Safety
/// This is the one contract of the crate; every `SAFETY` comment names a clause of it.
/// An implementation touches no memory but what the clauses give it, and computes
/// `acc[i * NR + j] (+)= sum of lhs(i, k) * rhs(j, k)` mod 2^32 for all `i < rows`, `j < NR`; sums of other rows
/// are unspecified. A caller upholds:
/// * **Features**: the CPU has [`Microkernel::NEEDS`].
/// * **Lhs**: `lhs` is valid for reads at `Strides::offset(i, k)` for all `i < rows` and `k < tile.k`, in the
///   layout [`Microkernel::LHS`]. Rows may be those of the caller, of any alignment; panels of groups are whole, aligned
///   to 64 bytes at the start of the first.
/// * **Windows**: if the tile has them, `lhs` is valid for reads of `rows` addresses, what lies there for reads of the pieces of a row,
///   and `k` is what they are together. Only kernels with [`Microkernel::WINDOWS`] are given any.
/// * **Rhs**: the same for `rhs`, `NR` members, [`Microkernel::RHS`], panels `rhs_panel` apart; each panel's start is aligned to 64 bytes, or to what the
///   bytes of a panel are a multiple of, if that is less.
/// * **Acc**: `acc` is valid for reads and writes of `MR * NR` sums, aligned to 64 bytes, and initialized where
///   `add` is set.
/// * **Buffer**: of a kernel with a `PROOF`, `buffer` is valid for reads and writes of what it asks for: `MR` rows a
///   strip, `strips::buffer_step(k)` bytes each, initialized; `k` is all of K, and `rhs` has whole panels of its [`Proof`], of any
///   bytes: no header may lead the kernel out of them. The sums are right if `Backend::verify` takes them.
/// * **Direct**: of the tiles, the first is as above but for `acc`; lhs rows, outputs, terms and what the epilogue has
///   for rows reach the end of the last. Lhs rows are contiguous members ([`Panel::ROWS`]).
/// * **Entered**: `enter(rows)` was called with the same `rows`, and `leave` was not since.
#[allow(clippy::missing_safety_doc)] // the contract is the trait's
pub unsafe trait Microkernel: Sized + 'static {
    /// The backend, as a user names it: "avx2".
    const BACKEND: &'static str;
    /// This kernel: architecture, instruction, tile.
    const NAME: &'static str;
    /// CPU features it needs.
    const NEEDS: Features;
    /// Rows of a tile.
    const MR: usize;
    /// Columns of a tile, a multiple of the lanes of `Lanes`.
    const NR: usize;
    /// What K is padded to a multiple of; padding is zero on both sides.
    const K_STEP: usize;
    /// Layout of lhs.
    const LHS: Panel;
    /// Layout of rhs; a tile covers `NR` columns of it, one panel or several.
    const RHS: Panel;
    /// What proof panels of rhs carry, if they do: it adds to the layout `RHS`, or replaces it but for width and type.
    const PROOF: Option<Proof> = None;
    /// The lanes of its epilogue.
    type Lanes: Lanes;
    /// One block loop that calls the epilogue, instead of a loop with the epilogue inlined for each way to finish:
    /// much less code, for kernels that need not be fast.
    const ONE_LOOP: bool = false;
    /// The kernel whose code serves for all that lanes alone decide: finishing a tile that is no block loop's, depthwise
    /// convolutions, pairwise operations, fake quantization. `Self`, or one that needs no more than this does and has as many
    /// lanes: of kernels with the same registers, one is compiled.
    type Base: Microkernel;
    /// Whether depthwise convolutions take weights as quads, by code of this kernel. Of the kernels of a backend, the first is enough.
    const QUADS: bool = <Self::Lanes as Lanes>::DOTS;

    /// For which ways to finish `enter_direct` is there.
    const DIRECT: Registers = Registers::Never;

    /// Whether lhs rows may lie in [`Tile::windows`]. Lhs has contiguous members then.
    const WINDOWS: bool = false;
    /// Whether [`Tile::ahead`] is of use.
    const FETCHES: bool = false;
    /// How many panels `enter_direct` takes at most where it stores sums, no more than rows. Past the caches, lines that have no
    /// neighbour are stored at half the speed: 12 of 24 GB/s on Emerald Rapids.
    const BESIDE: usize = 1;
    /// Whether `enter_direct` takes several panels and tiles of all heights, and finishes through a scratch tile.
    const ACROSS: bool = false;

    /// Multiplies whole tiles and finishes their sums by `F`, each `terms.term[i] + column_terms[j] + products`. Has
    /// the kernel's features; `enter(MR)` was called.
    unsafe fn enter_direct<F: Finisher<Self::Lanes>>(direct: Direct<'_>) {
        let _ = direct;
    }

    /// Prepares the CPU for tiles of `rows` rows.
    #[inline(always)]
    unsafe fn enter(rows: usize) {
        let _ = rows;
    }

    /// Undoes `enter`.
    #[inline(always)]
    unsafe fn leave() {}

    /// Multiplies. `#[inline(always)]`, without `#[target_feature]`.
    unsafe fn tile(tile: Tile);

    /// Vectors for the packer, or [`crate::NoGather`].
    type Gather: crate::packing::Gather;

    // Entries: thin functions with the kernel's features around generic code, written by the macro `entries!`.
    // One loop a way to finish, each a function of its own: together they would need megabytes of stack in
    // debug builds.
    /// Runs a block that finishes by `F`.
    unsafe fn enter_blocks<F: Finisher<Self::Lanes>>(run: &BlockRun<'_>);
    /// Finishes one tile by `F`.
    unsafe fn enter_finish<F: Finisher<Self::Lanes>>(epilogue: &Epilogue<'_>, at: &TileAt);
    /// Moves finished rows to an output without contiguous rows.
    unsafe fn enter_scatter(epilogue: &Epilogue<'_>, staged: &Staged);
    /// Multiplies one tile.
    unsafe fn enter_tile(tile: Tile);
    /// Packs one side.
    unsafe fn enter_pack(run: &PackRun);
    /// Runs lines of a depthwise convolution that finish by `F`.
    unsafe fn enter_depthwise<F: Finisher<Self::Lanes>, const QUADS: bool>(run: &DepthwiseRun<'_>);
    /// Takes two operands to one output by a rule.
    unsafe fn enter_pairwise<R: Rule>(run: &PairwiseRun<'_>);
    /// Rounds reals to those of codes, or takes gradients back.
    unsafe fn enter_fake_quant(run: &FakeQuantRun<'_>);
    /// Weaves two lines of codes.
    unsafe fn enter_weave(run: &WeaveRun);
}

/// Writes the entries of a [`Microkernel`]: generic code, compiled with the kernel's features.
macro_rules! entries {
    ($($feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_blocks<F: $crate::finish::Finisher<Self::Lanes>>(run: &$crate::block::BlockRun<'_>) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::block::blocks::<Self, F>(run) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_tile(tile: $crate::microkernel::Tile) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { Self::tile(tile) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_scatter(epilogue: &$crate::finish::Epilogue<'_>, staged: &$crate::scatter::Staged) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::scatter::scatter::<Self>(epilogue, staged) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_pack(run: &$crate::packing::PackRun) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::packing::pack::<Self>(run) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_depthwise<F: $crate::finish::Finisher<Self::Lanes>, const QUADS: bool>(
            run: &$crate::depthwise::DepthwiseRun<'_>,
        ) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::depthwise::lines::<Self, F, QUADS>(run) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_pairwise<R: $crate::lanes::Rule>(run: &$crate::pairwise::PairwiseRun<'_>) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::pairwise::all::<Self::Lanes, R>(run) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_fake_quant(run: &$crate::fake_quant::FakeQuantRun<'_>) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::fake_quant::run::<Self::Lanes>(run) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_weave(run: &$crate::weave::WeaveRun) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::weave::all(run) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn enter_finish<F: $crate::finish::Finisher<Self::Lanes>>(
            epilogue: &$crate::finish::Epilogue<'_>,
            at: &$crate::finish::TileAt,
        ) {
            // SAFETY: Features and the rest, promised by our caller.
            unsafe { $crate::finish::tile::<Self, F>(epilogue, at) }
        }
    };
}
pub(crate) use entries;

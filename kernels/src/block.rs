//! The macro-kernel: packs a block of lhs rows, multiplies it by all panels of rhs, finishes each tile.
//!
//! Start reading at [`blocks`]; there is no other loop over tiles.

use crate::backend::Backend;
use crate::finish::{Epilogue, Finisher, PerRow, RowTerms, TileAt, column_term, rank_one, tile};
use crate::job::{Outlier, Outliers};
use crate::lanes::Lanes;
use crate::microkernel::{Direct, Microkernel, Registers, Tile};
use crate::packing::Source;
use crate::scatter::{Staged, staged_rows};
use crate::terms::pack_rows;
use crate::ways::{Rest, WithFinisher, finish_tile, with_finisher};
use crate::windows::Windows;

/// How a run is cut into pieces that suit the caches. Any value gives the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocking {
    /// Rows of lhs packed at a time, at least 1.
    pub rows: usize,
    /// Consecutive k multiplied at a time, at least 1; `usize::MAX` for all.
    pub depth: usize,
    /// Rows of lhs that a kernel could read in place are packed all the same if their stride is a multiple of this
    /// many bytes, since they crowd few cache sets; at least 1, which packs all; `usize::MAX` for none but those of
    /// stride 0.
    pub packed_strides: usize,
    /// Where K is no multiple of the kernel's step, the last rows are packed in a block of their own, and others are
    /// read in place only if there are at least this many of them.
    pub rows_before_tail: usize,
    /// Panels of rhs that pass a tile of rows before the next tile of rows, at least 1, for kernels that can go both ways
    /// ([`Microkernel::ACROSS`], [`Microkernel::BESIDE`]): they and the rows of a tile should stay in the caches.
    pub panels: usize,
    /// Kernels that finish tiles at once store i32 sums past the caches where they, lhs and rhs take more bytes than this in all:
    /// they would push one another out. `usize::MAX` for never.
    pub cached: usize,
    /// From this many bytes of lhs, rhs and output on, kernels that take sums of rows late fetch the rows before. `usize::MAX`
    /// for never.
    pub fetched: usize,
    /// Rhs of more bytes comes from beyond L2: while a panel is multiplied, what is read next is fetched. `usize::MAX`
    /// for never.
    pub far: usize,
    /// How many bytes ahead of what they multiply the first rows of a panel fetch it then.
    pub ahead: usize,
}

impl Blocking {
    /// So many rows at a time, K whole, rows read in place where a kernel can, one panel after the other, nothing fetched.
    pub const fn of_rows(rows: usize) -> Self {
        Self {
            rows,
            depth: usize::MAX,
            packed_strides: usize::MAX,
            rows_before_tail: 1,
            panels: 1,
            cached: usize::MAX,
            fetched: usize::MAX,
            far: usize::MAX,
            ahead: 0,
        }
    }
}

/// Where things lie in the workspace, in bytes from its aligned start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Packed lhs rows.
    pub lhs: usize,
    /// Terms of the rows: three vectors of `terms` elements.
    pub row_terms: usize,
    pub terms: usize,
    /// Scratch tiles, and the step from one to the next: 0 if K is not split and one suffices.
    pub scratch: usize,
    pub tile_step: usize,
    /// A kernel's own room, [`Tile::buffer`].
    pub buffer: usize,
    /// Tiles on their way to an output without contiguous rows.
    pub staging: usize,
    /// Bytes in all.
    pub total: usize,
}

/// The checked sizes of runs of one K on one backend, whatever M and N are: made once, used for any number of jobs.
///
/// ```
/// use zeropoint_kernels::{Blocking, available};
/// let backend = available().next().unwrap();
/// let plan = backend.plan(100, 64, Blocking { packed_strides: 4096, ..Blocking::of_rows(48) })?;
/// assert_eq!((plan.backend(), plan.k()), (backend, 64));
/// assert!(plan.workspace_bytes() >= 48 * 64);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(crate) backend: Backend,
    pub(crate) k: usize,
    /// K in whole steps of the kernel.
    pub(crate) padded_k: usize,
    /// Rows packed at a time, a multiple of MR.
    pub(crate) block_rows: usize,
    /// K multiplied at a time, a multiple of the kernel's step.
    pub(crate) block_k: usize,
    /// Bytes of the rhs of a tile.
    pub(crate) panel: usize,
    /// As it was asked for, but for fields at least 1.
    pub(crate) blocking: Blocking,
    pub(crate) room: Room,
}

impl Plan {
    /// The backend that it is for.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// K.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows of lhs packed at a time.
    pub fn rows(&self) -> usize {
        self.block_rows
    }

    /// Consecutive k multiplied at a time, if K is split.
    pub fn depth(&self) -> Option<usize> {
        (self.block_k < self.padded_k).then_some(self.block_k)
    }

    /// Bytes of workspace of a [`crate::Job`], aligned to 64 bytes, in whole cache lines.
    pub fn workspace_bytes(&self) -> usize {
        self.room.total
    }
}

/// A block run: everything checked, types erased. Made by [`crate::Job`].
#[derive(Clone, Copy, Debug)]
pub struct BlockRun<'a> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) plan: &'a Plan,
    pub(crate) lhs: Source,
    /// How rows of lhs lie, if not at equal distances; they are all in place then.
    pub(crate) windows: Option<&'a Windows>,
    /// Rows of lhs that have the layout of the kernel as they are.
    pub(crate) in_place: usize,
    /// Zero points of lhs as the codes have them, before packing moves them.
    pub(crate) lhs_zeros: PerRow<'a, i32>,
    /// What packing adds to lhs codes and zero points.
    pub(crate) lhs_offset: i32,
    pub(crate) rhs: *const u8,
    pub(crate) outliers: Outliers<'a>,
    /// The rhs zero point, in packed terms; 0 where columns have their own.
    pub(crate) rhs_zero: i32,
    pub(crate) epilogue: Epilogue<'a>,
    pub(crate) workspace: *mut u8,
}

/// Runs a block with a loop of its own for each common way to finish, and one for the rest.
///
/// # Safety
/// * **Features** of `K`.
/// * **Job**: `run` was made by [`crate::Job`] for the table row of `K`, which checked every size, and the
///   memory it points to is still borrowed.
pub(crate) unsafe fn run<K: Microkernel>(run: &BlockRun<'_>) {
    struct Loop<'a, 'b, K>(&'a BlockRun<'b>, core::marker::PhantomData<K>);
    impl<K: Microkernel> WithFinisher<K::Lanes> for Loop<'_, '_, K> {
        #[inline(always)]
        unsafe fn call<F: Finisher<K::Lanes>>(self) {
            // SAFETY: our caller's clauses.
            unsafe { if F::HOT { K::enter_blocks::<F>(self.0) } else { K::enter_blocks::<Rest>(self.0) } }
        }
    }
    // SAFETY: our caller's clauses.
    unsafe {
        if K::ONE_LOOP {
            return K::enter_blocks::<Rest>(run);
        }
        with_finisher::<K::Lanes, _>(&run.epilogue, Loop::<K>(run, core::marker::PhantomData));
    }
}

/// Whether whole tiles are finished on registers.
const fn on_registers<K: Microkernel, F: Finisher<K::Lanes>>() -> bool {
    match K::DIRECT {
        Registers::Never => false,
        Registers::Sums => F::SUMS,
        Registers::Hot => F::HOT,
    }
}

/// This is a good place to start reading: for each block of lhs rows, pack it; for each rhs panel, for each
/// piece of K, for each tile of rows: multiply, and after the last piece of K finish.
///
/// # Safety
/// As [`run`].
#[inline(always)]
pub(crate) unsafe fn blocks<K: Microkernel, F: Finisher<K::Lanes>>(run: &BlockRun<'_>) {
    let rhs_strides = K::RHS.strides(run.plan.padded_k);
    let (lhs_size, rhs_size) = (K::LHS.elem.size(), K::RHS.elem.size());
    let room = &run.plan.room;
    let windows = run.windows.filter(|_| K::WINDOWS && run.plan.padded_k > 0);
    // Windows are read whole.
    let block_k = if windows.is_some() { run.plan.padded_k } else { run.plan.block_k };
    // SAFETY: Job: rows, panels and workspace have the sizes that `room`, `m`, `n` and `padded_k` state.
    unsafe {
        let packed = run.workspace.add(room.lhs);
        let scratch = run.workspace.add(room.scratch);
        let staging = run.workspace.add(room.staging);
        let buffer = run.workspace.add(room.buffer);
        let roads = if on_registers::<K, F>() { roads::<F::Out>(run, F::SUMS) } else { Roads::default() };
        // Panels come from beyond L2, where a later tile of the same columns finds them: then the next can be fetched.
        let far = K::FETCHES && run.plan.panel.saturating_mul(run.n / K::NR) > run.plan.blocking.far;
        // What the kernel was last prepared for.
        let mut entered = 0;
        let windows_or_null = windows.map_or(core::ptr::null(), core::ptr::from_ref);
        let mut block = 0;
        while block < run.m {
            let in_place = block < run.in_place;
            let end = if in_place { run.in_place } else { run.m };
            let block_m = run.plan.block_rows.min(end - block);
            // Terms wait for their tile where it is finished at once: its rows are in L1 then.
            let late = K::ACROSS && in_place && run.rhs_zero != 0 && run.plain_terms();
            let late = late && direct_rows::<K, F>(run, block_m, 0, false).0 > 0;
            let terms = pack_rows::<K>(run, block, block_m, in_place, late);
            let lhs = if in_place && windows.is_none() { run.lhs.member(block).codes } else { packed };
            let mut lhs_strides = K::LHS.strides(run.plan.padded_k);
            if let Some(windows) = windows {
                windows.write(run.lhs.codes, lhs_size, [block, block_m], packed.cast());
                lhs_strides.member = size_of::<*const u8>() / lhs_size;
            } else if in_place {
                lhs_strides.member = run.lhs.member_stride;
            }
            let rank_one_needed = !terms.sum_factor.is_null() || !terms.zero_factor.is_null();
            let (mut rhs, mut col) = (run.rhs, 0);
            // Of the panels that were finished on registers together, those whose last rows are still to come.
            let (mut first, mut left) = (0, 0);
            while col < run.n {
                let mut k = 0;
                let outliers = run.outliers.among(col, K::NR.min(run.n - col), run.plan.k);
                if left == 0 {
                    (first, left) = direct_rows::<K, F>(run, block_m, col, rank_one_needed);
                    let tile = Tile {
                        rows: K::MR,
                        k: run.plan.padded_k,
                        lhs,
                        lhs_member: lhs_strides.member,
                        windows: windows_or_null,
                        rhs,
                        rhs_panel: rhs_strides.panel,
                        ahead: if far { run.plan.panel } else { 0 },
                        acc: scratch.cast(),
                        add: false,
                        buffer,
                    };
                    if first > 0 {
                        if entered != K::MR {
                            K::enter(K::MR);
                        }
                        let roads = Roads { late: late && col == 0, ..roads };
                        direct::<K, F>(run, tile, terms, roads, (block, first), (col, left));
                        // A last tile of fewer rows was prepared for.
                        entered = if first.is_multiple_of(K::MR) { K::MR } else { 0 };
                    }
                }
                left = left.saturating_sub(1);
                // Rows that wait in the staging area.
                let mut waiting = 0;
                loop {
                    let piece = block_k.min(run.plan.padded_k - k);
                    let (mut row, mut tile_index) = (first, 0);
                    while row < block_m {
                        let rows = tile_rows::<K>(block_m - row);
                        // Contiguous members need no panels; others start a panel with each tile.
                        let (panel, member) = if K::LHS.is_rows() { (0, row) } else { (row / K::MR, 0) };
                        let at_of = |k| panel * lhs_strides.panel + lhs_strides.offset(member, k);
                        let acc = scratch.add(tile_index * room.tile_step).cast::<i32>();
                        if rows != entered {
                            K::enter(rows);
                            entered = rows;
                        }
                        let operands = Tile {
                            rows,
                            k: piece,
                            lhs: lhs.add(at_of(k) * lhs_size),
                            lhs_member: lhs_strides.member,
                            windows: windows_or_null,
                            rhs: if K::PROOF.is_some() {
                                rhs
                            } else {
                                rhs.add(rhs_strides.offset(0, k) * rhs_size)
                            },
                            rhs_panel: rhs_strides.panel,
                            ahead: match row {
                                _ if !far => 0,
                                0 => run.plan.blocking.ahead,
                                _ if row + rows == block_m => run.plan.panel,
                                _ => 0,
                            },
                            acc,
                            add: k > 0,
                            buffer,
                        };
                        // A copy of the microkernel in each loop would be too much code.
                        if F::HOT && !on_registers::<K, F>() {
                            K::tile(operands)
                        } else {
                            K::enter_tile(operands)
                        }
                        if k + piece == run.plan.padded_k {
                            let cols = K::NR.min(run.n - col);
                            let terms = terms.add(row);
                            let out_bytes = waiting * K::NR * run.epilogue.dest.size();
                            let staging = staging.add(out_bytes);
                            let at =
                                TileAt { acc, staging, width: K::NR, terms, row: block + row, col, rows, cols };
                            for (j, outlier) in outliers.clone() {
                                // Of the same row tile: only k differs.
                                let k = outlier.k as usize;
                                let at = at_of(k);
                                for r in 0..rows {
                                    let code = if let Some(windows) = windows {
                                        windows.read(K::LHS.elem, lhs, row + r, k)
                                    } else {
                                        K::LHS.elem.read(lhs, at + r * lhs_strides.member)
                                    };
                                    let sum = acc.add(r * K::NR + j);
                                    *sum = (*sum).wrapping_add(code.wrapping_mul(outlier.residual));
                                }
                            }
                            if rank_one_needed {
                                rank_one::<K::Lanes>(&run.epilogue, &at);
                            }
                            if F::HOT {
                                tile::<K, F>(&run.epilogue, &at);
                            } else {
                                finish_tile::<K>(&run.epilogue, &at);
                            }
                            if run.epilogue.col_stride != 1 {
                                waiting += rows;
                                if waiting + K::MR > staged_rows(K::MR) || row + rows == block_m {
                                    let row = block + row + rows - waiting;
                                    let from = staging.sub(out_bytes);
                                    let staged = Staged { from, row, col, rows: waiting, cols };
                                    K::enter_scatter(&run.epilogue, &staged);
                                    waiting = 0;
                                }
                            }
                        }
                        row += rows;
                        tile_index += 1;
                    }
                    k += piece;
                    if k >= run.plan.padded_k {
                        break;
                    }
                }
                rhs = rhs.wrapping_add(run.plan.panel);
                col += K::NR;
            }
            block += block_m;
        }
        // Once a run, since it waits for all that was stored so. On Emerald Rapids, 3136 x 64 x 256: 640 to 682 GOP/s.
        if roads.stream {
            K::Lanes::fence();
        }
        K::leave();
    }
}

impl<'a> Outliers<'a> {
    /// The outliers of `count` columns from `col` on, each with its column among them. Nothing else is trusted: the
    /// list may come from stored bytes.
    #[inline(always)]
    fn among(self, col: usize, count: usize, k: usize) -> impl Iterator<Item = (usize, &'a Outlier)> + Clone {
        self.list.iter().filter_map(move |outlier| {
            let j = (outlier.col as usize).checked_sub(self.first)?.checked_sub(col)?;
            (j < count && (outlier.k as usize) < k).then_some((j, outlier))
        })
    }
}

/// Whether outputs from a column on wait in the staging area: they are not row by row, or a whole tile would write too many.
#[inline(always)]
fn is_staged<K: Microkernel>(run: &BlockRun<'_>, col: usize) -> bool {
    run.epilogue.col_stride != 1 || (!K::ACROSS && run.n - col < K::NR)
}

/// How many rows go straight to the output, or to the staging area, and how many panels from column `col` on.
#[inline(always)]
fn direct_rows<K: Microkernel, F: Finisher<K::Lanes>>(
    run: &BlockRun<'_>,
    block_m: usize,
    col: usize,
    rank_one_needed: bool,
) -> (usize, usize) {
    let whole_k = run.windows.is_some() || run.plan.block_k == run.plan.padded_k;
    if !on_registers::<K, F>() || rank_one_needed || !whole_k {
        return (0, 0);
    }
    let staged = is_staged::<K>(run, col);
    let beside = if F::SUMS { K::BESIDE } else { 1 };
    let most = if staged { 1 } else { run.plan.blocking.panels.min(if K::ACROSS { usize::MAX } else { beside }) };
    // Staged rows may end inside a panel.
    let whole = if staged { 1 } else { ((run.n - col) / K::NR).min(most) };
    let panels = (0..whole)
        .take_while(|p| run.outliers.among(col + p * K::NR, K::NR.min(run.n - col), run.plan.k).next().is_none())
        .count();
    if panels == 0 {
        return (0, 0);
    }
    if K::ACROSS {
        return (block_m, panels);
    }
    // What is left must make tiles as `tile_rows` would.
    let whole = block_m - block_m % K::MR;
    let rows = if tile_rows::<K>(block_m % K::MR + K::MR) == K::MR { whole } else { whole.saturating_sub(K::MR) };
    (rows, panels)
}

/// Multiplies `count` rows from `row` on by `panels` panels, in whole tiles: `tile` is the first.
///
/// # Safety
/// As [`run`]; `direct_rows` has counted the rows.
#[inline(always)]
unsafe fn direct<K: Microkernel, F: Finisher<K::Lanes>>(
    run: &BlockRun<'_>,
    mut tile: Tile,
    mut terms: RowTerms,
    roads: Roads,
    (mut row, count): (usize, usize),
    (col, panels): (usize, usize),
) {
    let (e, room) = (&run.epilogue, &run.plan.room);
    let end = row + count;
    // SAFETY: Job: staging and scratch have room for `staged_rows` rows, and for a tile.
    unsafe {
        let column_terms = run.workspace.add(room.scratch).cast::<i32>();
        let same = <K::Lanes as Lanes>::splat(if terms.same { *terms.term } else { 0 });
        for v in (0..if K::ACROSS { 0 } else { panels * K::NR }).step_by(<K::Lanes as Lanes>::N) {
            let term = column_term::<K::Lanes, F>(e, col + v);
            <K::Lanes as Lanes>::store(column_terms.add(v), <K::Lanes as Lanes>::add(term, same));
        }
        let staging = run.workspace.add(room.staging);
        let staged = is_staged::<K>(run, col);
        while row < end {
            let rows = if staged { staged_rows(K::MR).min(end - row) } else { end - row };
            let (to, row_stride) = if staged {
                (staging, K::NR)
            } else {
                (e.out.add((row * e.row_stride + col) * e.dest.size()), e.row_stride)
            };
            let first = tile;
            K::enter_direct::<F>(Direct {
                rows,
                panels,
                first,
                late: roads.late.then_some(run),
                fetch: roads.late && roads.fetch,
                stream: roads.stream && !staged,
                panel: run.plan.panel,
                terms,
                column_terms,
                epilogue: e,
                row,
                col,
                to,
                row_stride,
            });
            if staged {
                let cols = K::NR.min(run.n - col);
                K::enter_scatter(e, &Staged { from: staging, row, col, rows, cols });
            }
            tile.lhs = tile.lhs.wrapping_add(rows * tile.lhs_member * K::LHS.elem.size());
            terms = terms.add(rows);
            row += rows;
        }
    }
}

/// Of the choices of [`Direct`], those of a run.
#[derive(Clone, Copy, Default)]
struct Roads {
    late: bool,
    fetch: bool,
    stream: bool,
}

/// The roads that the size of lhs, rhs and outputs asks for.
#[inline(always)]
fn roads<O>(run: &BlockRun<'_>, sums: bool) -> Roads {
    let BlockRun { m, n, plan, ref epilogue, .. } = *run;
    let sizes = [(m, plan.k), (n, plan.k), (m, n.saturating_mul(size_of::<O>()))];
    let bytes = sizes.iter().fold(0usize, |sum, (a, b)| sum.saturating_add(a.saturating_mul(*b)));
    let aligned = epilogue.out.addr().is_multiple_of(64) && epilogue.row_stride.is_multiple_of(16);
    Roads {
        late: false,
        fetch: bytes > plan.blocking.fetched,
        stream: sums && bytes > plan.blocking.cached && aligned,
    }
}

/// Rows of the next tile: MR, but a rest between MR and 1.5 MR is halved, where tiles may start at any row.
#[inline(always)]
const fn tile_rows<K: Microkernel>(left: usize) -> usize {
    if left <= K::MR {
        left
    } else if K::LHS.is_rows() && left <= K::MR + K::MR / 2 {
        left.div_ceil(2)
    } else {
        K::MR
    }
}

//! The tile loop of the x86 kernels: one instruction multiplies four bytes of a lhs row with four bytes of each
//! column of a vector of rhs.
//! ```text
//! one step                                   rhs panel: V vectors of columns, 4 bytes a lane
//!   r[0..V] = the next V vectors of rhs        | 0 | 1 | 2 | ... | N-1 |    r[0]
//!   for each row i:                            | N | ...         | 2N-1|    r[1]
//!     a = 4 bytes of row i, in every lane
//!     acc[i][v] = dot(acc[i][v], a, r[v])
//! ```
//! Every height of a tile has a loop of its own. Lhs rows may lie anywhere, at any distance. A kernel gives its
//! lanes, its instruction and its tile.

use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
use core::mem::MaybeUninit;

use crate::finish::{Finisher, RowTerms, byte_clamp};
use crate::lanes::{ByteClamp, Lanes};
use crate::microkernel::{Direct, Microkernel, Tile};
use crate::windows::Windows;

/// Bytes that a lane multiplies at a time.
const GROUP: usize = 4;

/// A kernel of this loop: lhs in contiguous rows, rhs in groups of four bytes.
///
/// # Safety
/// `dot` adds to each lane the products of the elements in it; `rhs` reads the elements of its lanes. A caller upholds
/// Features.
pub(super) unsafe trait Dot: Microkernel {
    /// Whether a turn of the loop is four steps, not two.
    const LONG: bool;
    /// Whether the turns of whole tiles each fetch a line of the panel that comes next, if it is [`Tile::ahead`]: of the panel's
    /// lines one in so many as a turn reads, other ones in each tile. All at once, in the last tile, memory would not keep up.
    const SPREADS: bool = false;

    /// A vector of rhs, from its elements.
    #[inline(always)]
    unsafe fn rhs(p: *const u8) -> I<Self> {
        // SAFETY: our caller's: a vector.
        unsafe { Self::Lanes::load(p.cast()) }
    }

    /// `acc` and the products of `lhs` and `rhs`.
    unsafe fn dot(acc: I<Self>, lhs: I<Self>, rhs: I<Self>) -> I<Self>;

    /// [`multiply`] for fewer than `MR` rows, in a function with the kernel's features: block loops have room for the
    /// whole tile only.
    unsafe fn lower<const R: usize>(tile: Tile);
}

/// A vector of a kernel.
type I<K> = <<K as Microkernel>::Lanes as Lanes>::I;

/// The sums of `R` rows of `V` vectors.
type Sums<K, const R: usize, const V: usize> = [[I<K>; V]; R];

/// Writes the functions of a [`Microkernel`] that is [`Dot`], for tiles of so many rows and vectors.
macro_rules! dot_entries {
    ($feature:literal, $rows:expr, $vectors:expr) => {
        #[inline(always)]
        unsafe fn tile(tile: $crate::microkernel::Tile) {
            // SAFETY: passed on.
            unsafe { $crate::x86::dot::tile::<Self, { $rows }, { $vectors }>(tile) }
        }

        const DIRECT: $crate::microkernel::Registers = $crate::microkernel::Registers::Hot;
        const WINDOWS: bool = true;

        #[target_feature(enable = $feature)]
        unsafe fn enter_direct<F: $crate::finish::Finisher<Self::Lanes>>(direct: $crate::microkernel::Direct<'_>) {
            // SAFETY: passed on.
            unsafe { $crate::x86::dot::direct::<Self, F, { $rows }, { $vectors }>(&direct) }
        }

        $crate::microkernel::entries!($feature);
    };
}
pub(super) use dot_entries;

/// Multiplies by way of the scratch tile.
///
/// # Safety
/// Features, Lhs, Rhs and Acc of [`Microkernel`], whose tile is `MR` x `V` vectors.
#[inline(always)]
pub(super) unsafe fn tile<K: Dot, const MR: usize, const V: usize>(tile: Tile) {
    const { assert!(K::MR == MR && K::NR == V * K::Lanes::N && MR <= 14) }
    macro_rules! heights {
        ($($rows:literal)*) => {
            match tile.rows {
                $($rows if const { $rows < MR } => K::lower::<$rows>(tile),)*
                _ => multiply::<K, MR, V>(tile),
            }
        };
    }
    // SAFETY: passed on.
    unsafe { heights!(1 2 3 4 5 6 7 8 9 10 11 12 13) }
}

/// Multiplies `R` rows.
///
/// # Safety
/// As [`tile`], of `R` rows.
#[inline(always)]
pub(super) unsafe fn multiply<K: Dot, const R: usize, const V: usize>(tile: Tile) {
    // SAFETY: Features, Lhs, Rhs; Acc: rows below `R`.
    unsafe {
        let mut acc: Sums<K, R, V> = [[K::Lanes::splat(0); V]; R];
        if tile.add {
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = load::<K, V>(tile.acc.add(i * K::NR));
            }
        }
        add_products::<K, R, V>(&mut acc, &tile);
        for (i, acc) in acc.iter().enumerate() {
            store::<K, V>(tile.acc.add(i * K::NR), acc);
        }
    }
}

/// Multiplies whole tiles from their terms, and finishes them on registers.
///
/// # Safety
/// Features, Lhs, Rhs and Direct of [`Microkernel`], whose tile is `MR` x `V` vectors.
#[inline(always)]
pub(super) unsafe fn direct<K: Dot, F: Finisher<K::Lanes>, const MR: usize, const V: usize>(direct: &Direct<'_>) {
    // SAFETY: passed on.
    unsafe {
        if const { F::SUMS && K::BESIDE == 2 } && direct.panels == 2 {
            tiles::<K, F, MR, V, 2>(direct);
        } else {
            tiles::<K, F, MR, V, 1>(direct);
        }
    }
}

/// The same of `P` panels beside each other.
///
/// # Safety
/// As [`direct`].
#[inline(always)]
unsafe fn tiles<K: Dot, F: Finisher<K::Lanes>, const MR: usize, const V: usize, const P: usize>(
    direct: &Direct<'_>,
) {
    let Direct { first: mut tile, terms: RowTerms { term: mut row_terms, .. }, mut row, .. } = *direct;
    let mut to = direct.to.cast::<F::Out>();
    // SAFETY: Features, Lhs, Rhs; Direct: outputs and terms of every tile, columns of every panel.
    unsafe {
        let mut constants = Constants::<K, F, V, P>::of(direct);
        let constants = &raw mut constants;
        for index in 0..direct.rows / MR {
            tile.ahead = direct.first.ahead.wrapping_add(index % lines::<K>() * 64);
            for panel in 0..P {
                tile.rhs = direct.first.rhs.wrapping_add(panel * direct.panel);
                let mut acc: Sums<K, MR, V> = [load::<K, V>(direct.column_terms.add(panel * K::NR)); MR];
                if !direct.terms.same {
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let term = K::Lanes::splat(*row_terms.add(i));
                        for acc in acc {
                            *acc = K::Lanes::add(*acc, term);
                        }
                    }
                }
                add_products::<K, MR, V>(&mut acc, &tile);
                // SAFETY: a comment.
                core::arch::asm!("/* {0} */", in(reg) constants, options(nostack, preserves_flags));
                let Constants { common, clamp, columns } = constants.read();
                let constants = (common, clamp, columns[panel]);
                finish::<K, F, MR, V>(&acc, direct, constants, row, to.wrapping_add(panel * K::NR));
            }
            tile.lhs = tile.lhs.wrapping_add(MR * tile.lhs_member * K::LHS.elem.size());
            (row, row_terms) = (row + MR, row_terms.wrapping_add(MR));
            to = to.wrapping_add(MR * direct.row_stride);
        }
    }
}

/// Lines of rhs of a turn.
const fn lines<K: Dot>() -> usize {
    turn::<K>() * K::RHS.width * rhs_group::<K>() / 64
}

/// Rows of a tile whose sums wait in memory while those before them are finished, where a rule has more constants than registers are
/// left. The compiler reads constants from memory again and again otherwise: on Zen 4, K = 16, codes by the default rule, AVX-512 14.2
/// to 11.4 cycles a vector, AVX2 28.1 to 23.8. As fast if more wait.
const WAITING: usize = 4;

/// What finishing needs of `P` panels. It waits in memory that only its pointer reaches: outputs may lie anywhere, so that the epilogue would be
/// read again for every tile, and what waits in registers, or could, would leave too few to the sums. On Zen 3, u8, 12544 x 16 x 96 501 to 484 us.
struct Constants<K: Dot, F: Finisher<K::Lanes>, const V: usize, const P: usize> {
    common: F::Common,
    clamp: ByteClamp<I<K>>,
    columns: [[F::Columns; V]; P],
}

impl<K: Dot, F: Finisher<K::Lanes>, const V: usize, const P: usize> Constants<K, F, V, P> {
    /// # Safety
    /// As [`direct`].
    #[inline(always)]
    unsafe fn of(direct: &Direct<'_>) -> Self {
        let &Direct { epilogue, col, .. } = direct;
        // SAFETY: Direct: columns of every panel.
        unsafe {
            let mut columns = [[F::columns(epilogue, col); V]; P];
            for (v, columns) in columns.iter_mut().flatten().enumerate() {
                *columns = F::columns(epilogue, col + v * K::Lanes::N);
            }
            Self { common: F::common(epilogue), clamp: byte_clamp::<K::Lanes>(epilogue), columns }
        }
    }
}

/// Finishes a whole tile, its sums complete, with outputs from `to` on.
///
/// # Safety
/// As [`direct`].
#[inline(always)]
unsafe fn finish<K: Dot, F: Finisher<K::Lanes>, const MR: usize, const V: usize>(
    acc: &Sums<K, MR, V>,
    direct: &Direct<'_>,
    (common, clamp, columns): (F::Common, ByteClamp<I<K>>, [F::Columns; V]),
    row: usize,
    to: *mut F::Out,
) {
    let &Direct { epilogue, row_stride, .. } = direct;
    // Codes are narrowed four vectors at a time.
    let rows = if F::CODES { 4 / V } else { 1 };
    const { assert!(V == 1 || V == 2 || V == 4) }
    const { assert!(MR.is_multiple_of(4 / V)) }
    // SAFETY: as `direct`.
    unsafe {
        let kept = if F::MANY && V == 2 { MR - WAITING } else { MR };
        let mut waiting = MaybeUninit::<[[I<K>; V]; WAITING]>::uninit();
        let waiting: *mut [I<K>; V] = waiting.as_mut_ptr().cast();
        if kept < MR {
            for (i, acc) in acc[kept..].iter().enumerate() {
                waiting.add(i).write(*acc);
            }
            // SAFETY: a comment.
            core::arch::asm!("/* {0} */", in(reg) waiting, options(nostack, preserves_flags));
        }
        // Literal indices, so that sums stay in registers.
        macro_rules! rows {
            ($($i:literal)*) => {$(
                if $i < MR && $i % rows == 0 {
                    let to = to.wrapping_add($i * row_stride);
                    let mut codes = [K::Lanes::splat(0); 4];
                    for i in 0..rows {
                        let factors = F::row(epilogue, row + $i + i);
                        for v in 0..V {
                            let sums = if $i + i < kept { acc[$i + i] } else { *waiting.add($i + i - kept) };
                            let (x, columns) = (sums[v], &columns[v]);
                            if F::CODES {
                                codes[i * V + v] = F::code(&common, x, columns, &factors);
                            } else if F::SUMS && direct.stream {
                                K::Lanes::stream(to.wrapping_add(v * K::Lanes::N).cast(), x);
                            } else {
                                F::put(&common, x, columns, &factors, to.wrapping_add(v * K::Lanes::N));
                            }
                        }
                    }
                    if F::CODES {
                        K::Lanes::store_codes(to.cast(), row_stride, rows, codes, &clamp);
                    }
                }
            )*};
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    }
}

/// Loads a row of `V` vectors.
#[inline(always)]
unsafe fn load<K: Dot, const V: usize>(p: *const i32) -> [I<K>; V] {
    // SAFETY: Features; `p` is valid for V vectors.
    unsafe {
        let mut row = [K::Lanes::splat(0); V];
        for (v, x) in row.iter_mut().enumerate() {
            *x = K::Lanes::load(p.add(v * K::Lanes::N));
        }
        row
    }
}

/// Stores a row of `V` vectors.
#[inline(always)]
unsafe fn store<K: Dot, const V: usize>(p: *mut i32, row: &[I<K>; V]) {
    for (v, x) in row.iter().enumerate() {
        // SAFETY: Features; `p` is valid for V vectors.
        unsafe { K::Lanes::store(p.add(v * K::Lanes::N), *x) }
    }
}

/// Where a step reads.
struct At {
    /// Three rows from one base each, since base, base + ld and base + 2 ld are addressing modes.
    lhs: [*const u8; 5],
    ld: usize,
    rhs: *const u8,
    /// Bytes from a panel to the next, of those of a tile.
    panel: usize,
    /// [`Tile::ahead`].
    ahead: usize,
}

/// Bytes of rhs of a lane of a step.
const fn rhs_group<K: Dot>() -> usize {
    GROUP / K::LHS.elem.size() * K::RHS.elem.size()
}

/// Adds the products of `R` rows of lhs with a panel of rhs.
#[inline(always)]
unsafe fn add_products<K: Dot, const R: usize, const V: usize>(acc: &mut Sums<K, R, V>, tile: &Tile) {
    if const { K::WINDOWS } && !tile.windows.is_null() {
        // SAFETY: passed on; Windows.
        return unsafe { add_windows::<K, R, V>(acc, tile, &*tile.windows) };
    }
    let size = K::LHS.elem.size();
    let panel = tile.rhs_panel * K::RHS.elem.size();
    let mut at = At { lhs: [tile.lhs; 5], ld: tile.lhs_member * size, rhs: tile.rhs, panel, ahead: tile.ahead };
    for (i, base) in at.lhs.iter_mut().enumerate() {
        *base = base.wrapping_add(3 * i * at.ld);
    }
    let steps = tile.k * size / GROUP;
    // SAFETY: Features; Lhs: rows below `R`, K is whole groups; Rhs: `V` vectors a step.
    unsafe {
        // Sums of few rows would wait for one another: the steps of a turn have sums of their own, if there are registers,
        // of which wider lanes have more.
        if const { R * V * turn::<K>() <= K::Lanes::N } {
            let mut others = [[[K::Lanes::splat(0); V]; R]; 3];
            for _ in 0..steps / turn::<K>() {
                step::<K, R, V, 0>(acc, &at);
                step::<K, R, V, 1>(&mut others[0], &at);
                if K::LONG {
                    step::<K, R, V, 2>(&mut others[1], &at);
                    step::<K, R, V, 3>(&mut others[2], &at);
                }
                at.advance::<K, R>(turn::<K>());
            }
            for other in others {
                for (acc, other) in acc.iter_mut().flatten().zip(other.iter().flatten()) {
                    *acc = K::Lanes::add(*acc, *other);
                }
            }
        } else {
            for _ in 0..steps / turn::<K>() {
                step::<K, R, V, 0>(acc, &at);
                step::<K, R, V, 1>(acc, &at);
                if K::LONG {
                    step::<K, R, V, 2>(acc, &at);
                    step::<K, R, V, 3>(acc, &at);
                }
                at.advance::<K, R>(turn::<K>());
            }
        }
        for _ in 0..steps % turn::<K>() {
            step::<K, R, V, 0>(acc, &at);
            at.advance::<K, R>(1);
        }
    }
}

/// The same of rows that lie in windows: each has an address of its own, which is read with each of its groups. Where a step has as many
/// products as registers, loads have time for that.
#[inline(always)]
unsafe fn add_windows<K: Dot, const R: usize, const V: usize>(
    acc: &mut Sums<K, R, V>,
    tile: &Tile,
    windows: &Windows,
) {
    let panel = tile.rhs_panel * K::RHS.elem.size();
    let mut at = At { lhs: [tile.lhs; 5], ld: 0, rhs: tile.rhs, panel, ahead: tile.ahead };
    let size = K::LHS.elem.size();
    let mut start = 0usize;
    for _ in 0..windows.pieces {
        let mut offset = start;
        for _ in 0..windows.piece * size / GROUP {
            // SAFETY: Features; Windows: rows below `R`, pieces are whole groups; Rhs: `V` vectors a step.
            unsafe { products::<K, R, V, 0>(acc, &at, |i| Windows::start(tile.lhs, i).wrapping_add(offset)) }
            at.rhs = at.rhs.wrapping_add(K::RHS.width * rhs_group::<K>());
            offset = offset.wrapping_add(GROUP);
        }
        start = start.wrapping_add(windows.piece_stride.wrapping_mul(size));
    }
}

/// Vectors of columns of a panel.
const fn vectors<K: Dot>() -> usize {
    K::RHS.width / <K::Lanes as Lanes>::N
}

/// Steps of a turn of the loop.
const fn turn<K: Dot>() -> usize {
    if K::LONG { 4 } else { 2 }
}

impl At {
    /// Goes on by so many steps. The compiler must not see that the bases are related: it would compute one from
    /// the other in every step, or put them together in a vector.
    #[inline(always)]
    fn advance<K: Dot, const R: usize>(&mut self, steps: usize) {
        for base in self.lhs.iter_mut().take(R.div_ceil(3)) {
            *base = base.wrapping_add(GROUP * steps);
            // SAFETY: a comment.
            unsafe {
                core::arch::asm!("/* {0} */", inout(reg) * base, options(pure, readonly, nostack, preserves_flags))
            }
        }
        self.rhs = self.rhs.wrapping_add(K::RHS.width * rhs_group::<K>() * steps);
    }
}

/// The products of step `S` from `at` on.
#[inline(always)]
unsafe fn step<K: Dot, const R: usize, const V: usize, const S: usize>(acc: &mut Sums<K, R, V>, at: &At) {
    // SAFETY: as `add_products`.
    unsafe { products::<K, R, V, S>(acc, at, |i| at.lhs[i / 3].wrapping_add(i % 3 * at.ld + GROUP * S)) }
}

/// The same, with a group of each row from where `group` says.
#[inline(always)]
unsafe fn products<K: Dot, const R: usize, const V: usize, const S: usize>(
    acc: &mut Sums<K, R, V>,
    at: &At,
    group: impl Fn(usize) -> *const u8,
) {
    // SAFETY: as `add_products`.
    unsafe {
        let mut r = [K::Lanes::splat(0); V];
        for (v, r) in r.iter_mut().enumerate() {
            let (panel, v) = (v / vectors::<K>(), v % vectors::<K>());
            let step = (K::RHS.width * S + K::Lanes::N * v) * rhs_group::<K>();
            let from = at.rhs.wrapping_add(panel * at.panel + step);
            *r = K::rhs(from);
            // Few rows wait for nothing but memory. More read a panel again, and want the rest of L1.
            let fetched = from.wrapping_add(at.ahead).cast();
            if const { K::FETCHES && R < K::MR && R * 8 > K::Lanes::N } && step.is_multiple_of(64) {
                if R > 4 {
                    _mm_prefetch::<_MM_HINT_T1>(fetched);
                } else {
                    _mm_prefetch::<_MM_HINT_T0>(fetched);
                }
            } else if const { K::SPREADS && R == K::MR && S == 0 } && v == 0 {
                _mm_prefetch::<_MM_HINT_T1>(fetched);
            }
        }
        // Literal indices: with a loop over rows, their addresses end up in memory.
        macro_rules! rows {
            ($($i:literal)*) => {$(
                if R > $i {
                    let a = K::Lanes::splat(group($i).cast::<i32>().read_unaligned());
                    for (acc, r) in acc[$i].iter_mut().zip(r) {
                        *acc = K::dot(*acc, a, r);
                    }
                }
            )*};
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    }
}

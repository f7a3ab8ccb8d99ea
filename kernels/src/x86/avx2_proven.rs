//! AVX2: `vpmaddubsw` over u8 x i8, where packing has proven that it cannot saturate.
//!
//! Instruction: `vpmaddubsw` multiplies 32 pairs of u8 and i8 and adds neighbours into 16 int16, twice as many as
//! `vpmaddwd`, but it saturates; `proof/strips.rs` says where it does not, and lays the weights out. Registers, 3 rows
//! by 16 columns: 6 accumulators, 4 rhs, 2 broadcasts, 2 products, ones; none left for a fourth row.
//! ```text
//! one step of row i, a run of two     A and B: four k of either window, of 16 columns
//!   a = l[i][A..A+4]                    A0 of columns 0..8 | A1 of columns 8..16
//!   b = l[i][B..B+4]                    B0                 | B1
//!   acc[i][0] += vpmaddwd(ones, vpmaddubsw(a, A0) + vpmaddubsw(b, B0))
//!   acc[i][1] += vpmaddwd(ones, vpmaddubsw(a, A1) + vpmaddubsw(b, B1))
//! ```
//! A strip of 16 columns has an order of k of its own, or shares that of its neighbour; the rows of a tile are shuffled
//! into the tile's buffer first.

use core::arch::x86_64::*;

use super::avx2::Avx2;
use super::bytes::BytesGather;
use super::ymm::YmmLanes;
use crate::cpu::Features;
use crate::finish::Finisher;
use crate::microkernel::{Direct, Microkernel, Registers, Tile, entries};
use crate::panel::{Elem, Panel};
use crate::proof::Proof;
use crate::proof::strips::{
    BLOCK, BLOCK_BYTES, KINDS, Kind, PANEL, STEP_BYTES, STEPS, STRIP, Strip, WINDOW, buffer_step, road,
};

/// The microkernel.
pub struct Avx2Proven;

const MR: usize = 6;
const NR: usize = PANEL;
/// Strips of a panel.
const STRIPS: usize = NR / STRIP;
/// Rows that are multiplied at a time.
const ROWS: usize = 3;

// SAFETY: `strips` reads `rows` x k of lhs and two strips of rhs, writes `rows` x k to the buffer, and has `rows` x 32
// sums written. Nothing that it reads from rhs is taken for an address before it was bounded.
unsafe impl Microkernel for Avx2Proven {
    const BACKEND: &'static str = "avx2";
    const NAME: &'static str = "x86-avx2-vpmaddubsw-6x32";
    const NEEDS: Features = Features::AVX2;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = BLOCK;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: NR, group: 4, elem: Elem::I8 };
    const PROOF: Option<Proof> = Some(Proof::Strips);
    type Lanes = YmmLanes<false>;
    type Base = Avx2<2>;
    type Gather = BytesGather<false>;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe { strips(&tile, &Scratch { acc: tile.acc, add: tile.add }, false, false) }
    }

    const DIRECT: Registers = Registers::Sums;

    #[target_feature(enable = "avx2")]
    unsafe fn enter_direct<F: Finisher<YmmLanes<false>>>(direct: Direct<'_>) {
        let Direct { rows, first: mut tile, row_stride, terms, column_terms, to, .. } = direct;
        let mut row_terms = terms.term;
        let mut out = to.cast::<i32>();
        let tiles = rows / MR;
        for index in 0..tiles {
            let output = Output { out, row_stride, row_terms, same: terms.same, column_terms };
            // SAFETY: Features, Lhs, Rhs; Direct: outputs and terms of every tile.
            unsafe { strips(&tile, &output, index > 0, index + 1 < tiles) }
            tile.lhs = tile.lhs.wrapping_add(MR * tile.lhs_member);
            out = out.wrapping_add(MR * row_stride);
            row_terms = row_terms.wrapping_add(MR);
        }
    }

    entries!("avx2");
}

/// The sums of `R` rows of a strip.
type Sums<const R: usize> = [[__m256i; 2]; R];

/// Where sums start and end.
///
/// # Safety
/// Features; the rows and columns exist.
trait Ends {
    /// What `R` rows from `row` on start from.
    unsafe fn start<const R: usize>(&self, row: usize, column: usize) -> Sums<R>;
    /// Takes their sums.
    unsafe fn end<const R: usize>(&self, row: usize, column: usize, sums: Sums<R>);
}

/// A scratch tile.
struct Scratch {
    acc: *mut i32,
    add: bool,
}

impl Ends for Scratch {
    #[inline(always)]
    unsafe fn start<const R: usize>(&self, row: usize, column: usize) -> Sums<R> {
        // SAFETY: Features; Acc: rows and columns of the tile, aligned.
        unsafe {
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            if self.add {
                for (i, sums) in sums.iter_mut().enumerate() {
                    let p = self.acc.add((row + i) * NR + column).cast::<__m256i>();
                    *sums = [_mm256_load_si256(p), _mm256_load_si256(p.add(1))];
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn end<const R: usize>(&self, row: usize, column: usize, sums: Sums<R>) {
        // SAFETY: Features; Acc.
        unsafe { store(self.acc, NR, row, column, sums) }
    }
}

/// Rows of an output, and the terms of its rows and columns.
struct Output {
    out: *mut i32,
    row_stride: usize,
    row_terms: *const i32,
    /// Whether they are in `column_terms`.
    same: bool,
    column_terms: *const i32,
}

impl Ends for Output {
    #[inline(always)]
    unsafe fn start<const R: usize>(&self, row: usize, column: usize) -> Sums<R> {
        // SAFETY: Features; Direct: a term a row, 32 column terms, aligned.
        unsafe {
            let columns = self.column_terms.add(column).cast::<__m256i>();
            let columns = [_mm256_load_si256(columns), _mm256_load_si256(columns.add(1))];
            let mut sums = [columns; R];
            for (i, sums) in sums.iter_mut().enumerate().filter(|_| !self.same) {
                let term = _mm256_set1_epi32(*self.row_terms.add(row + i));
                *sums = [_mm256_add_epi32(sums[0], term), _mm256_add_epi32(sums[1], term)];
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn end<const R: usize>(&self, row: usize, column: usize, sums: Sums<R>) {
        // SAFETY: Features; Direct.
        unsafe { store(self.out, self.row_stride, row, column, sums) }
    }
}

#[inline(always)]
unsafe fn store<const R: usize>(out: *mut i32, row_stride: usize, row: usize, column: usize, sums: Sums<R>) {
    // SAFETY: Features; our caller's rows and columns.
    unsafe {
        for (i, sums) in sums.iter().enumerate() {
            let p = out.add((row + i) * row_stride + column).cast::<__m256i>();
            _mm256_storeu_si256(p, sums[0]);
            _mm256_storeu_si256(p.add(1), sums[1]);
        }
    }
}

/// Multiplies the rows of a tile by both strips of a panel, three rows at a time. Each pass has the rows of the next
/// one copied as well; `ready` says that this was done for the first, `more` that another tile follows.
#[inline(always)]
unsafe fn strips<E: Ends>(tile: &Tile, ends: &E, ready: bool, more: bool) {
    let strip = Strip::of(tile.k);
    let step = buffer_step(tile.k);
    // SAFETY: Features, Lhs, Rhs, Acc or Direct, Buffer. Rows of the next tile follow on those of this one, in memory,
    // not in the buffer.
    unsafe {
        let road = |index: usize| tile.rhs.add(index * strip.bytes + Strip::ROAD).cast::<u32>().read();
        let roads = [road(0), road(1)];
        let copy = |index: usize, row: usize| Copy {
            rhs: tile.rhs.add(index * strip.bytes),
            from: tile.lhs.wrapping_add(row * tile.lhs_member),
            from_step: tile.lhs_member,
            to: tile.buffer.wrapping_add((index * MR + row % MR) * step),
            to_step: step,
        };
        if roads[0] == road::OWN && !ready {
            copy(0, 0).now(&strip, ROWS.min(tile.rows));
        }
        for index in 0..STRIPS {
            let (lhs, ld) = match roads[index] {
                road::IN_PLACE => (tile.lhs, tile.lhs_member),
                road::OWN => (tile.buffer.add(index * MR * step).cast_const(), step),
                _ => (tile.buffer.cast_const(), step),
            };
            let rhs = tile.rhs.add(index * strip.bytes);
            for row in (0..tile.rows).step_by(ROWS) {
                let left = tile.rows - row;
                let (next, next_row, rows) = match (left > ROWS, index + 1 < STRIPS) {
                    (true, _) => (index, row + ROWS, left - ROWS),
                    (false, true) => (index + 1, 0, tile.rows),
                    (false, false) => (0, MR, if more { MR } else { 0 }),
                };
                let copies = roads[next] == road::OWN && rows > 0;
                let next = copy(next, next_row);
                if copies && (rows < ROWS || left < ROWS) {
                    next.now(&strip, rows.min(ROWS));
                }
                let pass = Pass { strip, rhs, lhs: lhs.add(row * ld), ld, row, column: index * STRIP, next };
                match left {
                    1 => pass.multiply::<1, false, E>(ends),
                    2 => pass.multiply::<2, false, E>(ends),
                    _ if copies && rows >= ROWS => pass.multiply::<ROWS, true, E>(ends),
                    _ => pass.multiply::<ROWS, false, E>(ends),
                }
            }
        }
    }
}

/// Rows to copy to the buffer in the order of a strip.
#[derive(Clone, Copy)]
struct Copy {
    rhs: *const u8,
    from: *const u8,
    from_step: usize,
    to: *mut u8,
    to_step: usize,
}

impl Copy {
    /// Copies whole rows.
    #[inline(always)]
    unsafe fn now(&self, strip: &Strip, rows: usize) {
        for at in 0..strip.blocks {
            // SAFETY: passed on.
            unsafe { self.block(strip, at, rows) }
        }
    }

    /// Copies the block of some rows that is stored at `at`.
    #[inline(always)]
    unsafe fn block(&self, strip: &Strip, at: usize, rows: usize) {
        // SAFETY: Features, Rhs; Lhs: a block there is; Buffer. `vpshufb` takes any table.
        unsafe {
            let block = self.rhs.add(strip.order).cast::<u32>().add(at).read() as usize;
            let block = block.min(strip.blocks - 1);
            let table = _mm256_loadu_si256(self.rhs.add(strip.tables + BLOCK * block).cast());
            let (from, to) = (self.from.add(BLOCK * block), self.to.add(BLOCK * at));
            for row in 0..rows {
                let codes = _mm256_loadu_si256(from.add(row * self.from_step).cast());
                _mm256_storeu_si256(to.add(row * self.to_step).cast(), _mm256_shuffle_epi8(codes, table));
            }
        }
    }
}

/// Some rows by one strip.
struct Pass {
    strip: Strip,
    rhs: *const u8,
    lhs: *const u8,
    ld: usize,
    row: usize,
    column: usize,
    next: Copy,
}

impl Pass {
    /// Multiplies `R` rows; with `COPY`, copies those of the next pass on the way.
    #[inline(always)]
    unsafe fn multiply<const R: usize, const COPY: bool, E: Ends>(&self, ends: &E) {
        let Self { ref strip, rhs, mut lhs, ld, row, column, ref next } = *self;
        // SAFETY: Features, Rhs: groups are bounded by the blocks there are; lhs has as many.
        unsafe {
            let mut weights = rhs.add(strip.weights).cast::<__m256i>();
            let mut sums = ends.start::<R>(row, column);
            let (mut at, mut group) = (0, 0);
            macro_rules! blocks {
                ($end:expr, $steps:expr) => {
                    while at < $end {
                        if COPY {
                            next.block(strip, at, ROWS);
                        }
                        $steps;
                        weights = weights.add(BLOCK_BYTES / 32);
                        lhs = lhs.add(WINDOW);
                        at += 1;
                    }
                };
            }
            while at < strip.blocks && group < KINDS {
                let word = rhs.cast::<u32>().add(group).read();
                let kind = Kind(word as u8);
                let end = strip.blocks.min(at + (word >> 8) as usize);
                group += 1;
                if kind.is_none() {
                    blocks!(end, lhs = lhs.add(WINDOW));
                } else if kind.is_fours() {
                    blocks!(end, {
                        four(&mut sums, weights, &mut lhs, ld);
                        four(&mut sums, weights.add(8), &mut lhs, ld);
                    });
                } else if kind.runs() == STEPS {
                    blocks!(end, {
                        for step in 0..STEPS {
                            run(&mut sums, weights.add(4 * step), &mut lhs, ld);
                        }
                    });
                } else {
                    blocks!(end, mixed(&mut sums, kind, weights, &mut lhs, ld));
                }
            }
            ends.end(row, column, sums);
        }
    }
}

/// Multiplies the steps of a block.
#[inline(always)]
unsafe fn mixed<const R: usize>(
    sums: &mut Sums<R>,
    kind: Kind,
    mut weights: *const __m256i,
    lhs: &mut *const u8,
    ld: usize,
) {
    // SAFETY: Features, and the memory of four steps.
    unsafe {
        for _ in 0..kind.runs() {
            run(sums, weights, lhs, ld);
            weights = weights.add(4);
        }
        for _ in 0..kind.pairs() {
            pair(sums, weights, lhs, ld);
            weights = weights.add(4);
        }
        for _ in 0..kind.wides() {
            wide(sums, weights, lhs, ld);
            weights = weights.add(4);
        }
    }
}

const _: () = assert!(STEP_BYTES == 4 * 32);

/// Adds products to a sum, before anything is read through `lhs` again: left to itself, the compiler works on all rows
/// at a time, and keeps more products than there are registers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gain(sum: &mut __m256i, products: __m256i, by: __m256i, lhs: &mut *const u8) {
    let mut total = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, by));
    // SAFETY: an empty instruction.
    unsafe {
        core::arch::asm!(
            "/* {0} {1} */",
            inout(ymm_reg) total,
            inout(reg) *lhs,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    *sum = total;
}

/// Four k of a row, in every lane.
#[inline(always)]
unsafe fn broadcast(lhs: *const u8) -> __m256i {
    // SAFETY: Features; four bytes.
    unsafe { _mm256_set1_epi32(lhs.cast::<i32>().read_unaligned()) }
}

/// The weights of a step: A of columns 0..8 and 8..16, then B.
#[inline(always)]
unsafe fn load(weights: *const __m256i) -> [__m256i; 4] {
    // SAFETY: Features; 128 bytes, aligned.
    unsafe { [*weights, *weights.add(1), *weights.add(2), *weights.add(3)] }
}

/// A step that adds two products in 16 bits.
#[inline(always)]
unsafe fn run<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, lhs: &mut *const u8, ld: usize) {
    // SAFETY: Features, and the memory of a step.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let [a0, a1, b0, b1] = load(weights);
        for (i, sums) in sums.iter_mut().enumerate() {
            let (a, b) = (broadcast(lhs.add(i * ld)), broadcast(lhs.add(i * ld + 16)));
            let left = _mm256_add_epi16(_mm256_maddubs_epi16(a, a0), _mm256_maddubs_epi16(b, b0));
            let right = _mm256_add_epi16(_mm256_maddubs_epi16(a, a1), _mm256_maddubs_epi16(b, b1));
            gain(&mut sums[0], left, ones, lhs);
            gain(&mut sums[1], right, ones, lhs);
        }
        *lhs = lhs.add(4);
    }
}

/// Two steps that add four products in 16 bits. Eight columns at a time: all sixteen would need more registers than
/// there are.
#[inline(always)]
unsafe fn four<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, lhs: &mut *const u8, ld: usize) {
    // SAFETY: Features, and the memory of two steps.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        for half in 0..2 {
            let weights = weights.add(half);
            let (a0, b0, a1, b1) = (*weights, *weights.add(2), *weights.add(4), *weights.add(6));
            for (i, sums) in sums.iter_mut().enumerate() {
                let row = lhs.add(i * ld);
                let a = _mm256_maddubs_epi16(broadcast(row), a0);
                let b = _mm256_maddubs_epi16(broadcast(row.add(16)), b0);
                let c = _mm256_maddubs_epi16(broadcast(row.add(4)), a1);
                let d = _mm256_maddubs_epi16(broadcast(row.add(20)), b1);
                let lanes = _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
                gain(&mut sums[half], lanes, ones, lhs);
            }
        }
        *lhs = lhs.add(8);
    }
}

/// A step of single pairs.
#[inline(always)]
unsafe fn pair<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, lhs: &mut *const u8, ld: usize) {
    // SAFETY: Features, and the memory of a step.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let [a0, a1, b0, b1] = load(weights);
        for (i, sums) in sums.iter_mut().enumerate() {
            for (at, left, right) in [(0, a0, a1), (16, b0, b1)] {
                let codes = broadcast(lhs.add(i * ld + at));
                gain(&mut sums[0], _mm256_maddubs_epi16(codes, left), ones, lhs);
                gain(&mut sums[1], _mm256_maddubs_epi16(codes, right), ones, lhs);
            }
        }
        *lhs = lhs.add(4);
    }
}

/// A step for weights of any size: even and odd k as 16 bits.
#[inline(always)]
unsafe fn wide<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, lhs: &mut *const u8, ld: usize) {
    // SAFETY: Features, and the memory of a step.
    unsafe {
        let low = _mm256_set1_epi16(0xff);
        let [a0, a1, b0, b1] = load(weights);
        for (at, left, right) in [(0, a0, a1), (16, b0, b1)] {
            let odd = [_mm256_srai_epi16::<8>(left), _mm256_srai_epi16::<8>(right)];
            let (left, right) = (_mm256_slli_epi16::<8>(left), _mm256_slli_epi16::<8>(right));
            let even = [_mm256_srai_epi16::<8>(left), _mm256_srai_epi16::<8>(right)];
            for (i, sums) in sums.iter_mut().enumerate() {
                let codes = broadcast(lhs.add(i * ld + at));
                let (even_codes, odd_codes) = (_mm256_and_si256(codes, low), _mm256_srli_epi16::<8>(codes));
                for half in 0..2 {
                    gain(&mut sums[half], even_codes, even[half], lhs);
                    gain(&mut sums[half], odd_codes, odd[half], lhs);
                }
            }
        }
        *lhs = lhs.add(4);
    }
}

//! AVX2: `vpmaddubsw` over u8 x i8, where packing has proven that it cannot saturate.
//!
//! Instruction: `vpmaddubsw` multiplies 32 pairs of u8 and i8 and adds neighbours into 16 int16, twice as many as
//! `vpmaddwd`, but it saturates; [`crate::proven`] says where it does not, and lays the weights out. Registers, 3 rows
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

use super::avx2::Avx2Lanes;
use super::avx2_bytes::Avx2Bytes;
use crate::cpu::Features;
use crate::microkernel::{Direct, Microkernel, Tile, entries};
use crate::panel::{Elem, Panel};
use crate::proven::{BLOCK, BLOCK_BYTES, KINDS, Kind, PANEL, STEP_BYTES, STRIP, Strip, buffer_step, road};

/// The microkernel.
pub struct Avx2Proven;

const MR: usize = 6;
const NR: usize = PANEL;
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
    const PROVEN: bool = true;
    type Lanes = Avx2Lanes;
    type Gather = Avx2Bytes;

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, passed on.
        unsafe { strips(&tile, &Scratch { acc: tile.acc, add: tile.add }) }
    }

    const DIRECT: bool = true;

    #[target_feature(enable = "avx2")]
    unsafe fn enter_direct(direct: Direct) {
        let Direct { tiles, first: mut tile, row_stride, mut row_terms, column_terms } = direct;
        for _ in 0..tiles {
            // SAFETY: Features, Lhs, Rhs; Direct: outputs and terms of every tile.
            unsafe { strips(&tile, &Output { out: tile.acc, row_stride, row_terms, column_terms }) }
            tile.lhs = tile.lhs.wrapping_add(MR * tile.lhs_member);
            tile.acc = tile.acc.wrapping_add(MR * row_stride);
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
            for (i, sums) in sums.iter_mut().enumerate() {
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

/// Multiplies the rows of a tile by both strips of a panel.
#[inline(always)]
unsafe fn strips<E: Ends>(tile: &Tile, ends: &E) {
    let strip = Strip::of(tile.k);
    let step = buffer_step(tile.k);
    // SAFETY: Features, Lhs, Rhs, Acc or Direct; Buffer: rows of `step` bytes.
    unsafe {
        for index in 0..NR / STRIP {
            let rhs = tile.rhs.add(index * strip.bytes);
            let road = rhs.add(Strip::ROAD).cast::<u32>().read();
            let (lhs, ld) = if road == road::IN_PLACE {
                (tile.lhs, tile.lhs_member)
            } else {
                (tile.buffer.cast_const(), step)
            };
            if road == road::OWN {
                shuffle(tile, rhs, &strip, step);
            }
            let mut row = 0;
            while row < tile.rows {
                let lhs = lhs.add(row * ld);
                let column = index * STRIP;
                match tile.rows - row {
                    1 => multiply::<1, E>(rhs, &strip, lhs, ld, ends, row, column),
                    2 => multiply::<2, E>(rhs, &strip, lhs, ld, ends, row, column),
                    _ => multiply::<ROWS, E>(rhs, &strip, lhs, ld, ends, row, column),
                }
                row += ROWS;
            }
        }
    }
}

/// Copies the rows of a tile to its buffer in the order of a strip.
#[inline(always)]
unsafe fn shuffle(tile: &Tile, rhs: *const u8, strip: &Strip, step: usize) {
    // SAFETY: Features, Rhs; Lhs: blocks below `blocks`; Buffer. `vpshufb` takes any table.
    unsafe {
        for at in 0..strip.blocks {
            let block = rhs.add(strip.order).cast::<u32>().add(at).read_unaligned() as usize;
            let block = block.min(strip.blocks - 1);
            let table = _mm256_loadu_si256(rhs.add(strip.tables + BLOCK * block).cast());
            for row in 0..tile.rows {
                let codes = _mm256_loadu_si256(tile.lhs.add(row * tile.lhs_member + BLOCK * block).cast());
                let to = tile.buffer.add(row * step + BLOCK * at);
                _mm256_storeu_si256(to.cast(), _mm256_shuffle_epi8(codes, table));
            }
        }
    }
}

/// Multiplies `R` rows by a strip.
#[inline(always)]
unsafe fn multiply<const R: usize, E: Ends>(
    rhs: *const u8,
    strip: &Strip,
    mut lhs: *const u8,
    ld: usize,
    ends: &E,
    row: usize,
    column: usize,
) {
    // SAFETY: Features, Rhs: groups are bounded by the blocks there are; lhs has as many.
    unsafe {
        let mut sums = ends.start::<R>(row, column);
        let mut weights = rhs.add(strip.weights).cast::<__m256i>();
        let mut left = strip.blocks;
        for group in 0..KINDS {
            if left == 0 {
                break;
            }
            let group = rhs.cast::<u32>().add(group).read();
            let (kind, count) = (Kind::of(group as u8), left.min((group >> 8) as usize));
            left -= count;
            for _ in 0..count {
                if kind.is_fours() {
                    four(&mut sums, weights, lhs, ld);
                    four(&mut sums, weights.add(8), lhs.add(8), ld);
                } else {
                    let (mut weights, mut lhs) = (weights, lhs);
                    for _ in 0..kind.runs() {
                        run(&mut sums, weights, lhs, ld);
                        (weights, lhs) = (weights.add(4), lhs.add(4));
                    }
                    for _ in 0..kind.pairs() {
                        pair(&mut sums, weights, lhs, ld);
                        (weights, lhs) = (weights.add(4), lhs.add(4));
                    }
                    for _ in 0..kind.wides() {
                        wide(&mut sums, weights, lhs, ld);
                        (weights, lhs) = (weights.add(4), lhs.add(4));
                    }
                }
                weights = weights.add(BLOCK_BYTES / 32);
                lhs = lhs.add(BLOCK);
            }
        }
        ends.end(row, column, sums);
    }
}

const _: () = assert!(STEP_BYTES == 4 * 32);

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
unsafe fn run<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, lhs: *const u8, ld: usize) {
    // SAFETY: Features, and the memory of a step.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let [a0, a1, b0, b1] = load(weights);
        for (i, sums) in sums.iter_mut().enumerate() {
            let (a, b) = (broadcast(lhs.add(i * ld)), broadcast(lhs.add(i * ld + 16)));
            let left = _mm256_add_epi16(_mm256_maddubs_epi16(a, a0), _mm256_maddubs_epi16(b, b0));
            let right = _mm256_add_epi16(_mm256_maddubs_epi16(a, a1), _mm256_maddubs_epi16(b, b1));
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(left, ones));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(right, ones));
        }
    }
}

/// Two steps that add four products in 16 bits. Eight columns at a time: all sixteen would need more registers than
/// there are.
#[inline(always)]
unsafe fn four<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, mut lhs: *const u8, ld: usize) {
    // SAFETY: Features, and the memory of two steps.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        for half in 0..2 {
            // The compiler must not keep broadcasts from half to half.
            core::arch::asm!("/* {0} */", inout(reg) lhs, options(pure, readonly, nostack, preserves_flags));
            let weights = weights.add(half);
            let (a0, b0, a1, b1) = (*weights, *weights.add(2), *weights.add(4), *weights.add(6));
            for (i, sums) in sums.iter_mut().enumerate() {
                let lhs = lhs.add(i * ld);
                let a = _mm256_maddubs_epi16(broadcast(lhs), a0);
                let b = _mm256_maddubs_epi16(broadcast(lhs.add(16)), b0);
                let c = _mm256_maddubs_epi16(broadcast(lhs.add(4)), a1);
                let d = _mm256_maddubs_epi16(broadcast(lhs.add(20)), b1);
                let lanes = _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
                sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(lanes, ones));
            }
        }
    }
}

/// A step of single pairs.
#[inline(always)]
unsafe fn pair<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, lhs: *const u8, ld: usize) {
    // SAFETY: Features, and the memory of a step.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let [a0, a1, b0, b1] = load(weights);
        for (i, sums) in sums.iter_mut().enumerate() {
            for (at, left, right) in [(0, a0, a1), (16, b0, b1)] {
                let codes = broadcast(lhs.add(i * ld + at));
                let left = _mm256_madd_epi16(_mm256_maddubs_epi16(codes, left), ones);
                let right = _mm256_madd_epi16(_mm256_maddubs_epi16(codes, right), ones);
                *sums = [_mm256_add_epi32(sums[0], left), _mm256_add_epi32(sums[1], right)];
            }
        }
    }
}

/// A step for weights of any size: even and odd k as 16 bits.
#[inline(always)]
unsafe fn wide<const R: usize>(sums: &mut Sums<R>, weights: *const __m256i, lhs: *const u8, ld: usize) {
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
                    let even = _mm256_madd_epi16(even_codes, even[half]);
                    let odd = _mm256_madd_epi16(odd_codes, odd[half]);
                    sums[half] = _mm256_add_epi32(_mm256_add_epi32(sums[half], even), odd);
                }
            }
        }
    }
}

//! Matrices of bytes, the other way round: NCHW to NHWC and back.

use std::sync::{Mutex, PoisonError};

use zeropoint::Threads;

/// A matrix of bytes, row-major; `from` may hold several, one after another.
#[derive(Clone, Copy)]
pub(crate) struct Matrices<'a> {
    pub from: &'a [u8],
    pub rows: usize,
    pub cols: usize,
}

/// Rows of a block.
const BLOCK: usize = 8;
/// Blocks side by side.
const LANES: usize = 4;
/// Bytes that are worth a task.
const TASK: usize = 1 << 15;

impl Matrices<'_> {
    /// Writes the transposed matrices to as many bytes.
    pub fn transpose(&self, to: &mut [u8], threads: &dyn Threads) {
        let Self { from, rows, cols } = *self;
        let size = rows * cols;
        if size == 0 {
            return;
        }
        // Rows of the result, which are columns of the source.
        let strip = (TASK / rows).max(1).next_multiple_of(BLOCK * LANES).min(cols);
        let each = from.chunks_exact(size).zip(to.chunks_exact_mut(size));
        let strips = each.flat_map(|(from, to)| {
            to.chunks_mut(strip * rows).enumerate().map(move |(i, to)| (from, i * strip, to))
        });
        let strips = Mutex::new(strips);
        let work = |_| {
            loop {
                // The guard is gone before the work is done.
                let next = strips.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((from, first, to)) = next else { return };
                columns(&from[first..], cols, to, rows);
            }
        };
        let tasks = from.len().div_ceil(TASK).min(if from.len() > TASK { threads.threads() } else { 1 });
        if tasks > 1 {
            threads.run(tasks, &work);
        }
        work(0);
    }
}

/// Writes the columns that begin with the first elements of `from`, whose rows are `cols` apart, as rows of `to`.
fn columns(from: &[u8], cols: usize, to: &mut [u8], rows: usize) {
    let count = to.len() / rows;
    let (whole_rows, whole_cols) = (rows / BLOCK * BLOCK, count / (BLOCK * LANES) * BLOCK * LANES);
    for col in (0..whole_cols).step_by(BLOCK * LANES) {
        for row in (0..whole_rows).step_by(BLOCK) {
            let mut block = [[0u64; LANES]; BLOCK];
            for (i, words) in block.iter_mut().enumerate() {
                let start = (row + i) * cols + col;
                let (bytes, _) = from[start..start + BLOCK * LANES].as_chunks::<8>();
                for (word, bytes) in words.iter_mut().zip(bytes) {
                    *word = u64::from_le_bytes(*bytes);
                }
            }
            swap(&mut block);
            for (j, words) in block.iter().enumerate() {
                for (lane, word) in words.iter().enumerate() {
                    let start = (col + lane * BLOCK + j) * rows + row;
                    to[start..start + BLOCK].copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }
    // What no block covers: columns on the right, then rows below.
    let mut plain = |cells: std::ops::Range<usize>, rest: std::ops::Range<usize>| {
        for col in cells {
            for row in rest.clone() {
                to[col * rows + row] = from[row * cols + col];
            }
        }
    };
    plain(whole_cols..count, 0..rows);
    plain(0..whole_cols, whole_rows..rows);
}

/// Transposes blocks of 8 x 8 bytes, by halves, quarters and single bytes.
fn swap(block: &mut [[u64; LANES]; BLOCK]) {
    const STEPS: [(usize, u64); 3] =
        [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)];
    for (distance, mask) in STEPS {
        for row in (0..BLOCK).filter(|row| row & distance == 0) {
            for lane in 0..LANES {
                let (low, high) = (block[row][lane], block[row + distance][lane]);
                let moved = (low >> (8 * distance) ^ high) & mask;
                block[row][lane] = low ^ moved << (8 * distance);
                block[row + distance][lane] = high ^ moved;
            }
        }
    }
}

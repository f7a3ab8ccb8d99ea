//! Sharing an output among threads.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::view::MatMut;

/// Disjoint blocks of an output, each handed out at most once, to any thread that asks.
///
/// ```
/// use zeropoint_kernels::{Blocks, MatMut};
/// let mut data = [0u8; 6];
/// let blocks = Blocks::new(MatMut::row_major(&mut data, 2, 3)?, 2, 2);
/// assert_eq!(blocks.count(), 2);
/// while let Some(mut block) = blocks.claim_last() {
///     block.out.set(0, 0, block.col as u8 + 1);
/// }
/// assert!(blocks.claim().is_none());
/// assert_eq!(data, [1, 0, 3, 0, 0, 0]);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Blocks<'a, T> {
    out: MatMut<'a, T>,
    rows: usize,
    cols: usize,
    across: usize,
    turns: Turns,
}

/// Numbers from 0 up to a count, each handed out at most once, from either end.
#[derive(Debug)]
pub(crate) struct Turns {
    count: usize,
    /// How many there were in all, and from each end.
    taken: AtomicUsize,
    ends: [AtomicUsize; 2],
}

impl Turns {
    pub fn new(count: usize) -> Self {
        Self { count, taken: AtomicUsize::new(0), ends: [AtomicUsize::new(0), AtomicUsize::new(0)] }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// The lowest number that is left, or the highest; `None` when all are taken.
    pub fn take(&self, last: bool) -> Option<usize> {
        // Stops at `count`, so that no counter can wrap however often this is called, and both ends together give no more.
        let more = |n| (n < self.count).then_some(n + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let turn = self.ends[usize::from(last)].fetch_add(1, Ordering::Relaxed);
        Some(if last { self.count - 1 - turn } else { turn })
    }
}

/// A block of an output and where it starts.
#[derive(Debug)]
pub struct Block<'a, T> {
    /// First row.
    pub row: usize,
    /// First column.
    pub col: usize,
    /// The block itself.
    pub out: MatMut<'a, T>,
}

impl<'a, T: Copy> Blocks<'a, T> {
    /// Splits `out` into blocks of at most `rows` x `cols` elements (a size of 0 counts as 1).
    pub fn new(out: MatMut<'a, T>, rows: usize, cols: usize) -> Self {
        let (rows, cols) = (rows.max(1), cols.max(1));
        let across = out.cols().div_ceil(cols);
        // At most one block an element, and there is memory for each element unless a side is empty.
        let count = if out.cols() == 0 { 0 } else { out.rows().div_ceil(rows) * across };
        Self { out, rows, cols, across, turns: Turns::new(count) }
    }

    /// How many blocks there are.
    pub fn count(&self) -> usize {
        self.turns.count()
    }

    /// The next block, or `None` when all are taken.
    pub fn claim(&self) -> Option<Block<'a, T>> {
        self.block(self.turns.take(false)?)
    }

    /// The last block that is left: of threads that claim from both ends, each finds in its caches what it left there when it shared
    /// the last output.
    pub fn claim_last(&self) -> Option<Block<'a, T>> {
        self.block(self.turns.take(true)?)
    }

    /// A block that was claimed.
    fn block(&self, claimed: usize) -> Option<Block<'a, T>> {
        let (row, col) = (claimed / self.across * self.rows, claimed % self.across * self.cols);
        let rows = self.rows.min(self.out.rows() - row);
        let cols = self.cols.min(self.out.cols() - col);
        // SAFETY: Twice: each index is claimed once, blocks have no common element, and `self.out` itself is never
        // read or written.
        let out = unsafe { self.out.duplicate() }.part(row, col, rows, cols).ok()?;
        Some(Block { row, col, out })
    }
}

//! Matrices in any memory order, with margins around them, so that all of the views are parts of larger ones.

use std::fmt::Debug;
use std::mem::MaybeUninit;

use zeropoint::{Error, MatMut, MatRef};

use super::Rng;

/// How elements lie in memory.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Rows one after another.
    Rows,
    /// Columns one after another.
    Columns,
    /// Rows one after another, elements so many apart.
    SpreadRows(usize),
    /// Columns one after another, elements so many apart.
    SpreadColumns(usize),
    /// Strides without a common factor and of one size: rows lie between one another.
    Interlocked,
    /// Any strides; elements may share memory. Only for what is read.
    Shared(usize, usize),
}

/// How a matrix lies in a larger one, and that one in memory.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub order: Order,
    /// Elements between two lines.
    pub pad: usize,
    /// Rows above, columns to the left, rows below, columns to the right.
    pub margin: [usize; 4],
}

impl Layout {
    pub const ROWS: Self = Self::of(Order::Rows);
    pub const COLUMNS: Self = Self::of(Order::Columns);

    /// Without pads and margins.
    pub const fn of(order: Order) -> Self {
        Self { order, pad: 0, margin: [0; 4] }
    }

    /// Rows and columns with the margins.
    fn outer(&self, rows: usize, cols: usize) -> (usize, usize) {
        let [top, left, bottom, right] = self.margin;
        (top + rows + bottom, left + cols + right)
    }

    /// Row stride and column stride.
    fn strides(&self, rows: usize, cols: usize) -> (usize, usize) {
        let (rows, cols) = self.outer(rows, cols);
        let pad = self.pad;
        match self.order {
            Order::Rows => (cols + pad, 1),
            Order::Columns => (1, rows + pad),
            Order::SpreadRows(step) => (cols * step + pad, step),
            Order::SpreadColumns(step) => (step, rows * step + pad),
            Order::Interlocked => (cols + pad, cols + pad + 1),
            Order::Shared(row_stride, col_stride) => (row_stride, col_stride),
        }
    }
}

/// An element of a test: random ones, and bits to compare.
pub trait Value: Copy + Default + PartialEq + Debug + Send + Sync + 'static {
    fn of(bits: u32) -> Self;
    fn bits(self) -> u32;
}

macro_rules! values {
    ($($t:ty),*) => {$(
        impl Value for $t {
            fn of(bits: u32) -> Self {
                bits as $t
            }
            fn bits(self) -> u32 {
                self as u32
            }
        }
    )*};
}
values!(u8, i8, i16, i32);

impl Value for f32 {
    fn of(bits: u32) -> Self {
        Self::from_bits(bits)
    }
    fn bits(self) -> u32 {
        self.to_bits()
    }
}

/// A matrix with memory of its own, whose gaps and margins have values, too.
#[derive(Clone)]
pub struct Matrix<T> {
    pub data: Vec<T>,
    pub rows: usize,
    pub cols: usize,
    pub layout: Layout,
}

impl<T: Value> Matrix<T> {
    /// Filled by `value`, gaps and margins as well.
    pub fn new(rows: usize, cols: usize, layout: Layout, mut value: impl FnMut() -> T) -> Self {
        let (outer_rows, outer_cols) = layout.outer(rows, cols);
        let (row_stride, col_stride) = layout.strides(rows, cols);
        let empty = outer_rows == 0 || outer_cols == 0;
        let len = if empty { 0 } else { (outer_rows - 1) * row_stride + (outer_cols - 1) * col_stride + 1 };
        Self { data: (0..len).map(|_| value()).collect(), rows, cols, layout }
    }

    /// Filled with any bits.
    pub fn random(rows: usize, cols: usize, layout: Layout, rng: &Rng) -> Self {
        Self::new(rows, cols, layout, || T::of(rng.bits() as u32))
    }

    /// Codes as hard as they get: often nothing but one extreme, or many of them.
    pub fn codes(rows: usize, cols: usize, layout: Layout, rng: &Rng) -> Self {
        let extreme = rng.pick(&[0x00, 0x7f, 0x80, 0xff]);
        let fill = rng.below(4);
        Self::new(rows, cols, layout, || match fill {
            0 => T::of(extreme),
            1 => T::of(rng.pick(&[0x00, 0x7f, 0x80, 0xff])),
            2 if rng.one_in(2) => T::of(extreme),
            _ => T::of(rng.below(256) as u32),
        })
    }

    pub fn strides(&self) -> (usize, usize) {
        self.layout.strides(self.rows, self.cols)
    }

    /// Where an element lies in `data`.
    pub fn offset(&self, row: usize, col: usize) -> usize {
        let ((row_stride, col_stride), [top, left, ..]) = (self.strides(), self.layout.margin);
        (top + row) * row_stride + (left + col) * col_stride
    }

    /// Which element lies there, if any.
    pub fn element_at(&self, offset: usize) -> Option<(usize, usize)> {
        self.elements().find(|(i, j)| self.offset(*i, *j) == offset)
    }

    pub fn view(&self) -> MatRef<'_, T> {
        let ((rows, cols), (row_stride, col_stride)) = self.whole();
        let whole = MatRef::new(&self.data, rows, cols, row_stride, col_stride).unwrap();
        let [top, left, ..] = self.layout.margin;
        whole.part(top, left, self.rows, self.cols).unwrap()
    }

    pub fn view_mut(&mut self) -> MatMut<'_, T> {
        let ((rows, cols), (row_stride, col_stride)) = self.whole();
        let whole = MatMut::new(&mut self.data, rows, cols, row_stride, col_stride).unwrap();
        let [top, left, ..] = self.layout.margin;
        whole.part(top, left, self.rows, self.cols).unwrap()
    }

    /// Lends the memory without its elements to `write`, which has to write them all.
    pub fn rewrite(&mut self, write: impl FnOnce(MatMut<'_, T>) -> Result<(), Error>) -> Result<(), Error> {
        let mut memory: Vec<_> = self.data.iter().map(|value| MaybeUninit::new(*value)).collect();
        for (i, j) in self.elements() {
            memory[self.offset(i, j)] = MaybeUninit::uninit();
        }
        let ((rows, cols), (row_stride, col_stride)) = self.whole();
        let whole = MatMut::uninit(&mut memory, rows, cols, row_stride, col_stride).unwrap();
        let [top, left, ..] = self.layout.margin;
        write(whole.part(top, left, self.rows, self.cols).unwrap())?;
        // SAFETY: margins and gaps were never uninitialized, and a call that succeeds has written every element.
        self.data = memory.into_iter().map(|value| unsafe { value.assume_init() }).collect();
        Ok(())
    }

    /// Shape with the margins, and strides.
    fn whole(&self) -> ((usize, usize), (usize, usize)) {
        (self.layout.outer(self.rows, self.cols), self.strides())
    }

    fn elements(&self) -> impl Iterator<Item = (usize, usize)> + use<T> {
        let (rows, cols) = (self.rows, self.cols);
        (0..rows).flat_map(move |i| (0..cols).map(move |j| (i, j)))
    }
}

//! Matrices of test data: any strides, any codes, random gaps.

use std::any::type_name;
use std::fmt::{self, Debug};

use zeropoint_kernels::{Code, MatRef};

use super::{Arena, Rng};

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Rows,
    Columns,
    RowGap,
    ColumnGap,
    /// No two elements side by side, row after row.
    Apart,
    /// The same, column after column.
    ApartColumns,
    /// Every row is the same memory.
    Same,
    /// Every row starts one element after the last.
    Slide,
    /// Every row on a page of its own, with another page between.
    #[cfg(all(unix, not(miri)))]
    RowPages,
    /// Every column on a page of its own, with another page between.
    #[cfg(all(unix, not(miri)))]
    ColumnPages,
}

impl Layout {
    /// Layouts in which no elements share memory.
    pub const DISJOINT: [Self; 6] =
        [Self::Rows, Self::Columns, Self::RowGap, Self::ColumnGap, Self::Apart, Self::ApartColumns];
    /// Layouts of what is only read.
    pub const ALL: [Self; 8] = [
        Self::Rows,
        Self::Columns,
        Self::RowGap,
        Self::ColumnGap,
        Self::Apart,
        Self::ApartColumns,
        Self::Same,
        Self::Slide,
    ];

    /// Row stride and column stride of `rows` x `cols` elements of type `T`.
    pub fn strides<T>(self, rows: usize, cols: usize) -> (usize, usize) {
        #[cfg(all(unix, not(miri)))]
        let pages = 2 * super::pages::size() / size_of::<T>();
        match self {
            Self::Rows => (cols, 1),
            Self::Columns => (1, rows),
            Self::RowGap => (cols + 3, 1),
            Self::ColumnGap => (1, rows + 5),
            Self::Apart => (2 * cols + 1, 2),
            Self::ApartColumns => (3, 3 * rows + 2),
            Self::Same => (0, 1),
            Self::Slide => (1, 1),
            #[cfg(all(unix, not(miri)))]
            Self::RowPages => (pages, 1),
            #[cfg(all(unix, not(miri)))]
            Self::ColumnPages => (1, pages),
        }
    }
}

/// Elements from the first to the last of a matrix, both included.
pub fn span((rows, cols): (usize, usize), (row_stride, col_stride): (usize, usize)) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 }
}

/// What codes a matrix has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Random,
    /// All the largest code: 255, 127.
    High,
    /// All the smallest code: 0, -128.
    Low,
    /// Largest and smallest code in turn, along both axes.
    Checks,
}

impl Fill {
    pub const ALL: [Self; 4] = [Self::Random, Self::High, Self::Low, Self::Checks];

    pub fn value(self, rng: &Rng, (low, high): (i32, i32), (i, j): (usize, usize)) -> i32 {
        match self {
            Self::Random => rng.within(low, high),
            Self::High => high,
            Self::Low => low,
            Self::Checks => [high, low][(i + j) % 2],
        }
    }
}

/// A code type that tests can make.
pub trait TestCode: Code + Debug {
    fn of(value: i32) -> Self;
}

impl TestCode for u8 {
    fn of(value: i32) -> Self {
        u8::try_from(value).unwrap()
    }
}

impl TestCode for i8 {
    fn of(value: i32) -> Self {
        i8::try_from(value).unwrap()
    }
}

/// A matrix of codes; the last element of `data` is its last element.
#[derive(Clone, Copy)]
pub struct Matrix<'a, C> {
    pub data: &'a [C],
    pub shape: (usize, usize),
    pub strides: (usize, usize),
}

impl<'a, C: TestCode> Matrix<'a, C> {
    pub fn new(arena: &'a Arena, rng: &Rng, (rows, cols): (usize, usize), layout: Layout, fill: Fill) -> Self {
        let strides = layout.strides::<C>(rows, cols);
        let data = arena.slice(span((rows, cols), strides), |_| C::of(rng.within(C::RANGE.0, C::RANGE.1)));
        if fill != Fill::Random {
            for i in 0..rows {
                for j in 0..cols {
                    data[i * strides.0 + j * strides.1] = C::of(fill.value(rng, C::RANGE, (i, j)));
                }
            }
        }
        Self { data, shape: (rows, cols), strides }
    }

    pub fn at(&self, i: usize, j: usize) -> i64 {
        let value: i32 = self.data[i * self.strides.0 + j * self.strides.1].into();
        value as i64
    }

    pub fn view(&self) -> MatRef<'a, C> {
        let ((rows, cols), (row_stride, col_stride)) = (self.shape, self.strides);
        MatRef::new(self.data, rows, cols, row_stride, col_stride).unwrap()
    }

    pub fn transposed(self) -> Self {
        Self { shape: (self.shape.1, self.shape.0), strides: (self.strides.1, self.strides.0), ..self }
    }
}

impl<C> Debug for Matrix<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} strides {:?}", type_name::<C>(), self.shape, self.strides)
    }
}

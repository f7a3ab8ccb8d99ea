//! Matrices as views: a pointer, a shape and two strides, checked once when they are made. Nobody checks again.
//!
//! A [`MatRef`] may overlap itself and have strides of 0. A [`MatMut`] may not: every element has memory of its
//! own, so parts of it can be handed to different threads. Neither touches the gaps between its elements.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::Error;

/// Shape and strides of a view, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl Extent {
    fn is_empty(&self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// Checks that the view spans no more than `len` elements; returns how many it does not span.
    fn check_span(&self, len: usize) -> Result<usize, Error> {
        let Self { rows, cols, row_stride, col_stride } = *self;
        if self.is_empty() {
            return Ok(len);
        }
        let down = times("data", rows - 1, row_stride)?;
        let across = times("data", cols - 1, col_stride)?;
        let last = plus("data", down, across)?;
        let needed = plus("data", last, 1)?;
        if needed > len {
            return Err(Error::Span { rows, cols, row_stride, col_stride, needed, got: len });
        }
        Ok(len - needed)
    }

    /// From the first element to the last; the view is not empty.
    fn last(&self) -> usize {
        (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride
    }

    /// Checks that no two elements share memory: with g = gcd(row stride, column stride), legal iff
    /// row stride / g >= columns or column stride / g >= rows.
    fn check_disjoint(&self) -> Result<(), Error> {
        let Self { rows, cols, row_stride, col_stride } = *self;
        if self.is_empty() || (rows == 1 && (cols == 1 || col_stride > 0)) || (cols == 1 && row_stride > 0) {
            return Ok(());
        }
        let g = gcd(row_stride, col_stride);
        if g > 0 && (row_stride / g >= cols || col_stride / g >= rows) {
            return Ok(());
        }
        Err(Error::Overlap { rows, cols, row_stride, col_stride })
    }

    fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// The offset of element (row, col), if it exists.
    fn offset(&self, row: usize, col: usize) -> Option<usize> {
        (row < self.rows && col < self.cols).then(|| row * self.row_stride + col * self.col_stride)
    }

    /// The part of `rows` x `cols` elements from (row, col) on, and its offset.
    fn part(self, row: usize, col: usize, rows: usize, cols: usize) -> Result<(usize, Self), Error> {
        for (argument, start, count, len) in [("rows", row, rows, self.rows), ("cols", col, cols, self.cols)] {
            let end = plus(argument, start, count)?;
            if end > len {
                return Err(Error::Range { argument, end, len });
            }
        }
        let part = Self { rows, cols, ..self };
        // An empty part has no element, and its offset might lie beyond the data.
        let offset = if part.is_empty() { 0 } else { row * self.row_stride + col * self.col_stride };
        Ok((offset, part))
    }
}

fn gcd(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// `a * b`, or an error that names what was being sized.
pub(crate) fn times(argument: &'static str, a: usize, b: usize) -> Result<usize, Error> {
    a.checked_mul(b).ok_or(Error::Overflow { argument, a, b })
}

/// `a + b`, or an error that names what was being sized.
pub(crate) fn plus(argument: &'static str, a: usize, b: usize) -> Result<usize, Error> {
    a.checked_add(b).ok_or(Error::Overflow { argument, a, b })
}

/// A matrix that is read: lhs or rhs.
///
/// ```
/// use zeropoint_kernels::MatRef;
/// let data = [1u8, 2, 3, 4, 5, 6];
/// let a = MatRef::row_major(&data, 2, 3)?;
/// assert_eq!(a.get(1, 0), Some(4));
/// assert_eq!(a.transposed().get(0, 1), Some(4));
/// assert_eq!(a.part(0, 1, 2, 2)?.get(1, 1), Some(6)); // rows 0..2, columns 1..3
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    pub(crate) ptr: *const T,
    pub(crate) extent: Extent,
    /// Elements behind the last one that may be read, too.
    pub(crate) after: usize,
    data: PhantomData<&'a [T]>,
}

// SAFETY: a `MatRef` is a shared borrow of the elements it spans, like `&[T]`.
unsafe impl<T: Sync> Send for MatRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatRef<'_, T> {}

impl<'a, T: Copy> MatRef<'a, T> {
    /// `rows` x `cols` elements; element (i, j) is `data[i * row_stride + j * col_stride]`.
    ///
    /// # Errors
    /// [`Error::Span`] if the view reaches beyond `data`, [`Error::Overflow`] if its size overflows.
    pub fn new(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        let extent = Extent { rows, cols, row_stride, col_stride };
        let after = extent.check_span(data.len())?;
        Ok(Self { ptr: data.as_ptr(), extent, after, data: PhantomData })
    }

    /// A view of parts that were checked before.
    ///
    /// # Safety
    /// View: all elements are valid for reads during 'a, and not written.
    pub(crate) const unsafe fn from_parts(
        ptr: *const T,
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        Self { ptr, extent: Extent { rows, cols, row_stride, col_stride }, after: 0, data: PhantomData }
    }

    /// Rows one after another.
    ///
    /// # Errors
    /// As [`MatRef::new`].
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, cols, 1)
    }

    /// Columns one after another.
    ///
    /// # Errors
    /// As [`MatRef::new`].
    pub fn col_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, 1, rows)
    }

    /// Element (row, col), if it exists.
    pub fn get(&self, row: usize, col: usize) -> Option<T> {
        // SAFETY: `offset` is within the span that the constructor checked.
        self.extent.offset(row, col).map(|at| unsafe { *self.ptr.add(at) })
    }

    /// The part of `rows` x `cols` elements that starts at (row, col).
    ///
    /// # Errors
    /// [`Error::Range`] if it reaches beyond the view.
    pub fn part(&self, row: usize, col: usize, rows: usize, cols: usize) -> Result<Self, Error> {
        let (at, extent) = self.extent.part(row, col, rows, cols)?;
        let behind = if extent.is_empty() { 0 } else { self.extent.last() - at - extent.last() };
        Ok(Self { ptr: self.ptr.wrapping_add(at), extent, after: self.after + behind, ..*self })
    }

    /// The first `at` rows, and the rest.
    ///
    /// # Errors
    /// [`Error::Range`] if there are fewer rows.
    pub fn split_rows(&self, at: usize) -> Result<(Self, Self), Error> {
        let head = self.part(0, 0, at, self.cols())?;
        Ok((head, self.part(at, 0, self.rows() - at, self.cols())?))
    }

    /// The first `at` columns, and the rest.
    ///
    /// # Errors
    /// [`Error::Range`] if there are fewer columns.
    pub fn split_cols(&self, at: usize) -> Result<(Self, Self), Error> {
        let (head, rest) = self.transposed().split_rows(at)?;
        Ok((head.transposed(), rest.transposed()))
    }

    /// Rows as columns: shape and strides exchanged, no data moved.
    pub fn transposed(&self) -> Self {
        Self { extent: self.extent.transposed(), ..*self }
    }

    /// This view with a zero point: one `i32`, or a slice of one a row (lhs) or one a column (rhs).
    pub fn zero_point(self, zero_point: impl Into<ZeroPoint<'a>>) -> Quantized<'a, T> {
        Quantized { codes: self, zero_point: zero_point.into() }
    }
}

/// A matrix that is written: out. No two of its elements share memory.
///
/// ```
/// use zeropoint_kernels::MatMut;
/// let mut data = [0i32; 6];
/// let mut out = MatMut::row_major(&mut data, 2, 3)?;
/// out.set(1, 2, 7);
/// assert_eq!(data, [0, 0, 0, 0, 0, 7]);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct MatMut<'a, T> {
    pub(crate) ptr: *mut T,
    pub(crate) extent: Extent,
    pub(crate) initialized: bool,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: a `MatMut` borrows its elements exclusively, like `&mut [T]`; its elements are disjoint.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: a shared `MatMut` only reads.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<'a, T: Copy> MatMut<'a, T> {
    fn checked(ptr: *mut T, len: usize, extent: Extent, initialized: bool) -> Result<Self, Error> {
        extent.check_span(len)?;
        extent.check_disjoint()?;
        Ok(Self { ptr, extent, initialized, data: PhantomData })
    }

    /// `rows` x `cols` elements; element (i, j) is `data[i * row_stride + j * col_stride]`.
    ///
    /// # Errors
    /// [`Error::Span`] if the view reaches beyond `data`, [`Error::Overlap`] if two elements share memory,
    /// [`Error::Overflow`] if its size overflows.
    pub fn new(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        Self::checked(data.as_mut_ptr(), data.len(), Extent { rows, cols, row_stride, col_stride }, true)
    }

    /// Like [`MatMut::new`] over memory that need not be initialized. Every element is written by a call that
    /// returns `Ok`; accumulating into such a view is an error.
    ///
    /// # Errors
    /// As [`MatMut::new`].
    pub fn uninit(
        data: &'a mut [MaybeUninit<T>],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        let extent = Extent { rows, cols, row_stride, col_stride };
        Self::checked(data.as_mut_ptr().cast(), data.len(), extent, false)
    }

    /// A view of parts that were checked before.
    ///
    /// # Safety
    /// View: all elements are initialized, disjoint, and borrowed exclusively during 'a.
    pub(crate) const unsafe fn from_parts(
        ptr: *mut T,
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        Self { ptr, extent: Extent { rows, cols, row_stride, col_stride }, initialized: true, data: PhantomData }
    }

    /// Rows one after another.
    ///
    /// # Errors
    /// As [`MatMut::new`].
    pub fn row_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, cols, 1)
    }

    /// Columns one after another.
    ///
    /// # Errors
    /// As [`MatMut::new`].
    pub fn col_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, 1, rows)
    }

    /// The same view, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { data: PhantomData, ..*self }
    }

    /// Whether it was made over memory that is initialized.
    pub const fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// Element (row, col), if it exists and is initialized.
    pub fn get(&self, row: usize, col: usize) -> Option<T> {
        let at = self.extent.offset(row, col).filter(|_| self.initialized)?;
        // SAFETY: `offset` is within the span that the constructor checked, which is initialized.
        Some(unsafe { *self.ptr.add(at) })
    }

    /// Writes element (row, col); returns whether it exists.
    pub fn set(&mut self, row: usize, col: usize, value: T) -> bool {
        let at = self.extent.offset(row, col);
        if let Some(at) = at {
            // SAFETY: `offset` is within the span that the constructor checked.
            unsafe { self.ptr.add(at).write(value) }
        }
        at.is_some()
    }

    /// The part of `rows` x `cols` elements that starts at (row, col).
    ///
    /// # Errors
    /// [`Error::Range`] if it reaches beyond the view.
    pub fn part(self, row: usize, col: usize, rows: usize, cols: usize) -> Result<Self, Error> {
        let (at, extent) = self.extent.part(row, col, rows, cols)?;
        Ok(Self { ptr: self.ptr.wrapping_add(at), extent, ..self })
    }

    /// The first `at` rows, and the rest.
    ///
    /// # Errors
    /// [`Error::Range`] if there are fewer rows.
    pub fn split_rows(self, at: usize) -> Result<(Self, Self), Error> {
        let Self { ptr, extent, initialized, data } = self;
        let (rows, cols) = (extent.rows, extent.cols);
        // The elements of a `MatMut` are disjoint, so two parts without a common element are, too.
        let head = Self { ptr, extent, initialized, data }.part(0, 0, at, cols)?;
        Ok((head, Self { ptr, extent, initialized, data }.part(at, 0, rows - at, cols)?))
    }

    /// The first `at` columns, and the rest.
    ///
    /// # Errors
    /// [`Error::Range`] if there are fewer columns.
    pub fn split_cols(self, at: usize) -> Result<(Self, Self), Error> {
        let (head, rest) = self.transposed().split_rows(at)?;
        Ok((head.transposed(), rest.transposed()))
    }

    /// Rows as columns: shape and strides exchanged, no data moved.
    pub fn transposed(self) -> Self {
        Self { extent: self.extent.transposed(), ..self }
    }

    /// The same view again.
    ///
    /// # Safety
    /// Twice: no element is used through both.
    pub(crate) unsafe fn duplicate(&self) -> Self {
        Self { ..*self }
    }

    /// The elements of a single contiguous row.
    pub fn into_row(self) -> Option<&'a mut [T]> {
        let Extent { rows, cols, col_stride, .. } = self.extent;
        if rows != 1 || col_stride != 1 || !self.initialized {
            return None;
        }
        // SAFETY: one row of `cols` contiguous elements, inside the checked span, borrowed exclusively for 'a.
        Some(unsafe { core::slice::from_raw_parts_mut(self.ptr, cols) })
    }
}

macro_rules! shape_getters {
    ($view:ident) => {
        impl<T> $view<'_, T> {
            /// Number of rows.
            #[inline]
            pub const fn rows(&self) -> usize {
                self.extent.rows
            }

            /// Number of columns.
            #[inline]
            pub const fn cols(&self) -> usize {
                self.extent.cols
            }

            /// Elements from one row to the next.
            #[inline]
            pub const fn row_stride(&self) -> usize {
                self.extent.row_stride
            }

            /// Elements from one column to the next.
            #[inline]
            pub const fn col_stride(&self) -> usize {
                self.extent.col_stride
            }
        }
    };
}
shape_getters!(MatRef);
shape_getters!(MatMut);

/// A view of codes together with their zero point: `real = scale * (code - zero point)` (paper, eq. 1).
#[derive(Clone, Copy, Debug)]
pub struct Quantized<'a, T> {
    /// The codes.
    pub codes: MatRef<'a, T>,
    /// Their zero point.
    pub zero_point: ZeroPoint<'a>,
}

impl<'a, T> From<MatRef<'a, T>> for Quantized<'a, T> {
    /// Codes with zero point 0.
    fn from(codes: MatRef<'a, T>) -> Self {
        Self { codes, zero_point: ZeroPoint::One(0) }
    }
}

/// One zero point for a whole matrix, or one for each row of lhs or column of rhs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroPoint<'a> {
    /// The same everywhere.
    One(i32),
    /// One a row (lhs) or one a column (rhs).
    Each(&'a [i32]),
}

impl From<i32> for ZeroPoint<'_> {
    fn from(zero_point: i32) -> Self {
        Self::One(zero_point)
    }
}

impl<'a> From<&'a [i32]> for ZeroPoint<'a> {
    fn from(zero_points: &'a [i32]) -> Self {
        Self::Each(zero_points)
    }
}

impl<'a, const N: usize> From<&'a [i32; N]> for ZeroPoint<'a> {
    fn from(zero_points: &'a [i32; N]) -> Self {
        Self::Each(zero_points)
    }
}

impl ZeroPoint<'_> {
    /// Checks that there are `len` of them, or one, in `low..=high`.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::ZeroPoint`].
    pub fn check(&self, argument: &'static str, len: usize, low: i32, high: i32) -> Result<(), Error> {
        let values = match self {
            Self::One(value) => core::slice::from_ref(value),
            Self::Each(values) if values.len() == len => values,
            Self::Each(values) => return Err(Error::Length { argument, expected: len, got: values.len() }),
        };
        match values.iter().find(|v| !(low..=high).contains(*v)) {
            Some(&value) => Err(Error::ZeroPoint { argument, value, low, high }),
            None => Ok(()),
        }
    }
}

//! Rows of lhs that lie in an image and overlap there: what a convolution multiplies, without gathering it.

use core::marker::PhantomData;

use crate::Error;
use crate::element::Element;
use crate::panel::Elem;
use crate::view::{plus, times};

/// How rows of lhs lie in an image: row `r` starts at `r / line * line_stride + r % line * row_stride`, and its code `k` lies
/// `k / piece * piece_stride + k % piece` behind that.
///
/// A row is the window of an output pixel; a piece of it, what it sees of one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// Rows in all.
    pub rows: usize,
    /// Rows of a line, at least 1.
    pub line: usize,
    /// Codes from a row to the next of the same line.
    pub row_stride: usize,
    /// Codes from the first row of a line to that of the next.
    pub line_stride: usize,
    /// Pieces of a row.
    pub pieces: usize,
    /// Codes of a piece.
    pub piece: usize,
    /// Codes from a piece to the next.
    pub piece_stride: usize,
}

impl Windows {
    /// Where the last code of all lies, plus 1.
    fn end(&self) -> Result<usize, Error> {
        let Self { rows, line, row_stride, line_stride, pieces, piece, piece_stride } = *self;
        let (last, k) = (rows.saturating_sub(1), times("windows", pieces, piece)?);
        if rows == 0 || k == 0 {
            return Ok(0);
        }
        let down = times("windows", last / line, line_stride)?;
        // The last row of a whole line, if there is one, lies farthest.
        let across = times("windows", last.min(line - 1), row_stride)?;
        let inside = plus("windows", times("windows", pieces - 1, piece_stride)?, piece)?;
        plus("windows", plus("windows", down, across)?, inside)
    }
}

/// [`Windows`] on codes, and their zero point: the lhs of a [`crate::Job`]. Codes are of the type that the kernel multiplies, [`crate::Panel::elem`] of
/// [`crate::Backend::lhs`]: `u8`, `i8`, or either of them widened to `i16`.
///
/// ```
/// use zeropoint_kernels::{Windows, WindowsRef};
/// // 3 x 3 on an image of 4 x 5 with 4 channels: 2 lines of 3 output pixels
/// let windows = Windows { rows: 6, line: 3, row_stride: 4, line_stride: 20, pieces: 3, piece: 12, piece_stride: 20 };
/// let image: Vec<u8> = (0..80).collect();
/// let lhs = WindowsRef::new(&image, windows, 128)?;
/// assert_eq!((lhs.rows(), lhs.k()), (6, 36));
/// assert_eq!(lhs.get(4, 12), Some(20 + 4 + 20));
/// assert!(WindowsRef::new(&image[1..], windows, 128).is_err());
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WindowsRef<'a, L> {
    pub(crate) codes: *const L,
    pub(crate) windows: Windows,
    pub(crate) zero_point: i32,
    data: PhantomData<&'a [L]>,
}

// SAFETY: a shared borrow of codes, like `&[L]`.
unsafe impl<L: Sync> Send for WindowsRef<'_, L> {}
// SAFETY: as above.
unsafe impl<L: Sync> Sync for WindowsRef<'_, L> {}

impl<'a, L: Element> WindowsRef<'a, L> {
    /// Windows on `codes`.
    ///
    /// # Errors
    /// [`Error::Length`] if they reach beyond the codes, [`Error::Limit`] if a line has no rows, [`Error::Overflow`],
    /// [`Error::ZeroPoint`].
    pub fn new(codes: &'a [L], windows: Windows, zero_point: i32) -> Result<Self, Error> {
        if windows.line == 0 {
            return Err(Error::Limit { argument: "windows.line", value: 0, low: 1, high: usize::MAX });
        }
        let expected = windows.end()?;
        if expected > codes.len() {
            return Err(Error::Length { argument: "windows", expected, got: codes.len() });
        }
        crate::ZeroPoint::One(zero_point).check("windows", 0, L::RANGE.0, L::RANGE.1)?;
        Ok(Self { codes: codes.as_ptr(), windows, zero_point, data: PhantomData })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.windows.rows
    }

    /// Codes of a row.
    pub fn k(&self) -> usize {
        self.windows.pieces * self.windows.piece
    }

    /// The code of a row at a k, if there is one.
    pub fn get(&self, row: usize, k: usize) -> Option<L> {
        let Windows { rows, line, row_stride, line_stride, piece, piece_stride, .. } = self.windows;
        if row >= rows || k >= self.k() {
            return None;
        }
        let at = row / line * line_stride + row % line * row_stride + k / piece * piece_stride + k % piece;
        // SAFETY: `new` checked where the last code of all lies.
        Some(unsafe { self.codes.add(at).read() })
    }
}

impl Windows {
    /// The code of a row of a tile at a k; `table` says where its rows start.
    ///
    /// # Safety
    /// There are the row and the k, of such elements.
    #[inline(always)]
    pub(crate) unsafe fn read(&self, elem: Elem, table: *const u8, row: usize, k: usize) -> i32 {
        let at = k / self.piece * self.piece_stride + k % self.piece;
        // SAFETY: our caller's.
        unsafe { elem.read(Self::start(table, row), at) }
    }

    /// Where a row of a tile starts.
    ///
    /// # Safety
    /// As [`Windows::read`].
    #[inline(always)]
    pub(crate) unsafe fn start(table: *const u8, row: usize) -> *const u8 {
        // SAFETY: our caller's.
        unsafe { *table.cast::<*const u8>().add(row) }
    }

    /// Writes where the rows of a block start, `count` from `first` on, to a table, which is the lhs of a tile then.
    ///
    /// # Safety
    /// `table` has room for them; `codes` are those of the windows, of `size` bytes each.
    pub(crate) unsafe fn write(
        &self,
        codes: *const u8,
        size: usize,
        [first, count]: [usize; 2],
        table: *mut *const u8,
    ) {
        let line = self.line;
        let (row_stride, line_stride) = (self.row_stride.wrapping_mul(size), self.line_stride.wrapping_mul(size));
        let (mut start, mut left) = (
            (first / line).wrapping_mul(line_stride).wrapping_add((first % line).wrapping_mul(row_stride)),
            line - first % line,
        );
        for i in 0..count {
            // SAFETY: our caller's.
            unsafe { *table.add(i) = codes.wrapping_add(start) };
            (start, left) = (start.wrapping_add(row_stride), left - 1);
            if left == 0 {
                start = start.wrapping_sub(line.wrapping_mul(row_stride)).wrapping_add(line_stride);
                left = line;
            }
        }
    }
}

//! Images as views: batch, height, width, channels (NHWC), a stride each, checked once when they are made.
//!
//! As for matrices, a [`TensorRef`] may overlap itself, a [`TensorMut`] may not, and neither touches the gaps between its
//! elements. A *line* is what one batch and one height index leave: width times channels.

use core::marker::PhantomData;

use crate::blocks::Turns;
use crate::view::{MatMut, MatRef, plus, times};
use crate::{Code, Error};

/// Shape and strides of a view, in elements: batch, height, width, channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Box4 {
    pub shape: [usize; 4],
    pub strides: [usize; 4],
}

impl Box4 {
    fn dense(shape: [usize; 4]) -> Result<Self, Error> {
        let [_, h, w, c] = shape;
        let line = times("tensor", w, c)?;
        Ok(Self { shape, strides: [times("tensor", h, line)?, line, c, 1] })
    }

    fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Checks that the view spans no more than `len` elements.
    fn check_span(&self, len: usize) -> Result<(), Error> {
        let Self { shape, strides } = *self;
        if self.is_empty() {
            return Ok(());
        }
        let mut needed = 1;
        for (size, stride) in shape.into_iter().zip(strides) {
            needed = plus("tensor", needed, times("tensor", size - 1, stride)?)?;
        }
        if needed > len {
            return Err(Error::TensorSpan { shape, strides, needed, got: len });
        }
        Ok(())
    }

    /// Checks that no two elements share memory, after the span: in order of its stride, each dimension has to step over
    /// everything that the smaller ones span.
    fn check_disjoint(&self) -> Result<(), Error> {
        let Self { shape, strides } = *self;
        if self.is_empty() {
            return Ok(());
        }
        let mut order = [0, 1, 2, 3];
        order.sort_unstable_by_key(|i| strides[*i]);
        let mut last = 0;
        for i in order.into_iter().filter(|i| shape[*i] > 1) {
            if strides[i] <= last {
                return Err(Error::TensorOverlap { shape, strides });
            }
            last += (shape[i] - 1) * strides[i];
        }
        Ok(())
    }

    /// The offset of an element, if it exists.
    fn offset(&self, at: [usize; 4]) -> Option<usize> {
        let inside = at.iter().zip(self.shape).all(|(at, size)| *at < size);
        inside.then(|| at.iter().zip(self.strides).map(|(at, stride)| at * stride).sum())
    }

    fn part(self, start: [usize; 4], shape: [usize; 4]) -> Result<(usize, Self), Error> {
        for (i, argument) in ["batch", "height", "width", "channels"].into_iter().enumerate() {
            let end = plus(argument, start[i], shape[i])?;
            if end > self.shape[i] {
                return Err(Error::Range { argument, end, len: self.shape[i] });
            }
        }
        let part = Self { shape, ..self };
        // An empty part has no element, and its offset might lie beyond the data.
        let offset = if part.is_empty() { 0 } else { start.iter().zip(self.strides).map(|(a, b)| a * b).sum() };
        Ok((offset, part))
    }

    /// Rows and row stride, if the pixels, in order, lie at the same distance from each other.
    fn pixels(&self) -> Option<(usize, usize)> {
        let [n, h, w, _] = self.shape;
        let [by_n, by_h, by_w, _] = self.strides;
        if n == 0 || h == 0 || w == 0 {
            return Some((0, 0));
        }
        // A dimension of one element has no stride to obey.
        let mut step = None;
        let mut count = 1usize;
        for (size, stride) in [(w, by_w), (h, by_h), (n, by_n)] {
            if size > 1 {
                match step {
                    None => step = Some(stride),
                    Some(step) if Some(stride) == usize::checked_mul(step, count) => {}
                    Some(_) => return None,
                }
            }
            count = count.checked_mul(size)?;
        }
        Some((count, step.unwrap_or(by_w)))
    }

    /// The same elements, all of which lie together in order, in another shape.
    fn reshaped(&self, shape: [usize; 4]) -> Result<Self, Error> {
        let count = |shape: [usize; 4]| shape.into_iter().try_fold(1, |a, b| times("shape", a, b));
        let mut dense = 1;
        for (size, stride) in self.shape.into_iter().zip(self.strides).rev() {
            if size > 1 && stride != dense && !self.is_empty() {
                return Err(Error::TensorGaps { shape: self.shape, strides: self.strides });
            }
            dense = if self.is_empty() { 0 } else { dense * size };
        }
        // A shape with a 0 may have sizes whose product overflows.
        let wanted = if shape.contains(&0) { 0 } else { count(shape)? };
        if wanted != dense {
            return Err(Error::TensorShape { argument: "shape", expected: self.shape, got: shape });
        }
        Self::dense(shape)
    }

    /// So many pixels of a line as one, if they lie together and divide the width.
    fn merged(&self, pixels: usize) -> Option<Self> {
        let [n, h, w, c] = self.shape;
        let [by_n, by_h, by_w, by_c] = self.strides;
        if pixels == 0 || !w.is_multiple_of(pixels) || by_c != 1 || by_w != c {
            return None;
        }
        let (c, by_w) = (c.checked_mul(pixels)?, by_w.checked_mul(pixels)?);
        Some(Self { shape: [n, h, w / pixels, c], strides: [by_n, by_h, by_w, by_c] })
    }

    /// With sizes of 1 stretched by strides of 0.
    fn stretched(&self, argument: &'static str, shape: [usize; 4]) -> Result<Self, Error> {
        let mut strides = self.strides;
        for i in 0..4 {
            if self.shape[i] != shape[i] {
                if self.shape[i] != 1 {
                    return Err(Error::TensorShape { argument, expected: shape, got: self.shape });
                }
                strides[i] = 0;
            }
        }
        Ok(Self { shape, strides })
    }

    /// Elements of `count` pixels in a row, if they lie together.
    fn run(&self, count: usize) -> Option<usize> {
        let [.., c] = self.shape;
        let [.., by_w, by_c] = self.strides;
        if (by_c == 1 || c == 1) && (count == 1 || by_w == c) { count.checked_mul(c) } else { None }
    }
}

/// An image that is read.
///
/// ```
/// use zeropoint_kernels::TensorRef;
/// let data: Vec<u8> = (0..24).collect();
/// let image = TensorRef::nhwc(&data, [1, 2, 3, 4])?; // two lines of three pixels of four channels
/// assert_eq!(image.get([0, 1, 2, 0]), Some(20));
/// assert_eq!(image.part([0, 1, 0, 2], [1, 1, 3, 2])?.get([0, 0, 2, 1]), Some(23)); // channels 2..4 of line 1
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a, T> {
    pub(crate) ptr: *const T,
    pub(crate) dims: Box4,
    data: PhantomData<&'a [T]>,
}

// SAFETY: a `TensorRef` is a shared borrow of the elements it spans, like `&[T]`.
unsafe impl<T: Sync> Send for TensorRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for TensorRef<'_, T> {}

impl<'a, T: Copy> TensorRef<'a, T> {
    /// Element (n, h, w, c) is `data[n * strides[0] + h * strides[1] + w * strides[2] + c * strides[3]]`.
    ///
    /// # Errors
    /// [`Error::TensorSpan`] if the view reaches beyond `data`, [`Error::Overflow`] if its size overflows.
    pub fn new(data: &'a [T], shape: [usize; 4], strides: [usize; 4]) -> Result<Self, Error> {
        let dims = Box4 { shape, strides };
        dims.check_span(data.len())?;
        Ok(Self { ptr: data.as_ptr(), dims, data: PhantomData })
    }

    /// All elements one after another, channels innermost.
    ///
    /// # Errors
    /// As [`TensorRef::new`].
    pub fn nhwc(data: &'a [T], shape: [usize; 4]) -> Result<Self, Error> {
        Self::new(data, shape, Box4::dense(shape)?.strides)
    }

    /// An element, if it exists.
    pub fn get(&self, at: [usize; 4]) -> Option<T> {
        // SAFETY: `offset` is within the span that the constructor checked.
        self.dims.offset(at).map(|at| unsafe { *self.ptr.add(at) })
    }

    /// The part of the given shape that starts at `start`.
    ///
    /// # Errors
    /// [`Error::Range`] if it reaches beyond the view.
    pub fn part(&self, start: [usize; 4], shape: [usize; 4]) -> Result<Self, Error> {
        let (at, dims) = self.dims.part(start, shape)?;
        Ok(Self { ptr: self.ptr.wrapping_add(at), dims, ..*self })
    }

    /// The same elements, which have to lie together in order, in another shape of as many.
    ///
    /// # Errors
    /// [`Error::TensorGaps`] if there is anything between them, [`Error::TensorShape`] if their number differs,
    /// [`Error::Overflow`].
    ///
    /// ```
    /// use zeropoint_kernels::TensorRef;
    /// let data: Vec<u8> = (0..12).collect();
    /// let image = TensorRef::nhwc(&data, [1, 2, 2, 3])?.reshape([1, 1, 1, 12])?;
    /// assert_eq!(image.get([0, 0, 0, 7]), Some(7));
    /// # Ok::<(), zeropoint_kernels::Error>(())
    /// ```
    pub fn reshape(&self, shape: [usize; 4]) -> Result<Self, Error> {
        Ok(Self { dims: self.dims.reshaped(shape)?, ..*self })
    }

    /// The view stretched to a shape: what has size 1 is repeated.
    ///
    /// # Errors
    /// [`Error::TensorShape`], which names `argument`, if a size is neither 1 nor that of the shape.
    ///
    /// ```
    /// use zeropoint_kernels::TensorRef;
    /// let channels = TensorRef::nhwc(&[1u8, 2], [1, 1, 1, 2])?.broadcast("channels", [1, 5, 5, 2])?;
    /// assert_eq!(channels.get([0, 4, 3, 1]), Some(2));
    /// # Ok::<(), zeropoint_kernels::Error>(())
    /// ```
    pub fn broadcast(&self, argument: &'static str, shape: [usize; 4]) -> Result<Self, Error> {
        Ok(Self { dims: self.dims.stretched(argument, shape)?, ..*self })
    }

    /// The elements of `count` pixels of line (n, h), from pixel `w` on, if they exist and lie together.
    #[inline]
    pub fn run(&self, [n, h, w]: [usize; 3], count: usize) -> Option<&'a [T]> {
        let [shape_n, shape_h, shape_w, c] = self.dims.shape;
        if n >= shape_n || h >= shape_h || c == 0 || count == 0 || w >= shape_w || count > shape_w - w {
            return None;
        }
        let len = self.dims.run(count)?;
        let [by_n, by_h, by_w, _] = self.dims.strides;
        // SAFETY: the first and the last element are within the span that the constructor checked, and so are those between.
        Some(unsafe { core::slice::from_raw_parts(self.ptr.add(n * by_n + h * by_h + w * by_w), len) })
    }

    /// What is repeated to make `count` pixels of line (n, h), from pixel `w` on, if they exist: the elements of one pixel,
    /// which lie together, or one element.
    pub fn repeated(&self, [n, h, w]: [usize; 3], count: usize) -> Option<&'a [T]> {
        let [.., width, channels] = self.dims.shape;
        let [.., by_w, by_c] = self.dims.strides;
        if count == 0 || count > width.checked_sub(w)? || (count > 1 && by_w != 0) {
            return None;
        }
        if by_c == 0 && channels > 1 {
            self.part([n, h, w, 0], [1; 4]).ok()?.run([0; 3], 1)
        } else {
            self.run([n, h, w], 1)
        }
    }

    /// The pixels, in order, as rows of a matrix, channels as columns, if one stride leads from each to the next.
    pub fn pixels(&self) -> Option<MatRef<'a, T>> {
        let (rows, stride) = self.dims.pixels()?;
        let [.., cols] = self.dims.shape;
        let [.., col_stride] = self.dims.strides;
        // SAFETY: View: the same elements.
        Some(unsafe { MatRef::from_parts(self.ptr, rows, cols, stride, col_stride) })
    }
}

impl<'a, C: Code> TensorRef<'a, C> {
    /// The codes as bytes.
    pub fn bytes(&self) -> TensorRef<'a, u8> {
        TensorRef { ptr: self.ptr.cast(), dims: self.dims, data: PhantomData }
    }
}

/// An image that is written. No two of its elements share memory.
///
/// ```
/// use zeropoint_kernels::TensorMut;
/// let mut data = [0u8; 8];
/// // Two of four channels of a line of two pixels, as when layers write side by side.
/// let mut out = TensorMut::new(&mut data[2..], [1, 1, 2, 2], [8, 8, 4, 1])?;
/// out.set([0, 0, 1, 1], 7);
/// assert_eq!(data, [0, 0, 0, 0, 0, 0, 0, 7]);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct TensorMut<'a, T> {
    pub(crate) ptr: *mut T,
    pub(crate) dims: Box4,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: a `TensorMut` borrows its elements exclusively, like `&mut [T]`; its elements are disjoint.
unsafe impl<T: Send> Send for TensorMut<'_, T> {}
// SAFETY: a shared `TensorMut` only reads.
unsafe impl<T: Sync> Sync for TensorMut<'_, T> {}

impl<'a, T: Copy> TensorMut<'a, T> {
    /// Element (n, h, w, c) is `data[n * strides[0] + h * strides[1] + w * strides[2] + c * strides[3]]`.
    ///
    /// # Errors
    /// [`Error::TensorSpan`] if the view reaches beyond `data`, [`Error::TensorOverlap`] unless each dimension, in order of
    /// its stride, steps over what the smaller ones span; [`Error::Overflow`] if its size overflows.
    pub fn new(data: &'a mut [T], shape: [usize; 4], strides: [usize; 4]) -> Result<Self, Error> {
        let dims = Box4 { shape, strides };
        dims.check_span(data.len())?;
        dims.check_disjoint()?;
        Ok(Self { ptr: data.as_mut_ptr(), dims, data: PhantomData })
    }

    /// All elements one after another, channels innermost.
    ///
    /// # Errors
    /// As [`TensorMut::new`].
    pub fn nhwc(data: &'a mut [T], shape: [usize; 4]) -> Result<Self, Error> {
        Self::new(data, shape, Box4::dense(shape)?.strides)
    }

    /// The same view, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> TensorMut<'_, T> {
        TensorMut { data: PhantomData, ..*self }
    }

    /// The same view, to be read.
    pub fn as_ref(&self) -> TensorRef<'_, T> {
        TensorRef { ptr: self.ptr, dims: self.dims, data: PhantomData }
    }

    /// An element, if it exists.
    pub fn get(&self, at: [usize; 4]) -> Option<T> {
        self.as_ref().get(at)
    }

    /// Writes an element; returns whether it exists.
    pub fn set(&mut self, at: [usize; 4], value: T) -> bool {
        let at = self.dims.offset(at);
        if let Some(at) = at {
            // SAFETY: `offset` is within the span that the constructor checked.
            unsafe { self.ptr.add(at).write(value) }
        }
        at.is_some()
    }

    /// The part of the given shape that starts at `start`.
    ///
    /// # Errors
    /// [`Error::Range`] if it reaches beyond the view.
    pub fn part(self, start: [usize; 4], shape: [usize; 4]) -> Result<Self, Error> {
        let (at, dims) = self.dims.part(start, shape)?;
        Ok(Self { ptr: self.ptr.wrapping_add(at), dims, ..self })
    }

    /// The same elements, which have to lie together in order, in another shape of as many.
    ///
    /// # Errors
    /// As [`TensorRef::reshape`].
    pub fn reshape(self, shape: [usize; 4]) -> Result<Self, Error> {
        Ok(Self { dims: self.dims.reshaped(shape)?, ..self })
    }

    /// So many pixels of a line as one, their channels one behind the other, if they lie so and divide the width.
    ///
    /// ```
    /// use zeropoint_kernels::TensorMut;
    /// let mut data: Vec<u8> = (0..12).collect();
    /// let image = TensorMut::nhwc(&mut data, [1, 2, 2, 3])?.merged(2).unwrap();
    /// assert_eq!((image.shape(), image.get([0, 1, 0, 5])), ([1, 2, 1, 6], Some(11)));
    /// assert!(image.merged(2).is_none());
    /// # Ok::<(), zeropoint_kernels::Error>(())
    /// ```
    pub fn merged(self, pixels: usize) -> Option<Self> {
        Some(Self { dims: self.dims.merged(pixels)?, ..self })
    }

    /// Every so many lines and pixels of it, from the first on.
    ///
    /// # Errors
    /// [`Error::Limit`] if a step is 0, [`Error::Overflow`].
    pub fn every(self, [by_h, by_w]: [usize; 2]) -> Result<Self, Error> {
        let Box4 { mut shape, mut strides } = self.dims;
        for (i, argument, by) in [(1, "lines", by_h), (2, "pixels", by_w)] {
            if by == 0 {
                return Err(Error::Limit { argument, value: by, low: 1, high: usize::MAX });
            }
            shape[i] = shape[i].div_ceil(by);
            // The stride of a single index reaches nothing.
            strides[i] = if shape[i] > 1 { times(argument, strides[i], by)? } else { strides[i] };
        }
        Ok(Self { dims: Box4 { shape, strides }, ..self })
    }

    /// The elements of `count` pixels of line (n, h), from pixel `w` on, if they exist and lie together.
    #[inline]
    pub fn run(&mut self, at: [usize; 3], count: usize) -> Option<&mut [T]> {
        let run = self.as_ref().run(at, count)?;
        // SAFETY: View: the same elements, borrowed exclusively through `self`.
        Some(unsafe { core::slice::from_raw_parts_mut(run.as_ptr().cast_mut(), run.len()) })
    }

    /// The pixels, in order, as rows of a matrix, channels as columns, if one stride leads from each to the next.
    pub fn into_pixels(self) -> Option<MatMut<'a, T>> {
        let (rows, stride) = self.dims.pixels()?;
        let [.., cols] = self.dims.shape;
        let [.., col_stride] = self.dims.strides;
        // SAFETY: View: the same elements, which are disjoint.
        Some(unsafe { MatMut::from_parts(self.ptr, rows, cols, stride, col_stride) })
    }
}

impl<'a, C: Code> TensorMut<'a, C> {
    /// The codes as bytes.
    pub fn into_bytes(self) -> TensorMut<'a, u8> {
        TensorMut { ptr: self.ptr.cast(), dims: self.dims, data: PhantomData }
    }
}

macro_rules! shape_getters {
    ($view:ident) => {
        impl<T> $view<'_, T> {
            /// Batch, height, width, channels.
            #[inline]
            pub const fn shape(&self) -> [usize; 4] {
                self.dims.shape
            }

            /// Elements from one index of each dimension to the next.
            #[inline]
            pub const fn strides(&self) -> [usize; 4] {
                self.dims.strides
            }

            /// Whether there is no element.
            pub fn is_empty(&self) -> bool {
                self.dims.is_empty()
            }
        }
    };
}
shape_getters!(TensorRef);
shape_getters!(TensorMut);

/// Disjoint strips of lines of an image, each handed out at most once, to any thread that asks.
///
/// ```
/// use zeropoint_kernels::{Strips, TensorMut};
/// let mut data = [0u8; 6];
/// let strips = Strips::new(TensorMut::nhwc(&mut data, [2, 3, 1, 1])?, 2);
/// while let Some(mut strip) = strips.claim() {
///     strip.out.set([0, 0, 0, 0], 10 * strip.batch as u8 + strip.line as u8 + 1);
/// }
/// assert_eq!(data, [1, 0, 3, 11, 0, 13]);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Strips<'a, T> {
    out: TensorMut<'a, T>,
    lines: usize,
    down: usize,
    turns: Turns,
}

/// A strip of an image and where it starts.
#[derive(Debug)]
pub struct Strip<'a, T> {
    /// Its batch index.
    pub batch: usize,
    /// Its first line.
    pub line: usize,
    /// The strip itself, of one batch.
    pub out: TensorMut<'a, T>,
}

impl<'a, T: Copy> Strips<'a, T> {
    /// Splits `out` into strips of at most `lines` lines (0 counts as 1).
    pub fn new(out: TensorMut<'a, T>, lines: usize) -> Self {
        let lines = lines.max(1);
        let [n, h, ..] = out.shape();
        let down = h.div_ceil(lines);
        // At most one strip an element.
        let count = if out.is_empty() { 0 } else { n * down };
        Self { out, lines, down, turns: Turns::new(count) }
    }

    /// How many strips there are.
    pub fn count(&self) -> usize {
        self.turns.count()
    }

    /// The next strip, or `None` when all are taken.
    pub fn claim(&self) -> Option<Strip<'a, T>> {
        self.strip(self.turns.take(false)?)
    }

    /// The last strip that is left, as [`Blocks::claim_last`](crate::Blocks::claim_last).
    pub fn claim_last(&self) -> Option<Strip<'a, T>> {
        self.strip(self.turns.take(true)?)
    }

    /// A strip that was claimed.
    fn strip(&self, claimed: usize) -> Option<Strip<'a, T>> {
        let (batch, line) = (claimed / self.down, claimed % self.down * self.lines);
        let [_, h, w, c] = self.out.shape();
        // Twice: each index is claimed once, strips have no common element, and `self.out` itself is never read or written.
        let out = TensorMut { ptr: self.out.ptr, dims: self.out.dims, data: PhantomData };
        let out = out.part([batch, line, 0, 0], [1, self.lines.min(h - line), w, c]).ok()?;
        Some(Strip { batch, line, out })
    }
}

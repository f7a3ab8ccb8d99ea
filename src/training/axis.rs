//! Which elements of a tensor share parameters.

use alloc::vec::Vec;
use core::ops::Range;

use zeropoint_kernels::Error;

/// Which elements of a tensor share parameters: all, or those of a channel. Elements lie together, in order.
///
/// ```
/// use zeropoint::training::Axis;
/// // Weights of a convolution, 8 x 3 x 3 x 4: output channels come first. Of a depthwise one, 1 x 3 x 3 x 4, last.
/// assert_eq!(Axis::of(&[8, 3, 3, 4], 0)?, Axis::Channels { channels: 8, inner: 36 });
/// assert_eq!(Axis::of(&[1, 3, 3, 4], 3)?, Axis::Channels { channels: 4, inner: 1 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Axis {
    /// All elements.
    #[default]
    Tensor,
    /// Those of a channel, of a tensor of outer x channels x inner.
    Channels {
        /// How many there are.
        channels: usize,
        /// Neighbours of one channel.
        inner: usize,
    },
}

impl Axis {
    /// The dimension `axis` of a shape.
    ///
    /// # Errors
    /// [`Error::Range`] if there is none, [`Error::Limit`] if it, or one behind it, is 0, [`Error::Overflow`].
    pub fn of(shape: &[usize], axis: usize) -> Result<Self, Error> {
        let Some((channels, rest)) = shape.get(axis..).and_then(<[usize]>::split_first) else {
            return Err(Error::Range { argument: "axis", end: axis.saturating_add(1), len: shape.len() });
        };
        let mut inner = 1usize;
        for size in rest {
            inner = inner.checked_mul(*size).ok_or(Error::Overflow { argument: "shape", a: inner, b: *size })?;
        }
        let axis = Self::Channels { channels: *channels, inner };
        axis.period()?;
        Ok(axis)
    }

    /// How many sets of parameters there are.
    pub const fn channels(self) -> usize {
        match self {
            Self::Tensor => 1,
            Self::Channels { channels, .. } => channels,
        }
    }

    /// Elements until the first channel comes again; of a tensor, none.
    fn period(self) -> Result<Option<usize>, Error> {
        let Self::Channels { channels, inner } = self else { return Ok(None) };
        for (argument, value) in [("channels", channels), ("inner", inner)] {
            if value == 0 {
                return Err(Error::Limit { argument, value, low: 1, high: usize::MAX });
            }
        }
        channels.checked_mul(inner).map(Some).ok_or(Error::Overflow { argument: "axis", a: channels, b: inner })
    }

    /// Checks that a tensor has whole turns of the channels.
    pub(crate) fn check(self, len: usize) -> Result<(), Error> {
        match self.period()? {
            Some(period) if !len.is_multiple_of(period) => {
                Err(Error::Divisor { argument: "channels times inner", value: period, of: len })
            }
            _ => Ok(()),
        }
    }

    /// Checks that there is one of something a channel.
    pub(crate) fn check_each(self, argument: &'static str, got: usize) -> Result<(), Error> {
        self.period()?;
        equal(argument, self.channels(), got)
    }

    /// Runs of elements that share parameters, each with its channel, of a tensor of a length that was checked.
    pub(crate) fn runs(self, len: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (channels, inner) = match self {
            Self::Tensor => (1, len.max(1)),
            Self::Channels { channels, inner } => (channels, inner),
        };
        (0..len / inner).map(move |run| (run % channels, run * inner..(run + 1) * inner))
    }
}

/// Channels of a tile.
pub(crate) const SIDE: usize = 64;
/// Elements of a tile and those beside it, about: they stay in a cache.
const TILE: usize = 1 << 14;

/// Elements of channels side by side, tile by tile: the first channel of each, and its lines, of at most [`SIDE`] channels.
pub(crate) fn tiles(x: &[f32], channels: usize) -> impl Iterator<Item = (usize, impl Iterator<Item = &[f32]>)> {
    x.chunks(channels * TILE.div_ceil(channels)).flat_map(move |lines| {
        (0..channels).step_by(SIDE).map(move |first| {
            let of = first..channels.min(first + SIDE);
            (first, lines.chunks_exact(channels).map(move |line| &line[of.clone()]))
        })
    })
}

/// Checks the length of a slice.
pub(crate) fn equal(argument: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Length { argument, expected, got }) }
}

/// Checks that all elements are finite.
pub(crate) fn finite(argument: &'static str, x: &[f32]) -> Result<(), Error> {
    // Of what is finite 0, else NaN; so many at once, for the compiler to make vectors of.
    let (blocks, rest) = x.as_chunks::<16>();
    let mut zeros = [0.0; 16];
    for x in blocks {
        for i in 0..16 {
            zeros[i] += x[i] * 0.0;
        }
    }
    if zeros.iter().sum::<f32>() == 0.0 && rest.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    match x.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(Error::NotFinite { argument, index, value: x[index] }),
        None => Ok(()),
    }
}

/// So many of what comes, if there is memory for them.
pub(crate) fn collect<T>(count: usize, items: impl Iterator<Item = T>) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    all.try_reserve_exact(count).map_err(|_| Error::Memory { argument: "channels", bytes })?;
    all.extend(items.take(count));
    Ok(all)
}

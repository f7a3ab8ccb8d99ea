//! Ranges of what passes: of one batch, and averaged over many.

use alloc::vec::Vec;

use zeropoint_kernels::Error;

use super::axis::{Axis, SIDE, collect, equal, finite, tiles};
use super::grid::{Grid, Levels};

/// Elements whose ends are kept apart, for the compiler to make vectors of.
const LANES: usize = 16;

/// The smallest and the largest real of something.
///
/// ```
/// use zeropoint::training::{Levels, Range};
/// let weights = Range { min: -0.5, max: 0.25 };
/// assert_eq!(weights.symmetric(Levels::bits(8)?)?.codes(), (1, 255)); // i8: never -128
/// assert_eq!(weights.grid(Levels::bits(2)?)?.range(), (-0.5, 0.25));
/// assert!(Range { min: 1.0, max: f32::NAN }.grid(Levels::bits(8)?).is_err());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Range {
    /// The smallest.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

impl Range {
    /// [`Grid::from_range`]: 0 is included, and exact.
    ///
    /// # Errors
    /// As there.
    pub fn grid(self, levels: Levels) -> Result<Grid, Error> {
        Grid::from_range(self.min, self.max, levels)
    }

    /// [`Grid::symmetric`], about 0: for weights.
    ///
    /// # Errors
    /// As there; [`Error::RealRange`] if the range is reversed, NaN or infinite.
    pub fn symmetric(self, levels: Levels) -> Result<Grid, Error> {
        let Self { min, max } = self;
        // A NaN fails the comparison.
        if !(min <= max && min.is_finite() && max.is_finite()) {
            return Err(Error::RealRange { min, max });
        }
        Grid::symmetric(max.abs().max(min.abs()), levels)
    }
}

/// The ranges of a tensor, one a channel: those of weights, at every step (paper 3.1).
///
/// # Errors
/// [`Error::Length`] unless there is one range a channel, and elements; [`Error::Divisor`] if these are not whole turns of the channels;
/// [`Error::NotFinite`], after which the ranges are of no use.
///
/// ```
/// use zeropoint::training::{Axis, Range, ranges};
/// let mut each = [Range::default(); 2];
/// ranges(&[1.0, -2.0, 3.0, -4.0], Axis::Channels { channels: 2, inner: 1 }, &mut each)?;
/// assert_eq!(each, [Range { min: 1.0, max: 3.0 }, Range { min: -4.0, max: -2.0 }]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn ranges(x: &[f32], axis: Axis, ranges: &mut [Range]) -> Result<(), Error> {
    axis.check_each("ranges", ranges.len())?;
    axis.check(x.len())?;
    equal("x", x.len().max(axis.channels()), x.len())?;
    ranges.fill(Range { min: f32::INFINITY, max: f32::NEG_INFINITY });
    // Of what is finite 0, else NaN.
    let mut zero = 0.0;
    match axis {
        Axis::Channels { channels, inner: 1 } => {
            for (first, lines) in tiles(x, channels) {
                let mut ends = [[0.0; SIDE]; 3];
                let [min, max, zeros] = &mut ends;
                let ranges = &mut ranges[first..channels.min(first + SIDE)];
                for ((min, max), range) in min.iter_mut().zip(&mut *max).zip(&*ranges) {
                    (*min, *max) = (range.min, range.max);
                }
                for line in lines {
                    for (((min, max), zero), x) in min.iter_mut().zip(&mut *max).zip(&mut *zeros).zip(line) {
                        take(min, max, zero, *x);
                    }
                }
                for ((range, min), max) in ranges.iter_mut().zip(min).zip(max) {
                    *range = Range { min: *min, max: *max };
                }
                zero += zeros.iter().sum::<f32>();
            }
        }
        _ => {
            for (channel, run) in axis.runs(x.len()) {
                let (range, of) = (&mut ranges[channel], ends(&x[run], &mut zero));
                *range = Range { min: lower(range.min, of.min), max: upper(range.max, of.max) };
            }
        }
    }
    if zero == 0.0 { Ok(()) } else { finite("x", x) }
}

/// The lower of two numbers, the first of zeros: `f32::min` would take either.
#[inline(always)]
fn lower(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// The higher, likewise.
#[inline(always)]
fn upper(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Takes a number in; what is not finite makes a NaN of 0.
#[inline(always)]
fn take(min: &mut f32, max: &mut f32, zero: &mut f32, x: f32) {
    (*min, *max) = (lower(*min, x), upper(*max, x));
    *zero += x * 0.0;
}

/// The ends of finite elements.
fn ends(x: &[f32], zero: &mut f32) -> Range {
    let (mut min, mut max, mut zeros) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0.0; LANES]);
    let (blocks, rest) = x.as_chunks::<LANES>();
    for x in blocks {
        for i in 0..LANES {
            take(&mut min[i], &mut max[i], &mut zeros[i], x[i]);
        }
    }
    for (i, x) in rest.iter().enumerate() {
        take(&mut min[i], &mut max[i], &mut zeros[i], *x);
    }
    *zero += zeros.iter().sum::<f32>();
    Range { min: min.into_iter().fold(min[0], lower), max: max.into_iter().fold(max[0], upper) }
}

/// The ranges of all batches that were observed.
///
/// ```
/// use zeropoint::training::{Axis, MinMax, Range};
/// let mut observer = MinMax::new(Axis::Tensor)?;
/// assert_eq!(observer.ranges(), None);
/// observer.observe(&[1.0, 2.0])?;
/// observer.observe(&[-1.0, 0.0])?;
/// assert_eq!(observer.ranges(), Some(&[Range { min: -1.0, max: 2.0 }][..]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MinMax {
    axis: Axis,
    batch: Vec<Range>,
    all: Vec<Range>,
    observed: bool,
}

impl MinMax {
    /// Of a tensor, or of its channels.
    ///
    /// # Errors
    /// [`Error::Limit`] for an axis that is none, [`Error::Overflow`], [`Error::Memory`].
    pub fn new(axis: Axis) -> Result<Self, Error> {
        let count = axis.channels();
        axis.check_each("ranges", count)?;
        let none = || collect(count, (0..count).map(|_| Range::default()));
        Ok(Self { axis, batch: none()?, all: none()?, observed: false })
    }

    /// Takes a batch in. One with an error changes nothing.
    ///
    /// # Errors
    /// As [`ranges`].
    pub fn observe(&mut self, x: &[f32]) -> Result<(), Error> {
        ranges(x, self.axis, &mut self.batch)?;
        for (all, batch) in self.all.iter_mut().zip(&self.batch) {
            *all = if self.observed {
                Range { min: all.min.min(batch.min), max: all.max.max(batch.max) }
            } else {
                *batch
            };
        }
        self.observed = true;
        Ok(())
    }

    /// One a channel, if anything was observed.
    pub fn ranges(&self) -> Option<&[Range]> {
        self.observed.then_some(&self.all)
    }
}

/// Where an average starts.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Start {
    /// From the range of the first batch.
    #[default]
    FirstBatch,
    /// From this one, as TensorFlow does from -6..=6.
    Fixed(Range),
}

/// The exponential moving average of the ranges of batches (paper 3.1): each end becomes `decay * old + (1 - decay) * batch`, in 64-bit floats.
///
/// ```
/// use zeropoint::training::{Axis, MovingAverage, Range, Start};
/// let mut observer = MovingAverage::new(Axis::Tensor, 0.75, Start::FirstBatch)?;
/// observer.observe(&[-1.0, 2.0])?;
/// observer.observe(&[-5.0, 6.0])?;
/// assert_eq!(observer.range(0), Some(Range { min: -2.0, max: 3.0 }));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MovingAverage {
    axis: Axis,
    decay: f64,
    batch: Vec<Range>,
    /// The ends.
    average: Vec<[f64; 2]>,
    started: bool,
}

impl MovingAverage {
    /// The decay that averages thousands of steps.
    pub const DECAY: f64 = 0.999;

    /// Of a tensor, or of its channels.
    ///
    /// # Errors
    /// [`Error::Real`] unless the decay is from 0 to below 1; [`Error::RealRange`] for a start that is none; those of [`MinMax::new`].
    pub fn new(axis: Axis, decay: f64, start: Start) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::Real { argument: "decay", value: decay });
        }
        let (range, started) = match start {
            Start::FirstBatch => (Range::default(), false),
            Start::Fixed(range) => (range, true),
        };
        let Range { min, max } = range;
        if !(min <= max && min.is_finite() && max.is_finite()) {
            return Err(Error::RealRange { min, max });
        }
        let count = axis.channels();
        axis.check_each("ranges", count)?;
        let batch = collect(count, (0..count).map(|_| range))?;
        let average = collect(count, (0..count).map(|_| [f64::from(min), f64::from(max)]))?;
        Ok(Self { axis, decay, batch, average, started })
    }

    /// Takes a batch in. One with an error changes nothing.
    ///
    /// # Errors
    /// As [`ranges`].
    pub fn observe(&mut self, x: &[f32]) -> Result<(), Error> {
        ranges(x, self.axis, &mut self.batch)?;
        for (average, batch) in self.average.iter_mut().zip(&self.batch) {
            for (old, new) in average.iter_mut().zip([batch.min, batch.max].map(f64::from)) {
                *old = if self.started { self.decay * *old + (1.0 - self.decay) * new } else { new };
            }
        }
        self.started = true;
        Ok(())
    }

    /// The range of a channel, if there is one.
    pub fn range(&self, channel: usize) -> Option<Range> {
        let [min, max] = self.average.get(channel).filter(|_| self.started)?;
        Some(Range { min: *min as f32, max: *max as f32 })
    }

    /// Which elements share a range.
    pub const fn axis(&self) -> Axis {
        self.axis
    }
}

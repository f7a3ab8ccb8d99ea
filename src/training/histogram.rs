//! Counts of reals, and ranges that leave some out.

use alloc::vec::Vec;

use zeropoint_kernels::Error;

use super::axis::{collect, finite};
use super::grid::Levels;
use super::observe::Range;

/// Bins there are.
const BINS: usize = 2048;
/// The exponent of the narrowest bins: of the smallest float.
const NARROWEST: i32 = -149;
/// Ranges that a search tries first from 0 to each end, and how often it halves its step after that.
const COARSE: usize = 24;
const HALVINGS: u32 = 7;

/// A histogram of all that was observed, in 2,048 bins, for calibration: ranges that leave rare large reals out.
///
/// A bin is a power of two wide, and starts at a multiple of that; bins are merged in pairs when reals come that are beyond them.
/// So the counts do not depend on the order of batches. Between 1,024 and 2,048 bins reach from the smallest real, or 0, to the largest.
///
/// ```
/// use zeropoint::training::{Histogram, Levels};
/// let mut histogram = Histogram::new()?;
/// histogram.observe(&(0..1000).map(|i| i as f32 / 1000.0).collect::<Vec<_>>())?;
/// histogram.observe(&[100.0])?; // one that is far off
/// let levels = Levels::bits(8)?;
/// let (all, most) = (histogram.range().unwrap(), histogram.percentile(99.0)?.unwrap());
/// assert!(all.max == 100.0 && most.max < 1.2);
/// let best = histogram.least_squares(levels)?.unwrap();
/// assert!(histogram.squared_error(best, levels)? <= histogram.squared_error(all, levels)?);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    /// Zeros, which every grid has.
    zeros: u64,
    /// The first bin, counted from 0 in widths.
    first: i64,
    /// The width is 2^exponent.
    exponent: i32,
    range: Range,
    observed: bool,
}

/// 2^e, -1022 <= e <= 1023.
fn power(e: i32) -> f64 {
    f64::from_bits(((1023 + i64::from(e)) as u64) << 52)
}

/// The bin of `x`, counted from 0.
fn bin(x: f32, exponent: i32) -> i64 {
    let steps = f64::from(x) * power(-exponent);
    // Saturates where bins are much too narrow; those are widened.
    let whole = steps as i64;
    whole.saturating_sub(i64::from(whole as f64 > steps))
}

impl Histogram {
    /// An empty one.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new() -> Result<Self, Error> {
        let counts = collect(BINS, (0..BINS).map(|_| 0))?;
        let range = Range::default();
        Ok(Self { counts, zeros: 0, first: 0, exponent: NARROWEST, range, observed: false })
    }

    /// Counts a batch. One with an error changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub fn observe(&mut self, x: &[f32]) -> Result<(), Error> {
        finite("x", x)?;
        let Some(first) = x.first() else { return Ok(()) };
        let old = if self.observed { self.range } else { Range { min: *first, max: *first } };
        let min = x.iter().fold(old.min, |a, b| a.min(*b));
        let max = x.iter().fold(old.max, |a, b| a.max(*b));
        (self.range, self.observed) = (Range { min, max }, true);
        self.reach(min.min(0.0), max.max(0.0));
        for x in x {
            // Every real is in one: `reach` has seen to it.
            match self.counts.get_mut((bin(*x, self.exponent) - self.first) as usize) {
                Some(count) if *x != 0.0 => *count += 1,
                _ => self.zeros += 1,
            }
        }
        Ok(())
    }

    /// Widens and moves the bins until they reach from `min` to `max`.
    fn reach(&mut self, min: f32, max: f32) {
        let old = self.exponent;
        while bin(max, self.exponent).saturating_sub(bin(min, self.exponent)) >= BINS as i64 {
            self.exponent += 1;
        }
        let first = bin(min, self.exponent);
        if (self.exponent, self.first) == (old, first) {
            return;
        }
        // What was counted lies inside the new bins: they reach as far as before, and further.
        let (mut counts, wider) = ([0u64; BINS], (self.exponent - old) as u32);
        for (i, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let place = (self.first + i as i64) >> wider.min(63);
            if let Some(to) = counts.get_mut((place - first) as usize) {
                *to += count;
            }
        }
        self.counts.copy_from_slice(&counts);
        self.first = first;
    }

    /// The range of all that was observed, if anything was.
    pub fn range(&self) -> Option<Range> {
        self.observed.then_some(self.range)
    }

    /// Bins with something in them, as the real in the middle and the count.
    fn bins(&self) -> impl Iterator<Item = (f32, u64)> {
        let width = power(self.exponent);
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(move |(i, count)| (((self.first + i as i64) as f64 * width + width / 2.0) as f32, *count))
    }

    /// The range that holds `percent` of all reals, equal shares being left out at both ends; of reals of one sign, all are left out at the far end.
    /// To the width of a bin, outwards; never beyond what was observed.
    ///
    /// # Errors
    /// [`Error::Real`] unless `percent` is over 0 and at most 100.
    pub fn percentile(&self, percent: f64) -> Result<Option<Range>, Error> {
        if !(percent > 0.0 && percent <= 100.0) {
            return Err(Error::Real { argument: "percent", value: percent });
        }
        let Some(Range { min, max }) = self.range() else { return Ok(None) };
        let total = self.counts.iter().sum::<u64>() + self.zeros;
        let out = total as f64 * (100.0 - percent) / 100.0;
        let sides = if min < 0.0 && max > 0.0 { 2.0 } else { 1.0 };
        let out = out / sides;
        // The place of the bin of 0: nothing is cut beyond it.
        let zero = (-self.first) as usize;
        let real = |place: usize| ((self.first + place as i64) as f64 * power(self.exponent)) as f32;
        let low = self.cut(0..zero.min(BINS), out).map_or(0.0, real);
        let high = self.cut((zero.min(BINS)..BINS).rev(), out).map_or(0.0, |place| real(place + 1));
        let low = if min < 0.0 { low.max(min) } else { min };
        let high = if max > 0.0 { high.min(max) } else { max };
        Ok(Some(Range { min: low, max: high }))
    }

    /// The first of some bins after which more than `out` reals have passed.
    fn cut(&self, mut bins: impl Iterator<Item = usize>, out: f64) -> Option<usize> {
        let mut passed = 0.0;
        bins.find(|place| {
            passed += self.counts[*place] as f64;
            passed > out
        })
    }

    /// The sum of squared errors of fake quantization in a range, each real being taken for the middle of its bin.
    ///
    /// # Errors
    /// As [`Range::grid`].
    pub fn squared_error(&self, range: Range, levels: Levels) -> Result<f64, Error> {
        let grid = range.grid(levels)?;
        let error = |(x, count): (f32, u64)| {
            let off = f64::from(grid.fake(x)) - f64::from(x);
            off * off * count as f64
        };
        Ok(self.bins().map(error).sum())
    }

    /// The range whose fake quantization has the least squared error, of those that a search tries: the observed range first, and smaller
    /// ones on a mesh of 24 x 24; then the neighbours of the best, at steps that are halved seven times.
    ///
    /// # Errors
    /// As [`Range::grid`].
    pub fn least_squares(&self, levels: Levels) -> Result<Option<Range>, Error> {
        let Some(Range { min, max }) = self.range() else { return Ok(None) };
        let (low, high) = (min.min(0.0), max.max(0.0));
        // Shares of either end, of which 1 is all.
        let range = |shares: [f64; 2]| Range {
            min: (f64::from(low) * shares[0]) as f32,
            max: (f64::from(high) * shares[1]) as f32,
        };
        let mut best = ([1.0; 2], self.squared_error(range([1.0; 2]), levels)?);
        let attempt = |best: &mut ([f64; 2], f64), shares: [f64; 2]| {
            if shares.iter().all(|share| *share > 0.0 && *share <= 1.0) {
                let error = self.squared_error(range(shares), levels)?;
                if error < best.1 {
                    *best = (shares, error);
                }
            }
            Ok::<_, Error>(())
        };
        // An end that is 0 stays there.
        let tries = |end: f32| if end == 0.0 { COARSE..=COARSE } else { 1..=COARSE };
        for a in tries(low) {
            for b in tries(high) {
                attempt(&mut best, [a, b].map(|share| share as f64 / COARSE as f64))?;
            }
        }
        let mut step = 0.5 / COARSE as f64;
        for _ in 0..HALVINGS {
            let centre = best.0;
            for a in [-1.0, 0.0, 1.0] {
                for b in [-1.0, 0.0, 1.0] {
                    attempt(&mut best, [centre[0] + a * step, centre[1] + b * step])?;
                }
            }
            step /= 2.0;
        }
        Ok(Some(range(best.0)))
    }
}

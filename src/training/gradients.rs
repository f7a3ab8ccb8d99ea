//! Sums of gradients, in the order that TensorFlow has.

use core::ops::Range;

use zeropoint_kernels::{Backend, Error, FakeGradient, FakeQuant as Kernel};

use super::axis::equal;
use super::fake_quant::{FakeQuant, Gradient};
use crate::packed::{Aligned, aligned};

/// More values are summed in two parts.
const LEAF: usize = 8192;
/// Parts begin with whole eights.
const EIGHT: usize = 8;
/// Parts of parts, of as many elements as memory can have.
const LEVELS: usize = (isize::BITS - LEAF.ilog2()) as usize;

/// Gradients of the parameters of a [`FakeQuant`], one a channel; made once, filled by each [`FakeQuant::backward`].
///
/// A sum has the same bits on every backend, and those that TensorFlow 2.21 has on one thread of an x86 CPU, for tensors and for channels in
/// the last dimension. In 32-bit floats, of values `v[0..n]`:
///
/// * Of more than 8,192, the first half, rounded up to a multiple of eight, and the others are summed apart, and added.
/// * Else there are 32 sums, and value i is added to sum i % 32, as long as there are 32 more. The first eight gain the next eight, then those
///   behind, then the last. Whole eights of the other values are added to them likewise. Of the eight, each of the first four gains
///   the one four behind it; then each of two, two behind; then the first, the second. The last values, fewer than eight, are
///   summed in order from 0, and what there is is added to them.
///
/// Of channels in the last dimension, the values of each are summed so. Of a tensor of outer x channels x inner, those of a run, one of outer and one
/// of channels; the runs of a channel are then added in order of outer, in 64-bit floats, and rounded. The sum of dzero_point is multiplied by
/// the scale.
///
/// ```
/// use zeropoint::training::{FakeQuant, FakeQuantSpec, Gradient, Gradients, Grid, Levels};
/// let grids = [Grid::new(0.5, 0, Levels::bits(2)?)?];
/// let spec = FakeQuantSpec { gradient: Gradient::Learned, ..FakeQuantSpec::new(&grids) };
/// let fake = FakeQuant::new(&spec)?;
/// let (mut dx, mut gradients) = ([0.0; 3], Gradients::new(&fake)?);
/// fake.backward(&[-1.0, 0.625, 9.0], &[10.0, 4.0, 100.0], &mut dx, &mut gradients)?;
/// assert_eq!(dx, [0.0, 4.0, 0.0]);
/// // 4 * (1 - 1.25) inside, 100 * 3 at the upper end; -0.5 * 110
/// assert_eq!(gradients.learned(), Some([&[299.0][..], &[-55.0][..]]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gradients {
    gradient: Gradient,
    /// What is summed, of all channels: rows of elements side by side, a line of elements of short runs, or one of runs.
    line: Both<f32>,
    /// Parts of parts, one above the other.
    levels: Both<f32>,
    /// The runs of a channel.
    wide: Both<f64>,
    sums: Both<f32>,
}

/// Two sums of each of something.
type Both<T> = [Aligned<T>; 2];

impl Gradients {
    /// Room for those of `fake`: for channels in the last dimension, about 700 bytes a channel.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(fake: &FakeQuant) -> Result<Self, Error> {
        fn zeros<T: Copy + Default>(count: usize) -> Result<Both<T>, Error> {
            Ok([aligned("gradients", count)?, aligned("gradients", count)?])
        }
        let channels = fake.axis().channels();
        let (levels, wide) = if fake.is_side_by_side() { (channels, 0) } else { (1, channels) };
        Ok(Self {
            gradient: fake.gradient(),
            line: zeros(fake.line())?,
            levels: zeros(levels.saturating_mul(LEVELS))?,
            wide: zeros(wide)?,
            sums: zeros(channels)?,
        })
    }

    /// dmin and dmax, the gradients of the ends of the range, if the last sums were those.
    pub fn range(&self) -> Option<[&[f32]; 2]> {
        (self.gradient != Gradient::Learned).then(|| self.sums.each_ref().map(|sums| &sums[..]))
    }

    /// dscale and dzero_point, if the last sums were those.
    pub fn learned(&self) -> Option<[&[f32]; 2]> {
        (self.gradient == Gradient::Learned).then(|| self.sums.each_ref().map(|sums| &sums[..]))
    }

    /// Checks that they are for `fake`, and makes them all zero: nothing was quantized.
    pub(crate) fn clear(&mut self, fake: &FakeQuant) -> Result<(), Error> {
        equal("gradients", fake.axis().channels(), self.sums[0].len())?;
        equal("gradients", fake.line(), self.line[0].len())?;
        self.gradient = fake.gradient();
        self.sums.iter_mut().for_each(|sums| sums.fill(0.0));
        Ok(())
    }

    /// What all elements give, each channel in units of its own; channels without a range get nothing.
    pub(crate) fn fill(&mut self, fake: &FakeQuant, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.clear(fake)?;
        if fake.is_side_by_side() {
            self.side_by_side(pass)?;
        } else {
            self.runs(pass)?;
        }
        let [_, second] = &mut self.sums;
        if self.gradient == Gradient::Learned {
            second.iter_mut().enumerate().for_each(|(channel, sum)| *sum *= fake.scale(channel));
        }
        for sums in &mut self.sums {
            fake.empty().iter().for_each(|channel| sums[*channel] = 0.0);
        }
        Ok(())
    }

    /// Of lines of an element a channel.
    fn side_by_side(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let (channels, kernel, line) = (self.sums[0].len(), pass.kernel, &mut self.line);
        let lines = pass.x.len() / channels;
        if lines == 0 {
            return Ok(());
        }
        tree(&mut self.levels, channels, 0..lines, &mut |part, sums| {
            let part = part.start * channels..part.end * channels;
            let used = kernel.sums(part.len());
            pass.part(kernel, part, line.each_mut().map(|rows| &mut rows[..used]))?;
            sums.into_iter().zip(&*line).for_each(|(sums, rows)| sums.copy_from_slice(&rows[..channels]));
            Ok(())
        })?;
        self.sums.iter_mut().zip(&self.levels).for_each(|(sums, level)| sums.copy_from_slice(&level[..channels]));
        Ok(())
    }

    /// Of lines of a run a channel.
    fn runs(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let channels = self.sums[0].len();
        self.wide.iter_mut().for_each(|wide| wide.fill(0.0));
        for start in (0..pass.x.len()).step_by(pass.inner * channels) {
            self.line(pass, start, channels)?;
            for (wide, line) in self.wide.iter_mut().zip(&self.line) {
                wide.iter_mut().zip(line.iter()).for_each(|(wide, sum)| *wide += f64::from(*sum));
            }
        }
        for (sums, wide) in self.sums.iter_mut().zip(&self.wide) {
            sums.iter_mut().zip(wide.iter()).for_each(|(sum, wide)| *sum = *wide as f32);
        }
        Ok(())
    }

    /// The sums of each run of the line that begins there.
    fn line(&mut self, pass: &mut Pass<'_>, start: usize, channels: usize) -> Result<(), Error> {
        let (kernel, inner) = (pass.kernel, pass.inner);
        let mut line = self.line.each_mut().map(|line| &mut line[..]);
        if kernel.run > 1 && inner > LEAF {
            for channel in 0..channels {
                let kernel = of_channel(kernel, channel);
                let run = start + channel * inner..start + (channel + 1) * inner;
                tree(&mut self.levels, 1, run, &mut |part, sums| pass.part(kernel, part, sums))?;
                line.iter_mut().zip(&self.levels).for_each(|(line, level)| line[channel] = level[0]);
            }
            return Ok(());
        }
        pass.part(kernel, start..start + inner * channels, line.each_mut().map(|line| &mut **line))?;
        if kernel.run == 1 {
            for line in line {
                (0..channels).for_each(|run| line[run] = few(&line[run * inner..][..inner]));
            }
        }
        Ok(())
    }
}

/// The sums of a part, those of its halves being summed apart, at the first level; those above it are free.
fn tree(
    levels: &mut Both<f32>,
    width: usize,
    part: Range<usize>,
    leaf: &mut impl FnMut(Range<usize>, [&mut [f32]; 2]) -> Result<(), Error>,
) -> Result<(), Error> {
    fn from(
        mut levels: [&mut [f32]; 2],
        width: usize,
        part: Range<usize>,
        leaf: &mut impl FnMut(Range<usize>, [&mut [f32]; 2]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let [first, second] = &mut levels;
        if part.len() <= LEAF {
            return leaf(part, [&mut first[..width], &mut second[..width]]);
        }
        let middle = part.start + part.len().div_ceil(2).next_multiple_of(EIGHT);
        from([first, second], width, part.start..middle, leaf)?;
        from([&mut first[width..], &mut second[width..]], width, middle..part.end, leaf)?;
        for level in levels {
            let (low, high) = level.split_at_mut(width);
            low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        }
        Ok(())
    }
    from(levels.each_mut().map(|level| &mut level[..]), width, part, leaf)
}

/// A pass back through all elements.
pub(crate) struct Pass<'a> {
    pub backend: Backend,
    pub gradient: FakeGradient,
    pub kernel: Kernel<'a>,
    /// Neighbours of one channel.
    pub inner: usize,
    pub x: &'a [f32],
    pub dy: &'a [f32],
    pub dx: &'a mut [f32],
}

impl Pass<'_> {
    fn part(&mut self, kernel: Kernel<'_>, part: Range<usize>, sums: [&mut [f32]; 2]) -> Result<(), Error> {
        let from = [&self.x[part.clone()], &self.dy[part.clone()]];
        kernel.backward(self.backend, self.gradient, from, &mut self.dx[part], sums)
    }
}

/// The steps of one channel.
fn of_channel(kernel: Kernel<'_>, channel: usize) -> Kernel<'_> {
    let Kernel { scale, inverse, low, high, first, last, .. } = kernel;
    let [scale, inverse, low, high, first, last] =
        [scale, inverse, low, high, first, last].map(|steps| &steps[channel..=channel]);
    Kernel { scale, inverse, low, high, first, last, ..kernel }
}

/// The sum of fewer than sixteen values.
fn few(values: &[f32]) -> f32 {
    let (eights, tail) = values.as_chunks::<EIGHT>();
    let folded = eights.first().map_or(0.0, |x| {
        let four: [f32; 4] = core::array::from_fn(|i| x[i] + x[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    });
    tail.iter().sum::<f32>() + folded
}

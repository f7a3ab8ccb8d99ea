//! Sums of gradients, in the order that TensorFlow has.

use zeropoint_kernels::{Backend, Error, FakeGradient, FakeQuant as Kernel};

use super::axis::equal;
use super::fake_quant::{FakeQuant, Gradient};
use crate::packed::{Aligned, aligned};

/// Sums of each kind, and lines, that take turns.
const ROWS: usize = 32;
/// Those that are left before they are folded.
const LANES: usize = 8;
/// More values are summed in two parts.
const LEAF: usize = 8192;
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
/// Of a tensor of outer x channels x inner, the values of a run, one of outer and one of channels, are summed so; the sums of all runs of a
/// channel, in order of outer, likewise. That of dzero_point is then multiplied by the scale.
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
    channels: usize,
    /// Of a line: what its elements, or its runs, give.
    line: Both,
    /// Of as many lines as there are rows.
    rows: Both,
    /// What rows are added to.
    lanes: Both,
    /// The sums of parts, in the end the first that of all.
    levels: Both,
}

/// Two sums of each of something, for all channels.
type Both = [Aligned<f32>; 2];

impl Gradients {
    /// Room for those of `fake`.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(fake: &FakeQuant) -> Result<Self, Error> {
        let channels = fake.axis().channels();
        let zeros =
            |count| -> Result<Both, Error> { Ok([aligned("gradients", count)?, aligned("gradients", count)?]) };
        let times = |rows: usize| zeros(channels.saturating_mul(rows));
        let line = zeros(fake.line())?;
        let [rows, lanes, levels] = [times(ROWS)?, times(LANES)?, times(LEVELS)?];
        Ok(Self { gradient: fake.gradient(), channels, line, rows, lanes, levels })
    }

    /// dmin and dmax, the gradients of the ends of the range, if the last sums were those.
    pub fn range(&self) -> Option<[&[f32]; 2]> {
        (self.gradient != Gradient::Learned).then(|| self.sums())
    }

    /// dscale and dzero_point, if the last sums were those.
    pub fn learned(&self) -> Option<[&[f32]; 2]> {
        (self.gradient == Gradient::Learned).then(|| self.sums())
    }

    fn sums(&self) -> [&[f32]; 2] {
        self.levels.each_ref().map(|sums| &sums[..self.channels])
    }

    /// Checks that they are for `fake`, and makes them all zero: nothing was quantized.
    pub(crate) fn clear(&mut self, fake: &FakeQuant) -> Result<(), Error> {
        equal("gradients", fake.axis().channels(), self.channels)?;
        equal("gradients", fake.line(), self.line[0].len())?;
        self.gradient = fake.gradient();
        self.levels.iter_mut().for_each(|sums| sums[..self.channels].fill(0.0));
        Ok(())
    }

    /// What all elements give, each channel in units of its own; channels without a range get nothing. The pass is of the axis that
    /// [`Gradients::clear`] was told of.
    pub(crate) fn fill(&mut self, fake: &FakeQuant, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.clear(fake)?;
        let lines = pass.x.len() / (pass.inner * self.channels);
        if lines > 0 {
            self.tree(pass, 0, lines, 0)?;
        }
        let [_, zero_points] = self.levels.each_mut().map(|sums| &mut sums[..self.channels]);
        if self.gradient == Gradient::Learned {
            zero_points.iter_mut().enumerate().for_each(|(channel, sum)| *sum *= fake.scale(channel));
        }
        for sums in &mut self.levels {
            fake.empty().iter().for_each(|channel| sums[*channel] = 0.0);
        }
        Ok(())
    }

    /// The sums of some lines, at this level; those above are free.
    fn tree(&mut self, pass: &mut Pass<'_>, first: usize, count: usize, level: usize) -> Result<(), Error> {
        let Some(half) = half(count) else { return self.leaf(pass, first, count, level) };
        self.tree(pass, first, half, level)?;
        self.tree(pass, first + half, count - half, level + 1)?;
        for sums in &mut self.levels {
            let (low, high) = sums[level * self.channels..].split_at_mut(self.channels);
            add(low, high);
        }
        Ok(())
    }

    fn leaf(&mut self, pass: &mut Pass<'_>, first: usize, count: usize, level: usize) -> Result<(), Error> {
        let (channels, rest) = (self.channels, count % ROWS);
        let eight = LANES * channels;
        self.lines(pass, first, count - rest)?;
        for (lanes, rows) in self.lanes.iter_mut().zip(&self.rows) {
            if rest == count {
                lanes.fill(0.0);
                continue;
            }
            lanes.copy_from_slice(&rows[..eight]);
            rows[eight..].chunks_exact(eight).for_each(|rows| add(lanes, rows));
        }
        self.lines(pass, first + count - rest, rest)?;
        for (kind, (lanes, rows)) in self.lanes.iter_mut().zip(&self.rows).enumerate() {
            let (packets, tail) = rows[..rest * channels].split_at(rest / LANES * eight);
            packets.chunks_exact(eight).for_each(|rows| add(lanes, rows));
            let mut half = LANES / 2;
            while half > 0 {
                let (low, high) = lanes.split_at_mut(half * channels);
                add(low, high);
                half /= 2;
            }
            let sums = &mut self.levels[kind][level * channels..][..channels];
            sums.fill(0.0);
            tail.chunks_exact(channels).for_each(|row| add(sums, row));
            add(sums, lanes);
        }
        Ok(())
    }

    /// Rows of some lines, line i in row i % 32.
    fn lines(&mut self, pass: &mut Pass<'_>, first: usize, count: usize) -> Result<(), Error> {
        let used = count.min(ROWS) * self.channels;
        self.rows.iter_mut().for_each(|rows| rows[..used].fill(0.0));
        if pass.inner == 1 {
            let rows = self.rows.each_mut().map(|rows| &mut rows[..used]);
            return pass.part(pass.kernel, first * self.channels, count * self.channels, rows);
        }
        for line in 0..count {
            pass.line(first + line, self.channels, self.line.each_mut().map(|line| &mut **line))?;
            for (rows, sums) in self.rows.iter_mut().zip(&self.line) {
                add(&mut rows[line % ROWS * self.channels..][..self.channels], sums);
            }
        }
        Ok(())
    }
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
    /// Some elements, of as many runs as there are sums of each kind; or rows, for a kernel whose runs are single elements.
    fn part(
        &mut self,
        kernel: Kernel<'_>,
        start: usize,
        count: usize,
        sums: [&mut [f32]; 2],
    ) -> Result<(), Error> {
        let part = start..start + count;
        let from = [&self.x[part.clone()], &self.dy[part.clone()]];
        kernel.backward(self.backend, self.gradient, from, &mut self.dx[part], sums)
    }

    /// The sums of each run of a line.
    fn line(&mut self, line: usize, channels: usize, mut sums: [&mut [f32]; 2]) -> Result<(), Error> {
        let (inner, count) = (self.inner, self.inner * channels);
        if self.kernel.run == 1 {
            sums.iter_mut().for_each(|sums| sums.fill(0.0));
            self.part(self.kernel, line * count, count, sums.each_mut().map(|sums| &mut **sums))?;
            for sums in sums {
                (0..channels).for_each(|run| sums[run] = few(&sums[run * inner..][..inner]));
            }
            return Ok(());
        }
        if inner <= LEAF {
            return self.part(self.kernel, line * count, count, sums);
        }
        for channel in 0..channels {
            let [first, second] = self.tree(channel, line * count + channel * inner, inner)?;
            (sums[0][channel], sums[1][channel]) = (first, second);
        }
        Ok(())
    }

    /// The sums of some elements of a channel.
    fn tree(&mut self, channel: usize, start: usize, count: usize) -> Result<[f32; 2], Error> {
        if let Some(half) = half(count) {
            let [low, high] = [self.tree(channel, start, half)?, self.tree(channel, start + half, count - half)?];
            return Ok([low[0] + high[0], low[1] + high[1]]);
        }
        let Kernel { scale, inverse, low, high, first, last, .. } = self.kernel;
        let [scale, inverse, low, high, first, last] =
            [scale, inverse, low, high, first, last].map(|steps| &steps[channel..=channel]);
        let (kernel, mut sums) = (Kernel { scale, inverse, low, high, first, last, ..self.kernel }, [[0.0]; 2]);
        self.part(kernel, start, count, sums.each_mut().map(|sum| &mut sum[..]))?;
        Ok(sums.map(|[sum]| sum))
    }
}

/// How many of so many values are summed apart from the others.
fn half(count: usize) -> Option<usize> {
    (count > LEAF).then(|| count.div_ceil(2).next_multiple_of(LANES))
}

/// Adds as many as there are.
fn add(to: &mut [f32], x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += x);
}

/// The sum of fewer than sixteen.
fn few(x: &[f32]) -> f32 {
    let (eights, tail) = x.as_chunks::<LANES>();
    let folded = eights.first().map_or(0.0, |x| {
        let four: [f32; 4] = core::array::from_fn(|i| x[i] + x[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    });
    tail.iter().sum::<f32>() + folded
}

//! Sums of gradients, in an order of their own.

use alloc::vec::Vec;

use zeropoint_kernels::Error;

use super::axis::{collect, equal};
use super::fake_quant::{FakeQuant, Gradient};
use crate::packed::{Aligned, aligned};

/// Sums a channel.
const PARTIAL: usize = 16;

/// Gradients of the parameters of a [`FakeQuant`], one a channel; made once, filled by each [`FakeQuant::backward`].
///
/// A sum has the same bits on every backend. Of a tensor of outer x channels x inner, element (o, c, i) is added to partial sum `i % 16` of
/// channel c, in order of o, then i; a whole tensor is one channel. Partial sums are 64-bit floats. Of learned steps, products are rounded to 32-bit
/// floats, and a partial sum gains eight at once, summed in 32 bits: counted from the first i of each o, or, if inner is below 16, from the first o;
/// the last may be fewer. The sum of partial sums: of sixteen, each of the first eight gains the one eight behind it; of eight, four behind; and
/// so on. That of dzero_point is then multiplied by the scale. The result is rounded once more, to a 32-bit float.
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
    /// Vectors of them across two lines could not be loaded from where they wait to be stored.
    partial: [Aligned<f64>; 2],
    sums: [Vec<f32>; 2],
}

impl Gradients {
    /// Room for those of `fake`.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(fake: &FakeQuant) -> Result<Self, Error> {
        let zeros = |count| collect(count, (0..count).map(|_| 0.0));
        let (partial, channels) = (fake.sums(), fake.axis().channels());
        Ok(Self {
            gradient: fake.gradient(),
            partial: [aligned("gradients", partial)?, aligned("gradients", partial)?],
            sums: [zeros(channels)?, zeros(channels)?],
        })
    }

    /// dmin and dmax, the gradients of the ends of the range, if the last sums were those.
    pub fn range(&self) -> Option<[&[f32]; 2]> {
        let [min, max] = &self.sums;
        (self.gradient != Gradient::Learned).then_some([min, max])
    }

    /// dscale and dzero_point, if the last sums were those.
    pub fn learned(&self) -> Option<[&[f32]; 2]> {
        let [scale, zero_point] = &self.sums;
        (self.gradient == Gradient::Learned).then_some([scale, zero_point])
    }

    /// Partial sums, zero, for `fake`.
    pub(crate) fn start(&mut self, fake: &FakeQuant) -> Result<[&mut [f64]; 2], Error> {
        equal("gradients", fake.axis().channels(), self.sums[0].len())?;
        equal("gradients", fake.sums(), self.partial[0].len())?;
        self.gradient = fake.gradient();
        let [first, second] = &mut self.partial;
        first.fill(0.0);
        second.fill(0.0);
        Ok([first, second])
    }

    /// Adds up what the partial sums have, each in units of its own; channels without a range get nothing.
    pub(crate) fn finish(&mut self, fake: &FakeQuant) {
        let channels = fake.axis().channels();
        for (kind, (sums, partial)) in self.sums.iter_mut().zip(&self.partial).enumerate() {
            let each = partial.len() / channels;
            for (channel, (sum, partial)) in sums.iter_mut().zip(partial.chunks_exact(each)).enumerate() {
                *sum = (total(partial) * fake.units(channel)[kind]) as f32;
            }
            fake.empty().iter().for_each(|channel| sums[*channel] = 0.0);
        }
    }

    /// All zero: nothing was quantized.
    pub(crate) fn clear(&mut self, fake: &FakeQuant) -> Result<(), Error> {
        self.start(fake)?;
        self.finish(fake);
        Ok(())
    }
}

/// The sum of up to sixteen partial sums.
fn total(partial: &[f64]) -> f64 {
    if let [sum] = partial {
        return *sum;
    }
    let mut sums = [0.0; PARTIAL];
    sums.iter_mut().zip(partial).for_each(|(sum, partial)| *sum = *partial);
    let mut half = PARTIAL / 2;
    while half > 0 {
        let (low, high) = sums.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        half /= 2;
    }
    sums[0]
}

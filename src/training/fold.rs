//! Batch normalization as a part of the layer before it: for inference, and while it is being trained.

use zeropoint_kernels::Error;

use super::axis::{Axis, SIDE, collect, equal, finite, tiles};

/// Where the output channels of weights are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WeightLayout {
    /// Output channels x kernel height x kernel width x input channels.
    Conv,
    /// 1 x kernel height x kernel width x output channels.
    Depthwise,
    /// Outputs x inputs.
    FullyConnected,
}

impl WeightLayout {
    /// The axis of the output channels of so many weights.
    ///
    /// # Errors
    /// [`Error::Divisor`] if the channels do not divide the weights; [`Error::Limit`] if either is 0.
    ///
    /// ```
    /// use zeropoint::training::{Axis, WeightLayout};
    /// assert_eq!(WeightLayout::Conv.axis(8, 72)?, Axis::Channels { channels: 8, inner: 9 });
    /// assert_eq!(WeightLayout::Depthwise.axis(8, 72)?, Axis::Channels { channels: 8, inner: 1 });
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    pub fn axis(self, channels: usize, weights: usize) -> Result<Axis, Error> {
        for (argument, value) in [("channels", channels), ("weights", weights)] {
            if value == 0 {
                return Err(Error::Limit { argument, value, low: 1, high: usize::MAX });
            }
        }
        if !weights.is_multiple_of(channels) {
            return Err(Error::Divisor { argument: "channels", value: channels, of: weights });
        }
        Ok(match self {
            Self::Conv | Self::FullyConnected => Axis::Channels { channels, inner: weights / channels },
            Self::Depthwise => Axis::Channels { channels, inner: 1 },
        })
    }
}

/// Mean and variance, one a channel.
#[derive(Clone, Copy, Debug)]
pub struct Statistics<'a> {
    /// The mean.
    pub mean: &'a [f32],
    /// The variance; of a batch the biased one. For inference, whatever the framework's evaluation uses.
    pub variance: &'a [f32],
}

/// Batch normalization, `gamma * (y - mean) / sqrt(variance + epsilon) + beta`, with the averages that inference uses.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// The factor, one a channel.
    pub gamma: &'a [f32],
    /// What is added, one a channel.
    pub beta: &'a [f32],
    /// Moving averages.
    pub average: Statistics<'a>,
    /// Inside the root.
    pub epsilon: f32,
}

impl BatchNorm<'_> {
    fn check(&self) -> Result<(), Error> {
        let channels = self.gamma.len();
        for (argument, x) in [("gamma", self.gamma), ("beta", self.beta)] {
            equal(argument, channels, x.len())?;
            finite(argument, x)?;
        }
        self.check_statistics(&self.average)
    }

    /// Checks that every channel has a standard deviation.
    fn check_statistics(&self, statistics: &Statistics<'_>) -> Result<(), Error> {
        let Statistics { mean, variance } = *statistics;
        for (argument, x) in [("mean", mean), ("variance", variance)] {
            equal(argument, self.gamma.len(), x.len())?;
            finite(argument, x)?;
        }
        for variance in variance {
            let value = f64::from(*variance) + f64::from(self.epsilon);
            // A NaN fails the comparison.
            if !(*variance >= 0.0 && value > 0.0 && value.is_finite()) {
                return Err(Error::Real { argument: "variance plus epsilon", value });
            }
        }
        Ok(())
    }

    fn deviation(&self, variance: f32) -> f64 {
        root(f64::from(variance) + f64::from(self.epsilon))
    }

    /// `gamma / sigma`, sigma being a statistic's.
    fn factor(&self, of: &Statistics<'_>, channel: usize) -> f64 {
        f64::from(self.gamma[channel]) / self.deviation(of.variance[channel])
    }

    /// `beta + gamma * (bias - mean) / sigma`.
    fn shift(&self, of: &Statistics<'_>, bias: Option<&[f32]>, channel: usize) -> f64 {
        let bias = bias.map_or(0.0, |bias| f64::from(bias[channel]));
        f64::from(self.beta[channel]) + (bias - f64::from(of.mean[channel])) * self.factor(of, channel)
    }
}

/// The square root of a positive, finite number, to the last bit or nearly so; `core` has none.
fn root(x: f64) -> f64 {
    // Half the exponent, and Newton's steps, each of which doubles the bits that are right.
    let mut y = f64::from_bits((x.to_bits() >> 1) + (0x3ff << 51));
    for _ in 0..6 {
        y = 0.5 * (y + x / y);
    }
    y
}

/// What is folded: a layer, and the batch normalization behind it.
///
/// ```
/// use zeropoint::training::{BatchNorm, Fold, Statistics, WeightLayout};
/// let average = Statistics { mean: &[1.0, 0.0], variance: &[4.0, 1.0] };
/// let norm = BatchNorm { gamma: &[2.0, 3.0], beta: &[0.5, 0.0], average, epsilon: 0.0 };
/// let fold = Fold { layout: WeightLayout::FullyConnected, weights: &[1.0, 2.0, 3.0, 4.0], bias: None, norm };
/// let (mut weights, mut bias) = ([0.0; 4], [0.0; 2]);
/// fold.inference(&mut weights, &mut bias)?;
/// assert_eq!((weights, bias), ([1.0, 2.0, 9.0, 12.0], [-0.5, 0.0]));
/// // While it is trained: the same weights, and a correction of what the layer makes of them.
/// let batch = Statistics { mean: &[1.0, 0.0], variance: &[1.0, 1.0] };
/// let (mut scale, mut shift) = ([0.0; 2], [0.0; 2]);
/// fold.correction(Some(batch), &mut scale, &mut shift)?;
/// assert_eq!((scale, shift), ([2.0, 1.0], [-1.5, 0.0]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fold<'a> {
    /// Where the output channels are.
    pub layout: WeightLayout,
    /// The weights of the layer.
    pub weights: &'a [f32],
    /// Its bias, one a channel, if it has one.
    pub bias: Option<&'a [f32]>,
    /// What follows it.
    pub norm: BatchNorm<'a>,
}

impl Fold<'_> {
    /// The layer that does both: `gamma * w / sigma` and `beta + gamma * (bias - mean) / sigma` (paper, eq. 14), sigma being
    /// `sqrt(variance + epsilon)`. Products are of 64-bit floats, rounded once. Quantize the weights after this, not before.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Divisor`] if the channels do not divide the weights, [`Error::NotFinite`], [`Error::Real`] for a
    /// variance that has no root.
    pub fn inference(&self, weights: &mut [f32], bias: &mut [f32]) -> Result<(), Error> {
        self.weights(weights)?;
        equal("folded bias", self.norm.gamma.len(), bias.len())?;
        for (channel, to) in bias.iter_mut().enumerate() {
            *to = self.norm.shift(&self.norm.average, self.bias, channel) as f32;
        }
        Ok(())
    }

    /// `gamma * w / sigma` alone, with moving averages, which move slowly: what fake quantization sees while batch normalization is trained.
    ///
    /// # Errors
    /// As [`Fold::inference`].
    pub fn weights(&self, weights: &mut [f32]) -> Result<(), Error> {
        let axis = self.check()?;
        equal("folded weights", self.weights.len(), weights.len())?;
        for (channel, run) in axis.runs(weights.len()) {
            let factor = self.norm.factor(&self.norm.average, channel);
            for (to, w) in weights[run.clone()].iter_mut().zip(&self.weights[run]) {
                *to = (f64::from(*w) * factor) as f32;
            }
        }
        Ok(())
    }

    /// What makes batch normalization of the output of the layer with [`Fold::weights`] and no bias: `output * scale + shift`, a number each a
    /// channel (paper, figures C.7 and C.8, in the form with correction factors).
    ///
    /// Before the freeze, with the statistics of a batch of raw outputs, bias included: `sigma_average / sigma_batch`, and
    /// `beta + gamma * (bias - mean_batch) / sigma_batch`. After it, with `None`: 1, and the very bias of [`Fold::inference`].
    ///
    /// # Errors
    /// As [`Fold::inference`].
    pub fn correction(
        &self,
        batch: Option<Statistics<'_>>,
        scale: &mut [f32],
        shift: &mut [f32],
    ) -> Result<(), Error> {
        self.check()?;
        let (norm, channels) = (&self.norm, self.norm.gamma.len());
        equal("scale", channels, scale.len())?;
        equal("shift", channels, shift.len())?;
        let used = batch.unwrap_or(norm.average);
        norm.check_statistics(&used)?;
        for (channel, (scale, shift)) in scale.iter_mut().zip(shift).enumerate() {
            let average = norm.deviation(norm.average.variance[channel]);
            *scale = (average / norm.deviation(used.variance[channel])) as f32;
            *shift = norm.shift(&used, self.bias, channel) as f32;
        }
        Ok(())
    }

    fn check(&self) -> Result<Axis, Error> {
        self.norm.check()?;
        let channels = self.norm.gamma.len();
        if let Some(bias) = self.bias {
            equal("bias", channels, bias.len())?;
            finite("bias", bias)?;
        }
        finite("weights", self.weights)?;
        self.layout.axis(channels, self.weights.len())
    }
}

/// [`Fold::inference`]: a layer and the batch normalization behind it, as one layer.
///
/// # Errors
/// As there.
///
/// ```
/// use zeropoint::training::{BatchNorm, Fold, Statistics, WeightLayout, fold_batch_norm};
/// let average = Statistics { mean: &[1.0], variance: &[4.0] };
/// let norm = BatchNorm { gamma: &[2.0], beta: &[0.5], average, epsilon: 0.0 };
/// let fold = Fold { layout: WeightLayout::Depthwise, weights: &[1.0, 3.0], bias: Some(&[2.0]), norm };
/// let (mut weights, mut bias) = ([0.0; 2], [0.0]);
/// fold_batch_norm(&fold, &mut weights, &mut bias)?;
/// assert_eq!((weights, bias), ([1.0, 3.0], [1.5])); // times 2 / 2; 0.5 + (2 - 1) * 2 / 2
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn fold_batch_norm(fold: &Fold<'_>, weights: &mut [f32], bias: &mut [f32]) -> Result<(), Error> {
    fold.inference(weights, bias)
}

/// Mean and biased variance of the channels of a batch, in two passes of 64-bit floats.
///
/// # Errors
/// [`Error::Length`] unless there is one of each a channel, and elements; [`Error::Divisor`], [`Error::NotFinite`].
///
/// ```
/// use zeropoint::training::{Axis, moments};
/// let (mut mean, mut variance) = ([0.0; 2], [0.0; 2]);
/// moments(&[1.0, 10.0, 3.0, 10.0], Axis::Channels { channels: 2, inner: 1 }, &mut mean, &mut variance)?;
/// assert_eq!((mean, variance), ([2.0, 10.0], [1.0, 0.0]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn moments(x: &[f32], axis: Axis, mean: &mut [f32], variance: &mut [f32]) -> Result<(), Error> {
    let channels = axis.channels();
    axis.check_each("mean", mean.len())?;
    axis.check_each("variance", variance.len())?;
    axis.check(x.len())?;
    equal("x", x.len().max(channels), x.len())?;
    finite("x", x)?;
    let count = (x.len() / channels) as f64;
    let zeros = || collect(channels, (0..channels).map(|_| 0.0f64));
    let (mut means, mut squares) = (zeros()?, zeros()?);
    add(x, axis, &mut means, &squares, |x, _| x);
    means.iter_mut().for_each(|sum| *sum /= count);
    add(x, axis, &mut squares, &means, |x, mean| (x - mean) * (x - mean));
    for ((mean, variance), (of, squares)) in mean.iter_mut().zip(variance).zip(means.iter().zip(&squares)) {
        *mean = *of as f32;
        *variance = (squares / count) as f32;
    }
    Ok(())
}

/// Adds to the sum of each channel what its elements and its mean give.
fn add(x: &[f32], axis: Axis, sums: &mut [f64], means: &[f64], of: impl Fn(f64, f64) -> f64) {
    if let Axis::Channels { channels, inner: 1 } = axis {
        for (first, lines) in tiles(x, channels) {
            let of_tile = first..channels.min(first + SIDE);
            let (sums, means) = (&mut sums[of_tile.clone()], &means[of_tile]);
            for line in lines {
                for ((sum, mean), x) in sums.iter_mut().zip(means).zip(line) {
                    *sum += of((*x).into(), *mean);
                }
            }
        }
        return;
    }
    for (channel, run) in axis.runs(x.len()) {
        // So many at once, for the compiler to make vectors of.
        let (blocks, rest) = x[run].as_chunks::<8>();
        let mut lanes = [0.0; 8];
        for x in blocks {
            for i in 0..8 {
                lanes[i] += of(x[i].into(), means[channel]);
            }
        }
        sums[channel] += rest.iter().map(|x| of((*x).into(), means[channel])).sum::<f64>();
        sums[channel] += lanes.iter().sum::<f64>();
    }
}

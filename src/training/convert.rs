//! From what was trained, in floats, to the layers that run.

use alloc::vec::Vec;

use zeropoint_kernels::{Code, Error, MatRef, Multiplier, Name, Rounding, TensorRef, ZeroPoint};

use super::axis::{Axis, collect, equal};
use super::fold::WeightLayout;
use super::grid::Grid;
use crate::layers::{
    Activation, Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, FullyConnected, FullyConnectedSpec,
    Window,
};
use crate::quant::{Ties, quantize};
use crate::stages::{OutputCode, PerAxis, Stages};

/// Steps of the output in a step of the sums of a channel whose weights are all 0.
const EMPTY: f64 = 1.0 / 65536.0;

/// About the smallest multiplier that is not 0.
const SMALLEST: f64 = 1.0 / (1u64 << 32) as f64;

/// A trained layer: floats, and the grids that fake quantization had.
#[derive(Clone, Copy, Debug)]
pub struct TrainedLayer<'a> {
    /// What errors call it.
    pub name: &'a str,
    /// Where output channels are.
    pub layout: WeightLayout,
    /// The weights, batch normalization being folded into them.
    pub weights: &'a [f32],
    /// The bias, one an output channel, likewise.
    pub bias: &'a [f32],
    /// The grids of the weights: one, or one an output channel. At most 256 levels.
    pub grids: &'a [Grid],
    /// The grid of the input.
    pub input: Grid,
    /// The grid of the output, behind the activation.
    pub output: Grid,
    /// What is fused into the layer.
    pub activation: Activation,
    /// The rule by which sums are scaled.
    pub rounding: Rounding,
}

/// An integer layer: what [`TrainedLayer`] becomes (paper 2.4).
///
/// ```
/// use zeropoint::layers::Activation;
/// use zeropoint::training::{Grid, Levels, TrainedLayer, WeightLayout};
/// use zeropoint::{MatMut, MatRef, Rounding};
/// let codes = Levels::bits(8)?;
/// let trained = TrainedLayer {
///     name: "logits",
///     layout: WeightLayout::FullyConnected,
///     weights: &[0.5, -0.25, 1.0, 0.0], // two outputs of two inputs
///     bias: &[0.25, -0.5],
///     grids: &[Grid::symmetric(1.0, codes)?],
///     input: Grid::from_range(0.0, 2.0, codes)?,
///     output: Grid::from_range(-1.0, 3.0, codes)?,
///     activation: Activation::None,
///     rounding: Rounding::DoubleAway,
/// };
/// let layer = trained.convert()?.fully_connected::<u8, u8>()?;
/// // 2 and 1 are the codes 255 and 128; the outputs 1 and 1.5 are 128 and 160.
/// let (input, mut out) = ([255u8, 128], [0u8; 2]);
/// layer.run(MatRef::row_major(&input, 1, 2)?, MatMut::row_major(&mut out, 1, 2)?, &mut layer.workspace())?;
/// assert_eq!(out, [128, 160]);
/// // A bias that 32 bits cannot hold.
/// let error = TrainedLayer { bias: &[0.25, 1e6], ..trained }.convert().unwrap_err();
/// assert!(error.to_string().starts_with("layer logits: bias of channel 1 is 1.619"));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvertedLayer {
    layout: WeightLayout,
    weights: Vec<i8>,
    weight_zero_points: Vec<i32>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    rounding: Rounding,
    input: Grid,
    output: Grid,
    clamp: (i32, i32),
}

impl TrainedLayer<'_> {
    /// Codes of weights; biases of scale S1 * S2, in 32 bits (paper, eq. 11); multipliers `S1 * S2 / S3` (paper, eq. 5). With few bits, the steps
    /// of a bias are long: an output may be off by half of `S1 * S2`. A simulation that is to be met rounds biases as well, by
    /// [`TrainedLayer::bias_scales`].
    ///
    /// # Errors
    /// [`Error::Layer`], naming layer and channel, for a weight or bias that is no finite number, for weights of over 256 levels, for a bias beyond
    /// int32, for a multiplier that is 0 or 2^30 and more, and for weights and a bias with which a sum might wrap. [`Error::Length`]
    /// unless there are a bias a channel and one grid or one a channel, [`Error::Divisor`], [`Error::Limit`] of no channels, [`Error::Memory`].
    pub fn convert(&self) -> Result<ConvertedLayer, Error> {
        let (channels, axis) = (self.bias.len(), self.axis()?);
        let mut lifts = collect(channels, (0..channels).map(|_| 0))?;
        for (channel, lift) in lifts.iter_mut().enumerate() {
            *lift = self.lift(channel)?;
        }
        let mut weights = collect(self.weights.len(), self.weights.iter().map(|_| 0i8))?;
        // Of each channel, the least and the greatest that a sum can be: an input is as far from its zero point as can be.
        let (below, above) = distances(&self.input);
        let mut sums = collect(channels, (0..channels).map(|_| [0i64; 2]))?;
        for (channel, run) in axis.runs(self.weights.len()) {
            let (grid, lift) = (self.grid(channel), lifts[channel]);
            for (code, w) in weights[run.clone()].iter_mut().zip(&self.weights[run]) {
                let q = grid.quantize(*w);
                // `lift` has seen to it that all codes are of the type.
                *code = (q - lift) as i8;
                let n = i64::from(q) - i64::from(grid.zero_point());
                let ends = [n * below, n * above];
                sums[channel][0] += ends[0].min(ends[1]);
                sums[channel][1] += ends[0].max(ends[1]);
            }
        }
        let mut bias = collect(channels, (0..channels).map(|_| 0))?;
        let mut multipliers = collect(channels, (0..channels).map(|_| Multiplier::ONE))?;
        for (channel, ends) in sums.into_iter().enumerate() {
            (bias[channel], multipliers[channel]) = self.stage(channel, ends)?;
        }
        let zero_points =
            collect(channels, (0..channels).map(|channel| self.grid(channel).zero_point() - lifts[channel]))?;
        Ok(ConvertedLayer {
            layout: self.layout,
            weights,
            weight_zero_points: zero_points,
            bias,
            multipliers,
            rounding: self.rounding,
            input: self.input,
            output: self.output,
            clamp: self.clamp(),
        })
    }

    /// What a step of each channel's bias stands for: `S1 * S2` (paper, eq. 11). Where all weights of a channel round to 0 any step would do:
    /// it is `S3 / 65536` there, so that an output that is nothing but its bias is precise to a code.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one a channel; those of [`TrainedLayer::convert`] for counts, and for weights and biases that are no finite
    /// numbers.
    ///
    /// ```
    /// use zeropoint::Rounding;
    /// use zeropoint::layers::Activation;
    /// use zeropoint::training::{Grid, Levels, TrainedLayer, WeightLayout};
    /// let two = Levels::bits(2)?;
    /// let layer = TrainedLayer {
    ///     name: "two bits",
    ///     layout: WeightLayout::FullyConnected,
    ///     weights: &[1.0, -2.0, 0.25, 0.125], // the second channel's are 0, in steps of 1
    ///     bias: &[0.3, 0.3],
    ///     grids: &[Grid::new(1.0, 2, two)?],
    ///     input: Grid::new(0.5, 0, two)?,
    ///     output: Grid::new(0.25, 0, two)?,
    ///     activation: Activation::None,
    ///     rounding: Rounding::SingleAway,
    /// };
    /// let mut scales = [0.0; 2];
    /// layer.bias_scales(&mut scales)?;
    /// assert_eq!(scales, [0.5, 0.25 / 65536.0]);
    /// assert_eq!(layer.convert()?.bias(), [1, 78643]); // 0.3, in those
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    pub fn bias_scales(&self, scales: &mut [f64]) -> Result<(), Error> {
        let axis = self.axis()?;
        equal("scales", self.bias.len(), scales.len())?;
        // Until a weight is found that is something, a channel is empty.
        for (channel, scale) in scales.iter_mut().enumerate() {
            *scale = self.sum_scale(channel, true);
        }
        for (channel, run) in axis.runs(self.weights.len()) {
            let grid = self.grid(channel);
            if self.weights[run].iter().any(|w| grid.quantize(*w) != grid.zero_point()) {
                scales[channel] = self.sum_scale(channel, false);
            }
        }
        Ok(())
    }

    /// Where the channels are, once there is a grid for each, and finite numbers.
    fn axis(&self) -> Result<Axis, Error> {
        let channels = self.bias.len();
        let axis = self.layout.axis(channels, self.weights.len())?;
        if self.grids.len() != 1 {
            equal("grids", channels, self.grids.len())?;
        }
        let finite = |argument, channel, x: &f32| match x.is_finite() {
            true => Ok(()),
            false => Err(self.refused(argument, channel, (*x).into(), [f32::MIN, f32::MAX].map(f64::from))),
        };
        for (channel, run) in axis.runs(self.weights.len()) {
            self.weights[run].iter().try_for_each(|w| finite("weight", channel, w))?;
        }
        self.bias.iter().enumerate().try_for_each(|(channel, bias)| finite("bias", channel, bias))?;
        Ok(axis)
    }

    /// The grid of the weights of a channel.
    fn grid(&self, channel: usize) -> &Grid {
        &self.grids[if self.grids.len() == 1 { 0 } else { channel }]
    }

    /// What is wrong with a number of a channel.
    fn refused(&self, argument: &'static str, channel: usize, value: f64, [low, high]: [f64; 2]) -> Error {
        Error::Layer { layer: Name::new(self.name), argument, channel, value, low, high }
    }

    /// What makes `i8` of the codes of a channel's weights when it is subtracted.
    fn lift(&self, channel: usize) -> Result<i32, Error> {
        match self.grid(channel).codes() {
            (-128.., ..=127) => Ok(0),
            (0.., ..=255) => Ok(128),
            (low, high) => {
                let levels = f64::from(high) - f64::from(low) + 1.0;
                Err(self.refused("levels of weights", channel, levels, [2.0, 256.0]))
            }
        }
    }

    /// What a step of a channel's sums stands for: any step would do if all its weights are 0.
    fn sum_scale(&self, channel: usize, empty: bool) -> f64 {
        match empty {
            true => f64::from(self.output.scale()) * EMPTY,
            false => f64::from(self.input.scale()) * f64::from(self.grid(channel).scale()),
        }
    }

    /// The bias and the multiplier of a channel whose products have sums between the ends.
    fn stage(&self, channel: usize, [least, greatest]: [i64; 2]) -> Result<(i32, Multiplier), Error> {
        let refused = |argument, value, ends| self.refused(argument, channel, value, ends);
        let sum_scale = self.sum_scale(channel, least == 0 && greatest == 0);
        let real = sum_scale / f64::from(self.output.scale());
        let by = Multiplier::from_real(real).ok().filter(|by| by.multiplier() != 0);
        let by = by.ok_or(refused("multiplier", real, [SMALLEST, f64::from(1u32 << 30)]))?;
        let ends = [i32::MIN, i32::MAX].map(f64::from);
        let bias = f64::from(self.bias[channel]) / sum_scale;
        // A NaN fails the comparison.
        if !(bias >= ends[0] && bias <= ends[1]) {
            return Err(refused("bias", bias, ends));
        }
        let bias = crate::quant::nearest(bias, Ties::Away);
        for sum in [least, greatest].map(|sum| sum + bias) {
            if i32::try_from(sum).is_err() {
                return Err(refused("sum", sum as f64, ends));
            }
        }
        Ok((bias as i32, by))
    }

    /// The smallest and the largest code of the output.
    fn clamp(&self) -> (i32, i32) {
        let (low, high) = self.output.codes();
        let code = |x: f32| quantize(x, self.output.scale(), self.output.zero_point(), low..=high, Ties::Away);
        match self.activation {
            Activation::None => (low, high),
            Activation::Relu => (code(0.0), high),
            Activation::Relu6 => (code(0.0), code(6.0)),
            Activation::ReluN1 => (code(-1.0), code(1.0)),
        }
    }
}

/// From the zero point of a grid to its ends.
fn distances(grid: &Grid) -> (i64, i64) {
    let ((low, high), zero) = (grid.codes(), i64::from(grid.zero_point()));
    (i64::from(low) - zero, i64::from(high) - zero)
}

impl ConvertedLayer {
    /// Codes of the weights, in the order of the floats.
    pub fn weights(&self) -> &[i8] {
        &self.weights
    }

    /// The code of a weight of 0, one an output channel.
    pub fn weight_zero_points(&self) -> &[i32] {
        &self.weight_zero_points
    }

    /// What each output channel's sums start from.
    pub fn bias(&self) -> &[i32] {
        &self.bias
    }

    /// What each output channel's sums are multiplied by.
    pub fn multipliers(&self) -> &[Multiplier] {
        &self.multipliers
    }

    /// The smallest and the largest code of the output.
    pub const fn clamp(&self) -> (i32, i32) {
        self.clamp
    }

    /// The layer of a convolution with kernels of height and width; input and output are codes of these types.
    ///
    /// # Errors
    /// [`Error::Clamp`] if the codes of a grid are not all of its type, [`Error::Packed`] for another layout, [`Error::Divisor`] for a kernel
    /// that does not divide the weights; those of
    /// [`Conv2d::new`].
    pub fn conv2d<L: Code, O: Code + OutputCode>(
        &self,
        kernel: [usize; 2],
        window: Window,
        groups: usize,
    ) -> Result<Conv2d<L, O>, Error> {
        self.check::<L, O>(WeightLayout::Conv)?;
        let channels = self.rest([self.bias.len(), kernel[0], kernel[1]])?;
        let spec = Conv2dSpec {
            weight_zero_point: self.zero_point(),
            input_zero_point: self.input.zero_point(),
            window,
            groups,
            ..Conv2dSpec::new(TensorRef::nhwc(&self.weights, [self.bias.len(), kernel[0], kernel[1], channels])?)
        };
        Conv2d::new(&spec, &self.stages())
    }

    /// The layer of a depthwise convolution, with `multiplier` output channels of each input channel.
    ///
    /// # Errors
    /// As [`ConvertedLayer::conv2d`].
    pub fn depthwise_conv2d<L: Code, O: Code + OutputCode>(
        &self,
        kernel: [usize; 2],
        window: Window,
        multiplier: usize,
    ) -> Result<DepthwiseConv2d<L, O>, Error> {
        self.check::<L, O>(WeightLayout::Depthwise)?;
        let spec = DepthwiseConv2dSpec {
            weight_zero_point: self.zero_point(),
            input_zero_point: self.input.zero_point(),
            multiplier,
            window,
            ..DepthwiseConv2dSpec::new(TensorRef::nhwc(
                &self.weights,
                [self.rest([kernel[0], kernel[1], self.bias.len()])?, kernel[0], kernel[1], self.bias.len()],
            )?)
        };
        DepthwiseConv2d::new(&spec, &self.stages())
    }

    /// The fully connected layer.
    ///
    /// # Errors
    /// As [`ConvertedLayer::conv2d`].
    pub fn fully_connected<L: Code, O: Code + OutputCode>(&self) -> Result<FullyConnected<L, O>, Error> {
        self.check::<L, O>(WeightLayout::FullyConnected)?;
        let (outputs, inputs) = (self.bias.len(), self.weights.len() / self.bias.len().max(1));
        let spec = FullyConnectedSpec {
            weight_zero_point: self.zero_point(),
            input_zero_point: self.input.zero_point(),
            ..FullyConnectedSpec::new(MatRef::row_major(&self.weights, outputs, inputs)?)
        };
        FullyConnected::new(&spec, &self.stages())
    }

    fn stages<O: OutputCode>(&self) -> Stages<'_, O> {
        let (low, high) = self.clamp;
        Stages::fixed(PerAxis::PerColumn(&self.multipliers))
            .bias(&self.bias)
            .rounding(self.rounding)
            .zero_point(self.output.zero_point())
            .clamp(low, high)
    }

    /// One zero point, if all are the same.
    fn zero_point(&self) -> ZeroPoint<'_> {
        match self.weight_zero_points.as_slice() {
            [first, rest @ ..] if rest.iter().all(|zero| zero == first) => ZeroPoint::One(*first),
            zeros => ZeroPoint::Each(zeros),
        }
    }

    fn check<L: Code, O: Code + OutputCode>(&self, layout: WeightLayout) -> Result<(), Error> {
        if self.layout != layout {
            let [expected, got] = [self.layout, layout].map(|layout| Name::new(format_args!("{layout:?}")));
            return Err(Error::Packed { argument: "layout", expected, got });
        }
        for ((low, high), (min, max)) in [(self.input.codes(), L::RANGE), (self.clamp, O::RANGE)] {
            if low < min || high > max {
                return Err(Error::Clamp { low, high, min, max });
            }
        }
        Ok(())
    }

    /// The fourth size of weights, of which three are known.
    fn rest(&self, known: [usize; 3]) -> Result<usize, Error> {
        let mut product = 1usize;
        for size in known {
            product =
                product.checked_mul(size).ok_or(Error::Overflow { argument: "kernel", a: product, b: size })?;
        }
        if product == 0 || !self.weights.len().is_multiple_of(product) {
            return Err(Error::Divisor {
                argument: "kernel times channels",
                value: product,
                of: self.weights.len(),
            });
        }
        Ok(self.weights.len() / product)
    }
}

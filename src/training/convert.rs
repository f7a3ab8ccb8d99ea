//! From what was trained, in floats, to the layers that run.

use alloc::vec::Vec;

use zeropoint_kernels::{Code, Error, MatRef, Multiplier, Name, Rounding, TensorRef, ZeroPoint};

use super::axis::{collect, equal, finite};
use super::fold::WeightLayout;
use super::grid::Grid;
use crate::layers::{
    Activation, Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, FullyConnected, FullyConnectedSpec,
    Window,
};
use crate::quant::{Ties, quantize};
use crate::stages::{OutputCode, PerAxis, Stages};

/// The factor of a channel whose weights are all 0, so that any scale would do for them: its bias is precise to this part of a step of
/// the output.
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
    /// of a bias are long: an output may be off by half of `S1 * S2`.
    ///
    /// # Errors
    /// [`Error::Layer`], naming layer and channel, for a bias beyond int32, for a multiplier that is 0 or 2^30 and more, and for weights and a
    /// bias with which a sum might wrap. [`Error::Length`] unless there are a bias a channel and one grid or one a channel, [`Error::Divisor`],
    /// [`Error::NotFinite`]; [`Error::Limit`] for weights of over 256 levels.
    pub fn convert(&self) -> Result<ConvertedLayer, Error> {
        let channels = self.bias.len();
        let axis = self.layout.axis(channels, self.weights.len())?;
        finite("weights", self.weights)?;
        finite("bias", self.bias)?;
        if self.grids.len() != 1 {
            equal("grids", channels, self.grids.len())?;
        }
        let grid = |channel: usize| &self.grids[if self.grids.len() == 1 { 0 } else { channel }];
        let mut lifts = collect(channels, (0..channels).map(|_| 0))?;
        for (channel, lift) in lifts.iter_mut().enumerate() {
            *lift = lift_of(grid(channel))?;
        }
        let mut weights = collect(self.weights.len(), self.weights.iter().map(|_| 0i8))?;
        // Of each channel, the least and the greatest that a sum can be: an input is as far from its zero point as can be.
        let (below, above) = distances(&self.input);
        let mut sums = collect(channels, (0..channels).map(|_| [0i64; 2]))?;
        for (channel, run) in axis.runs(self.weights.len()) {
            let (grid, lift) = (grid(channel), lifts[channel]);
            for (code, w) in weights[run.clone()].iter_mut().zip(&self.weights[run]) {
                let q = grid.quantize(*w);
                // `lift_of` has seen to it that all codes are of the type.
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
            (bias[channel], multipliers[channel]) = self.stage(channel, f64::from(grid(channel).scale()), ends)?;
        }
        let zero_points =
            collect(channels, (0..channels).map(|channel| grid(channel).zero_point() - lifts[channel]))?;
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

    /// The bias and the multiplier of a channel of weights of this scale, whose products have sums between the ends.
    fn stage(&self, channel: usize, scale: f64, [least, greatest]: [i64; 2]) -> Result<(i32, Multiplier), Error> {
        let [input, output] = [self.input, self.output].map(|grid| f64::from(grid.scale()));
        let refused = |argument, value, low, high| Error::Layer {
            layer: Name::new(self.name),
            argument,
            channel,
            value,
            low,
            high,
        };
        let empty = least == 0 && greatest == 0;
        let sum_scale = if empty { output * EMPTY } else { input * scale };
        let real = sum_scale / output;
        let limit = f64::from(1u32 << 30);
        let by = Multiplier::from_real(real).ok().filter(|by| by.multiplier() != 0);
        let by = by.ok_or(refused("multiplier", real, SMALLEST, limit))?;
        let (low, high) = (f64::from(i32::MIN), f64::from(i32::MAX));
        let bias = f64::from(self.bias[channel]) / sum_scale;
        // A NaN fails the comparison.
        if !(bias >= low && bias <= high) {
            return Err(refused("bias", bias, low, high));
        }
        let bias = crate::quant::nearest(bias, Ties::Away);
        for sum in [least, greatest].map(|sum| sum + bias) {
            if i32::try_from(sum).is_err() {
                return Err(refused("sum", sum as f64, low, high));
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

/// What makes `i8` of the codes of a grid when it is subtracted.
fn lift_of(grid: &Grid) -> Result<i32, Error> {
    let (low, high) = grid.codes();
    match (low, high) {
        (-128.., ..=127) => Ok(0),
        (0.., ..=255) => Ok(128),
        _ => {
            let levels = i64::from(high) - i64::from(low) + 1;
            Err(Error::Limit { argument: "levels of weights", value: levels as usize, low: 2, high: 256 })
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

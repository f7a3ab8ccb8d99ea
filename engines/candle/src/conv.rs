//! `Conv2d` in integers.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::{Conv2d as Float, Conv2dConfig};
use zeropoint::layers::{Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, Padding, Window};
use zeropoint::training::WeightLayout;
use zeropoint::{Element, Error, QuantParams, Rayon, Stages, TensorMut, TensorRef, Threads};

use crate::output::{Either, Floats, Options, Output, Spares, elements, refused};

const NAME: &str = "QuantizedConv2d";

/// A `Conv2d` whose weights are packed `i8` and whose input are `u8` codes; groups, dilation, padding and stride are
/// those of the layer of floats. One input channel a group is a depthwise convolution, and has a kernel of its own.
///
/// Shapes are candle's, batch x channels x height x width; *memory* is batch, height, width, channels.
/// [`Module::forward`] looks at its input through `permute`, and gives a permuted tensor: from layer to layer
/// channels lie together, as the kernels want them, and nothing is copied. An input of candle's own order is copied
/// once, unless the kernel is 1 x 1. Before something that wants candle's order, call `contiguous`.
///
/// As an operation (`apply_op1_no_bwd`), it takes and gives batch x height x width x channels, and copies nothing.
/// Any strides will do; it is slow unless channels lie together. Clones share the weights.
#[derive(Clone, Debug)]
pub struct QuantizedConv2d(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layer: Either<Layer<u8>, Layer<f32>>,
    /// Of the input.
    channels: usize,
    /// Height times width of the kernel: how often a pixel is read.
    taps: usize,
    spares: Spares,
}

#[derive(Debug)]
enum Layer<O> {
    Full(Conv2d<u8, O>),
    Depthwise(Box<DepthwiseConv2d<u8, O>>),
}

/// What is known of a layer but for its weights.
struct Known<'a> {
    input: &'a QuantParams<u8>,
    /// Output channels, input channels of a group, height and width of the kernel.
    kernel: [usize; 4],
    config: Conv2dConfig,
    options: &'a Options,
}

impl Known<'_> {
    fn depthwise(&self) -> bool {
        self.config.groups > 1 && self.kernel[1] == 1
    }

    fn layer<O: Element>(&self, weights: &[i8], stages: &Stages<'_, O>) -> core::result::Result<Layer<O>, Error> {
        let Conv2dConfig { padding, stride, dilation, groups, .. } = self.config;
        let window = Window {
            stride: [stride; 2],
            dilation: [dilation; 2],
            padding: Padding::Explicit { top: padding, bottom: padding, left: padding, right: padding },
        };
        let (input_zero_point, pack) = (self.input.zero_point(), self.options.pack);
        let [outputs, channels, height, width] = self.kernel;
        if self.depthwise() {
            if !outputs.is_multiple_of(groups) {
                return Err(Error::Divisor { argument: "groups", value: groups, of: outputs });
            }
            let spec = DepthwiseConv2dSpec::new(TensorRef::nhwc(weights, [1, height, width, outputs])?);
            let multiplier = outputs / groups;
            let spec = DepthwiseConv2dSpec { input_zero_point, window, multiplier, backend: pack.backend, ..spec };
            return DepthwiseConv2d::new(&spec, stages).map(|conv| Layer::Depthwise(Box::new(conv)));
        }
        let spec = Conv2dSpec::new(TensorRef::nhwc(weights, [outputs, height, width, channels])?);
        Conv2d::new(&Conv2dSpec { input_zero_point, window, groups, pack, ..spec }, stages).map(Layer::Full)
    }
}

impl QuantizedConv2d {
    /// Quantizes and packs the weights of a layer of floats, for inputs that have these parameters.
    ///
    /// # Errors
    /// For weights or a bias that are not finite, for a bias or a scale that integers cannot hold (they name the
    /// channel), and for groups that do not divide the channels.
    pub fn from_float(conv: &Float, input: &QuantParams<u8>, output: Output) -> Result<Self> {
        Self::from_float_with(conv, input, output, &Options::default())
    }

    /// [`QuantizedConv2d::from_float`], with another rule or backend.
    ///
    /// # Errors
    /// As there.
    pub fn from_float_with(
        conv: &Float,
        input: &QuantParams<u8>,
        output: Output,
        options: &Options,
    ) -> Result<Self> {
        let (outputs, channels, height, width) = conv.weight().dims4()?;
        let config = *conv.config();
        let known = Known { input, kernel: [outputs, channels, height, width], config, options };
        let Some(of_image) = channels.checked_mul(config.groups) else {
            bail!("{NAME}: {} groups of {channels} channels", config.groups);
        };
        // Depthwise: height, width, output channels; else output channels, height, width, input channels.
        let (layout, order) = if known.depthwise() {
            (WeightLayout::Depthwise, [1, 2, 3, 0])
        } else {
            (WeightLayout::Conv, [0, 2, 3, 1])
        };
        let weights = conv.weight().permute(order)?;
        let floats = Floats::new(NAME, layout, &weights, conv.bias(), outputs)?;
        let codes = |weights: &[i8], stages: &Stages<'_, u8>| known.layer(weights, stages);
        let reals = |weights: &[i8], stages: &Stages<'_, f32>| known.layer(weights, stages);
        let layer = floats.quantized(input, output, options.rounding, codes, reals)?;
        Ok(Self(Arc::new(Inner { layer, channels: of_image, taps: height * width, spares: Spares::default() })))
    }

    fn run<O: Element>(&self, layer: &Layer<O>, input: TensorRef<'_, u8>) -> Result<(Vec<O>, [usize; 4])> {
        let threads = Rayon.threads();
        let work = || {
            let (shape, bytes) = match layer {
                Layer::Full(conv) => (conv.output(input.shape())?, conv.workspace_bytes(threads)?),
                Layer::Depthwise(conv) => {
                    (conv.output(input.shape())?, conv.workspace_bytes(input.shape(), threads)?)
                }
            };
            let too_large = Error::Overflow { argument: "out", a: shape[0], b: shape[1] };
            let count = shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b)).ok_or(too_large)?;
            let mut out = vec![O::default(); count];
            let to = TensorMut::nhwc(&mut out, shape)?;
            self.0.spares.with(bytes, |workspace| match layer {
                Layer::Full(conv) => conv.run_on(&Rayon, input, to, workspace),
                Layer::Depthwise(conv) => conv.run_on(&Rayon, input, to, workspace),
            })?;
            Ok((out, shape))
        };
        work().map_err(|error| refused(NAME, error))
    }
}

impl CustomOp1 for QuantizedConv2d {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let codes = elements::<u8>(NAME, storage, layout)?;
        let (Ok(shape), Ok(strides)) = (layout.dims().try_into(), layout.stride().try_into()) else {
            bail!("{NAME}: input is of shape {:?}, expected batch x height x width x channels", layout.dims());
        };
        let input = TensorRef::new(codes, shape, strides).map_err(|error| refused(NAME, error))?;
        let (out, shape) = match &self.0.layer {
            Either::Codes(layer) => {
                let (out, shape) = self.run(layer, input)?;
                (CpuStorage::U8(out), shape)
            }
            Either::Reals(layer) => {
                let (out, shape) = self.run(layer, input)?;
                (CpuStorage::F32(out), shape)
            }
        };
        Ok((out, shape.to_vec().into()))
    }
}

impl Module for QuantizedConv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.0.channels;
        match x.dims() {
            [_, c, _, _] if *c == channels => {}
            shape => bail!("{NAME}: input is of shape {shape:?}, expected batch x {channels} x height x width"),
        }
        let mut memory = x.permute([0, 2, 3, 1])?;
        // One copy costs less than gathering channels at every tap.
        if channels > 1 && memory.stride()[3] != 1 && self.0.taps > 1 {
            memory = memory.contiguous()?;
        }
        memory.apply_op1_no_bwd(self)?.permute([0, 3, 1, 2])
    }
}

//! `QLinearConv`: images are turned to NHWC where it pays, because the library's layers like channels innermost.

use zeropoint::kernels::bytes::{codes, codes_mut};
use zeropoint::layers::{Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, Padding, Window};
use zeropoint::{Code, OutputCode, PackOptions, Stages, TensorMut, TensorRef, Threads};

use crate::edge::{Call, Info, Kernel, Lent};
use crate::failure::{Failure, refuse};
use crate::matmul::Finish;
use crate::scratch::{Memory, Pool, grown};
use crate::tensor::{Source, Tensor, zero_point};
use crate::transpose::Matrices;
use crate::window::Attributes;

/// A prepared layer.
enum Layer<L, O> {
    Dense { layer: Conv2d<L, O>, pointwise: bool },
    Depthwise(Box<DepthwiseConv2d<L, O>>),
}

/// A layer, and what images it takes.
struct Ready<L, O> {
    layer: Layer<L, O>,
    /// Of the weights, as the node has them.
    shape: Vec<usize>,
    group: usize,
}

/// Weights as the node has them: O x C x kernel.
struct Weights<'c> {
    bytes: &'c [u8],
    outputs: usize,
    channels: usize,
    kernel: [usize; 2],
    zeros: Vec<i32>,
    input_zero: i32,
    window: Window,
    group: usize,
}

impl<L: Code, O: Code + OutputCode> Ready<L, O> {
    fn new(source: &dyn Source, attributes: &Attributes) -> Result<Self, Failure> {
        let tensor = source.need(3)?;
        let (signed, bytes) = tensor.bytes()?;
        let (&[outputs, channels, ref kernel @ ..], group) = (&tensor.shape[..], attributes.group) else {
            return refuse!("w has shape {:?}; expected three or four dimensions", tensor.shape);
        };
        let size = match *kernel {
            [across] => [1, across],
            [down, across] => [down, across],
            _ => return refuse!("w has shape {:?}; expected three or four dimensions", tensor.shape),
        };
        let scales = source.scales(4, outputs)?;
        let finish = Finish::new(&source.scales(1, 1)?, &scales, &source.scales(6, 1)?, &source.zeros(7, 1)?);
        let bias = source.get(8)?;
        let bias = bias.map(|bias| bias.vector(outputs)).transpose()?;
        let stages = Stages::<O>::float(finish.scale()).zero_point(finish.zero);
        let stages = bias.map_or(stages, |bias| stages.bias(bias));
        let weights = Weights {
            bytes,
            outputs,
            channels,
            kernel: size,
            zeros: source.zeros(5, outputs)?,
            input_zero: source.zeros(2, 1)?[0],
            window: attributes.window(kernel)?,
            group,
        };
        let layer =
            if signed { weights.layer::<i8, L, O>(&stages)? } else { weights.layer::<u8, L, O>(&stages)? };
        Ok(Self { layer, shape: tensor.shape, group })
    }

    /// The shape of an image with channels innermost; one dimension is a line.
    fn input(&self, x: &Tensor<'_>) -> Result<[usize; 4], Failure> {
        let Self { shape, group, .. } = self;
        let taken = shape[1].saturating_mul(*group);
        match (&x.shape[..], shape.len()) {
            (&[batch, channels, width], 3) if channels == taken => Ok([batch, 1, width, channels]),
            (&[batch, channels, height, width], 4) if channels == taken => Ok([batch, height, width, channels]),
            (got, _) => {
                refuse!("x has shape {got:?}, but w has {shape:?} and takes {taken} channels in {group} groups")
            }
        }
    }
}

impl<L: Code, O: Code + OutputCode> Layer<L, O> {
    fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Failure> {
        Ok(match self {
            Self::Dense { layer, .. } => layer.output(input)?,
            Self::Depthwise(layer) => layer.output(input)?,
        })
    }

    /// Whether pixels that are not together cost less than to turn the image: where each is read once.
    fn reads_in_place(&self) -> bool {
        matches!(self, Self::Dense { pointwise: true, .. })
    }

    fn run(
        &self,
        threads: &Lent<'_>,
        image: TensorRef<'_, L>,
        out: TensorMut<'_, O>,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let lent = threads.threads();
        match self {
            Self::Dense { layer, .. } => {
                let workspace = memory.of(layer.workspace_bytes(lent)?);
                layer.run_on(threads, image, out, workspace)?;
            }
            Self::Depthwise(layer) => {
                let workspace = memory.of(layer.workspace_bytes(image.shape(), lent)?);
                layer.run_on(threads, image, out, workspace)?;
            }
        }
        Ok(())
    }
}

impl Weights<'_> {
    fn layer<W: Code, L: Code, O: Code + OutputCode>(
        &self,
        stages: &Stages<'_, O>,
    ) -> Result<Layer<L, O>, Failure> {
        let Self { outputs, channels, kernel: [height, width], window, group, .. } = *self;
        let (taps, data) = (height * width, codes::<W>(self.bytes));
        let (weight_zero_point, input_zero_point) = (zero_point(&self.zeros), self.input_zero);
        if channels == 1 && group > 1 && outputs.is_multiple_of(group) {
            let weights = TensorRef::new(data, [1, height, width, outputs], [0, width, 1, taps])?;
            let multiplier = outputs / group;
            let spec = DepthwiseConv2dSpec {
                weight_zero_point,
                input_zero_point,
                multiplier,
                window,
                ..DepthwiseConv2dSpec::new(weights)
            };
            return Ok(Layer::Depthwise(Box::new(DepthwiseConv2d::new(&spec, stages)?)));
        }
        let strides = [channels * taps, width, 1, taps];
        let weights = TensorRef::new(data, [outputs, height, width, channels], strides)?;
        let pack = PackOptions::default();
        let spec = Conv2dSpec { weights, weight_zero_point, input_zero_point, window, groups: group, pack };
        let inside = matches!(
            window.padding,
            Padding::Valid | Padding::Same | Padding::Explicit { top: 0, bottom: 0, left: 0, right: 0 }
        );
        let pointwise = taps == 1 && window.stride == [1, 1] && inside;
        Ok(Layer::Dense { layer: Conv2d::new(&spec, stages)?, pointwise })
    }
}

struct Conv<L, O> {
    attributes: Attributes,
    ready: Option<Ready<L, O>>,
    pool: Pool,
}

/// Packs the weights if all inputs but the image are constant.
pub(crate) fn create<L: Code, O: Code + OutputCode>(info: &Info<'_>) -> Result<Box<dyn Kernel>, Failure> {
    let attributes = Attributes::read(info)?;
    let ready = match Ready::<L, O>::new(info, &attributes) {
        Ok(ready) => Some(ready),
        Err(Failure::Later) => None,
        Err(failure) => return Err(failure),
    };
    Ok(Box::new(Conv { attributes, ready, pool: Pool::default() }))
}

impl<L: Code, O: Code + OutputCode> Kernel for Conv<L, O> {
    fn run(&self, Call { inputs, out, threads }: Call<'_>) -> Result<(), Failure> {
        let once;
        let ready = match &self.ready {
            Some(ready) => ready,
            None => {
                once = Ready::new(&inputs, &self.attributes)?;
                &once
            }
        };
        let x = inputs.need(0)?;
        x.codes::<L>()?; // of this type
        let (_, bytes) = x.bytes()?;
        let (layer, input) = (&ready.layer, ready.input(&x)?);
        let ([batch, height, width, channels], output) = (input, layer.output(input)?);
        let [_, out_height, out_width, outputs] = output;
        let lines = if x.shape.len() == 3 { &[][..] } else { &[out_height][..] };
        let results = out.make::<u8>(&[&[batch, outputs], lines, &[out_width]].concat())?;
        if results.is_empty() {
            return Ok(());
        }
        let (pixels, out_pixels) = (height * width, out_height * out_width);
        self.pool.with(|scratch| {
            let image = if channels == 1 || pixels == 1 {
                TensorRef::nhwc(codes::<L>(bytes), input)?
            } else if batch == 1 && layer.reads_in_place() {
                TensorRef::new(codes::<L>(bytes), input, [0, width, 1, pixels])?
            } else {
                let image = grown(&mut scratch.image, bytes.len())?;
                Matrices { from: bytes, rows: channels, cols: pixels }.transpose(image, &threads)?;
                TensorRef::nhwc(codes::<L>(image), input)?
            };
            if outputs == 1 || out_pixels == 1 {
                return layer.run(
                    &threads,
                    image,
                    TensorMut::nhwc(codes_mut(results), output)?,
                    &mut scratch.memory,
                );
            }
            let turned = grown(&mut scratch.out, results.len())?;
            layer.run(&threads, image, TensorMut::nhwc(codes_mut(turned), output)?, &mut scratch.memory)?;
            Matrices { from: turned, rows: out_pixels, cols: outputs }.transpose(results, &threads)
        })
    }
}

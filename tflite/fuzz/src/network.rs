//! Networks from a few bytes: mostly right, so that most of them run.

use arbitrary::Arbitrary;
use zeropoint::layers::{Activation, Padding};
use zeropoint_tflite::{Kind, Model, Operation, Quantization, Tensor};

/// A chain of operators, and what is wrong with its file.
#[derive(Arbitrary, Debug)]
pub struct Input {
    /// Height, width and channels, less 1.
    pub image: [u8; 3],
    pub signed: bool,
    pub params: Params,
    pub steps: Vec<Step>,
    /// Bytes to be changed: where, and by what.
    pub damage: Vec<(u16, u8)>,
}

/// Scale and zero point of a tensor.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Params {
    /// An exponent of 2.
    pub scale: i8,
    pub zero_point: u8,
}

/// An operator and its output.
#[derive(Arbitrary, Debug)]
pub struct Step {
    pub what: What,
    pub activation: u8,
    pub params: Params,
    /// The other of the types.
    pub turned: bool,
    /// Another extent of the output than the right one.
    pub wrong: Option<(u8, u8)>,
}

#[derive(Arbitrary, Debug)]
pub enum What {
    Conv { window: Sliding, weights: Weights },
    Depthwise { window: Sliding, weights: Weights, multiplier: u8 },
    Connected { weights: Weights, keep_dims: bool },
    Add { other: u8 },
    Sub { other: u8 },
    Mul { other: u8 },
    AveragePool { window: Sliding },
    MaxPool { window: Sliding },
    Mean { axes: Vec<i8>, keep_dims: bool },
    Reshape { flat: bool },
    Softmax { beta: i8 },
    Quantize,
    Dequantize,
    Pad { pads: Vec<u8> },
    Concatenation { axis: i8, other: u8 },
    Logistic,
    Tanh,
    Relu,
    Relu6,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Sliding {
    pub kernel: [u8; 2],
    pub stride: [u8; 2],
    pub dilation: [u8; 2],
    pub same: bool,
}

#[derive(Arbitrary, Debug)]
pub struct Weights {
    pub outputs: u8,
    pub signed: bool,
    pub per_channel: bool,
    pub params: Params,
    pub seed: u8,
    pub bias: Option<i32>,
}

impl Input {
    /// A chain whose last tensor is the output.
    pub fn model(&self) -> Model {
        let [height, width, channels] = self.image.map(|extent| 1 + usize::from(extent) % 12);
        let mut model = Model::default();
        let image = Tensor::new("image", kind(self.signed), &[1, height, width, channels]);
        let mut last = model.add(self.params.on(image));
        model.inputs.push(last);
        for step in self.steps.iter().take(6) {
            last = step.append(&mut model, last);
        }
        model.outputs.push(last);
        model
    }

    /// Changes bytes of the file.
    pub fn damage(&self, file: &mut [u8]) {
        let length = file.len();
        for (at, by) in &self.damage {
            file[usize::from(*at) % length] ^= by;
        }
    }
}

fn kind(signed: bool) -> Kind {
    if signed { Kind::I8 } else { Kind::U8 }
}

impl Params {
    fn on(self, tensor: Tensor) -> Tensor {
        let (scale, zero_point) = (self.scale(), tensor.kind.code(self.zero_point));
        tensor.quantized(scale, zero_point)
    }

    /// Mostly one at which products neither vanish nor are clamped.
    fn scale(self) -> f32 {
        f32::from(self.scale / 16).exp2()
    }
}

impl Sliding {
    fn pair(values: [u8; 2], most: usize) -> [usize; 2] {
        values.map(|value| 1 + usize::from(value) % most)
    }

    fn kernel(&self) -> [usize; 2] {
        Self::pair(self.kernel, 5)
    }

    fn stride(&self) -> [usize; 2] {
        Self::pair(self.stride, 3)
    }

    fn dilation(&self) -> [usize; 2] {
        Self::pair(self.dilation, 2)
    }

    fn padding(&self) -> Padding {
        if self.same { Padding::Same } else { Padding::Valid }
    }

    /// Height and width of the output; 1 where the kernel does not fit.
    fn output(&self, image: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
        let (kernel, stride) = (self.kernel(), self.stride());
        [0, 1].map(|axis| {
            let covered = if self.same { 1 } else { (kernel[axis] - 1) * dilation[axis] + 1 };
            image[axis].saturating_sub(covered) / stride[axis] + 1
        })
    }
}

impl Weights {
    fn outputs(&self) -> usize {
        1 + usize::from(self.outputs) % 20
    }

    /// Appends weights and, if there is one, a bias.
    fn append(&self, model: &mut Model, shape: &[usize], axis: usize) -> [Option<usize>; 2] {
        let weights = Tensor::new("weights", kind(self.signed), shape);
        let mut state = u32::from(self.seed);
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let bytes: Vec<u8> = (0..shape.iter().product()).map(next).collect();
        let mut weights = self.params.on(weights).holding(bytes);
        let outputs = shape[axis];
        if let (true, Some(Quantization { scales, zero_points, axis: along })) =
            (self.per_channel && outputs > 1, &mut weights.quantization)
        {
            *along = axis;
            *scales = (0..outputs).map(|output| scales[0] * (1 + output) as f32).collect();
            *zero_points = vec![zero_points[0]; outputs];
        }
        let weights = model.add(weights);
        let bias = self.bias.map(|bias| {
            let words = (0..outputs as i32).flat_map(|output| bias.wrapping_mul(1 + output).to_le_bytes());
            model.add(Tensor::new("bias", Kind::I32, &[outputs]).holding(words.collect::<Vec<_>>()))
        });
        [Some(weights), bias]
    }
}

impl Step {
    fn append(&self, model: &mut Model, last: usize) -> usize {
        let activation = match self.activation % 4 {
            0 => Activation::None,
            1 => Activation::Relu,
            2 => Activation::ReluN1,
            _ => Activation::Relu6,
        };
        let (shape, before) = (model.tensors[last].shape.clone(), model.tensors[last].kind);
        // The last four extents, ones before them.
        let mut image = [1; 4];
        shape.iter().rev().zip(image.iter_mut().rev()).for_each(|(extent, of)| *of = *extent);
        let [_, height, width, channels] = image;
        // An earlier activation or a constant of the same shape as the last one.
        let other = |other: u8, model: &mut Model| match usize::from(other) % 4 {
            0 => last,
            1 => model.inputs[0],
            _ => {
                let bytes = vec![other; shape.iter().product()];
                model.add(self.params.on(Tensor::new("constant", before, &shape)).holding(bytes))
            }
        };
        let windowed = |window: &Sliding, dilation, channels| {
            let [height, width] = window.output([height, width], dilation);
            vec![1, height, width, channels]
        };
        let mut inputs = vec![Some(last)];
        let (operation, output) = match &self.what {
            What::Conv { window, weights } => {
                let (stride, dilation, padding) = (window.stride(), window.dilation(), window.padding());
                let [down, across] = window.kernel();
                inputs.extend(weights.append(model, &[weights.outputs(), down, across, channels], 0));
                let output = windowed(window, dilation, weights.outputs());
                (Operation::Conv2d { stride, dilation, padding, activation }, output)
            }
            What::Depthwise { window, weights, multiplier } => {
                let (stride, dilation, padding) = (window.stride(), window.dilation(), window.padding());
                let multiplier = 1 + usize::from(*multiplier) % 3;
                let [down, across] = window.kernel();
                inputs.extend(weights.append(model, &[1, down, across, channels * multiplier], 3));
                let output = windowed(window, dilation, channels * multiplier);
                (Operation::DepthwiseConv2d { stride, dilation, padding, activation, multiplier }, output)
            }
            What::Connected { weights, keep_dims } => {
                inputs.extend(weights.append(model, &[weights.outputs(), channels], 0));
                let mut output = shape.clone();
                *output.last_mut().expect("there is one") = weights.outputs();
                (Operation::FullyConnected { activation, keep_dims: *keep_dims }, output)
            }
            What::Add { other: with } => {
                inputs.push(Some(other(*with, model)));
                (Operation::Add { activation }, shape.clone())
            }
            What::Sub { other: with } => {
                inputs.push(Some(other(*with, model)));
                (Operation::Sub { activation }, shape.clone())
            }
            What::Mul { other: with } => {
                inputs.push(Some(other(*with, model)));
                (Operation::Mul { activation }, shape.clone())
            }
            What::AveragePool { window } => {
                let (kernel, stride, padding) = (window.kernel(), window.stride(), window.padding());
                let output = windowed(window, [1, 1], channels);
                (Operation::AveragePool2d { kernel, stride, padding, activation }, output)
            }
            What::MaxPool { window } => {
                let (kernel, stride, padding) = (window.kernel(), window.stride(), window.padding());
                let output = windowed(window, [1, 1], channels);
                (Operation::MaxPool2d { kernel, stride, padding, activation }, output)
            }
            What::Mean { axes, keep_dims } => {
                let axes: Vec<i32> = axes.iter().take(4).map(|axis| i32::from(*axis) % 5).collect();
                let words: Vec<u8> = axes.iter().flat_map(|axis| axis.to_le_bytes()).collect();
                let length = axes.len().max(1);
                let list = Tensor::new("axes", Kind::I32, &[length]);
                let words = if words.is_empty() { vec![1, 0, 0, 0] } else { words };
                inputs.push(Some(model.add(list.holding(words))));
                let output = if *keep_dims { vec![1, 1, 1, channels] } else { vec![1, channels] };
                (Operation::Mean { keep_dims: *keep_dims }, output)
            }
            What::Reshape { flat } => {
                let all = shape.iter().product();
                (Operation::Reshape, if *flat { vec![1, all] } else { vec![1, all, 1, 1] })
            }
            What::Softmax { beta } => (Operation::Softmax { beta: f32::from(*beta) / 32.0 }, shape.clone()),
            What::Quantize => (Operation::Quantize, shape.clone()),
            What::Dequantize => (Operation::Dequantize, shape.clone()),
            What::Pad { pads } => {
                let pad = |index| i32::from(pads.get(index).map_or(0, |pad| pad % 4));
                let pads: Vec<i32> = (0..2 * shape.len()).map(pad).collect();
                let words: Vec<u8> = pads.iter().flat_map(|pad| pad.to_le_bytes()).collect();
                inputs.push(Some(model.add(Tensor::new("pads", Kind::I32, &[shape.len(), 2]).holding(words))));
                let extents = shape.iter().enumerate();
                let padded = extents.map(|(i, extent)| extent + (pads[2 * i] + pads[2 * i + 1]) as usize);
                (Operation::Pad, padded.collect())
            }
            What::Concatenation { axis, other: with } => {
                inputs.push(Some(other(*with, model)));
                (Operation::Concatenation { axis: i32::from(*axis), activation }, shape.clone())
            }
            What::Logistic => (Operation::Logistic, shape.clone()),
            What::Tanh => (Operation::Tanh, shape.clone()),
            What::Relu => (Operation::Relu, shape.clone()),
            What::Relu6 => (Operation::Relu6, shape.clone()),
        };
        let mut output = output;
        if let Some((axis, extent)) = self.wrong {
            let axis = usize::from(axis) % output.len();
            output[axis] = 1 + usize::from(extent);
        }
        let signed = (before == Kind::I8) != self.turned;
        let output = self.params.on(Tensor::new(operation.name(), kind(signed), &output));
        model.apply(operation, &inputs, output)
    }
}

//! An operator becomes a prepared layer: its weights packed, its parameters turned into multipliers.

use zeropoint::kernels::{Code, bytes::codes, bytes::codes_mut};
use zeropoint::layers::*;
use zeropoint::{
    MatMut, MatRef, Multiplier, OutputCode, PackOptions, PerAxis, QuantParams, Rounding, Stages, TensorMut,
    TensorRef, Threads, ZeroPoint,
};

use crate::network::{Options, Run};
use crate::{Error, Kind, Model, Operation, Operator, Quantization, Tensor};

/// An operator on its way to a step.
pub(crate) struct Preparing<'m> {
    pub model: &'m Model,
    /// What tensors are that are kept in another form.
    pub raised: &'m [Option<Tensor>],
    pub operator: &'m Operator,
    pub index: usize,
    pub options: &'m Options,
}

/// What becomes of it.
pub(crate) struct Prepared {
    pub run: Run,
    pub explanation: String,
    pub packed: usize,
    pub workspace: usize,
}

impl Prepared {
    fn plain(
        run: impl Fn(&dyn Threads, &[&[u8]], &mut [u8]) -> Result<(), zeropoint::Error> + Send + Sync + 'static,
    ) -> Self {
        let run: Run = Box::new(move |threads, inputs, out, _| run(threads, inputs, out));
        Self { run, explanation: String::new(), packed: 0, workspace: 0 }
    }
}

/// Four extents; missing ones, before the others, are 1.
fn extents(shape: &[usize]) -> Option<[usize; 4]> {
    let mut extents = [1; 4];
    if shape.len() > 4 {
        return None;
    }
    extents[4 - shape.len()..].copy_from_slice(shape);
    Some(extents)
}

/// Little-endian integers.
fn ints(data: &[u8]) -> Vec<i32> {
    data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()
}

impl<'m> Preparing<'m> {
    fn unsupported(&self, what: &'static str) -> Error {
        Error::Unsupported { operator: self.index, name: self.operator.name, what }
    }

    fn layer<T>(&self, result: Result<T, zeropoint::Error>) -> Result<T, Error> {
        result.map_err(|error| Error::Layer {
            operator: self.index,
            name: self.operator.name,
            error: Box::new(error),
        })
    }

    fn input(&self, i: usize) -> Result<&'m Tensor, Error> {
        let index = self.operator.inputs.get(i).copied().flatten();
        index.map(|index| self.tensor(index)).ok_or_else(|| self.unsupported("a missing input"))
    }

    fn output(&self) -> Result<&'m Tensor, Error> {
        let index = self.operator.outputs.first();
        index.map(|index| self.tensor(*index)).ok_or_else(|| self.unsupported("a missing output"))
    }

    /// A tensor in the form that it is kept in.
    fn tensor(&self, index: usize) -> &'m Tensor {
        self.raised[index].as_ref().unwrap_or(&self.model.tensors[index])
    }

    fn extents(&self, tensor: &Tensor) -> Result<[usize; 4], Error> {
        extents(&tensor.shape).ok_or_else(|| self.unsupported("a tensor of more than four dimensions"))
    }

    fn params<C: OutputCode>(&self, tensor: &Tensor) -> Result<QuantParams<C>, Error> {
        match &tensor.quantization {
            Some(Quantization { scales, zero_points, .. }) if scales.len() == 1 && zero_points.len() == 1 => {
                self.layer(QuantParams::new(scales[0], zero_points[0]))
            }
            _ => Err(self.unsupported("an activation without one scale")),
        }
    }

    fn constant(&self, tensor: &'m Tensor) -> Result<&'m [u8], Error> {
        tensor.data.as_deref().ok_or_else(|| self.unsupported("weights that are no constants"))
    }

    /// The operator as a step, by the types of its activations.
    pub fn step(&self) -> Result<Prepared, Error> {
        let (input, output) = (self.input(0)?, self.output()?);
        let either = matches!(
            self.operator.operation,
            Operation::Add { .. }
                | Operation::Sub { .. }
                | Operation::Mul { .. }
                | Operation::Concatenation { .. }
        );
        if input.data.is_some() && !either {
            return Err(self.unsupported("a constant in the place of an activation"));
        }
        if let Operation::Reshape = self.operator.operation {
            if input.bytes() != output.bytes() {
                return Err(self.unsupported("an output of another size than the input"));
            }
            return Ok(Prepared::plain(|_, inputs, out| {
                out.copy_from_slice(inputs[0]);
                Ok(())
            }));
        }
        if let Operation::Conv2d { .. } | Operation::DepthwiseConv2d { .. } | Operation::FullyConnected { .. } =
            self.operator.operation
        {
            return match (input.kind, output.kind) {
                (Kind::U8, Kind::U8) => self.weights::<u8, u8>(),
                (Kind::U8, Kind::I8) => self.weights::<u8, i8>(),
                (Kind::I8, Kind::U8) => self.weights::<i8, u8>(),
                (Kind::I8, Kind::I8) => self.weights::<i8, i8>(),
                _ => Err(self.unsupported("types of activations other than u8 and i8")),
            };
        }
        match (input.kind, output.kind) {
            (Kind::U8, Kind::U8) => self.codes::<u8>(),
            (Kind::I8, Kind::I8) => self.codes::<i8>(),
            (Kind::U8, Kind::I8) => self.between::<u8, i8>(),
            (Kind::I8, Kind::U8) => self.between::<i8, u8>(),
            (Kind::U8, Kind::F32) => self.reals::<u8>(),
            (Kind::I8, Kind::F32) => self.reals::<i8>(),
            _ => Err(self.unsupported("types of activations other than u8 and i8")),
        }
    }

    fn between<I: Code + OutputCode, O: Code + OutputCode>(&self) -> Result<Prepared, Error> {
        if self.operator.operation != Operation::Quantize {
            return Err(self.unsupported("an output of another type than the input"));
        }
        let mut spec = RequantizeSpec::new(self.params::<I>(self.input(0)?)?, self.params::<O>(self.output()?)?);
        spec.rounding = self.options.rules.of(&self.operator.operation);
        let layer = self.layer(Requantize::new(&spec))?;
        let shape = self.extents(self.output()?)?;
        Ok(Prepared::plain(move |threads, inputs, out| {
            layer.run_on(
                threads,
                TensorRef::nhwc(codes::<I>(inputs[0]), shape)?,
                TensorMut::nhwc(codes_mut::<O>(out), shape)?,
            )
        }))
    }

    fn reals<C: Code + OutputCode>(&self) -> Result<Prepared, Error> {
        let (input, output) = (self.input(0)?, self.output()?);
        if self.operator.operation != Operation::Dequantize
            || output.bytes() != input.bytes().map(|bytes| 4 * bytes)
        {
            return Err(self.unsupported("an output of another type than the input"));
        }
        let layer = Dequantize::new(&self.params::<C>(input)?);
        Ok(Prepared::plain(move |_, inputs, out| {
            // Bytes of the arena lie anywhere.
            let mut reals = [0.0; 64];
            for (codes, bytes) in codes::<C>(inputs[0]).chunks(reals.len()).zip(out.chunks_mut(4 * reals.len())) {
                let (shape, reals) = ([1, 1, 1, codes.len()], &mut reals[..codes.len()]);
                layer.run(TensorRef::nhwc(codes, shape)?, TensorMut::nhwc(reals, shape)?)?;
                bytes.as_chunks_mut().0.iter_mut().zip(reals).for_each(|(to, real)| *to = real.to_le_bytes());
            }
            Ok(())
        }))
    }

    /// Activations one after another along `axis`.
    fn concatenation<C: Code + OutputCode>(&self, axis: i32, activation: Activation) -> Result<Prepared, Error> {
        let output = self.output()?;
        let rank = output.shape.len() as i32;
        let dimension = match (if axis < 0 { axis + rank } else { axis }) + 4 - rank {
            0 => Dimension::Batch,
            1 => Dimension::Height,
            2 => Dimension::Width,
            3 => Dimension::Channels,
            _ => return Err(self.unsupported("an axis that the output has not")),
        };
        if activation != Activation::None {
            return Err(self.unsupported("an activation function"));
        }
        let tensors: Vec<_> = (0..self.operator.inputs.len()).map(|i| self.input(i)).collect::<Result<_, _>>()?;
        let params: Vec<_> = tensors.iter().map(|input| self.params::<C>(input)).collect::<Result<_, _>>()?;
        let shapes: Vec<_> = tensors.iter().map(|input| self.extents(input)).collect::<Result<_, _>>()?;
        let constants: Vec<_> = tensors.iter().map(|input| input.data.clone()).collect();
        let spec = ConcatSpec { dimension, inputs: &params, output: self.params(output)? };
        let rounding = self.options.rules.of(&self.operator.operation);
        let (layer, to) = (self.layer(ConcatRequantize::new(&spec, rounding))?, self.extents(output)?);
        Ok(Prepared::plain(move |threads, inputs, out| {
            let mut inputs = inputs.iter().copied();
            let mut images = Vec::with_capacity(shapes.len());
            for (constant, shape) in constants.iter().zip(&shapes) {
                let bytes = match constant {
                    Some(bytes) => bytes,
                    None => inputs.next().unwrap_or_default(),
                };
                images.push(TensorRef::nhwc(codes::<C>(bytes), *shape)?);
            }
            layer.run_on(threads, &images, TensorMut::nhwc(codes_mut::<C>(out), to)?)
        }))
    }

    /// Operators whose activations have one type.
    fn codes<C: Code + OutputCode + TableCode>(&self) -> Result<Prepared, Error> {
        let (input, output) = (self.input(0)?, self.output()?);
        let (from, to) = (self.extents(input)?, self.extents(output)?);
        let params = || self.params::<C>(input);
        let rounding = self.options.rules.of(&self.operator.operation);
        /// A layer that takes one image and no workspace.
        macro_rules! image {
            ($layer:expr) => {{
                let layer = $layer;
                Prepared::plain(move |threads, inputs, out| {
                    let input = TensorRef::nhwc(codes::<C>(inputs[0]), from)?;
                    layer.run_on(threads, input, TensorMut::nhwc(codes_mut::<C>(out), to)?)
                })
            }};
        }
        macro_rules! table {
            ($layer:expr) => {{
                let layer = $layer;
                Prepared::plain(move |_, inputs, out| layer.run(codes::<C>(inputs[0]), codes_mut::<C>(out)))
            }};
        }
        macro_rules! binary {
            ($layer:ident, $activation:expr) => {{
                let second = self.input(1)?;
                let mut spec = BinarySpec::new(params()?, self.params(second)?, self.params(output)?);
                (spec.activation, spec.rounding) = ($activation, rounding);
                if let Operation::Mul { .. } = self.operator.operation {
                    // LiteRT divides a product of f32 in f32. Of these scales, the layer's f64 are the same number.
                    let scale = spec.lhs.scale() * spec.rhs.scale() / spec.output.scale();
                    spec.lhs = self.layer(QuantParams::new(scale, spec.lhs.zero_point()))?;
                    spec.rhs = self.layer(QuantParams::new(spec.output.scale(), spec.rhs.zero_point()))?;
                }
                let (layer, other) = (self.layer($layer::new(&spec))?, self.extents(second)?);
                let constants = [input.data.clone(), second.data.clone()];
                Prepared::plain(move |threads, inputs, out| {
                    let mut inputs = inputs.iter().copied();
                    let [a, b] = [&constants[0], &constants[1]].map(|constant| match constant {
                        Some(bytes) => &bytes[..],
                        None => inputs.next().unwrap_or_default(),
                    });
                    let (a, b) = (TensorRef::nhwc(codes::<C>(a), from)?, TensorRef::nhwc(codes::<C>(b), other)?);
                    layer.run_on(threads, a, b, TensorMut::nhwc(codes_mut::<C>(out), to)?)
                })
            }};
        }
        Ok(match self.operator.operation {
            Operation::Add { activation } => binary!(Add, activation),
            Operation::Sub { activation } => binary!(Sub, activation),
            Operation::Mul { activation } => binary!(Mul, activation),
            Operation::AveragePool2d { kernel, stride, padding, activation } => {
                let window = Window { stride, padding, ..Window::default() };
                let spec = AveragePool2dSpec { window, activation, ..AveragePool2dSpec::new(kernel, params()?) };
                image!(self.layer(AveragePool2d::new(&spec))?)
            }
            Operation::MaxPool2d { kernel, stride, padding, activation } => {
                let window = Window { stride, padding, ..Window::default() };
                let spec = MaxPool2dSpec { window, activation, ..MaxPool2dSpec::new(kernel, params()?) };
                image!(self.layer(MaxPool2d::new(&spec))?)
            }
            Operation::Mean { .. } => {
                let axes = ints(self.constant(self.input(1)?)?);
                let rank = input.shape.len() as i32;
                let has = |axis: i32| axes.iter().any(|a| *a == axis || *a == axis - rank);
                if rank != 4 || axes.is_empty() || has(0) || has(3) {
                    return Err(self.unsupported("a mean over other axes than height and width"));
                }
                let mut spec = MeanSpec::new(params()?, self.params(output)?);
                (spec.height, spec.width, spec.rounding) = (has(1), has(2), rounding);
                let layer = self.layer(Mean::new(&spec))?;
                let [n, h, w, c] = from;
                let to = [n, if has(1) { 1 } else { h }, if has(2) { 1 } else { w }, c];
                Prepared::plain(move |threads, inputs, out| {
                    let input = TensorRef::nhwc(codes::<C>(inputs[0]), from)?;
                    layer.run_on(threads, input, TensorMut::nhwc(codes_mut::<C>(out), to)?)
                })
            }
            Operation::Softmax { beta } => {
                let layer = self.layer(Softmax::new(&params()?, beta))?;
                Prepared::plain(move |_, inputs, out| {
                    layer.run(from[3], codes::<C>(inputs[0]), codes_mut::<C>(out))
                })
            }
            Operation::Logistic => table!(Logistic::new(&params()?)),
            Operation::Tanh => table!(Tanh::new(&params()?)),
            Operation::Relu => image!(Relu::new(&params()?)),
            Operation::Relu6 => image!(Relu6::new(&params()?)),
            Operation::Quantize => return self.between::<C, C>(),
            Operation::Pad => {
                let pads = ints(self.constant(self.input(1)?)?);
                let rank = input.shape.len();
                if pads.len() != 2 * rank || pads.iter().any(|pad| *pad < 0) {
                    return Err(self.unsupported("paddings that are not two sizes a dimension"));
                }
                let mut spec = PadSpec { params: params()?, before: [0; 4], after: [0; 4] };
                for (i, pair) in pads.as_chunks::<2>().0.iter().enumerate() {
                    (spec.before[4 - rank + i], spec.after[4 - rank + i]) = (pair[0] as usize, pair[1] as usize);
                }
                image!(Pad::new(&spec))
            }
            Operation::Concatenation { axis, activation } => return self.concatenation::<C>(axis, activation),
            _ => {
                return Err(self.unsupported("an output of this type"));
            }
        })
    }

    fn weights<C: Code + OutputCode, O: Code + OutputCode>(&self) -> Result<Prepared, Error> {
        match self.input(1)?.kind {
            Kind::U8 => self.weighted::<C, u8, O>(),
            Kind::I8 => self.weighted::<C, i8, O>(),
            _ => Err(self.unsupported("types of weights other than u8 and i8")),
        }
    }

    /// Layers with weights.
    fn weighted<C: Code + OutputCode, W: Code, O: Code + OutputCode>(&self) -> Result<Prepared, Error> {
        let (input, weights, output) = (self.input(0)?, self.input(1)?, self.output()?);
        let (from, to, kernel) = (self.extents(input)?, self.extents(output)?, self.extents(weights)?);
        let data = codes::<W>(self.constant(weights)?);
        let (params, out_params) = (self.params::<C>(input)?, self.params::<O>(output)?);
        let quantization =
            weights.quantization.as_ref().ok_or_else(|| self.unsupported("weights without a scale"))?;
        // In networks of u8, LiteRT rounds the product of both scales of a convolution to f32.
        let is_of_u8 = self.operator.inputs[0].is_some_and(|i| self.model.tensors[i].kind == Kind::U8);
        let rounded = is_of_u8
            && matches!(self.operator.operation, Operation::Conv2d { .. } | Operation::DepthwiseConv2d { .. });
        let multiplier = |scale: &f32| {
            let product = if rounded {
                f64::from(params.scale() * scale)
            } else {
                f64::from(params.scale()) * f64::from(*scale)
            };
            Multiplier::from_real(product / f64::from(out_params.scale()))
        };
        let multipliers: Result<Vec<_>, _> = quantization.scales.iter().map(multiplier).collect();
        let multipliers = self.layer(multipliers)?;
        let axis = match multipliers[..] {
            [one] => PerAxis::One(one),
            _ => PerAxis::PerColumn(&multipliers),
        };
        let weight_zero_point = match &quantization.zero_points[..] {
            [one, rest @ ..] if rest.iter().all(|zero| zero == one) => ZeroPoint::One(*one),
            zeros => ZeroPoint::Each(zeros),
        };
        let activation = match self.operator.operation {
            Operation::Conv2d { activation, .. }
            | Operation::DepthwiseConv2d { activation, .. }
            | Operation::FullyConnected { activation, .. } => activation,
            _ => Activation::None,
        };
        let bias = match self.operator.inputs.get(2).copied().flatten() {
            Some(index) if self.model.tensors[index].kind == Kind::I32 => {
                Some(ints(self.constant(&self.model.tensors[index])?))
            }
            Some(_) => return Err(self.unsupported("a bias of another type than i32")),
            None => None,
        };
        let (low, high) = activation.bounds(&out_params);
        let rounding = self.options.rules.of(&self.operator.operation);
        if rounding == Rounding::IntMulShift {
            return Err(self.unsupported("rounding by int_mul_shift, whose multipliers no scale has,"));
        }
        let stages = Stages::<O>::fixed(axis).rounding(rounding);
        let stages = stages.zero_point(out_params.zero_point()).clamp(low, high);
        let stages = match &bias {
            Some(bias) => stages.bias(bias),
            None => stages,
        };
        let (threads, input_zero_point) = (self.options.threads, params.zero_point());
        let expected_rows = to.iter().product::<usize>().checked_div(*output.shape.last().unwrap_or(&1));
        let pack = PackOptions { backend: self.options.backend, expected_rows, ..PackOptions::default() };
        Ok(match self.operator.operation {
            Operation::Conv2d { stride, dilation, padding, .. } => {
                let [_, _, _, channels] = kernel;
                let groups = from[3].checked_div(channels).unwrap_or(1);
                let spec = Conv2dSpec {
                    weights: self.layer(TensorRef::nhwc(data, kernel))?,
                    weight_zero_point,
                    input_zero_point,
                    window: Window { stride, dilation, padding },
                    groups: groups.max(1),
                    pack,
                };
                let layer = self.layer(Conv2d::<C, O>::new(&spec, &stages))?;
                let workspace = self.layer(layer.workspace_bytes(threads))?;
                let packed = layer.packed_bytes();
                let explanation =
                    layer.products().first().map_or("", |gemm| gemm.packed().backend().kernel()).to_owned();
                let run: Run = Box::new(move |threads, inputs, out, workspace| {
                    let input = TensorRef::nhwc(codes::<C>(inputs[0]), from)?;
                    layer.run_on(threads, input, TensorMut::nhwc(codes_mut::<O>(out), to)?, workspace)
                });
                Prepared { run, explanation, packed, workspace }
            }
            Operation::DepthwiseConv2d { stride, dilation, padding, .. } => {
                let multiplier = kernel[3].checked_div(from[3]).unwrap_or(1);
                let spec = DepthwiseConv2dSpec {
                    weights: self.layer(TensorRef::nhwc(data, kernel))?,
                    weight_zero_point,
                    input_zero_point,
                    multiplier: multiplier.max(1),
                    window: Window { stride, dilation, padding },
                    backend: self.options.backend,
                };
                let layer = self.layer(DepthwiseConv2d::<C, O>::new(&spec, &stages))?;
                let workspace = self.layer(layer.workspace_bytes(from, threads))?;
                let explanation = format!("lanes of {}", layer.backend().name());
                let packed = layer.packed_bytes();
                let run: Run = Box::new(move |threads, inputs, out, workspace| {
                    let input = TensorRef::nhwc(codes::<C>(inputs[0]), from)?;
                    layer.run_on(threads, input, TensorMut::nhwc(codes_mut::<O>(out), to)?, workspace)
                });
                Prepared { run, explanation, packed, workspace }
            }
            _ => {
                let [_, _, outputs, inputs] = kernel;
                let rows = from.iter().product::<usize>().checked_div(inputs).unwrap_or(0);
                if kernel[..2] != [1, 1]
                    || from.iter().product::<usize>() != rows * inputs
                    || to.iter().product::<usize>() != rows * outputs
                {
                    return Err(self.unsupported("weights or an output that do not fit the input"));
                }
                let spec = FullyConnectedSpec {
                    weights: self.layer(MatRef::row_major(data, outputs, inputs))?,
                    weight_zero_point,
                    input_zero_point,
                    pack,
                };
                let layer = self.layer(FullyConnected::<C, O>::new(&spec, &stages))?;
                let workspace = self.layer(layer.workspace_bytes(threads))?;
                let packed = layer.product().packed().as_bytes().len();
                let explanation = layer.product().packed().backend().kernel().to_owned();
                let run: Run = Box::new(move |threads, activations, out, workspace| {
                    let input = MatRef::row_major(codes::<C>(activations[0]), rows, inputs)?;
                    layer.run_on(threads, input, MatMut::row_major(codes_mut::<O>(out), rows, outputs)?, workspace)
                });
                Prepared { run, explanation, packed, workspace }
            }
        })
    }
}

//! The network: what its layers are, and its two forms in floats. [`Float`] is trained with batch normalization;
//! [`Folded`] has it folded into weights and biases, and runs as it is, or fake-quantized ([`Simulation`]).

use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor, Var};
use zeropoint::Rounding;
use zeropoint::layers::Activation;
use zeropoint::training::{
    Activations, Axis, BatchNorm, FakeQuant, FakeQuantSpec, Fold, Grid, Histogram, Levels, MovingAverage, Range,
    Start, Statistics, TrainedLayer, WeightLayout, fold_batch_norm, ranges,
};

use crate::Result;
use crate::data::CLASSES;
use crate::ops::{
    self, Bias, Clamp, Depthwise, EPSILON, FakeActivations, FakeWeights, KERNEL, LearnedWeights, Moments, Moves,
    Normalize,
};
use crate::rng::Rng;

/// What the moving averages of activations keep at a step.
const DECAY: f64 = 0.98;
/// The bits of pictures, of the mean and of the scores, which no experiment changes.
pub const OUTER_BITS: u32 = 8;

/// What a layer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Convolution of 3 x 3, of the picture's one channel.
    Conv,
    /// Depthwise convolution of 3 x 3.
    Depthwise,
    /// Convolution of 1 x 1.
    Pointwise,
    /// The mean of each channel, and a fully connected layer without activation.
    Dense,
}

/// A layer with weights.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Lines of its input, and pixels from one output to the next.
    pub moves: Moves,
    /// Channels of its input.
    pub inputs: usize,
    /// Channels of its output.
    pub outputs: usize,
}

impl Layer {
    /// Where output channels are in the weights.
    pub const fn layout(&self) -> WeightLayout {
        match self.kind {
            Kind::Conv | Kind::Pointwise => WeightLayout::Conv,
            Kind::Depthwise => WeightLayout::Depthwise,
            Kind::Dense => WeightLayout::FullyConnected,
        }
    }

    /// The shape of the weights, as matrices.
    const fn shape(&self) -> (usize, usize) {
        match self.kind {
            Kind::Conv => (self.outputs, KERNEL * KERNEL),
            Kind::Depthwise => (KERNEL * KERNEL, self.outputs),
            Kind::Pointwise | Kind::Dense => (self.outputs, self.inputs),
        }
    }

    /// Weights that one output sees.
    const fn fan(&self) -> usize {
        match self.kind {
            Kind::Conv | Kind::Depthwise => KERNEL * KERNEL,
            Kind::Pointwise | Kind::Dense => self.inputs,
        }
    }

    /// The output before bias and activation.
    fn linear(&self, x: &Tensor, w: &Tensor) -> candle_core::Result<Tensor> {
        let batch = x.dim(0)?;
        let side = self.moves.output();
        match self.kind {
            Kind::Conv => x.apply_op1(ops::Patches(self.moves))?.matmul(&w.t()?)?.reshape((batch, side, side, ())),
            Kind::Depthwise => x.apply_op2(w, Depthwise(self.moves)),
            Kind::Pointwise => x.reshape(((), self.inputs))?.matmul(&w.t()?)?.reshape((batch, side, side, ())),
            Kind::Dense => x.matmul(&w.t()?),
        }
    }
}

/// What the layers are, and what is behind all but the last.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In order.
    pub layers: Vec<Layer>,
    /// ReLU or ReLU6.
    pub activation: Activation,
}

impl Plan {
    /// A convolution, three depthwise-separable blocks, the mean, ten outputs: of 16, 24, 32 and 48 channels for
    /// pictures of 8 x 8; of larger ones, the first convolution takes every other pixel, and there are
    /// 32, 48, 96 and 128.
    pub fn new(side: usize, activation: Activation) -> Self {
        let (stride, widths) = if side > 14 { (2, [32, 48, 96, 128]) } else { (1, [16, 24, 32, 48]) };
        let mut layers: Vec<Layer> = Vec::new();
        let (mut side, mut channels) = (side, 1);
        let mut push = |name: String, kind: Kind, stride: usize, outputs: usize| {
            let layer = Layer { name, kind, moves: Moves { side, stride }, inputs: channels, outputs };
            (side, channels) = (layer.moves.output(), outputs);
            layers.push(layer);
        };
        push("convolution".into(), Kind::Conv, stride, widths[0]);
        for (block, stride) in [1, 2, 1].into_iter().enumerate() {
            push(format!("block {}, depthwise", block + 1), Kind::Depthwise, stride, widths[block]);
            push(format!("block {}, pointwise", block + 1), Kind::Pointwise, 1, widths[block + 1]);
        }
        push("scores".into(), Kind::Dense, 1, CLASSES);
        Self { layers, activation }
    }

    /// The activation, in floats.
    fn activate(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.apply_op1(Clamp(if self.activation == Activation::Relu6 { 6.0 } else { f32::INFINITY }))
    }
}

/// The mean of each channel of images.
fn mean(x: &Tensor) -> candle_core::Result<Tensor> {
    x.flatten(1, 2)?.mean(1)
}

fn var(x: Vec<f32>, shape: impl Into<candle_core::Shape>) -> candle_core::Result<Var> {
    Var::from_vec(x, shape, &Device::Cpu)
}

pub(crate) fn floats(x: &Tensor) -> candle_core::Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}

/// What batch normalization has: factor, shift, statistics.
type Norm = (Var, Var, Arc<Mutex<Moments>>);

/// The network that is trained in floats, with batch normalization.
pub struct Float {
    plan: Plan,
    weights: Vec<Var>,
    /// Behind all layers but the last.
    norms: Vec<Norm>,
    bias: Var,
}

impl Float {
    /// With random weights.
    pub fn new(plan: Plan, rng: &mut Rng) -> Result<Self> {
        let (mut weights, mut norms) = (Vec::new(), Vec::new());
        for layer in &plan.layers {
            let (rows, columns) = layer.shape();
            let bound = (6.0 / layer.fan() as f32).sqrt();
            weights.push(var((0..rows * columns).map(|_| rng.uniform(bound)).collect(), (rows, columns))?);
            if layer.kind != Kind::Dense {
                let c = layer.outputs;
                norms.push((var(vec![1.0; c], c)?, var(vec![0.0; c], c)?, Arc::new(Mutex::new(Moments::new(c)))));
            }
        }
        Ok(Self { plan, weights, norms, bias: var(vec![0.0; CLASSES], CLASSES)? })
    }

    /// What training changes.
    pub fn variables(&self) -> Vec<Var> {
        let norms = self.norms.iter().flat_map(|(gamma, beta, _)| [gamma, beta]);
        self.weights.iter().chain(norms).chain([&self.bias]).cloned().collect()
    }

    /// Scores of a batch, normalized by its own statistics.
    pub fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let mut x = images.clone();
        for (i, (layer, w)) in self.plan.layers.iter().zip(&self.weights).enumerate() {
            let Some((gamma, beta, moments)) = self.norms.get(i) else {
                return layer.linear(&mean(&x)?, w)?.apply_op2(&self.bias, Bias);
            };
            let y = layer.linear(&x, w)?.apply_op3(gamma, beta, Normalize(moments.clone()))?;
            x = self.plan.activate(&y)?;
        }
        Ok(x)
    }

    /// The same function with batch normalization in weights and biases, by the library.
    pub fn fold(&self) -> Result<Folded> {
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for (i, (layer, w)) in self.plan.layers.iter().zip(&self.weights).enumerate() {
            let w = floats(w)?;
            let Some((gamma, beta, moments)) = self.norms.get(i) else {
                weights.push(w);
                biases.push(floats(&self.bias)?);
                continue;
            };
            let (gamma, beta, moments) = (floats(gamma)?, floats(beta)?, ops::lock(moments));
            let [mean, variance] = &moments.average;
            let norm =
                BatchNorm { gamma: &gamma, beta: &beta, average: Statistics { mean, variance }, epsilon: EPSILON };
            let (mut folded, mut bias) = (vec![0.0; w.len()], vec![0.0; gamma.len()]);
            let fold = Fold { layout: layer.layout(), weights: &w, bias: None, norm };
            fold_batch_norm(&fold, &mut folded, &mut bias)?;
            weights.push(folded);
            biases.push(bias);
        }
        Folded::new(self.plan.clone(), weights, biases)
    }
}

/// The network whose layers have weights and biases and nothing else.
pub struct Folded {
    /// What the layers are.
    pub plan: Plan,
    weights: Vec<Var>,
    biases: Vec<Var>,
}

impl Folded {
    fn new(plan: Plan, weights: Vec<Vec<f32>>, biases: Vec<Vec<f32>>) -> Result<Self> {
        let weights: candle_core::Result<_> =
            plan.layers.iter().zip(weights).map(|(layer, w)| var(w, layer.shape())).collect();
        let biases: candle_core::Result<_> =
            plan.layers.iter().zip(biases).map(|(layer, b)| var(b, layer.outputs)).collect();
        Ok(Self { weights: weights?, biases: biases?, plan })
    }

    /// A network of its own, with these weights and biases.
    pub fn copy(&self) -> Result<Self> {
        let all = |x: &[Var]| x.iter().map(|x| floats(x)).collect::<candle_core::Result<_>>();
        Self::new(self.plan.clone(), all(&self.weights)?, all(&self.biases)?)
    }

    /// What training changes.
    pub fn variables(&self) -> Vec<Var> {
        self.weights.iter().chain(&self.biases).cloned().collect()
    }

    /// Weights and bias of a layer.
    pub fn parameters(&self, layer: usize) -> Result<[Vec<f32>; 2]> {
        Ok([floats(&self.weights[layer])?, floats(&self.biases[layer])?])
    }

    /// Scores of a batch, in floats.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let parameters = |i: usize| Ok([&self.weights[i], &self.biases[i]].map(|x| x.as_tensor().clone()));
        self.run(images, parameters, |_, x| Ok(x.clone()))
    }

    /// Scores of a batch, by some weights and bias of each layer, with something done to each activation: those of the layers,
    /// the mean, the scores.
    fn run(
        &self,
        images: &Tensor,
        parameters: impl Fn(usize) -> Result<[Tensor; 2]>,
        mut activations: impl FnMut(usize, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut x = images.clone();
        for (i, layer) in self.plan.layers.iter().enumerate() {
            if layer.kind == Kind::Dense {
                x = activations(i, &mean(&x)?)?;
            }
            let [w, b] = parameters(i)?;
            let y = layer.linear(&x, &w)?.apply_op2(&b, Bias)?;
            if layer.kind == Kind::Dense {
                return activations(i + 1, &y);
            }
            x = activations(i, &self.plan.activate(&y)?)?;
        }
        Ok(x)
    }

    /// The paper's first failure, constructed: each depthwise output channel times a factor of up to 128, and the
    /// weights behind it divided by it.
    /// With ReLU, the function in reals is the same.
    pub fn stretch(&self, rng: &mut Rng) -> Result<Self> {
        let copy = self.copy()?;
        for (i, layer) in self.plan.layers.iter().enumerate().filter(|(_, layer)| layer.kind == Kind::Depthwise) {
            let factors: Vec<f32> = (0..layer.outputs).map(|_| (rng.uniform(3.5) + 3.5).exp2()).collect();
            let times = Tensor::from_vec(factors, (1, layer.outputs), &Device::Cpu)?;
            copy.weights[i].set(&copy.weights[i].broadcast_mul(&times)?)?;
            copy.biases[i].set(&copy.biases[i].mul(&times.squeeze(0)?)?)?;
            copy.weights[i + 1].set(&copy.weights[i + 1].broadcast_div(&times)?)?;
        }
        Ok(copy)
    }
}

/// How to quantize.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Precision {
    /// Of weights; those of the fully connected layer included.
    pub weight_bits: u32,
    /// Of activations; see [`OUTER_BITS`].
    pub activation_bits: u32,
    /// Whether each output channel has a scale of its own: then about zero, else by smallest and
    /// largest weight of the layer, as the paper has it, until [`Simulation::learn_steps`].
    pub per_channel: bool,
}

impl Precision {
    /// The codes of weights.
    fn weight_levels(&self) -> Result<Levels> {
        Ok(Levels::bits(self.weight_bits)?.narrow()?)
    }
}

/// A folded network that is run as integers will run it.
pub struct Simulation {
    /// Its floats.
    pub network: Folded,
    precision: Precision,
    activations: Vec<Arc<Mutex<Activations>>>,
    /// Of each layer, if steps of weights are learned: the grid to begin with, and the logarithm of how much longer its steps are.
    steps: Vec<(LearnedWeights, Var)>,
}

impl Simulation {
    /// Of which activations are quantized from step `delay` on.
    pub fn new(network: Folded, precision: Precision, delay: u64) -> Result<Self> {
        let count = network.plan.layers.len();
        let activation = |i: usize| -> Result<_> {
            let bits = if i + 1 < count { precision.activation_bits } else { OUTER_BITS };
            let observer = MovingAverage::new(Axis::Tensor, DECAY, Start::FirstBatch)?;
            Ok(Arc::new(Mutex::new(Activations::new(observer, Levels::bits(bits)?, delay)?)))
        };
        let activations = (0..=count).map(activation).collect::<Result<_>>()?;
        Ok(Self { network, precision, activations, steps: Vec::new() })
    }

    /// From here on, the weights of each layer have a step that is learned, at first the one of the least squared error.
    pub fn learn_steps(&mut self) -> Result<()> {
        let levels = self.precision.weight_levels()?;
        let step = |w: &Var| -> Result<_> {
            let mut histogram = Histogram::new()?;
            histogram.observe(&floats(w)?)?;
            let range = histogram.least_squares(levels)?.unwrap_or_default();
            Ok((LearnedWeights { start: range.grid(levels)?, levels }, var(vec![0.0], 1)?))
        };
        self.steps = self.network.weights.iter().map(step).collect::<Result<_>>()?;
        Ok(())
    }

    /// What training changes.
    pub fn variables(&self) -> Vec<Var> {
        let steps = self.steps.iter().map(|(_, step)| step.clone());
        self.network.variables().into_iter().chain(steps).collect()
    }

    /// Whether batches move the ranges of activations.
    pub fn set_observing(&self, observing: bool) {
        self.activations.iter().for_each(|activations| ops::lock(activations).set_observing(observing));
    }

    /// Whether activations are quantized, once the delay is over.
    pub fn set_quantizing(&self, quantizing: bool) {
        self.activations.iter().for_each(|activations| ops::lock(activations).set_quantizing(quantizing));
    }

    /// Scores of a batch.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        self.trace(images, |_| ())
    }

    /// Scores of a batch, showing each activation on the way.
    pub fn trace(&self, images: &Tensor, mut show: impl FnMut(&Tensor)) -> Result<Tensor> {
        let fake = |i: usize| -> Result<[Tensor; 2]> {
            let [w, b] = [&self.network.weights[i], &self.network.biases[i]];
            let (grids, axis) = self.weight_grids(i, w)?;
            let quantized = if let Some((start, step)) = self.steps.get(i) {
                w.apply_op2(step, *start)?
            } else {
                let fake = FakeQuant::new(&FakeQuantSpec { axis, ..FakeQuantSpec::new(&grids) })?;
                w.apply_op1(FakeWeights(fake))?
            };
            Ok([quantized, self.bias(i, b, &grids)?])
        };
        let pictures = FakeQuant::new(&FakeQuantSpec::new(&[Self::input()?]))?;
        self.network.run(&images.apply_op1(FakeWeights(pictures))?, fake, |i, x| {
            let y = x.apply_op1(FakeActivations(self.activations[i].clone()))?;
            show(&y);
            Ok(y)
        })
    }

    /// The bias of a layer, once its output is quantized a multiple of its step, as conversion rounds it. The gradient is straight through.
    fn bias(&self, layer: usize, bias: &Tensor, grids: &[Grid]) -> Result<Tensor> {
        let output = ops::lock(&self.activations[self.output(layer)]);
        if !output.quantizes() {
            return Ok(bias.clone());
        }
        drop(output);
        let mut steps = vec![0.0; bias.elem_count()];
        self.with_trained(layer, grids, |layer| Ok(layer.bias_scales(&mut steps)?))?;
        let steps = Tensor::from_vec(steps, bias.elem_count(), &Device::Cpu)?;
        let rounded = bias.to_dtype(DType::F64)?.div(&steps)?.round()?.mul(&steps)?.to_dtype(DType::F32)?;
        Ok(bias.add(&rounded.sub(bias)?.detach())?)
    }

    /// Which activation is a layer's output.
    pub fn output(&self, layer: usize) -> usize {
        layer + usize::from(self.network.plan.layers[layer].kind == Kind::Dense)
    }

    /// Shows a layer with the grids of its weights, as the library is told of it.
    pub fn with_trained<T>(
        &self,
        layer: usize,
        grids: &[Grid],
        show: impl FnOnce(TrainedLayer<'_>) -> Result<T>,
    ) -> Result<T> {
        let plan = &self.network.plan;
        let [weights, bias] = self.network.parameters(layer)?;
        let dense = plan.layers[layer].kind == Kind::Dense;
        let input = match layer {
            0 => Self::input()?,
            _ => self.activation(if dense { layer } else { layer - 1 })?,
        };
        show(TrainedLayer {
            name: &plan.layers[layer].name,
            layout: plan.layers[layer].layout(),
            weights: &weights,
            bias: &bias,
            grids,
            input,
            output: self.activation(self.output(layer))?,
            activation: if dense { Activation::None } else { plan.activation },
            rounding: Rounding::SingleAway,
        })
    }

    /// The grids of the weights of a layer.
    fn weight_grids(&self, layer: usize, w: &Tensor) -> Result<(Vec<Grid>, Axis)> {
        if let Some((start, step)) = self.steps.get(layer) {
            let step = floats(step)?[0];
            return Ok((vec![start.grid(step)?], Axis::Tensor));
        }
        let per_channel = self.precision.per_channel;
        let (levels, layer) = (self.precision.weight_levels()?, &self.network.plan.layers[layer]);
        let axis = if per_channel { layer.layout().axis(layer.outputs, w.elem_count())? } else { Axis::Tensor };
        let mut ends = vec![Range::default(); axis.channels()];
        ops::with(w, |w| ranges(w, axis, &mut ends).map_err(candle_core::Error::wrap))?;
        let grid = |range: &Range| if per_channel { range.symmetric(levels) } else { range.grid(levels) };
        Ok((ends.iter().map(grid).collect::<core::result::Result<_, _>>()?, axis))
    }

    /// The grids of a layer's weights, for conversion.
    pub fn grids(&self, layer: usize) -> Result<Vec<Grid>> {
        Ok(self.weight_grids(layer, &self.network.weights[layer])?.0)
    }

    /// The grid of the pictures.
    pub fn input() -> Result<Grid> {
        Ok(Grid::from_range(0.0, 1.0, Levels::bits(OUTER_BITS)?)?)
    }

    /// The grid of an activation: the outputs of the layers but the last, the mean, the scores.
    pub fn activation(&self, index: usize) -> Result<Grid> {
        Ok(ops::lock(&self.activations[index]).grid()?)
    }
}

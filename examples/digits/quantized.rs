//! The same network in 8-bit integers: how `zeropoint` is used.
//!
//! Every tensor stands for real numbers by `real = scale * (code - zero point)`:
//!
//! | tensor      | codes | scale                        | zero point |
//! |-------------|-------|------------------------------|------------|
//! | activations | u8    | one a layer, from its range  | one a layer, the code of 0.0 |
//! | weights     | i8    | one an output                | 0 |
//! | bias, sums  | i32   | input scale x weight scale   | 0 |
//!
//! A fixed-point multiplier an output, input scale x weight scale / output scale, takes the sums back to u8. A
//! ReLU is a clamp at the zero point.

use zeropoint::quant::QuantParams;
use zeropoint::{
    Backend, Error, Gemm, MatMut, MatRef, Multiplier, PackOptions, Packed, PerAxis, Quantized, Stages, Workspace,
    reference,
};

use crate::data::{CLASSES, Dataset};
use crate::train::{self, Dense, argmax};

/// The integers of one layer: what an engine would keep in its model file.
struct Layer {
    inputs: usize,
    outputs: usize,
    /// K x N: a row per input, a column per output.
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    input_zero_point: i32,
    output_zero_point: i32,
    relu: bool,
}

impl Layer {
    /// Quantizes `float`, given how its input and its output are quantized.
    fn new(float: &Dense, input: QuantParams<u8>, output: QuantParams<u8>, relu: bool) -> Result<Self, Error> {
        let mut layer = Self {
            inputs: float.inputs,
            outputs: float.outputs,
            weights: vec![0; float.weights.len()],
            bias: Vec::new(),
            multipliers: Vec::new(),
            input_zero_point: input.zero_point(),
            output_zero_point: output.zero_point(),
            relu,
        };
        for column in 0..float.outputs {
            let places = (column..float.weights.len()).step_by(float.outputs);
            let largest = places.clone().map(|at| float.weights[at].abs()).fold(0.0, f32::max);
            let weight = QuantParams::<i8>::symmetric(largest)?;
            for at in places {
                layer.weights[at] = weight.quantize(float.weights[at]);
            }
            let unit = f64::from(input.scale()) * f64::from(weight.scale());
            layer.bias.push((f64::from(float.bias[column]) / unit).round() as i32);
            layer.multipliers.push(Multiplier::from_scales(input.scale(), weight.scale(), output.scale())?);
        }
        Ok(layer)
    }

    /// A batch of inputs, a row per picture.
    fn lhs<'a>(&self, codes: &'a [u8]) -> Result<Quantized<'a, u8>, Error> {
        let lhs = MatRef::row_major(codes, codes.len() / self.inputs, self.inputs)?;
        Ok(lhs.zero_point(self.input_zero_point))
    }

    fn rhs(&self) -> Result<MatRef<'_, i8>, Error> {
        MatRef::row_major(&self.weights, self.inputs, self.outputs)
    }

    /// What happens to the sums on their way out.
    fn stages(&self) -> Stages<'_, u8> {
        let low = if self.relu { self.output_zero_point } else { 0 };
        Stages::fixed(PerAxis::PerColumn(&self.multipliers))
            .bias(&self.bias)
            .zero_point(self.output_zero_point)
            .clamp(low, 255)
    }

    /// A batch of outputs, a row per picture.
    fn out<'a>(&self, codes: &'a mut [u8]) -> Result<MatMut<'a, u8>, Error> {
        let rows = codes.len() / self.outputs;
        MatMut::row_major(codes, rows, self.outputs)
    }
}

/// The quantized network.
pub struct Network {
    input: QuantParams<u8>,
    layers: Vec<Layer>,
}

impl Network {
    /// Quantizes `float`. The ranges of its activations are those that occur for `data`.
    pub fn new(float: &train::Network, data: &Dataset) -> Result<Self, Error> {
        let mut ranges = vec![Range::EMPTY; float.layers.len()];
        for index in 0..data.len() {
            for (range, values) in ranges.iter_mut().zip(float.activations(data.image(index))) {
                range.include(&values);
            }
        }

        let mut pixels = Range::EMPTY;
        pixels.include(&data.images);
        let input = pixels.params()?;

        let mut layers = Vec::new();
        let mut before = input;
        for (index, (layer, range)) in float.layers.iter().zip(&ranges).enumerate() {
            let after = range.params()?;
            let relu = index + 1 < float.layers.len();
            layers.push(Layer::new(layer, before, after, relu)?);
            before = after;
        }
        Ok(Self { input, layers })
    }

    /// The pictures as the first layer takes them.
    pub fn encode(&self, data: &Dataset) -> Result<Vec<u8>, Error> {
        let mut codes = vec![0; data.images.len()];
        self.input.quantize_slice(&data.images, &mut codes)?;
        Ok(codes)
    }

    /// Additions and multiplications for one picture.
    pub fn operations(&self) -> usize {
        self.layers.iter().map(|layer| 2 * layer.inputs * layer.outputs).sum()
    }

    /// The outputs of each layer by the library's reference, three plain loops.
    pub fn reference(&self, images: &[u8], batch: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut outputs: Vec<Vec<u8>> = Vec::new();
        for layer in &self.layers {
            let input = outputs.last().map_or(images, Vec::as_slice);
            let mut output = vec![0; batch * layer.outputs];
            reference::gemm(layer.lhs(input)?, layer.rhs()?.into(), &layer.stages(), layer.out(&mut output)?)?;
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// Packs the weights for `backend` and allocates what a batch of `batch` pictures needs.
    pub fn prepare(&self, backend: Backend, batch: usize) -> Result<Engine<'_>, Error> {
        let options = PackOptions { backend: Some(backend), expected_rows: Some(batch), ..PackOptions::default() };
        let mut steps = Vec::new();
        let mut workspace = 0;
        for layer in &self.layers {
            let gemm = Gemm::new(Packed::rhs_with(layer.rhs()?, options)?, &layer.stages())?;
            workspace = gemm.workspace_bytes(1)?.max(workspace);
            steps.push(Step { layer, gemm, output: vec![0; batch * layer.outputs] });
        }
        Ok(Engine { steps, workspace: Workspace::new(workspace) })
    }
}

/// The network, ready to run again and again: no run allocates.
pub struct Engine<'n> {
    steps: Vec<Step<'n>>,
    workspace: Workspace<'static>,
}

struct Step<'n> {
    layer: &'n Layer,
    gemm: Gemm<'static, u8>,
    output: Vec<u8>,
}

impl Engine<'_> {
    /// Runs one batch of encoded pictures.
    pub fn run(&mut self, images: &[u8]) -> Result<(), Error> {
        let mut input = images;
        for Step { layer, gemm, output } in &mut self.steps {
            gemm.run(layer.lhs(input)?, layer.out(output)?, &mut self.workspace)?;
            input = output;
        }
        Ok(())
    }

    /// What each layer put out in the last run.
    pub fn outputs(&self) -> impl Iterator<Item = &[u8]> {
        self.steps.iter().map(|step| step.output.as_slice())
    }
}

/// The class of each picture, from what the last layer put out: codes of one scale compare like the reals.
pub fn classes(scores: &[u8]) -> Vec<u8> {
    scores.chunks_exact(CLASSES).map(argmax).collect()
}

/// The least and the greatest of some values.
#[derive(Clone, Copy)]
struct Range {
    min: f32,
    max: f32,
}

impl Range {
    const EMPTY: Self = Self { min: f32::INFINITY, max: f32::NEG_INFINITY };

    fn include(&mut self, values: &[f32]) {
        for &value in values {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }

    fn params(&self) -> Result<QuantParams<u8>, Error> {
        QuantParams::from_range(self.min, self.max)
    }
}

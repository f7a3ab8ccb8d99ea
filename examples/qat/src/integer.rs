//! The network in integers: converted by the library, run, compared with the simulation, saved.

use serde::{Deserialize, Serialize};
use zeropoint::layers::{Conv2d, DepthwiseConv2d, FullyConnected, Mean, MeanSpec, Padding, Window};
use zeropoint::training::{ConvertedLayer, Grid};
use zeropoint::{MatMut, MatRef, TensorMut, TensorRef};

use crate::Result;
use crate::data::{CLASSES, Pictures};
use crate::network::{Kind, Layer, Simulation, floats};
use crate::ops::KERNEL;

/// Pictures that are run at a time.
const BATCH: usize = 50;
/// Pictures that are saved with a network.
const SAVED: usize = 32;

/// A prepared layer.
enum Prepared {
    Conv(Conv2d<u8, u8>),
    Depthwise(Box<DepthwiseConv2d<u8, u8>>),
    Dense(Mean<u8>, Box<FullyConnected<u8, u8>>),
}

/// A layer: what was converted, what is run, the grids of its output and of the mean before it.
struct Stage {
    layer: Layer,
    converted: ConvertedLayer,
    prepared: Prepared,
    /// Input (of the fully connected layer, of the mean), output.
    grids: [Grid; 2],
    mean: Option<Grid>,
}

/// A network of integer layers.
pub struct Network {
    stages: Vec<Stage>,
    input: Grid,
}

impl Network {
    /// From what was trained.
    pub fn convert(simulation: &Simulation) -> Result<Self> {
        let plan = &simulation.network.plan;
        let mut stages = Vec::new();
        let first = Simulation::input()?;
        let mut input = first;
        for (i, layer) in plan.layers.iter().enumerate() {
            let mean = if layer.kind == Kind::Dense { Some(simulation.activation(i)?) } else { None };
            let converted = simulation.with_trained(i, &simulation.grids(i)?, |layer| Ok(layer.convert()?))?;
            let output = simulation.activation(simulation.output(i))?;
            let window = Window { stride: [layer.moves.stride; 2], padding: Padding::Same, ..Window::default() };
            let prepared = match (layer.kind, mean) {
                (Kind::Conv, _) => Prepared::Conv(converted.conv2d([KERNEL; 2], window, 1)?),
                (Kind::Depthwise, _) => {
                    Prepared::Depthwise(Box::new(converted.depthwise_conv2d([KERNEL; 2], window, 1)?))
                }
                (_, None) => Prepared::Conv(converted.conv2d([1, 1], Window::default(), 1)?),
                (_, Some(mean)) => Prepared::Dense(
                    Mean::new(&MeanSpec::new(input.params()?, mean.params()?))?,
                    Box::new(converted.fully_connected()?),
                ),
            };
            stages.push(Stage { layer: layer.clone(), converted, prepared, grids: [input, output], mean });
            input = output;
        }
        Ok(Self { stages, input: first })
    }

    /// Codes of pictures.
    fn encode(&self, pictures: &Pictures) -> Vec<u8> {
        let code = |code: &u8| self.input.quantize(f32::from(*code) / f32::from(pictures.full)) as u8;
        pictures.codes.iter().map(code).collect()
    }

    /// Codes of the scores.
    pub fn run(&self, pictures: &Pictures) -> Result<Vec<u8>> {
        let mut scores = Vec::new();
        for images in self.encode(pictures).chunks(BATCH * pictures.side * pictures.side) {
            let mut codes = images.to_vec();
            for stage in &self.stages {
                codes = stage.run(&codes)?.pop().unwrap_or_default();
            }
            scores.extend(codes);
        }
        Ok(scores)
    }

    /// Integers against the simulation, on pictures.
    pub fn compare(&self, simulation: &Simulation, pictures: &Pictures) -> Result<Comparison> {
        let integer = self.run(pictures)?;
        let mut simulated = Vec::new();
        let mut comparison = Comparison::default();
        let (mut different, mut all) = (0usize, 0usize);
        for batch in (0..pictures.len()).collect::<Vec<_>>().chunks(BATCH) {
            let mut outputs = Vec::new();
            let mut error = None;
            let images = pictures.batch(batch)?.0;
            simulation.trace(&images, |x| match floats(x) {
                Ok(x) => outputs.push(x),
                Err(e) => error = Some(e),
            })?;
            if let Some(error) = error {
                return Err(error.into());
            }
            let mut reals = outputs.iter();
            let mut codes: Vec<u8> = floats(&images)?.iter().map(|x| self.input.quantize(*x) as u8).collect();
            // Each layer is given the codes that were simulated.
            for stage in &self.stages {
                for (got, grid) in stage.run(&codes)?.iter().zip(stage.outputs()) {
                    let reals = reals.next().ok_or("a layer without a simulation")?;
                    let expected: Vec<u8> = reals.iter().map(|x| grid.quantize(*x) as u8).collect();
                    let far = got.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
                    comparison.farthest_of_a_layer =
                        comparison.farthest_of_a_layer.max(far.clone().max().unwrap_or(0));
                    (different, all) = (different + far.filter(|far| *far > 0).count(), all + got.len());
                    codes = expected;
                }
            }
            simulated.extend(codes);
        }
        let classes = [&integer, &simulated].map(|scores| classes(scores));
        comparison.pictures = pictures.len();
        comparison.same_class = crate::digits::percent_equal(&classes[0], &classes[1]);
        comparison.farthest_score = integer.iter().zip(&simulated).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        comparison.equal_codes_of_a_layer = 100.0 * (1.0 - different as f64 / all.max(1) as f64);
        comparison.integer_accuracy = crate::digits::percent_equal(&classes[0], &pictures.labels);
        comparison.simulated_accuracy = crate::digits::percent_equal(&classes[1], &pictures.labels);
        Ok(comparison)
    }

    /// The network as a file, with a few pictures and what they give.
    pub fn save(&self, pictures: &Pictures) -> Result<String> {
        let pictures = pictures.first(SAVED);
        let mut layers = Vec::new();
        for Stage { layer, converted, grids: [input, output], mean, .. } in &self.stages {
            layers.push(SavedLayer {
                name: &layer.name,
                kind: match layer.kind {
                    Kind::Conv | Kind::Pointwise => "convolution",
                    Kind::Depthwise => "depthwise",
                    Kind::Dense => "mean, fully connected",
                },
                kernel: if matches!(layer.kind, Kind::Conv | Kind::Depthwise) { KERNEL } else { 1 },
                stride: layer.moves.stride,
                channels: [layer.inputs, layer.outputs],
                weights: converted.weights(),
                weight_zero_points: converted.weight_zero_points(),
                bias: converted.bias(),
                multipliers: converted.multipliers().iter().map(|by| [by.multiplier(), by.shift()]).collect(),
                clamp: converted.clamp(),
                input: input.into(),
                mean: mean.as_ref().map(Parameters::from),
                output: output.into(),
            });
        }
        let (side, images) = (pictures.side, self.encode(&pictures));
        let saved =
            Saved { side, layers, scores: self.run(&pictures)?, labels: pictures.labels, pictures: images };
        Ok(serde_json::to_string(&saved)?)
    }
}

/// The first of the largest of ten scores each.
fn classes(scores: &[u8]) -> Vec<u8> {
    let best = |scores: &[u8]| (0..scores.len()).rev().max_by_key(|i| scores[*i]).unwrap_or(0) as u8;
    scores.chunks_exact(CLASSES).map(best).collect()
}

impl Stage {
    /// The grids of what [`Stage::run`] returns.
    fn outputs(&self) -> impl Iterator<Item = &Grid> {
        self.mean.iter().chain([&self.grids[1]])
    }

    /// The output for codes of a batch; of the last layer, the mean and the scores.
    fn run(&self, codes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (side, channels) = (self.layer.moves.side, self.layer.inputs);
        let shape = [codes.len() / (side * side * channels), side, side, channels];
        let input = TensorRef::nhwc(codes, shape)?;
        let side = self.layer.moves.output();
        let to = [shape[0], side, side, self.layer.outputs];
        let mut out = vec![0; to.iter().product()];
        match &self.prepared {
            Prepared::Conv(conv) => conv.run(input, TensorMut::nhwc(&mut out, to)?, &mut conv.workspace())?,
            Prepared::Depthwise(conv) => {
                conv.run(input, TensorMut::nhwc(&mut out, to)?, &mut conv.workspace(shape)?)?;
            }
            Prepared::Dense(mean, dense) => {
                let (batch, outputs) = (shape[0], self.layer.outputs);
                let (mut means, mut scores) = (vec![0; batch * channels], vec![0; batch * outputs]);
                mean.run(input, TensorMut::nhwc(&mut means, [batch, 1, 1, channels])?)?;
                let rows = MatRef::row_major(&means, batch, channels)?;
                dense.run(rows, MatMut::row_major(&mut scores, batch, outputs)?, &mut dense.workspace())?;
                return Ok(vec![means, scores]);
            }
        }
        Ok(vec![out])
    }
}

/// Integers against the simulation.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// How many pictures were classified.
    pub pictures: usize,
    /// Of the integers, in percent.
    pub integer_accuracy: f64,
    /// Of the simulation, in percent.
    pub simulated_accuracy: f64,
    /// The share of pictures, in percent, that both give the same class.
    pub same_class: f64,
    /// The farthest that a score's code is from the simulated one, behind the whole network.
    pub farthest_score: u8,
    /// The farthest that a code is from the simulated one, each layer being given what was simulated.
    pub farthest_of_a_layer: u8,
    /// The share of such codes, in percent, that are equal.
    pub equal_codes_of_a_layer: f64,
}

/// A network as it is saved: JSON, described in README.md.
#[derive(Serialize)]
struct Saved<'a> {
    side: usize,
    layers: Vec<SavedLayer<'a>>,
    pictures: Vec<u8>,
    labels: Vec<u8>,
    scores: Vec<u8>,
}

#[derive(Serialize)]
struct SavedLayer<'a> {
    name: &'a str,
    kind: &'static str,
    kernel: usize,
    stride: usize,
    channels: [usize; 2],
    weights: &'a [i8],
    weight_zero_points: &'a [i32],
    bias: &'a [i32],
    multipliers: Vec<[i32; 2]>,
    clamp: (i32, i32),
    input: Parameters,
    mean: Option<Parameters>,
    output: Parameters,
}

#[derive(Serialize)]
struct Parameters {
    scale: f32,
    zero_point: i32,
}

impl From<&Grid> for Parameters {
    fn from(grid: &Grid) -> Self {
        Self { scale: grid.scale(), zero_point: grid.zero_point() }
    }
}

//! Training, calibration, fine tuning: the paper's algorithm 1.

use candle_core::{D, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, loss};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Result;
use crate::data::Pictures;
use crate::network::{Float, Folded, Plan, Precision, Simulation};
use crate::rng::Rng;

/// Pictures of a batch, where nothing is learned.
const EVALUATED: usize = 250;
/// Batches that calibrate.
const CALIBRATION: usize = 8;

/// How long and how fast to learn.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Pictures of a batch.
    pub batch: usize,
    /// Batches.
    pub steps: usize,
    /// The rate at first; it falls to nothing along a cosine.
    pub rate: f64,
}

/// A bar on stderr, if that is a terminal.
fn bar(steps: usize, name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg:28} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar.with_message(name.to_owned())
}

/// Lowers the loss of `forward` by changing the variables.
fn learn(
    name: &str,
    pictures: &Pictures,
    schedule: Schedule,
    rng: &mut Rng,
    variables: Vec<Var>,
    forward: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    let mut optimizer = AdamW::new(variables, ParamsAdamW { weight_decay: 1e-4, ..ParamsAdamW::default() })?;
    let mut order: Vec<usize> = (0..pictures.len()).collect();
    let (mut at, bar) = (order.len(), bar(schedule.steps, name));
    for step in 0..schedule.steps {
        if at + schedule.batch > order.len() {
            rng.shuffle(&mut order);
            at = 0;
        }
        let (images, labels) = pictures.batch(&order[at..(at + schedule.batch).min(order.len())])?;
        at += schedule.batch;
        let turn = core::f64::consts::PI * step as f64 / schedule.steps as f64;
        // The first steps are short ones.
        let warm = ((step + 1) as f64 / 20.0).min(1.0);
        optimizer.set_learning_rate(schedule.rate * warm * 0.5 * (1.0 + turn.cos()));
        optimizer.backward_step(&loss::cross_entropy(&forward(&images)?, &labels)?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Trains in floats, and folds.
pub fn float(plan: Plan, pictures: &Pictures, schedule: Schedule, rng: &mut Rng) -> Result<Folded> {
    let network = Float::new(plan, rng)?;
    learn("float", pictures, schedule, rng, network.variables(), |images| Ok(network.forward(images)?))?;
    network.fold()
}

/// Post-training quantization: ranges of activations from a few batches, nothing learned.
pub fn calibrate(network: &Folded, precision: Precision, pictures: &Pictures) -> Result<Simulation> {
    let simulation = Simulation::new(network.copy()?, precision, 0)?;
    simulation.set_quantizing(false);
    let count = (CALIBRATION * EVALUATED).min(pictures.len());
    for batch in (0..count).collect::<Vec<_>>().chunks(EVALUATED) {
        simulation.forward(&pictures.batch(batch)?.0)?;
    }
    simulation.set_quantizing(true);
    simulation.set_observing(false);
    Ok(simulation)
}

/// Quantization-aware training, from a folded network on; activations are quantized after the first tenth of the steps.
pub fn tune(
    network: &Folded,
    precision: Precision,
    pictures: &Pictures,
    schedule: Schedule,
    rng: &mut Rng,
) -> Result<Simulation> {
    let mut simulation = Simulation::new(network.copy()?, precision, schedule.steps as u64 / 10)?;
    if !precision.per_channel {
        simulation.learn_steps()?;
    }
    let Precision { weight_bits, activation_bits, .. } = precision;
    let name = format!("quantized, {weight_bits}/{activation_bits}");
    let variables = simulation.variables();
    learn(&name, pictures, schedule, rng, variables, |images| simulation.forward(images))?;
    simulation.set_observing(false);
    Ok(simulation)
}

/// Classes of all pictures.
pub fn classes(pictures: &Pictures, forward: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<u8>> {
    let mut classes = Vec::with_capacity(pictures.len());
    for batch in (0..pictures.len()).collect::<Vec<_>>().chunks(EVALUATED) {
        let scores = forward(&pictures.batch(batch)?.0)?;
        classes.extend(scores.argmax(D::Minus1)?.to_vec1::<u32>()?.into_iter().map(|class| class as u8));
    }
    Ok(classes)
}

/// The share, in percent, of pictures that are classified as what they are.
pub fn accuracy(pictures: &Pictures, forward: impl Fn(&Tensor) -> Result<Tensor>) -> Result<f64> {
    Ok(crate::digits::percent_equal(&pictures.labels, &classes(pictures, forward)?))
}

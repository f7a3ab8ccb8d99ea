//! The float network and its training: plain loops, stochastic gradient descent with momentum.
//!
//! The loss is the squared hinge, one against all: the score of the right class is pushed above 1, the others
//! below -1. It needs no exponential, so training consists of `+ - * / sqrt` alone, which IEEE 754 rounds in one
//! way: the weights, and all that follows, come out the same on every machine.

use crate::data::{CLASSES, Dataset, PIXELS};
use crate::rng::Rng;

/// Neurons in each layer, input first.
const WIDTHS: [usize; 4] = [PIXELS, 64, 32, CLASSES];
const EPOCHS: usize = 40;
const BATCH: usize = 16;
/// Falls linearly to zero over the epochs.
const LEARNING_RATE: f32 = 0.003;
const MOMENTUM: f32 = 0.9;

/// `y = x * weights + bias`.
#[derive(Clone)]
pub struct Dense {
    pub inputs: usize,
    pub outputs: usize,
    /// Row-major, a row per input: the K x N matrix that `zeropoint` calls rhs.
    pub weights: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
}

impl Dense {
    fn zero(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, weights: vec![0.0; inputs * outputs], bias: vec![0.0; outputs] }
    }

    /// He's initialization for layers that are followed by a ReLU.
    fn random(inputs: usize, outputs: usize, rng: &mut Rng) -> Self {
        let mut layer = Self::zero(inputs, outputs);
        let bound = (6.0 / inputs as f32).sqrt();
        layer.weights.fill_with(|| rng.uniform(bound));
        layer
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut y = self.bias.clone();
        for (x, row) in x.iter().zip(self.weights.chunks_exact(self.outputs)) {
            for (y, w) in y.iter_mut().zip(row) {
                *y += x * w;
            }
        }
        y
    }

    /// The gradient of the loss by this layer's input, given the one by its output.
    fn backward(&self, dy: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.outputs);
        rows.map(|row| row.iter().zip(dy).map(|(w, d)| w * d).sum()).collect()
    }

    /// Adds to `self`, a gradient, what one picture contributes.
    fn add_outer(&mut self, x: &[f32], dy: &[f32]) {
        for (x, row) in x.iter().zip(self.weights.chunks_exact_mut(self.outputs)) {
            for (g, d) in row.iter_mut().zip(dy) {
                *g += x * d;
            }
        }
        for (g, d) in self.bias.iter_mut().zip(dy) {
            *g += d;
        }
    }

    fn parameters(&mut self) -> impl Iterator<Item = &mut f32> {
        self.weights.iter_mut().chain(&mut self.bias)
    }
}

/// Dense layers with a ReLU after each but the last.
pub struct Network {
    pub layers: Vec<Dense>,
}

impl Network {
    /// Trains a new network on `data`.
    pub fn train(data: &Dataset, rng: &mut Rng) -> Self {
        let layers = WIDTHS.windows(2).map(|w| Dense::random(w[0], w[1], rng)).collect();
        let mut network = Self { layers };
        let zeros: Vec<Dense> = network.layers.iter().map(|l| Dense::zero(l.inputs, l.outputs)).collect();
        let mut velocity = zeros.clone();
        let mut order: Vec<usize> = (0..data.len()).collect();

        for epoch in 0..EPOCHS {
            let rate = LEARNING_RATE * (EPOCHS - epoch) as f32 / EPOCHS as f32;
            rng.shuffle(&mut order);
            for batch in order.chunks(BATCH) {
                let mut gradient = zeros.clone();
                for &index in batch {
                    network.add_gradient(data.image(index), data.labels[index], &mut gradient);
                }
                network.step(&mut gradient, &mut velocity, rate / batch.len() as f32);
            }
        }
        network
    }

    /// What each layer puts out for one picture; the last one's are the scores of the classes.
    pub fn activations(&self, image: &[f32]) -> Vec<Vec<f32>> {
        let mut outputs: Vec<Vec<f32>> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let mut y = layer.forward(outputs.last().map_or(image, Vec::as_slice));
            if index + 1 < self.layers.len() {
                y.iter_mut().for_each(|y| *y = y.max(0.0));
            }
            outputs.push(y);
        }
        outputs
    }

    /// The class of each picture.
    pub fn classify(&self, data: &Dataset) -> Vec<u8> {
        let scores = |index| self.activations(data.image(index)).pop().unwrap_or_default();
        (0..data.len()).map(|index| argmax(&scores(index))).collect()
    }

    /// Back-propagation of one picture's loss.
    fn add_gradient(&self, image: &[f32], label: u8, gradient: &mut [Dense]) {
        let outputs = self.activations(image);
        let mut dy: Vec<f32> = outputs[outputs.len() - 1]
            .iter()
            .enumerate()
            .map(|(class, &score)| {
                let side = if class == usize::from(label) { 1.0 } else { -1.0 };
                // d/dscore of max(0, 1 - side * score)^2
                -2.0 * side * (1.0 - side * score).max(0.0)
            })
            .collect();

        for index in (1..self.layers.len()).rev() {
            let x = &outputs[index - 1];
            gradient[index].add_outer(x, &dy);
            dy = self.layers[index].backward(&dy);
            // The ReLU lets through what belongs to a positive output.
            for (d, &x) in dy.iter_mut().zip(x) {
                if x <= 0.0 {
                    *d = 0.0;
                }
            }
        }
        gradient[0].add_outer(image, &dy);
    }

    fn step(&mut self, gradient: &mut [Dense], velocity: &mut [Dense], rate: f32) {
        for ((layer, gradient), velocity) in self.layers.iter_mut().zip(gradient).zip(velocity) {
            let moves = gradient.parameters().zip(velocity.parameters());
            for (p, (g, v)) in layer.parameters().zip(moves) {
                *v = MOMENTUM * *v - rate * *g;
                *p += *v;
            }
        }
    }
}

/// The index of the largest score, of equal ones the first.
pub fn argmax<T: PartialOrd + Copy>(scores: &[T]) -> u8 {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = class;
        }
    }
    best as u8
}

//! Random layers and images, and what the reference makes of them.
#![allow(dead_code)] // every test file uses a part of this

#[path = "../../../../tests/common/rng.rs"]
mod rng;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear};
use zeropoint::layers::{Activation, Padding, Window};
use zeropoint::reference::{self, Image, Kernel};
use zeropoint::training::{ConvertedLayer, Grid, TrainedLayer, WeightLayout};
use zeropoint::{
    Backend, FloatScale, MatMut, MatRef, PackOptions, PerAxis, QuantParams, Rounding, Stages, TensorMut,
    TensorRef, ZeroPoint,
};
use zeropoint_candle::{Options, Output};

pub use rng::Rng;

/// A real in `low..high`.
pub fn real(random: &Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * (random.bits() >> 40) as f32 / (1u32 << 24) as f32
}

pub fn reals(random: &Rng, shape: &[usize], low: f32, high: f32) -> Tensor {
    let all = (0..shape.iter().product()).map(|_| real(random, low, high)).collect::<Vec<_>>();
    Tensor::from_vec(all, shape, &Device::Cpu).unwrap()
}

/// Codes of the full range.
pub fn codes(random: &Rng, shape: &[usize]) -> Tensor {
    let all = (0..shape.iter().product()).map(|_| random.bits() as u8).collect::<Vec<_>>();
    Tensor::from_vec(all, shape, &Device::Cpu).unwrap()
}

pub fn linear(random: &Rng, outputs: usize, inputs: usize) -> Linear {
    let bias = random.below(4) > 0;
    Linear::new(reals(random, &[outputs, inputs], -0.7, 0.5), bias.then(|| reals(random, &[outputs], -1.0, 1.0)))
}

pub fn conv(random: &Rng, [outputs, channels, height, width]: [usize; 4], config: Conv2dConfig) -> Conv2d {
    let weights = reals(random, &[outputs, channels, height, width], -0.7, 0.5);
    Conv2d::new(weights, Some(reals(random, &[outputs], -1.0, 1.0)), config)
}

/// A random convolution, and a random shape for its input: groups, depthwise ones, strides, dilation, padding.
pub fn any_conv(random: &Rng) -> (Conv2d, [usize; 4]) {
    let groups = random.pick(&[1, 1, 2, 3, 8]);
    let channels = if groups == 8 { 1 } else { 1 + random.below(9) };
    let kernel = [groups * (1 + random.below(4)), channels, 1 + random.below(3), 1 + random.below(3)];
    let config = Conv2dConfig {
        padding: random.below(3),
        stride: 1 + random.below(2),
        dilation: 1 + random.below(2),
        groups,
        ..Conv2dConfig::default()
    };
    (
        conv(random, kernel, config),
        [1 + random.below(2), channels * groups, 5 + random.below(5), 5 + random.below(5)],
    )
}

pub fn params(random: &Rng, low: f32, high: f32) -> QuantParams<u8> {
    QuantParams::from_range(real(random, low, 0.0), real(random, high / 2.0, high)).unwrap()
}

pub fn output(random: &Rng) -> Output {
    let activations = [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1];
    match random.below(3) {
        0 => Output::Reals,
        _ => Output::Codes(params(random, -8.0, 8.0), random.pick(&activations)),
    }
}

pub fn rounding(random: &Rng) -> Rounding {
    use Rounding::*;
    random.pick(&[DoubleAway, DoubleAway, DoubleAwaySat, DoubleUp, SingleUp, SingleAway, SingleEven])
}

pub fn options(backend: Backend, rounding: Rounding) -> Options {
    Options { rounding, pack: PackOptions { backend: Some(backend), ..PackOptions::default() } }
}

/// Every backend that runs here; prints the others.
pub fn backends() -> Vec<Backend> {
    for row in zeropoint::kernels::TABLE.iter().filter(|row| Backend::detect(row).is_none()) {
        println!("SKIPPED backend {}: this CPU has no {}", row.kernel(), row.needs());
    }
    let all: Vec<_> = zeropoint::available().collect();
    assert!(all.iter().any(|backend| backend.name() == "scalar"));
    all
}

pub fn vec(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub fn wide(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// A layer of floats in the order that the reference reads: output channels, height, width, input channels.
pub struct Known {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    /// Of the weights of an output channel: the largest magnitude, by 127.
    pub scales: Vec<f32>,
}

impl Known {
    pub fn new(weights: &Tensor, bias: Option<&Tensor>) -> Self {
        let outputs = weights.dims()[0];
        let weights =
            vec(&if weights.dims().len() == 4 { weights.permute([0, 2, 3, 1]).unwrap() } else { weights.clone() });
        let bias = bias.map_or_else(|| vec![0.0; outputs], vec);
        let of = |w: &[f32]| w.iter().fold(0.0f32, |most, w| most.max(w.abs())) / 127.0;
        let scales = weights.chunks(weights.len() / outputs).map(of).collect();
        Self { weights, bias, scales }
    }

    fn code(&self, i: usize) -> i8 {
        let of = QuantParams::<i8>::new(self.scales[i / (self.weights.len() / self.scales.len())], 0).unwrap();
        of.quantize(self.weights[i])
    }

    pub fn converted(
        &self,
        input: &QuantParams<u8>,
        output: &QuantParams<u8>,
        activation: Activation,
        rounding: Rounding,
    ) -> ConvertedLayer {
        let grid = |scale: &f32| Grid::from(QuantParams::<i8>::new(*scale, 0).unwrap());
        let grids: Vec<_> = self.scales.iter().map(grid).collect();
        let (input, output) = (Grid::from(*input), Grid::from(*output));
        let (name, layout) = ("reference", WeightLayout::FullyConnected);
        let (weights, bias, grids) = (&self.weights, &self.bias, &grids);
        TrainedLayer { name, layout, weights, bias, grids, input, output, activation, rounding }.convert().unwrap()
    }

    /// What the reference gives, as floats, by a run with weights and stages.
    fn expected(
        &self,
        input: &QuantParams<u8>,
        output: Output,
        rounding: Rounding,
        codes: impl FnOnce(&[i8], Stages<'_, u8>) -> Vec<u8>,
        reals: impl FnOnce(&[i8], Stages<'_, f32>) -> Vec<f32>,
    ) -> Vec<f32> {
        match output {
            Output::Codes(params, activation) => {
                let layer = self.converted(input, &params, activation, rounding);
                let (low, high) = activation.bounds(&params);
                let stages = Stages::fixed(PerAxis::PerColumn(layer.multipliers()))
                    .bias(layer.bias())
                    .rounding(rounding)
                    .zero_point(params.zero_point())
                    .clamp(low, high);
                codes(layer.weights(), stages).into_iter().map(f32::from).collect()
            }
            Output::Reals => {
                let weights: Vec<_> = (0..self.weights.len()).map(|i| self.code(i)).collect();
                let scales: Vec<_> = self.scales.iter().map(|scale| scale * input.scale()).collect();
                reals(&weights, Stages::dequantize(FloatScale::PerColumn(&scales)).float_bias(&self.bias))
            }
        }
    }

    /// The reference on rows.
    pub fn rows(&self, x: &Tensor, input: &QuantParams<u8>, output: Output, rounding: Rounding) -> Vec<f32> {
        fn run<O: reference::Output>(
            x: &[u8],
            zero: i32,
            weights: &[i8],
            stages: Stages<'_, O>,
            n: usize,
        ) -> Vec<O> {
            let k = weights.len() / n;
            let mut out = vec![O::default(); x.len() / k * n];
            let lhs = MatRef::row_major(x, x.len() / k, k).unwrap().zero_point(zero);
            let rhs = MatRef::row_major(weights, n, k).unwrap().transposed().zero_point(0);
            let to = MatMut::row_major(&mut out, x.len() / k, n).unwrap();
            reference::gemm(lhs, rhs, &stages, to).unwrap();
            out
        }
        let x = x.flatten_all().unwrap().to_vec1().unwrap();
        let (zero, n) = (input.zero_point(), self.bias.len());
        self.expected(
            input,
            output,
            rounding,
            |w, stages| run(&x, zero, w, stages, n),
            |w, stages| run(&x, zero, w, stages, n),
        )
    }

    /// The reference on images, batch x channels x height x width; gives batch x height x width x channels.
    pub fn image(
        &self,
        conv: &Conv2d,
        x: &Tensor,
        input: &QuantParams<u8>,
        output: Output,
        rounding: Rounding,
    ) -> Vec<f32> {
        fn run<O: reference::Output>(
            image: Image<'_, u8>,
            kernel: [usize; 4],
            weights: &[i8],
            (window, groups): (Window, usize),
            stages: Stages<'_, O>,
        ) -> Vec<O> {
            let [batch, rows, cols, _] = image.codes.shape();
            let [outputs, height, width, _] = kernel;
            let weights = TensorRef::nhwc(weights, kernel).unwrap();
            let [h, w] = window.output([height, width], [rows, cols]).unwrap();
            let mut out = vec![O::default(); batch * h * w * outputs];
            let mut to = TensorMut::nhwc(&mut out, [batch, h, w, outputs]).unwrap();
            let kernel = Kernel { weights, zero_point: ZeroPoint::One(0), window };
            reference::conv2d(image, kernel, groups, &stages, &mut to);
            out
        }
        let (batch, c, rows, cols) = x.dims4().unwrap();
        let codes: Vec<u8> = x.permute([0, 2, 3, 1]).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let codes = TensorRef::nhwc(&codes, [batch, rows, cols, c]).unwrap();
        let image = Image { codes, zero_point: input.zero_point() };
        let (o, c, h, w) = conv.weight().dims4().unwrap();
        let kernel = [o, h, w, c];
        let Conv2dConfig { padding: pad, stride, dilation, groups, .. } = *conv.config();
        let padding = Padding::Explicit { top: pad, bottom: pad, left: pad, right: pad };
        let moves = (Window { stride: [stride; 2], dilation: [dilation; 2], padding }, groups);
        self.expected(
            input,
            output,
            rounding,
            |w, stages| run(image, kernel, w, moves, stages),
            |w, stages| run(image, kernel, w, moves, stages),
        )
    }
}

//! Layers that were trained in floats, converted, and run in integers: against the simulation of them in floats.
#![cfg(not(miri))]

mod common;

use common::{Rng, seed};
use zeropoint::layers::{Activation, Window};
use zeropoint::training::{Axis, Grid, Levels, Range, TrainedLayer, WeightLayout, ranges};
use zeropoint::{Code, Error, MatMut, MatRef, Multiplier, OutputCode, Rounding, TensorMut, TensorRef};

const LAYOUTS: [WeightLayout; 3] = [WeightLayout::Conv, WeightLayout::Depthwise, WeightLayout::FullyConnected];
const ACTIVATIONS: [Activation; 4] = [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1];
/// Of the images; kernels are 3 x 2, or 1 x 1 for rows of a matrix.
const SIZE: [usize; 2] = [5, 4];

fn real(rng: &Rng, scale: f32) -> f32 {
    ((rng.bits() >> 40) as f32 / (1 << 24) as f32 - 0.5) * scale
}

/// A layer with everything that it owns.
struct Problem {
    layout: WeightLayout,
    inputs: usize,
    outputs: usize,
    kernel: [usize; 2],
    weights: Vec<f32>,
    bias: Vec<f32>,
    grids: Vec<Grid>,
    input: Grid,
    activation: Activation,
    /// Reals that codes of the input stand for.
    x: Vec<f32>,
}

impl Problem {
    fn new(rng: &Rng, layout: WeightLayout, levels: [Levels; 2]) -> Self {
        let outputs = 1 + rng.below(7);
        let inputs = if layout == WeightLayout::Depthwise { outputs } else { 1 + rng.below(12) };
        let kernel = if layout == WeightLayout::FullyConnected { [1, 1] } else { [3, 2] };
        let each = kernel[0] * kernel[1] * if layout == WeightLayout::Depthwise { 1 } else { inputs };
        let mut weights: Vec<_> = (0..outputs * each).map(|_| real(rng, 1.0)).collect();
        let axis = layout.axis(outputs, weights.len()).unwrap();
        // Channels of different sizes, now and then one of nothing.
        let Axis::Channels { inner, .. } = axis else { unreachable!() };
        let factors: Vec<_> =
            (0..outputs).map(|_| if rng.one_in(10) { 0.0 } else { f32::powi(2.0, rng.within(-4, 1)) }).collect();
        weights.iter_mut().enumerate().for_each(|(i, w)| *w *= factors[i / inner % outputs]);
        let bias = (0..outputs).map(|_| real(rng, 2.0)).collect();
        let grids = if rng.one_in(2) {
            let mut each = vec![Range::default(); outputs];
            ranges(&weights, axis, &mut each).unwrap();
            each.iter().map(|range| range.symmetric(levels[0]).unwrap()).collect()
        } else {
            let mut all = [Range::default()];
            ranges(&weights, Axis::Tensor, &mut all).unwrap();
            vec![all[0].grid(levels[0]).unwrap()]
        };
        let (min, max) = rng.pick(&[(-1.0, 1.0), (0.0, 6.0), (-0.3, 2.0)]);
        let input = Grid::from_range(min, max, levels[1]).unwrap();
        let count = if layout == WeightLayout::FullyConnected { 20 * inputs } else { SIZE[0] * SIZE[1] * inputs };
        let x = (0..count).map(|_| input.fake(min + (max - min) * (real(rng, 1.0) + 0.5))).collect();
        let activation = rng.pick(&ACTIVATIONS);
        Self { layout, inputs, outputs, kernel, weights, bias, grids, input, activation, x }
    }

    fn grid(&self, channel: usize) -> &Grid {
        &self.grids[if self.grids.len() == 1 { 0 } else { channel }]
    }

    /// What training simulates, in 64-bit floats: fake-quantized weights, the bias in its own steps, the activation.
    fn simulate(&self, output: Grid) -> Vec<f64> {
        let axis = self.layout.axis(self.outputs, self.weights.len()).unwrap();
        let Axis::Channels { inner, .. } = axis else { unreachable!() };
        let own = |o: usize| (0..self.weights.len()).filter(move |i| i / inner % self.outputs == o);
        let is_empty = |o: usize| own(o).all(|i| self.grid(o).fake(self.weights[i]) == 0.0);
        let mut steps = vec![0.0; self.outputs];
        self.trained(output).bias_scales(&mut steps).unwrap();
        let bias = |o: usize| {
            let step = match is_empty(o) {
                // Any would do, so that it is fine.
                true => f64::from(output.scale()) / 65536.0,
                false => f64::from(self.input.scale()) * f64::from(self.grid(o).scale()),
            };
            assert_eq!(steps[o], step);
            (f64::from(self.bias[o]) / step).round() * step
        };
        let [kh, kw] = self.kernel;
        let fully = self.layout == WeightLayout::FullyConnected;
        let [height, width] = if fully { [20, 1] } else { SIZE };
        let mut all = vec![];
        for y in 0..height + 1 - kh {
            for x in 0..width + 1 - kw {
                for o in 0..self.outputs {
                    let mut sum = bias(o);
                    for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                        let depthwise = self.layout == WeightLayout::Depthwise;
                        for i in if depthwise { o..o + 1 } else { 0..self.inputs } {
                            let tap = match depthwise {
                                true => (ky * kw + kx) * self.outputs + o,
                                false => ((o * kh + ky) * kw + kx) * self.inputs + i,
                            };
                            let w = f64::from(self.grid(o).fake(self.weights[tap]));
                            sum += w * f64::from(self.x[((y + ky) * width + x + kx) * self.inputs + i]);
                        }
                    }
                    all.push(match self.activation {
                        Activation::None => sum,
                        Activation::Relu => sum.max(0.0),
                        Activation::Relu6 => sum.clamp(0.0, 6.0),
                        Activation::ReluN1 => sum.clamp(-1.0, 1.0),
                    });
                }
            }
        }
        all
    }

    fn trained(&self, output: Grid) -> TrainedLayer<'_> {
        TrainedLayer {
            name: "layer",
            layout: self.layout,
            weights: &self.weights,
            bias: &self.bias,
            grids: &self.grids,
            input: self.input,
            output,
            activation: self.activation,
            rounding: Rounding::DoubleAway,
        }
    }

    /// Codes of the output, by integers.
    fn run<L: Code + TryFrom<i32>, O: Code + OutputCode>(&self, output: Grid, count: usize) -> Vec<i32> {
        let layer = self.trained(output).convert().unwrap();
        assert!(layer.bias().len() == self.outputs && layer.multipliers().len() == self.outputs);
        let codes: Vec<L> =
            self.x.iter().map(|x| L::try_from(self.input.quantize(*x)).ok().expect("a code")).collect();
        let mut out = vec![O::default(); count];
        let image = [1, SIZE[0], SIZE[1], self.inputs];
        let to = [1, SIZE[0] - 2, SIZE[1] - 1, self.outputs];
        match self.layout {
            WeightLayout::FullyConnected => {
                let layer = layer.fully_connected::<L, O>().unwrap();
                let input = MatRef::row_major(&codes, 20, self.inputs).unwrap();
                layer.run(input, MatMut::row_major(&mut out, 20, self.outputs).unwrap(), &mut layer.workspace())
            }
            WeightLayout::Conv => {
                let layer = layer.conv2d::<L, O>(self.kernel, Window::default(), 1).unwrap();
                let input = TensorRef::nhwc(&codes, image).unwrap();
                layer.run(input, TensorMut::nhwc(&mut out, to).unwrap(), &mut layer.workspace())
            }
            WeightLayout::Depthwise => {
                let layer = layer.depthwise_conv2d::<L, O>(self.kernel, Window::default(), 1).unwrap();
                let input = TensorRef::nhwc(&codes, image).unwrap();
                let mut workspace = layer.workspace(image).unwrap();
                layer.run(input, TensorMut::nhwc(&mut out, to).unwrap(), &mut workspace)
            }
        }
        .unwrap();
        out.into_iter().map(Into::into).collect()
    }
}

/// Two groups of a convolution, and two outputs of a channel of a depthwise one: twice and three times a code.
#[test]
fn groups_and_multipliers_are_converted() {
    let one = Grid::new(1.0, 0, Levels::bits(8).unwrap()).unwrap();
    let trained = |layout| TrainedLayer {
        name: "twice, three times",
        layout,
        weights: &[2.0, 3.0],
        bias: &[0.0, 1.0],
        grids: std::slice::from_ref(&one),
        input: one,
        output: one,
        activation: Activation::None,
        rounding: Rounding::DoubleAway,
    };
    let mut out = [0u8; 2];
    let conv = trained(WeightLayout::Conv).convert().unwrap().conv2d([1, 1], Window::default(), 2).unwrap();
    let input = TensorRef::nhwc(&[10u8, 20], [1, 1, 1, 2]).unwrap();
    conv.run(input, TensorMut::nhwc(&mut out, [1, 1, 1, 2]).unwrap(), &mut conv.workspace()).unwrap();
    assert_eq!(out, [20, 61]);
    let layer = trained(WeightLayout::Depthwise).convert().unwrap();
    let depthwise = layer.depthwise_conv2d([1, 1], Window::default(), 2).unwrap();
    let input = TensorRef::nhwc(&[10u8], [1, 1, 1, 1]).unwrap();
    let mut workspace = depthwise.workspace([1, 1, 1, 1]).unwrap();
    depthwise.run(input, TensorMut::nhwc(&mut out, [1, 1, 1, 2]).unwrap(), &mut workspace).unwrap();
    assert_eq!(out, [20, 31]);
}

/// Codes of integers are those of the simulation, or neighbours, which rounding of bias and multiplier may make; they are neighbours rarely.
#[test]
fn integers_do_what_was_simulated() {
    let rng = Rng::new(seed());
    let (mut codes, mut neighbours) = (0, 0);
    for layout in LAYOUTS.into_iter().cycle().take(600) {
        let eight = rng.one_in(2);
        let bits = [(); 3].map(|()| Levels::bits(if eight { 8 } else { rng.within(3, 8) as u32 }).unwrap());
        let problem = Problem::new(&rng, layout, [bits[0], bits[1]]);
        // Ends of the outputs are hardly those of biases in finer steps.
        let reals = problem.simulate(Grid::new(1e-3, 0, bits[2]).unwrap());
        let least = reals.iter().fold(0.0, |a: f64, b| a.min(*b)) as f32;
        let most = reals.iter().fold(0.01, |a: f64, b| a.max(*b)) as f32;
        // Some are clamped.
        let output = Grid::from_range(least * 0.9, most * 0.9, bits[2]).unwrap();
        let reals = problem.simulate(output);
        let got = match rng.below(2) {
            0 => problem.run::<u8, u8>(output, reals.len()),
            _ => {
                // The same codes, less 128.
                let low = Levels::bits(8).unwrap();
                let signed = |grid: Grid| {
                    let (first, last) = grid.codes();
                    assert!(first >= 0 && last <= 255);
                    zeropoint::QuantParams::<i8>::new(grid.scale(), grid.zero_point() - 128).unwrap()
                };
                if output.codes() == low.codes() && problem.input.codes() == low.codes() {
                    let input = Grid::from(signed(problem.input));
                    let problem = Problem { input, ..problem };
                    let got = problem.run::<i8, i8>(signed(output).into(), reals.len());
                    got.into_iter().map(|code| code + 128).collect()
                } else {
                    problem.run::<u8, u8>(output, reals.len())
                }
            }
        };
        for (real, code) in reals.iter().zip(got) {
            let expected = output.quantize(*real as f32);
            assert!((code - expected).abs() <= 1, "{layout:?}: {code}, not {expected}");
            (codes, neighbours) = (codes + 1, neighbours + usize::from(code != expected));
        }
    }
    assert!(neighbours * 50 < codes, "{neighbours} of {codes}");
}

/// Weights of every grid are the codes less what makes them `i8`; narrow ones are never -128.
#[test]
fn converted_weights_are_the_codes_of_their_grid() {
    let rng = Rng::new(seed());
    for _ in 0..100 {
        let levels = [Levels::bits(8).unwrap().narrow().unwrap(), Levels::bits(8).unwrap()];
        let problem = Problem::new(&rng, WeightLayout::FullyConnected, levels);
        let output = Grid::from_range(-9.0, 9.0, levels[1]).unwrap();
        let layer = problem.trained(output).convert().unwrap();
        for (i, (code, w)) in layer.weights().iter().zip(&problem.weights).enumerate() {
            let channel = i / problem.inputs;
            let grid = problem.grid(channel);
            assert_eq!(i32::from(*code) + 128, grid.quantize(*w));
            assert_eq!(layer.weight_zero_points()[channel] + 128, grid.zero_point());
            assert_ne!(*code, -128);
        }
    }
}

#[test]
fn what_integers_cannot_hold_is_named() {
    let levels = Levels::bits(8).unwrap();
    let grid = |scale| Grid::new(scale, 0, levels).unwrap();
    let grids = [grid(1.0), grid(1.0)];
    let fine = TrainedLayer {
        name: "block 3, depthwise",
        layout: WeightLayout::FullyConnected,
        weights: &[1.0, 2.0, 3.0, 4.0],
        bias: &[0.0, 1.0],
        grids: &grids,
        input: grid(0.5),
        output: grid(2.0),
        activation: Activation::None,
        rounding: Rounding::DoubleAway,
    };
    let refused = |layer: TrainedLayer<'_>| match layer.convert().unwrap_err() {
        Error::Layer { layer, argument, channel, .. } => (layer.as_str().to_owned(), argument, channel),
        other => panic!("{other}"),
    };
    let named = |argument, channel| ("block 3, depthwise".to_owned(), argument, channel);
    let layer = fine.convert().unwrap();
    assert_eq!((layer.bias(), layer.weight_zero_points(), layer.clamp()), (&[0, 2][..], &[-128; 2][..], (0, 255)));
    // Clamps of activations: codes of 0, 6, -1 and 1 (paper 2.4).
    let clamp = |activation, zero| {
        let output = Grid::new(0.05, zero, levels).unwrap();
        TrainedLayer { activation, output, ..fine }.convert().unwrap().clamp()
    };
    assert_eq!(clamp(Activation::None, 30), (0, 255));
    assert_eq!(clamp(Activation::Relu, 30), (30, 255));
    assert_eq!(clamp(Activation::Relu6, 30), (30, 150));
    assert_eq!(clamp(Activation::ReluN1, 30), (10, 50));
    // Biases at the ends of int32, less what products may add, and beyond.
    let with = |bias: &[f32]| TrainedLayer { bias, weights: &[0.0, 0.0, 0.0, 1.0], ..fine }.convert().map(|_| ());
    assert!(with(&[0.0, 1.07e9]).is_ok());
    assert_eq!(refused(TrainedLayer { bias: &[0.0, 1.0738e9], ..fine }), named("bias", 1));
    assert_eq!(refused(TrainedLayer { bias: &[-1.08e9, 0.0], ..fine }), named("bias", 0));
    assert_eq!(refused(TrainedLayer { bias: &[1_073_741_760.0, 0.0], ..fine }), named("sum", 0));
    // Multipliers beyond 2^30, and of nothing.
    let tiny = [grid(1.0), grid(1e-38)];
    assert_eq!(refused(TrainedLayer { grids: &tiny, bias: &[0.0; 2], ..fine }), named("multiplier", 1));
    assert_eq!(refused(TrainedLayer { output: grid(1e-12), ..fine }), named("multiplier", 0));
    let message = TrainedLayer { bias: &[-4e9, 0.0], ..fine }.convert().unwrap_err().to_string();
    assert_eq!(
        message,
        "layer block 3, depthwise: bias of channel 0 is -8e9, outside -2.147483648e9..=2.147483647e9"
    );
    // A channel of nothing has a bias as precise as an output is, and never overflows where its output is within reach.
    let empty = TrainedLayer { weights: &[0.0, 0.0, 3.0, 4.0], bias: &[100.3, 0.0], ..fine };
    let layer = empty.convert().unwrap();
    assert_eq!(layer.bias()[0], (f64::from(100.3f32) / 2.0 * 65536.0).round() as i32);

    let length = |got| Error::Length { argument: "grids", expected: 2, got };
    let three = [grid(1.0); 3];
    assert_eq!(TrainedLayer { grids: &three, ..fine }.convert().unwrap_err(), length(3));
    assert_eq!(TrainedLayer { grids: &[], ..fine }.convert().unwrap_err(), length(0));
    assert!(matches!(
        TrainedLayer { bias: &[0.0; 3], ..fine }.convert(),
        Err(Error::Divisor { value: 3, of: 4, .. })
    ));
    let nan = TrainedLayer { weights: &[0.0, f32::NAN], ..fine }.convert().unwrap_err();
    assert!(nan.to_string().starts_with("layer block 3, depthwise: weight of channel 1 is NaN"), "{nan}");
    assert_eq!(refused(TrainedLayer { bias: &[0.0, f32::NEG_INFINITY], ..fine }), named("bias", 1));
    let wide = [Grid::new(1.0, 0, Levels::bits(9).unwrap()).unwrap()];
    let wide = TrainedLayer { grids: &wide, ..fine }.convert().unwrap_err();
    assert_eq!(
        wide.to_string(),
        "layer block 3, depthwise: levels of weights of channel 0 is 512, outside 2..=256"
    );
    // Layers of other layouts, kernels and codes.
    let layer = fine.convert().unwrap();
    assert!(matches!(layer.conv2d::<u8, u8>([1, 1], Window::default(), 1), Err(Error::Packed { .. })));
    assert!(matches!(layer.fully_connected::<i8, u8>(), Err(Error::Clamp { high: 255, max: 127, .. })));
    let conv = TrainedLayer { layout: WeightLayout::Conv, ..fine }.convert().unwrap();
    assert!(matches!(conv.conv2d::<u8, u8>([2, 2], Window::default(), 1), Err(Error::Divisor { value: 8, .. })));
    assert!(matches!(conv.conv2d::<u8, u8>([0, 2], Window::default(), 1), Err(Error::Divisor { value: 0, .. })));
    assert!(conv.conv2d::<u8, u8>([usize::MAX, 2], Window::default(), 1).is_err());
    assert!(conv.conv2d::<u8, u8>([1, 2], Window::default(), 1).is_ok());
}

/// The paper's multipliers of 16 bits: 14 bits are right.
#[test]
fn multipliers_of_16_bits_have_14_that_are_right() {
    let rng = Rng::new(seed());
    for _ in 0..20_000 {
        let real = f64::from(rng.fraction() * f32::powi(2.0, rng.within(-30, 29)));
        let by = Multiplier::from_real(real).unwrap().to_int16();
        assert_eq!(by.multiplier() & 0xffff, 0);
        let got = f64::from(by.multiplier()) * f64::powi(2.0, by.shift() - 31);
        assert!((got / real - 1.0).abs() <= f64::powi(2.0, -14), "{real}: {got}");
    }
}

#[test]
fn division_by_a_power_of_two_rounds_away_from_zero() {
    for (x, by) in [(-12, -2), (12, 2), (-4, -1), (4, 1), (-3, 0), (3, 0), (-13, -2)] {
        assert_eq!(zeropoint::kernels::divide_away(x, 3), by, "{x}");
    }
}

//! Layers are as near to their floats as the documentation of the crate derives.

mod common;

use candle_core::{DType, Module, Tensor};
use candle_nn::{Conv2d, Linear};
use common::*;
use zeropoint::QuantParams;
use zeropoint::layers::Activation;
use zeropoint_candle::{Output, QuantizedConv2d, QuantizedLinear, dequantize, quantize};

/// Relative: roundings of floats, in scales, and of a ratio of up to 255 against half a code.
const FLOATS: f64 = 1.0 / (1 << 14) as f64;

/// Results against floats in binary64; channels are last. `seen` is the sum of |x| over the codes that a result sees.
fn check(
    known: &Known,
    [y, floats, seen]: [&Tensor; 3],
    input: &QuantParams<u8>,
    output: Output,
    what: &str,
) -> f64 {
    let (y, floats, seen) = (wide(y), wide(floats), wide(seen));
    assert_eq!((y.len(), y.len()), (floats.len(), seen.len()));
    let (channels, step) = (known.bias.len(), f64::from(input.scale()));
    let inner = known.weights.len() / channels;
    let mut most: f64 = 0.0;
    for (i, (y, float)) in y.iter().zip(floats).enumerate() {
        let (c, scale) = (i % channels, f64::from(known.scales[i % channels]));
        let weights: f64 = known.weights[c * inner..][..inner].iter().map(|w| f64::from(w.abs())).sum();
        let mut bound = step / 2.0 * weights + scale / 2.0 * seen[i % seen.len()];
        let mut expected = float;
        if let Output::Codes(params, activation) = output {
            let layer = known.converted(input, &params, activation, zeropoint::Rounding::DoubleAway);
            // Negative: to the right.
            let shift = -layer.multipliers()[c].shift();
            let twice = if shift > 0 { 0.5f64.powi(shift + 1) } else { 0.0 };
            bound += step * scale / 2.0 + (0.5 + twice) * f64::from(params.scale());
            let (low, high) = activation.bounds(&params);
            let real = |code: i32| f64::from(params.dequantize(code as u8));
            expected = expected.clamp(real(low), real(high));
        }
        bound += FLOATS * (bound + float.abs());
        let off = (y - expected).abs();
        assert!(off <= bound, "{what}: result {i} is {y}, of floats {expected}: off by {off}, bound {bound}");
        most = most.max(off / bound);
    }
    most
}

fn outputs(floats: &Tensor) -> Vec<Output> {
    let all = vec(floats);
    let (low, high) = all.iter().fold((0f32, 0f32), |(low, high), x| (low.min(*x), high.max(*x)));
    // The whole range; half of it; six, and a little.
    let codes = |low, high, activation| Output::Codes(QuantParams::from_range(low, high).unwrap(), activation);
    vec![
        Output::Reals,
        codes(low, high, Activation::None),
        codes(low / 2.0, high / 2.0, Activation::None),
        codes(0.0, high.max(0.1), Activation::Relu),
        codes(-0.3, 6.2, Activation::Relu6),
    ]
}

fn f64s(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F64).unwrap()
}

/// Reals of a layer's output.
fn reals(y: &Tensor, output: Output) -> Tensor {
    match output {
        Output::Reals => y.clone(),
        Output::Codes(params, _) => dequantize(y, &params).unwrap(),
    }
}

#[test]
fn linear_layers() {
    let (random, mut most) = (Rng::new(1), 0.0f64);
    for case in 0..60 {
        let (rows, inputs, outputs_) = (1 + random.below(9), 1 + random.below(200), 1 + random.below(40));
        let float = linear(&random, outputs_, inputs);
        let x = common::reals(&random, &[rows, inputs], -1.5, 2.5);
        let input = QuantParams::from_range(-1.5, 2.5).unwrap();
        let exact = Linear::new(f64s(float.weight()), float.bias().map(f64s)).forward(&f64s(&x)).unwrap();
        let x = quantize(&x, &input).unwrap();
        let seen = f64s(&dequantize(&x, &input).unwrap()).abs().unwrap().sum_keepdim(1).unwrap();
        let seen = seen.broadcast_as((rows, outputs_)).unwrap();
        for output in outputs(&exact) {
            let layer = QuantizedLinear::from_float(&float, &input, output).unwrap();
            let y = reals(&layer.forward(&x).unwrap(), output);
            let known = Known::new(float.weight(), float.bias());
            let what = format!("case {case}, {output:?}");
            most = most.max(check(&known, [&y, &exact, &seen], &input, output, &what));
        }
    }
    println!("linear: at most {most:.3} of the bound");
    assert!(most > 0.5, "the bound is far from what happens: {most}");
}

#[test]
fn convolutions() {
    let (random, mut most) = (Rng::new(2), 0.0f64);
    let last = |x: &Tensor| x.permute([0, 2, 3, 1]).unwrap();
    for case in 0..60 {
        let (float, shape) = any_conv(&random);
        let x = common::reals(&random, &shape, -1.5, 2.5);
        let input = QuantParams::from_range(-1.5, 2.5).unwrap();
        let exact = Conv2d::new(f64s(float.weight()), None, *float.config()).forward(&f64s(&x)).unwrap();
        let bias = f64s(float.bias().unwrap()).reshape((1, (), 1, 1)).unwrap();
        let exact = exact.broadcast_add(&bias).unwrap();
        let x = quantize(&x, &input).unwrap();
        let ones = Conv2d::new(f64s(float.weight()).ones_like().unwrap(), None, *float.config());
        let seen = ones.forward(&f64s(&dequantize(&x, &input).unwrap()).abs().unwrap()).unwrap();
        for output in outputs(&exact) {
            let layer = QuantizedConv2d::from_float(&float, &input, output).unwrap();
            let y = reals(&layer.forward(&x).unwrap(), output);
            let known = Known::new(float.weight(), float.bias());
            let what = format!("case {case}, {output:?}, {:?}", float.config());
            most = most.max(check(&known, [&last(&y), &last(&exact), &last(&seen)], &input, output, &what));
        }
    }
    println!("convolutions: at most {most:.3} of the bound");
    assert!(most > 0.5, "the bound is far from what happens: {most}");
}

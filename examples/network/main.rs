//! Loads a network that `examples/qat` trained, converted and saved, and runs it on every backend.
//!
//! `cargo run --release --example network [-- FILE]`; without a file, the network of the digits in `digits.json`.
//!
//! The exit code is 1 if any backend differs in one byte from the scores that were saved.

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;
use zeropoint::layers::{
    Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, FullyConnected, FullyConnectedSpec, Mean, MeanSpec,
    Padding, Window,
};
use zeropoint::{
    Backend, MatMut, MatRef, Multiplier, PackOptions, PerAxis, QuantParams, Rounding, Stages, TensorMut,
    TensorRef, ZeroPoint,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DIGITS: &str = include_str!("digits.json");

/// A prepared layer.
enum Layer {
    Conv(Conv2d<u8, u8>),
    Depthwise(Box<DepthwiseConv2d<u8, u8>>),
    Dense(Mean<u8>, Box<FullyConnected<u8, u8>>),
}

/// Integers of a field.
fn integers<T: TryFrom<i64>>(of: &Value, field: &str) -> Result<Vec<T>> {
    let missing = || format!("no list of integers {field}");
    let all = of[field].as_array().ok_or_else(missing)?;
    all.iter().map(|x| Ok(x.as_i64().and_then(|x| T::try_from(x).ok()).ok_or_else(missing)?)).collect()
}

fn integer<T: TryFrom<i64>>(of: &Value, field: &str) -> Result<T> {
    Ok(of[field].as_i64().and_then(|x| T::try_from(x).ok()).ok_or_else(|| format!("no integer {field}"))?)
}

fn params(of: &Value) -> Result<QuantParams<u8>> {
    let scale = of["scale"].as_f64().ok_or("no number scale")?;
    Ok(QuantParams::new(scale as f32, integer(of, "zero_point")?)?)
}

fn prepare(saved: &Value, backend: Backend) -> Result<Layer> {
    let weights: Vec<i8> = integers(saved, "weights")?;
    let zeros: Vec<i32> = integers(saved, "weight_zero_points")?;
    let bias: Vec<i32> = integers(saved, "bias")?;
    let mut multipliers = Vec::new();
    for by in saved["multipliers"].as_array().ok_or("no list multipliers")? {
        let part = |i: usize| by[i].as_i64().and_then(|x| i32::try_from(x).ok()).ok_or("not a multiplier");
        multipliers.push(Multiplier::new(part(0)?, part(1)?)?);
    }
    let (clamp, channels) = (integers::<i32>(saved, "clamp")?, integers::<usize>(saved, "channels")?);
    let (&[low, high], &[inputs, outputs]) = (&clamp[..], &channels[..]) else {
        return Err("clamp and channels are pairs".into());
    };
    let [input, output] = [params(&saved["input"])?, params(&saved["output"])?];
    let (kernel, stride) = (integer(saved, "kernel")?, integer(saved, "stride")?);
    let window = Window { stride: [stride; 2], padding: Padding::Same, ..Window::default() };
    let stages = Stages::<u8>::fixed(PerAxis::PerColumn(&multipliers))
        .bias(&bias)
        .rounding(Rounding::SingleAway)
        .zero_point(output.zero_point())
        .clamp(low, high);
    let pack = PackOptions { backend: Some(backend), ..PackOptions::default() };
    let (weight_zero_point, input_zero_point) = (ZeroPoint::Each(&zeros), input.zero_point());
    Ok(match saved["kind"].as_str() {
        Some("convolution") => {
            let weights = TensorRef::nhwc(&weights, [outputs, kernel, kernel, inputs])?;
            let spec =
                Conv2dSpec { weight_zero_point, input_zero_point, window, pack, ..Conv2dSpec::new(weights) };
            Layer::Conv(Conv2d::new(&spec, &stages)?)
        }
        Some("depthwise") => {
            let weights = TensorRef::nhwc(&weights, [1, kernel, kernel, outputs])?;
            let spec = DepthwiseConv2dSpec {
                weight_zero_point,
                input_zero_point,
                window,
                backend: Some(backend),
                ..DepthwiseConv2dSpec::new(weights)
            };
            Layer::Depthwise(Box::new(DepthwiseConv2d::new(&spec, &stages)?))
        }
        Some("mean, fully connected") => {
            let mean = params(&saved["mean"])?;
            let input_zero_point = mean.zero_point();
            let weights = MatRef::row_major(&weights, outputs, inputs)?;
            let spec = FullyConnectedSpec {
                weight_zero_point,
                input_zero_point,
                pack,
                ..FullyConnectedSpec::new(weights)
            };
            Layer::Dense(Mean::new(&MeanSpec::new(input, mean))?, Box::new(FullyConnected::new(&spec, &stages)?))
        }
        kind => return Err(format!("a layer of kind {kind:?}").into()),
    })
}

/// The codes behind a layer, and their shape.
fn run(layer: &Layer, codes: &[u8], shape: [usize; 4]) -> Result<(Vec<u8>, [usize; 4])> {
    let input = TensorRef::nhwc(codes, shape)?;
    let to = match layer {
        Layer::Conv(conv) => conv.output(shape)?,
        Layer::Depthwise(conv) => conv.output(shape)?,
        Layer::Dense(_, dense) => [shape[0], 1, 1, dense.product().packed().columns()],
    };
    let mut out = vec![0; to.iter().product()];
    match layer {
        Layer::Conv(conv) => conv.run(input, TensorMut::nhwc(&mut out, to)?, &mut conv.workspace())?,
        Layer::Depthwise(conv) => conv.run(input, TensorMut::nhwc(&mut out, to)?, &mut conv.workspace(shape)?)?,
        Layer::Dense(mean, dense) => {
            let [batch, .., channels] = shape;
            let mut means = vec![0; batch * channels];
            mean.run(input, TensorMut::nhwc(&mut means, [batch, 1, 1, channels])?)?;
            let rows = MatRef::row_major(&means, batch, channels)?;
            dense.run(rows, MatMut::row_major(&mut out, batch, to[3])?, &mut dense.workspace())?;
        }
    }
    Ok((out, to))
}

fn main() -> Result<ExitCode> {
    let text = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read_to_string(path)?,
        None => DIGITS.to_owned(),
    };
    let saved: Value = serde_json::from_str(&text)?;
    let pictures: Vec<u8> = integers(&saved, "pictures")?;
    let (labels, expected): (Vec<u8>, Vec<u8>) = (integers(&saved, "labels")?, integers(&saved, "scores")?);
    let side: usize = integer(&saved, "side")?;
    let layers = saved["layers"].as_array().ok_or("no list layers")?;

    let mut identical = true;
    for backend in zeropoint::available() {
        let (mut codes, mut shape) = (pictures.clone(), [labels.len(), side, side, 1]);
        for layer in layers {
            (codes, shape) = run(&prepare(layer, backend)?, &codes, shape)?;
        }
        identical &= codes == expected;
        let scores = codes.chunks_exact(shape[3].max(1)).zip(&labels);
        let right =
            scores.filter(|(scores, label)| scores.iter().max() == scores.get(usize::from(**label))).count();
        let verdict = if codes == expected { "identical" } else { "DIFFERENT" };
        let (name, kernel) = (backend.name(), backend.kernel());
        println!("{name:<12} {kernel:<24} {verdict}   {right} of {} pictures right", labels.len());
    }
    Ok(if identical { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

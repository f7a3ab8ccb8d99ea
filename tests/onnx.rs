//! The ONNX node tests of quantized operators, bit for bit, on every backend; see golden/ for where they come from.
#![cfg(not(miri))] // reads a file of thousands of numbers

mod common;

use common::backends;
use common::problem::product;
use common::stage::Output;
use serde_json::Value;
use zeropoint::quant::{QuantParams, Ties, quantize};
use zeropoint::{Code, FloatScale, MatRef, Quantized, Side, Stages, ZeroPoint};

const CASES: &str = include_str!("golden/onnx_quantized_ops.json");

/// How many cases there are of each operator; every one runs.
const OPERATORS: [(&str, usize); 7] = [
    ("ConvInteger", 2),
    ("DequantizeLinear", 5),
    ("DynamicQuantizeLinear", 3),
    ("MatMulInteger", 1),
    ("QLinearConv", 1),
    ("QLinearMatMul", 8),
    ("QuantizeLinear", 5),
];

struct Case<'a>(&'a Value);

#[derive(Clone, Copy)]
struct Tensor<'a>(&'a Value);

impl<'a> Case<'a> {
    fn name(&self) -> &'a str {
        self.0["name"].as_str().unwrap()
    }

    fn input(&self, at: usize) -> Option<Tensor<'a>> {
        self.0["inputs"].get(at).filter(|tensor| !tensor.is_null()).map(Tensor)
    }

    fn required(&self, at: usize) -> Tensor<'a> {
        self.input(at).unwrap_or_else(|| panic!("{}: no input {at}", self.name()))
    }

    fn output(&self, at: usize) -> Tensor<'a> {
        Tensor(&self.0["outputs"][at])
    }

    fn attribute(&self, name: &str) -> Option<&'a Value> {
        self.0["attributes"].get(name)
    }

    /// A list of integers, or so many times `default`.
    fn list(&self, name: &str, len: usize, default: usize) -> Vec<usize> {
        let Some(list) = self.attribute(name) else { return vec![default; len] };
        list.as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as usize).collect()
    }
}

impl<'a> Tensor<'a> {
    fn dtype(&self) -> &'a str {
        self.0["dtype"].as_str().unwrap()
    }

    fn shape(&self) -> Vec<usize> {
        self.0["shape"].as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as usize).collect()
    }

    fn ints(&self) -> Vec<i32> {
        self.0["data"].as_array().unwrap().iter().map(|value| value.as_i64().unwrap() as i32).collect()
    }

    fn codes<C: Code + TryFrom<i32, Error: std::fmt::Debug>>(&self) -> Vec<C> {
        self.ints().into_iter().map(|code| C::try_from(code).unwrap()).collect()
    }

    /// `float32`, or `float16`, which is `float32` with fewer bits.
    fn floats(&self) -> Vec<f32> {
        let bits = self.0["bits"].as_array().unwrap().iter();
        let bits = bits.map(|bits| u32::from_str_radix(bits.as_str().unwrap(), 16).unwrap());
        match self.dtype() {
            "float32" => bits.map(f32::from_bits).collect(),
            "float16" => bits.map(half).collect(),
            other => panic!("{other} is no float"),
        }
    }

    fn range(&self) -> (i32, i32) {
        match self.dtype() {
            "uint8" => (0, 255),
            "int8" => (-128, 127),
            "uint16" => (0, 65535),
            "int16" => (-32768, 32767),
            other => panic!("{other} is no code"),
        }
    }
}

/// A normal number of 16 bits: 1 of sign, 5 of exponent, 10 of fraction.
fn half(bits: u32) -> f32 {
    let exponent = bits >> 10 & 31;
    assert!(exponent > 0 && exponent < 31, "{bits:x} is not a normal number");
    f32::from_bits((bits & 0x8000) << 16 | (exponent + 127 - 15) << 23 | (bits & 0x3ff) << 13)
}

/// The product on every backend, either side packed.
fn check<C: Code, O: Output>(lhs: Quantized<'_, C>, rhs: Quantized<'_, C>, stages: &Stages<'_, O>, y: &[i32])
where
    i32: From<O>,
{
    for (backend, side) in backends().into_iter().flat_map(|row| [(row, Side::Rhs), (row, Side::Lhs)]) {
        let out = product((backend, side), lhs, rhs, stages).unwrap();
        assert_eq!(out.into_iter().map(i32::from).collect::<Vec<_>>(), y, "{backend:?}, packed {side:?}");
    }
}

/// One zero point, or one each; 0 where the input is left out.
fn zeros(tensor: Option<Tensor<'_>>) -> Vec<i32> {
    tensor.map_or(vec![0], |tensor| tensor.ints())
}

fn zero_point(zeros: &[i32]) -> ZeroPoint<'_> {
    if let [zero] = zeros { ZeroPoint::One(*zero) } else { ZeroPoint::Each(zeros) }
}

/// MatMulInteger, and QLinearMatMul by the float rule; batches one after another.
fn matmul<C, O: Output>(case: &Case<'_>, inputs: [usize; 4], stages: &Stages<'_, O>)
where
    C: Code + TryFrom<i32, Error: std::fmt::Debug>,
    i32: From<O>,
{
    let [a, b, za, zb] = inputs.map(|at| case.input(at));
    let (a, b) = (a.unwrap(), b.unwrap());
    let (za, zb) = (zeros(za), zeros(zb));
    let (shape, n) = (a.shape(), *b.shape().last().unwrap());
    let [batches @ .., m, k] = &shape[..] else { panic!("no matrix") };
    let (a, b, y) = (a.codes::<C>(), b.codes::<C>(), case.output(0).ints());
    let count: usize = batches.iter().product();
    assert_eq!((a.len(), b.len(), y.len()), (count * m * k, count * k * n, count * m * n));
    for i in 0..count {
        let lhs = MatRef::row_major(&a[i * m * k..], *m, *k).unwrap().zero_point(zero_point(&za));
        let rhs = MatRef::row_major(&b[i * k * n..], *k, n).unwrap().zero_point(zero_point(&zb));
        check(lhs, rhs, stages, &y[i * m * n..(i + 1) * m * n]);
    }
}

fn qlinear_matmul<C>(case: &Case<'_>)
where
    C: Code + TryFrom<i32, Error: std::fmt::Debug> + zeropoint::OutputCode + Output,
    i32: From<C>,
{
    let [a, b, y] = [1, 4, 6].map(|at| case.required(at).floats()[0]);
    let stages = Stages::<C>::float(a * b / y).zero_point(case.required(7).ints()[0]);
    matmul::<C, C>(case, [0, 3, 2, 5], &stages);
}

/// The patches of a picture (channels first) as columns: a cell of padding holds the zero point.
fn patches(case: &Case<'_>, x: &[u8], shape: &[usize], window: &[usize], zero: u8) -> (Vec<u8>, usize) {
    let (pads, strides) = (case.list("pads", 4, 0), case.list("strides", 2, 1));
    let dilations = case.list("dilations", 2, 1);
    let size = |axis: usize| {
        let padded = shape[2 + axis] + pads[axis] + pads[2 + axis];
        (padded - ((window[axis] - 1) * dilations[axis] + 1)) / strides[axis] + 1
    };
    let (height, width) = (size(0), size(1));
    let mut columns = vec![];
    for (c, i, j) in (0..shape[1] * window[0] * window[1])
        .map(|at| (at / (window[0] * window[1]), at / window[1] % window[0], at % window[1]))
    {
        for (row, col) in (0..height * width).map(|at| (at / width, at % width)) {
            let y = (row * strides[0] + i * dilations[0]).checked_sub(pads[0]).filter(|y| *y < shape[2]);
            let x_at = (col * strides[1] + j * dilations[1]).checked_sub(pads[1]).filter(|x| *x < shape[3]);
            let inside = y.zip(x_at).map(|(y, at)| x[(c * shape[2] + y) * shape[3] + at]);
            columns.push(inside.unwrap_or(zero));
        }
    }
    (columns, height * width)
}

/// ConvInteger and QLinearConv: weights, a row a channel, times patches; one picture, one group.
fn convolution<O: Output>(case: &Case<'_>, inputs: [usize; 4], stages: &Stages<'_, O>)
where
    i32: From<O>,
{
    assert!(case.attribute("group").is_none() && case.attribute("auto_pad").is_none());
    let [x, w, zx, zw] = inputs.map(|at| case.input(at));
    let (x, w) = (x.unwrap(), w.unwrap());
    let (zx, zw) = (zeros(zx), zeros(zw));
    let (x_shape, w_shape) = (x.shape(), w.shape());
    assert_eq!((x_shape[0], x_shape[1]), (1, w_shape[1]));
    let (columns, n) = patches(case, &x.codes::<u8>(), &x_shape, &w_shape[2..], zx[0] as u8);
    let (m, weights) = (w_shape[0], w.codes::<u8>());
    let k = weights.len() / m;
    let lhs = MatRef::row_major(&weights, m, k).unwrap().zero_point(zero_point(&zw));
    let rhs = MatRef::row_major(&columns, k, n).unwrap().zero_point(zx[0]);
    assert_eq!(case.output(0).shape().iter().product::<usize>(), m * n);
    check(lhs, rhs, stages, &case.output(0).ints());
}

fn qlinear_conv(case: &Case<'_>) {
    let (x, y) = (case.required(1).floats()[0], case.required(6).floats()[0]);
    let scales: Vec<_> = case.required(4).floats().iter().map(|w| x * w / y).collect();
    let stages = Stages::<u8>::float(FloatScale::PerRow(&scales)).zero_point(case.required(7).ints()[0]);
    let bias = case.input(8).map(|bias| bias.ints());
    let stages = bias.as_ref().map_or(stages, |bias| stages.row_bias(bias));
    convolution(case, [0, 3, 2, 5], &stages);
}

/// Scale and zero point of each element: one for all, one along an axis, or one a block of it.
fn params(case: &Case<'_>, x: Tensor<'_>) -> Vec<(f32, i32)> {
    let (shape, scales) = (x.shape(), case.required(1));
    let (s, z) = (scales.floats(), zeros(case.input(2)));
    let axis = case.attribute("axis").map_or(1, |axis| axis.as_u64().unwrap() as usize);
    let block = case.attribute("block_size").map(|block| block.as_u64().unwrap() as usize);
    let place = |at: usize| {
        let inner: usize = shape.iter().skip(axis + 1).product();
        match (scales.shape().len(), block) {
            (0, _) => 0,
            (1, None) => at / inner % shape[axis],
            (_, Some(block)) => {
                let (outer, along) = (at / inner / shape[axis], at / inner % shape[axis]);
                (outer * shape[axis].div_ceil(block) + along / block) * inner + at % inner
            }
            other => panic!("{}: {other:?}", case.name()),
        }
    };
    (0..shape.iter().product()).map(place).map(|at| (s[at], z[at])).collect()
}

fn quantize_linear(case: &Case<'_>) {
    let (x, y) = (case.required(0), case.output(0));
    let (low, high) = y.range();
    let params = params(case, x).into_iter().zip(x.floats());
    let codes: Vec<_> = params.map(|((s, z), x)| quantize(x, s, z, low..=high, Ties::Even)).collect();
    assert_eq!(codes, y.ints());
}

fn dequantize_linear(case: &Case<'_>) {
    let (x, y) = (case.required(0), case.output(0));
    let real = |((scale, zero), code): ((f32, i32), i32)| match x.dtype() {
        "uint8" => QuantParams::<u8>::new(scale, zero).unwrap().dequantize(code as u8),
        "int16" => QuantParams::<i16>::new(scale, zero).unwrap().dequantize(code as i16),
        // Codes and their zero point may move together (semantics.md 2).
        "uint16" => QuantParams::<i16>::new(scale, zero - 32768).unwrap().dequantize((code - 32768) as i16),
        other => panic!("{}: {other}", case.name()),
    };
    let reals = params(case, x).into_iter().zip(x.ints()).map(real);
    assert_eq!(reals.map(f32::to_bits).collect::<Vec<_>>(), bits(&y.floats()));
}

fn dynamic_quantize_linear(case: &Case<'_>) {
    let x = case.required(0).floats();
    let params = QuantParams::dynamic(&x).unwrap();
    let [y, scale, zero] = [0, 1, 2].map(|at| case.output(at));
    assert_eq!(bits(&[params.scale()]), bits(&scale.floats()));
    assert_eq!(vec![params.zero_point()], zero.ints());
    let code = |x: &f32| quantize(*x, params.scale(), params.zero_point(), 0..=255, Ties::Even);
    assert_eq!(x.iter().map(code).collect::<Vec<_>>(), y.ints());
}

fn bits(reals: &[f32]) -> Vec<u32> {
    reals.iter().map(|real| real.to_bits()).collect()
}

fn run(case: &Case<'_>) {
    let op = case.0["op"].as_str().unwrap();
    match (op, case.required(0).dtype()) {
        ("MatMulInteger", "uint8") => matmul::<u8, i32>(case, [0, 1, 2, 3], &Stages::raw()),
        ("QLinearMatMul", "uint8") => qlinear_matmul::<u8>(case),
        ("QLinearMatMul", "int8") => qlinear_matmul::<i8>(case),
        ("ConvInteger", "uint8") => convolution::<i32>(case, [0, 1, 2, 3], &Stages::raw()),
        ("QLinearConv", "uint8") => qlinear_conv(case),
        ("QuantizeLinear", _) => quantize_linear(case),
        ("DequantizeLinear", _) => dequantize_linear(case),
        ("DynamicQuantizeLinear", _) => dynamic_quantize_linear(case),
        (op, dtype) => panic!("no way to run {op} of {dtype}"),
    }
}

#[test]
fn every_case_gives_its_bits() {
    let file: Value = serde_json::from_str(CASES).unwrap();
    let mut counts = OPERATORS.map(|(op, _)| (op, 0));
    for case in file["cases"].as_array().unwrap() {
        let case = Case(case);
        println!("{}", case.name()); // shown if it fails
        run(&case);
        let count = counts.iter_mut().find(|(op, _)| case.0["op"] == *op).unwrap();
        count.1 += 1;
    }
    assert_eq!(counts, OPERATORS, "cases that ran");
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), 25);
}

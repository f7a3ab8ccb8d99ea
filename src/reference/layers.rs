//! Layers without weights (semantics.md 10.2 to 10.9): one element after another. Shapes are the caller's business.

use zeropoint_kernels::{Code, Multiplier, Rounding, TensorMut, TensorRef};

use super::{Output, scaled};
use crate::layers::{
    Activation, AveragePool2dSpec, AverageTies, BinarySpec, ConcatSpec, MaxPool2dSpec, MeanSpec, PadSpec, Padding,
    RequantizeSpec, Window,
};
use crate::quant::{QuantParams, Ties};
use crate::{OutputCode, Stages};

/// All indices of an image.
fn indices([batch, height, width, channels]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..batch).flat_map(move |n| {
        (0..height).flat_map(move |y| (0..width).flat_map(move |x| (0..channels).map(move |c| [n, y, x, c])))
    })
}

/// The integer as a code; it is in range.
fn code<O: Output + OutputCode>(y: i128) -> O {
    O::finish(y as i32, (0, 0), None, &Stages::fixed(Multiplier::ONE).rounding(Rounding::SingleUp))
}

/// The nearest integer, ties as they say; x is the quotient of two f32. Far values stay far.
pub(super) fn nearest(x: f32, ties: Ties) -> i128 {
    // As f64, a half can be added to any f32 that has a fraction.
    let magnitude = f64::from(x).abs().min(1e30);
    let up = (magnitude + 0.5) as i128;
    let tie = up as f64 - magnitude == 0.5;
    let nearest = if tie && ties == Ties::Even && up % 2 != 0 { up - 1 } else { up };
    if x < 0.0 { -nearest } else { nearest }
}

/// Adds the zero point to `y`, and clamps.
fn output<O: Output + OutputCode>(y: i128, params: &QuantParams<O>, activation: Activation) -> O {
    let (min, max) = (i128::from(O::RANGE.0), i128::from(O::RANGE.1));
    let zero = i128::from(params.zero_point());
    let bound = |real: f32| zero + nearest(real / params.scale(), Ties::Away);
    let (low, high) = match activation {
        Activation::None => (min, max),
        Activation::Relu => (zero, max),
        Activation::Relu6 => (zero, bound(6.0)),
        Activation::ReluN1 => (bound(-1.0), bound(1.0)),
    };
    code((y + zero).clamp(low.max(min), high.min(max)))
}

/// `x` by a real factor, which `new` of the layer has accepted.
fn rescale(rounding: Rounding, x: i128, real: f64) -> i128 {
    let Ok(by) = Multiplier::from_real(real) else { return 0 };
    scaled(rounding, x as i32, by.multiplier().into(), by.shift())
}

/// A code less its zero point; where the image has size 1, it is repeated.
fn difference<C: Code>(codes: &TensorRef<'_, C>, at: [usize; 4], zero: i32) -> i128 {
    let at = core::array::from_fn(|i| if codes.shape()[i] == 1 { 0 } else { at[i] });
    codes.get(at).map_or(0, |code| i128::from(code.into()) - i128::from(zero))
}

fn binary<C: Code + Output + OutputCode>(
    spec: &BinarySpec<C>,
    [lhs, rhs]: [TensorRef<'_, C>; 2],
    out: &mut TensorMut<'_, C>,
    result: impl Fn(i128, i128) -> i128,
) {
    for at in indices(out.shape()) {
        let a = difference(&lhs, at, spec.lhs.zero_point());
        let b = difference(&rhs, at, spec.rhs.zero_point());
        out.set(at, output(result(a, b), &spec.output, spec.activation));
    }
}

fn sum<C: Code + Output + OutputCode>(
    spec: &BinarySpec<C>,
    operands: [TensorRef<'_, C>; 2],
    out: &mut TensorMut<'_, C>,
    sign: i128,
) {
    let [a, b, o] = [spec.lhs, spec.rhs, spec.output].map(|params| f64::from(params.scale()));
    let twice = 2.0 * if a > b { a } else { b };
    binary(spec, operands, out, |p, q| {
        let p = rescale(spec.rounding, p << 20, a / twice);
        let q = rescale(spec.rounding, q << 20, b / twice);
        rescale(spec.rounding, p + sign * q, twice / (1048576.0 * o))
    });
}

/// What [`Add`](crate::layers::Add) computes (semantics.md 10.2).
pub fn add<C: Code + Output + OutputCode>(
    spec: &BinarySpec<C>,
    lhs: TensorRef<'_, C>,
    rhs: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    sum(spec, [lhs, rhs], out, 1);
}

/// What [`Sub`](crate::layers::Sub) computes (semantics.md 10.2).
pub fn sub<C: Code + Output + OutputCode>(
    spec: &BinarySpec<C>,
    lhs: TensorRef<'_, C>,
    rhs: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    sum(spec, [lhs, rhs], out, -1);
}

/// What [`Mul`](crate::layers::Mul) computes (semantics.md 10.3).
pub fn mul<C: Code + Output + OutputCode>(
    spec: &BinarySpec<C>,
    lhs: TensorRef<'_, C>,
    rhs: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    let [a, b, o] = [spec.lhs, spec.rhs, spec.output].map(|params| f64::from(params.scale()));
    binary(spec, [lhs, rhs], out, |p, q| rescale(spec.rounding, p * q, a * b / o));
}

/// What [`Requantize`](crate::layers::Requantize) computes (semantics.md 10.8).
pub fn requantize<I: Code + OutputCode, O: Output + OutputCode>(
    spec: &RequantizeSpec<I, O>,
    input: TensorRef<'_, I>,
    out: &mut TensorMut<'_, O>,
) {
    let real = f64::from(spec.input.scale()) / f64::from(spec.output.scale());
    for at in indices(out.shape()) {
        let y = rescale(spec.rounding, difference(&input, at, spec.input.zero_point()), real);
        out.set(at, output(y, &spec.output, spec.activation));
    }
}

/// What [`Relu`](crate::layers::Relu) computes (semantics.md 10.9).
pub fn relu<C: Code + Output + OutputCode>(
    params: &QuantParams<C>,
    input: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    for at in indices(out.shape()) {
        out.set(at, output(difference(&input, at, params.zero_point()), params, Activation::Relu));
    }
}

/// What [`Relu6`](crate::layers::Relu6) computes (semantics.md 10.9).
pub fn relu6<C: Code + Output + OutputCode>(
    params: &QuantParams<C>,
    input: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    for at in indices(out.shape()) {
        out.set(at, output(difference(&input, at, params.zero_point()), params, Activation::Relu6));
    }
}

/// What [`Quantize`](crate::layers::Quantize) computes (semantics.md 7.1).
pub fn quantize<C: Output + OutputCode>(
    params: &QuantParams<C>,
    ties: Ties,
    input: TensorRef<'_, f32>,
    out: &mut TensorMut<'_, C>,
) {
    let zero = i128::from(params.zero_point());
    let (low, high) = params.codes();
    for at in indices(out.shape()) {
        let ratio = input.get(at).unwrap_or_default() / params.scale();
        let y = if ratio.is_nan() { zero } else { nearest(ratio, ties) + zero };
        out.set(at, code(y.clamp(low.into(), high.into())));
    }
}

/// What [`Dequantize`](crate::layers::Dequantize) computes (semantics.md 7.2).
pub fn dequantize<C: Code + OutputCode>(
    params: &QuantParams<C>,
    input: TensorRef<'_, C>,
    out: &mut TensorMut<'_, f32>,
) {
    for at in indices(out.shape()) {
        out.set(at, params.scale() * difference(&input, at, params.zero_point()) as f32);
    }
}

/// The cells of the window of output (y, x) that lie inside an image of this size.
fn cells(
    window: &Window,
    kernel: [usize; 2],
    size: [usize; 2],
    at: [usize; 2],
) -> impl Iterator<Item = [usize; 2]> {
    let window = *window;
    let place = move |i: usize, tap: usize| {
        let [size, kernel, stride, dilation] =
            [size[i], kernel[i], window.stride[i], window.dilation[i]].map(|x| x as i128);
        let before = match window.padding {
            Padding::Valid => 0,
            Padding::Explicit { top, left, .. } => [top, left][i] as i128,
            Padding::Same => {
                let outputs = (size + stride - 1) / stride;
                ((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size).max(0) / 2
            }
        };
        let place = at[i] as i128 * stride + tap as i128 * dilation - before;
        (0..size).contains(&place).then_some(place as usize)
    };
    (0..kernel[0]).flat_map(move |ky| (0..kernel[1]).filter_map(move |kx| Some([place(0, ky)?, place(1, kx)?])))
}

/// Division by n, ties away from zero, as semantics.md 10.4 writes it; 0 of nothing.
fn average(sum: i128, n: i128) -> i128 {
    if n == 0 {
        0
    } else if sum > 0 {
        (sum + n / 2) / n
    } else {
        (sum - n / 2) / n
    }
}

/// What [`AveragePool2d`](crate::layers::AveragePool2d) computes (semantics.md 10.4).
pub fn average_pool_2d<C: Code + Output + OutputCode>(
    spec: &AveragePool2dSpec<C>,
    input: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    let [_, height, width, _] = input.shape();
    let zero = i128::from(spec.params.zero_point());
    for [n, y, x, c] in indices(out.shape()) {
        let (mut codes, mut count) = (0, 0);
        for [y, x] in cells(&spec.window, spec.kernel, [height, width], [y, x]) {
            codes += difference(&input, [n, y, x, c], 0);
            count += 1;
        }
        let difference = match spec.ties {
            AverageTies::AwayFromCodeZero if count > 0 => average(codes, count) - zero,
            AverageTies::AwayFromCodeZero => 0,
            AverageTies::AwayFromZeroPoint => average(codes - count * zero, count),
        };
        out.set([n, y, x, c], output(difference, &spec.params, spec.activation));
    }
}

/// What [`MaxPool2d`](crate::layers::MaxPool2d) computes (semantics.md 10.6).
pub fn max_pool_2d<C: Code + Output + OutputCode>(
    spec: &MaxPool2dSpec<C>,
    input: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    let [_, height, width, _] = input.shape();
    for [n, y, x, c] in indices(out.shape()) {
        let cells = cells(&spec.window, spec.kernel, [height, width], [y, x]);
        let largest = cells.map(|[y, x]| difference(&input, [n, y, x, c], spec.params.zero_point())).max();
        out.set([n, y, x, c], output(largest.unwrap_or(0), &spec.params, spec.activation));
    }
}

/// What [`Mean`](crate::layers::Mean) computes (semantics.md 10.5).
pub fn mean<C: Code + Output + OutputCode>(
    spec: &MeanSpec<C>,
    input: TensorRef<'_, C>,
    out: &mut TensorMut<'_, C>,
) {
    let [_, height, width, _] = input.shape();
    let count = if spec.height { height } else { 1 } * if spec.width { width } else { 1 };
    let real = f64::from(spec.input.scale()) / f64::from(spec.output.scale());
    let Ok(by) = Multiplier::from_real(real) else { return };
    let (m, s) = (i128::from(by.multiplier()), by.shift());
    for at in indices(out.shape()) {
        let mut sum = 0;
        for y in if spec.height { 0..height } else { at[1]..at[1] + 1 } {
            for x in if spec.width { 0..width } else { at[2]..at[2] + 1 } {
                sum += input.get([at[0], y, x, at[3]]).map_or(0, |code| i128::from(code.into()));
            }
        }
        let y = if count == 0 {
            0
        } else {
            let mut k = 0;
            while count >> (k + 1) > 0 && k < 32 && k < 31 + s {
                k += 1;
            }
            let differences = sum - count as i128 * i128::from(spec.input.zero_point());
            scaled(spec.rounding, differences as i32, (m << k) / count as i128, s - k)
        };
        out.set(at, output(y, &spec.output, spec.activation));
    }
}

/// What [`Pad`](crate::layers::Pad) computes (semantics.md 10.6).
pub fn pad<C: Code + Output + OutputCode>(spec: &PadSpec<C>, input: TensorRef<'_, C>, out: &mut TensorMut<'_, C>) {
    for at in indices(out.shape()) {
        let inside = (0..4).all(|i| at[i] >= spec.before[i]);
        let from = core::array::from_fn(|i| at[i].wrapping_sub(spec.before[i]));
        let code = input.get(from).filter(|_| inside);
        out.set(at, code.unwrap_or_else(|| output(0, &spec.params, Activation::None)));
    }
}

/// What [`Concat`](crate::layers::Concat) computes, or, with a rule, [`ConcatRequantize`](crate::layers::ConcatRequantize)
/// (semantics.md 10.7).
pub fn concat<C: Code + Output + OutputCode>(
    spec: &ConcatSpec<'_, C>,
    rounding: Option<Rounding>,
    inputs: &[TensorRef<'_, C>],
    out: &mut TensorMut<'_, C>,
) {
    let d = spec.dimension as usize;
    for at in indices(out.shape()) {
        let mut from = at;
        for (input, params) in inputs.iter().zip(spec.inputs) {
            if from[d] < input.shape()[d] {
                let difference = difference(input, from, params.zero_point());
                let real = f64::from(params.scale()) / f64::from(spec.output.scale());
                let y = rounding.map_or(difference, |rounding| rescale(rounding, difference, real));
                out.set(at, output(y, &spec.output, Activation::None));
                break;
            }
            from[d] -= input.shape()[d];
        }
    }
}

//! One layer of any kind on every backend against the reference: equal bits, gaps included, or an error, never a panic.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use zeropoint::layers::*;
use zeropoint::quant::Ties;
use zeropoint::{
    Code, Error, Multiplier, OutputCode, PackOptions, QuantParams, Rounding, Stages, TensorMut, Workspace,
    ZeroPoint, reference,
};
use zeropoint_fuzz::image::{Gaps, Image};
use zeropoint_fuzz::matrix::Fill;
use zeropoint_fuzz::{Value, backends};

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Requantize,
    Relu,
    Relu6,
    Quantize,
    Dequantize,
    AveragePool,
    MaxPool,
    Mean,
    Pad,
    Concat,
    ConcatRequantize,
    Conv,
    Depthwise,
    Transpose,
    Functions,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Scale {
    /// Such that results are not all clamped.
    Usual(u16),
    Power(i8),
    Any(f32),
}

/// A scale and a zero point, which may be none of the type.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Params(Scale, u8, bool);

impl Params {
    fn of<C: OutputCode>(self) -> Result<QuantParams<C>, Error> {
        let scale = match self.0 {
            Scale::Usual(fraction) => (1.0 + f32::from(fraction) / 65536.0) / 32.0,
            Scale::Power(exponent) => 2f32.powi(exponent.into()),
            Scale::Any(scale) => scale,
        };
        QuantParams::new(scale, i32::from(self.1) + if self.2 { -1 } else { C::RANGE.0 })
    }
}

/// A number that is small, mostly: of ten numbers that make a window, one that is too large refuses it.
#[derive(Clone, Copy, Debug)]
enum Size {
    Small(u8),
    Any(usize),
}

impl Arbitrary<'_> for Size {
    fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        Ok(match u.arbitrary()? {
            u8::MAX => Self::Any(u.arbitrary()?),
            size => Self::Small(size),
        })
    }
}

impl Size {
    /// A stride or a dilation.
    fn step(self) -> usize {
        match self {
            Self::Small(size) => [1, 2, 1, 3, 1, 1, 2, 0][usize::from(size / 2 % 8)],
            Self::Any(size) => size,
        }
    }

    fn below(self, end: usize) -> usize {
        match self {
            Self::Small(size) => usize::from(size) % end,
            Self::Any(size) => size,
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    kind: Kind,
    signed: bool,
    shape: [u8; 4],
    /// Of the second operand, where a bit is set, is 1.
    single: [u8; 2],
    gaps: [Gaps; 3],
    fills: [Fill; 2],
    params: [Params; 3],
    activation: u8,
    rounding: u8,
    kernel: [u8; 2],
    stride: [Size; 2],
    dilation: [Size; 2],
    padding: u8,
    pads: [[Size; 4]; 2],
    /// Output channels, groups or the multiplier.
    channels: [u8; 2],
    flags: [bool; 2],
    /// A dimension of the output that is too large.
    wrong: Option<u8>,
}

/// Elements of an output at most.
const LARGEST: usize = 6000;

fuzz_target!(|input: Input| {
    // What `new` or `output` refuses is refused: there is no more to compare.
    let _ = if input.signed { layer::<i8>(&input) } else { layer::<u8>(&input) };
});

impl Input {
    /// An output of a shape, or of a wrong one, that is small enough.
    fn output<O: Value>(&self, mut shape: [usize; 4]) -> Result<Image<O>, Error> {
        // Nothing of a large size is too large, too: a wrong shape is something.
        let count = shape.into_iter().try_fold(1, |count: usize, size| count.checked_mul(size.max(1)));
        if count.is_none_or(|count| count > LARGEST) {
            return Err(Error::Overflow { argument: "out", a: LARGEST, b: 0 });
        }
        if let Some(which) = self.wrong {
            shape[usize::from(which) % 4] += 1;
        }
        Ok(Image::output(shape, self.gaps[2]))
    }

    /// Runs on every backend and compares.
    fn compare<O: Value>(
        &self,
        old: &Image<O>,
        define: impl Fn(&mut TensorMut<'_, O>),
        run: impl Fn(zeropoint::Backend, TensorMut<'_, O>) -> Result<(), Error>,
    ) {
        let mut expected = old.clone();
        if self.wrong.is_none() {
            define(&mut expected.view_mut());
        }
        for backend in backends() {
            let mut got = old.clone();
            let result = run(backend, got.view_mut());
            assert_eq!(result.is_err(), self.wrong.is_some(), "{}: {result:?}", backend.kernel());
            got.assert_same(&expected, backend.kernel());
        }
    }

    /// Runs what has no backend, from codes to as many codes or to a wrong number of them, and compares.
    fn function<C: Value>(
        &self,
        codes: &[C],
        run: impl Fn(&mut [C]) -> Result<(), Error>,
        define: impl Fn() -> Vec<C>,
    ) {
        let mut got = vec![C::of(0x5a); codes.len() + usize::from(self.wrong.is_some())];
        let result = run(&mut got);
        assert_eq!(result.is_err(), self.wrong.is_some(), "{result:?}");
        let expected = if self.wrong.is_some() { vec![C::of(0x5a); got.len()] } else { define() };
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!(got.bits() == expected.bits(), "code {i} of {codes:?} is {got:?}, should be {expected:?}");
        }
    }

    fn window(&self) -> Window {
        let [top, bottom, left, right] = self.pads[0].map(|pad| pad.below(5));
        Window {
            stride: self.stride.map(Size::step),
            dilation: self.dilation.map(Size::step),
            padding: match self.padding % 3 {
                0 => Padding::Valid,
                1 => Padding::Same,
                _ => Padding::Explicit { top, bottom, left, right },
            },
        }
    }
}

fn layer<C>(input: &Input) -> Result<(), Error>
where
    C: Code + OutputCode + TableCode + Value + reference::Output,
{
    let Input { kind, shape: [n, h, w, c], gaps, ref fills, flags, .. } = *input;
    let shape = [[1, 2, 1, 0][usize::from(n) % 4], usize::from(h) % 8, usize::from(w) % 16, usize::from(c) % 71];
    // Kernels of three by three have ways of their own.
    let kernel = input.kernel.map(|size| [3, 1, 3, 2, 3, 4, 3, 0][usize::from(size) % 8]);
    let rounding = Rounding::ALL[usize::from(input.rounding) % 7];
    let activation = [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1]
        [usize::from(input.activation) % 4];
    let params = |i: usize| input.params[i].of::<C>();
    let first = Image::<C>::codes(shape, gaps[0], &fills[0]);
    let image = first.view();
    macro_rules! unary {
        ($layer:expr, $out:expr, $define:expr) => {{
            let layer = $layer;
            let old = input.output($out)?;
            input.compare(&old, $define, |_, out| layer.run(image, out));
        }};
    }
    macro_rules! binary {
        ($layer:ident, $define:ident) => {{
            let spec = BinarySpec { activation, rounding, ..BinarySpec::new(params(0)?, params(1)?, params(2)?) };
            let cut = |which: usize| {
                core::array::from_fn(|i| if input.single[which] >> i & 1 == 1 { 1 } else { shape[i] })
            };
            let [a, b] = [0, 1].map(|i| Image::<C>::codes(cut(i), gaps[i], &fills[i]));
            let full = core::array::from_fn(|i| if cut(0)[i] == 1 { cut(1)[i] } else { cut(0)[i] });
            $layer::new(&spec)?;
            let old = input.output(full)?;
            let define = |out: &mut TensorMut<'_, C>| reference::$define(&spec, a.view(), b.view(), out);
            input.compare(&old, define, |backend, out| {
                let spec = BinarySpec { backend: Some(backend), ..spec };
                $layer::new(&spec)?.run(a.view(), b.view(), out)
            });
        }};
    }
    match kind {
        Kind::Add => binary!(Add, add),
        Kind::Sub => binary!(Sub, sub),
        Kind::Mul => binary!(Mul, mul),
        Kind::Requantize => {
            let spec = RequantizeSpec { input: params(0)?, output: params(2)?, activation, rounding };
            unary!(Requantize::<C, C>::new(&spec)?, shape, |out| reference::requantize(&spec, image, out));
        }
        Kind::Relu => {
            let params = params(0)?;
            unary!(Relu::new(&params), shape, |out| reference::relu(&params, image, out));
        }
        Kind::Relu6 => {
            let params = params(0)?;
            unary!(Relu6::new(&params), shape, |out| reference::relu6(&params, image, out));
        }
        Kind::Quantize => {
            let (params, ties) = (params(0)?, if flags[0] { Ties::Away } else { Ties::Even });
            let reals = Image::<f32>::reals(shape, gaps[0], params.scale());
            let layer = Quantize::<C>::new(&params, ties);
            let define = |out: &mut TensorMut<'_, C>| reference::quantize(&params, ties, reals.view(), out);
            input.compare(&input.output(shape)?, define, |_, out| layer.run(reals.view(), out));
        }
        Kind::Dequantize => {
            let params = params(0)?;
            unary!(Dequantize::new(&params), shape, |out| reference::dequantize(&params, image, out));
        }
        Kind::AveragePool => {
            let ties = if flags[0] { AverageTies::AwayFromCodeZero } else { AverageTies::AwayFromZeroPoint };
            let spec = AveragePool2dSpec { kernel, window: input.window(), params: params(0)?, activation, ties };
            let layer = AveragePool2d::new(&spec)?;
            let out = layer.output(shape)?;
            unary!(layer, out, |out| reference::average_pool_2d(&spec, image, out));
        }
        Kind::MaxPool => {
            let spec = MaxPool2dSpec { kernel, window: input.window(), params: params(0)?, activation };
            let layer = MaxPool2d::new(&spec)?;
            let out = layer.output(shape)?;
            unary!(layer, out, |out| reference::max_pool_2d(&spec, image, out));
        }
        Kind::Mean => {
            let [height, width] = flags;
            let spec = MeanSpec { height, width, input: params(0)?, output: params(2)?, activation, rounding };
            let layer = Mean::new(&spec)?;
            let out = layer.output(shape);
            unary!(layer, out, |out| reference::mean(&spec, image, out));
        }
        Kind::Pad => {
            let [before, after] = input.pads.map(|pads| pads.map(|pad| pad.below(5)));
            let spec = PadSpec { params: params(0)?, before, after };
            let layer = Pad::new(&spec);
            let out = layer.output(shape)?;
            unary!(layer, out, |out| reference::pad(&spec, image, out));
        }
        Kind::Concat | Kind::ConcatRequantize => {
            let dimension = [Dimension::Batch, Dimension::Height, Dimension::Width, Dimension::Channels]
                [usize::from(input.padding) % 4];
            let mut total = shape;
            let mut other = shape;
            other[dimension as usize] = kernel[0];
            total[dimension as usize] += kernel[0];
            let second = Image::<C>::codes(other, gaps[1], &fills[1]);
            let inputs = [image, second.view()];
            let all = [params(0)?, if flags[0] { params(0)? } else { params(1)? }];
            let output = if flags[1] { params(0)? } else { params(2)? };
            let spec = ConcatSpec { dimension, inputs: &all, output };
            let old = input.output(total)?;
            if kind == Kind::Concat {
                let layer = Concat::new(&spec)?;
                let define = |out: &mut TensorMut<'_, C>| reference::concat(&spec, None, &inputs, out);
                input.compare(&old, define, |_, out| layer.run(&inputs, out));
            } else {
                let layer = ConcatRequantize::new(&spec, rounding)?;
                let define = |out: &mut TensorMut<'_, C>| reference::concat(&spec, Some(rounding), &inputs, out);
                input.compare(&old, define, |_, out| layer.run(&inputs, out));
            }
        }
        Kind::Conv | Kind::Depthwise | Kind::Transpose => convolution::<C>(input, &first, kernel, rounding)?,
        Kind::Functions => {
            let (params, beta) = (params(0)?, params(1)?.scale());
            let (softmax, depth) = (Softmax::new(&params, beta)?, shape[3]);
            let mut codes = Vec::new();
            for (y, x) in (0..shape[1]).flat_map(|y| (0..shape[2]).map(move |x| (y, x))) {
                codes.extend((0..depth).filter_map(|c| image.get([0, y, x, c])));
            }
            let (logistic, tanh) = (Logistic::new(&params), Tanh::new(&params));
            let each = |f: fn(C, &QuantParams<C>) -> C| codes.iter().map(|code| f(*code, &params)).collect();
            input.function(&codes, |out| logistic.run(&codes, out), || each(reference::logistic));
            input.function(&codes, |out| tanh.run(&codes, out), || each(reference::tanh));
            if depth > 0 {
                input.function(
                    &codes,
                    |out| softmax.run(depth, &codes, out),
                    || codes.chunks(depth).flat_map(|row| reference::softmax(row, &params, beta)).collect(),
                );
            } else {
                assert!(softmax.run(depth, &codes, &mut []).is_err());
            }
        }
    }
    Ok(())
}

fn convolution<C>(input: &Input, first: &Image<C>, kernel: [usize; 2], rounding: Rounding) -> Result<(), Error>
where
    C: Code + OutputCode + Value + reference::Output,
{
    let image = first.view();
    let channels = image.shape()[3];
    let [outputs, groups] = input.channels.map(usize::from);
    let (outputs, groups) = (outputs % 20, [1, 2, 1, 3, 1, 1, 1, 0][groups % 8]);
    let weights_shape = match input.kind {
        Kind::Conv => [outputs, kernel[0], kernel[1], channels / groups.max(1)],
        Kind::Depthwise => [1, kernel[0], kernel[1], channels * groups],
        _ => [outputs, kernel[0], kernel[1], channels],
    };
    let weights = Image::<i8>::codes(weights_shape, input.gaps[1], &input.fills[1]);
    let (weights, window) = (weights.view(), input.window());
    let (zero, output) = (input.params[0].of::<C>()?.zero_point(), input.params[2].of::<C>()?);
    // Weights that are their own differences have shorter ways.
    let weight_zero = if input.flags[0] { 0 } else { input.params[1].of::<i8>()?.zero_point() };
    let weight_zero_point = ZeroPoint::One(weight_zero);
    // Sums are large: otherwise most of the results would be clamped.
    let by = Multiplier::from_real(f64::from(input.params[0].of::<C>()?.scale()) / 64.0)?;
    let stages = Stages::<C>::fixed(by).rounding(rounding).zero_point(output.zero_point());
    let codes = reference::Image { codes: image, zero_point: zero };
    let moved = reference::Kernel { weights, zero_point: weight_zero_point, window };
    let pack = |backend| PackOptions { backend: Some(backend), ..PackOptions::default() };
    let any = backends().next().expect("a backend");
    match input.kind {
        Kind::Conv => {
            let spec = |backend| Conv2dSpec {
                weights,
                weight_zero_point,
                input_zero_point: zero,
                window,
                groups,
                pack: pack(backend),
            };
            let layer = Conv2d::<C, C>::new(&spec(any), &stages)?;
            let old = input.output(layer.output(image.shape())?)?;
            let define = |out: &mut TensorMut<'_, C>| reference::conv2d(codes, moved, groups, &stages, out);
            input.compare(&old, define, |backend, out| {
                let layer = Conv2d::<C, C>::new(&spec(backend), &stages)?;
                layer.run(image, out, &mut layer.workspace())
            });
        }
        Kind::Depthwise => {
            let spec = |backend| DepthwiseConv2dSpec {
                weights,
                weight_zero_point,
                input_zero_point: zero,
                multiplier: groups,
                window,
                backend: Some(backend),
            };
            let layer = DepthwiseConv2d::<C, C>::new(&spec(any), &stages)?;
            let old = input.output(layer.output(image.shape())?)?;
            let define = |out: &mut TensorMut<'_, C>| reference::depthwise_conv2d(codes, moved, &stages, out);
            input.compare(&old, define, |backend, out| {
                let layer = DepthwiseConv2d::<C, C>::new(&spec(backend), &stages)?;
                layer.run(image, out, &mut layer.workspace(image.shape())?)
            });
        }
        _ => {
            let [batch, height, width, _] = image.shape();
            // The output that the input would be the convolution of, or a wrong one.
            let output = [usize::from(input.channels[1]) % 16, usize::from(input.single[0]) % 16];
            let spec = |backend| TransposeConv2dSpec {
                weights,
                weight_zero_point,
                input_zero_point: zero,
                window,
                output,
                pack: pack(backend),
            };
            let layer = TransposeConv2d::<C, C>::new(&spec(any), &stages)?;
            let old = input.output([batch, output[0], output[1], outputs])?;
            let fits = window.output(kernel, output)? == [height, width];
            if !fits || input.wrong.is_some() {
                let mut got = old.clone();
                let mut workspace: Workspace<'_> = layer.workspace();
                assert!(layer.run(image, got.view_mut(), &mut workspace).is_err());
                return Ok(());
            }
            let define = |out: &mut TensorMut<'_, C>| reference::transpose_conv2d(codes, moved, &stages, out);
            input.compare(&old, define, |backend, out| {
                let layer = TransposeConv2d::<C, C>::new(&spec(backend), &stages)?;
                layer.run(image, out, &mut layer.workspace())
            });
        }
    }
    Ok(())
}

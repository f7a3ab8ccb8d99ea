//! Every layer with its weights, inputs, output and workspace between pages that cannot be touched: one byte read or written
//! too far faults. Buffers start right behind an unmapped page, then end right before one; results are those of the
//! reference.
//!
//! A fault ends the process, after printing the line that repeats it.
#![cfg(all(unix, not(miri)))]

mod common;

/// Memory that ends or begins at unmapped pages, as the tests of the kernels have it.
#[path = "../kernels/tests/common"]
#[allow(dead_code)] // this is a part of it
mod memory {
    pub mod arena;
    pub mod current;
    pub mod pages;
}

use common::image::{Gaps, Image};
use common::matrix::Value;
use common::stage::{Axis, Output, Size, Stage, Values};
use common::{Rng, backends, seed};
use memory::arena::{Arena, Place};
use memory::current;
use zeropoint::layers::{
    Activation, Add, AveragePool2d, AveragePool2dSpec, AverageTies, BinarySpec, Concat, ConcatRequantize,
    ConcatSpec, Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, Dequantize, Dimension, FullyConnected,
    FullyConnectedSpec, Logistic, MaxPool2d, MaxPool2dSpec, Mean, MeanSpec, Mul, Pad, PadSpec, Padding, Quantize,
    Relu, Relu6, Requantize, RequantizeSpec, Softmax, Sub, TableCode, Tanh, TransposeConv2d, TransposeConv2dSpec,
    Window,
};
use zeropoint::quant::Ties;
use zeropoint::{
    Backend, Code, Error, PackOptions, QuantParams, Rounding, TensorMut, TensorRef, Threads, Workspace, ZeroPoint,
    reference,
};

/// Sizes beside those of vectors, tiles and chunks.
const CHANNELS: [usize; 11] = [1, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65];

/// A code of layers.
trait Byte: Code + TableCode + Output {}
impl Byte for u8 {}
impl Byte for i8 {}

/// On what a layer runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// Every backend.
    Backends,
    /// It has none.
    Any,
}

/// A layer: its name, on what it runs, its test.
type Layer = (&'static str, On, fn(&mut Case<'_>));

/// Every layer.
fn layers<C: Byte>() -> [Layer; 21] {
    [
        ("Add", On::Backends, add::<C>),
        ("AveragePool2d", On::Any, average_pool::<C>),
        ("Concat", On::Any, concat::<C>),
        ("ConcatRequantize", On::Any, concat_requantize::<C>),
        ("Conv2d", On::Backends, conv::<C>),
        ("DepthwiseConv2d", On::Backends, depthwise::<C>),
        ("Dequantize", On::Any, dequantize::<C>),
        ("FullyConnected", On::Backends, connected::<C>),
        ("Logistic", On::Any, logistic::<C>),
        ("MaxPool2d", On::Any, max_pool::<C>),
        ("Mean", On::Any, mean::<C>),
        ("Mul", On::Backends, mul::<C>),
        ("Pad", On::Any, pad::<C>),
        ("Quantize", On::Any, quantize::<C>),
        ("Relu", On::Any, relu::<C>),
        ("Relu6", On::Any, relu6::<C>),
        ("Requantize", On::Any, requantize::<C>),
        ("Softmax", On::Any, softmax::<C>),
        ("Sub", On::Backends, sub::<C>),
        ("Tanh", On::Any, tanh::<C>),
        ("TransposeConv2d", On::Backends, transpose::<C>),
    ]
}

#[test]
fn layers_of_u8_touch_nothing_beside_their_buffers() {
    walk("layers_of_u8_touch_nothing_beside_their_buffers", &layers::<u8>());
}

#[test]
fn layers_of_i8_touch_nothing_beside_their_buffers() {
    walk("layers_of_i8_touch_nothing_beside_their_buffers", &layers::<i8>());
}

/// A layer that is new belongs in the table.
#[test]
fn every_layer_is_in_the_table() {
    // What else `layers` has.
    let others = ["Activation", "AverageTies", "Dimension", "Padding", "TableCode", "Window"];
    let exports = include_str!("../src/layers/mod.rs").lines().filter_map(|line| line.strip_prefix("pub use "));
    let names = exports.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()));
    let mut names: Vec<_> = names
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.ends_with("Spec"))
        .filter(|name| !others.contains(name))
        .collect();
    names.sort_unstable();
    assert_eq!(layers::<u8>().map(|(name, ..)| name).to_vec(), names);
}

/// Tests layers at every number of channels and every width.
fn walk(test: &'static str, layers: &[Layer]) {
    let (twins, kernels): (Vec<_>, Vec<_>) = backends().into_iter().partition(|backend| backend.name() == "twin");
    for (layer, on, check) in layers {
        let rng = &Rng::new(
            test.bytes()
                .chain(layer.bytes())
                .fold(seed(), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)),
        );
        for (i, width) in (0..CHANNELS.len()).flat_map(|i| (1..=9).map(move |width| (i, width))) {
            let turn = |backends: &[Backend], count| -> Vec<_> {
                backends.iter().cycle().skip((i + width) % backends.len().max(1)).take(count).copied().collect()
            };
            let backends = match on {
                On::Any => turn(&kernels, 1),
                // Plain code without optimization is slow: each backend meets every number of channels, and every width.
                On::Backends if cfg!(debug_assertions) => {
                    [turn(&kernels, 1), turn(&twins, usize::from(rng.one_in(8)))].concat()
                }
                On::Backends => [turn(&kernels, kernels.len()), turn(&twins, 1)].concat(),
            };
            let channels = CHANNELS[i];
            let threads = Turns(1 + rng.below(3));
            check(&mut Case { test, layer, rng, channels, width, backends, threads, line: String::new() });
            current::set("");
        }
    }
}

/// A number of threads, whose tasks run one after another on one, so that a fault knows its case.
struct Turns(usize);

impl Threads for Turns {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).rev().for_each(task);
    }
}

/// A layer of some size.
struct Case<'a> {
    test: &'static str,
    layer: &'static str,
    rng: &'a Rng,
    channels: usize,
    width: usize,
    backends: Vec<Backend>,
    threads: Turns,
    line: String,
}

impl Case<'_> {
    /// Runs on every backend at both ends of pages. `run` places in the arena what it reads; the output, full of what `old` is
    /// full of, is there. Then all of its memory is as `define` leaves it, and nothing beside it was written.
    fn compare<O: Value>(
        &mut self,
        what: &str,
        old: &Image<O>,
        define: impl Fn(&mut TensorMut<'_, O>),
        run: impl Fn(&Arena, Backend, TensorMut<'_, O>) -> Result<(), Error>,
    ) {
        let mut expected = old.clone();
        define(&mut expected.view_mut());
        for backend in self.backends.clone() {
            for place in [Place::Before, Place::Behind] {
                self.line = format!(
                    "ZEROPOINT_SEED={} cargo test --test layers_guard {} # {} {}, {place:?} memory, {} threads: {what}, out {:?}",
                    seed(),
                    self.test,
                    self.layer,
                    backend.kernel(),
                    self.threads.0,
                    old.shape,
                );
                current::set(&self.line);
                let arena = Arena::new(place);
                let data = arena.slice(old.data.len(), |i| old.data[i]);
                if let Err(error) = run(&arena, backend, TensorMut::new(data, old.shape, old.strides).unwrap()) {
                    panic!("{}: {error}", self.line);
                }
                if let Some(damage) = arena.damage() {
                    panic!("{}: {damage}", self.line);
                }
                if let Some(at) = (0..data.len()).find(|i| data[*i].bits() != expected.data[*i].bits()) {
                    let (got, expected) = (data[at], expected.data[at]);
                    panic!("{}: {} is {got:?}, should be {expected:?}", self.line, old.place(at));
                }
            }
        }
    }

    /// A shape with this width and so many channels.
    fn shape(&self) -> [usize; 4] {
        [1 + self.rng.below(2), 1 + self.rng.below(3), self.width, self.channels]
    }

    /// An image of any codes, or one to overwrite; without gaps, most often.
    fn image<T: Value>(&self, shape: [usize; 4]) -> Image<T> {
        let gap = || if self.rng.one_in(2) { self.rng.below(5) } else { 0 };
        let between = if self.rng.one_in(4) { [gap(), gap(), gap(), gap() / 3] } else { [0; 4] };
        Image::random(shape, Gaps { between, repeated: false }, self.rng)
    }

    /// Any way for a kernel to move.
    fn window(&self) -> Window {
        let rng = self.rng;
        let size = |most: usize| if rng.one_in(2) { 1 } else { 1 + rng.below(most) };
        let [top, bottom, left, right] = [0; 4].map(|_: i32| rng.below(4));
        let padding = rng.pick(&[Padding::Valid, Padding::Same, Padding::Explicit { top, bottom, left, right }]);
        Window { stride: [size(3), size(3)], dilation: [size(2), size(2)], padding }
    }

    /// The zero point of some type, often one of the ends.
    fn zero<C: Code>(&self) -> i32 {
        self.rng.extreme(C::RANGE.0, C::RANGE.1)
    }

    fn params<C: Byte>(&self) -> QuantParams<C> {
        let scale = self.rng.fraction() * 2f32.powi(self.rng.within(-6, -3));
        QuantParams::new(scale, self.zero::<C>()).unwrap()
    }

    fn activation(&self) -> Activation {
        self.rng.pick(&[Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1])
    }

    /// Any rule but that of multipliers which no scale has.
    fn rounding(&self) -> Rounding {
        let rules = Rounding::ALL.iter().copied().filter(|rule| *rule != Rounding::IntMulShift);
        self.rng.pick(&rules.collect::<Vec<_>>())
    }
}

/// Places an image.
fn put<'a, T: Value>(arena: &'a Arena, image: &Image<T>) -> TensorRef<'a, T> {
    TensorRef::new(arena.slice(image.data.len(), |i| image.data[i]), image.shape, image.strides).unwrap()
}

/// Places a workspace of so many bytes and not one more.
fn workspace(arena: &Arena, bytes: usize) -> Workspace<'_> {
    assert!(bytes.is_multiple_of(64), "{bytes} bytes cannot start at a line of the cache and end at a page");
    Workspace::borrow(arena.lines(bytes, |_| 0xa5))
}

/// A layer with weights and stages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Conv,
    Depthwise,
    Transpose,
}

/// How a kernel of some size moves, over which groups.
#[derive(Clone, Copy, Debug)]
struct Form {
    kernel: [usize; 2],
    window: Window,
    groups: usize,
}

impl Form {
    /// Pixels as they are.
    const POINT: Self = Self::of([1, 1], Padding::Valid);
    /// What most networks have.
    const USUAL: Self = Self::of([3, 3], Padding::Same);

    const fn of(kernel: [usize; 2], padding: Padding) -> Self {
        let window = Window { stride: [1, 1], dilation: [1, 1], padding };
        Self { kernel, window, groups: 1 }
    }

    fn any(case: &Case<'_>) -> Self {
        let kernel = [1 + case.rng.below(4), 1 + case.rng.below(4)];
        Self { kernel, window: case.window(), groups: 1 + case.rng.below(3) }
    }
}

fn conv<C: Byte>(case: &mut Case<'_>) {
    for form in [Form::POINT, case.rng.pick(&[Form::USUAL, Form::any(case)])] {
        // Channels of groups are few.
        let channels = if form.groups > 1 { case.channels.div_ceil(form.groups) } else { case.channels };
        convolution::<C>(case, Kind::Conv, form, [channels, 1 + case.rng.below(9)]);
    }
}

fn depthwise<C: Byte>(case: &mut Case<'_>) {
    let across = Window { stride: [1, 2], ..Form::USUAL.window };
    for form in [Form::USUAL, Form { window: across, ..Form::USUAL }, Form::any(case)] {
        let multiplier = if case.rng.one_in(4) { 2 } else { 1 };
        convolution::<C>(case, Kind::Depthwise, form, [case.channels, multiplier]);
    }
}

fn transpose<C: Byte>(case: &mut Case<'_>) {
    let form = if case.rng.one_in(3) { Form::USUAL } else { Form::any(case) };
    convolution::<C>(case, Kind::Transpose, form, [case.channels, 1 + case.rng.below(9)]);
}

/// Of one or the other type of weights and outputs; `sizes` are the channels of a group, in and out, or channels and
/// multiplier.
fn convolution<C: Byte>(case: &mut Case<'_>, kind: Kind, form: Form, sizes: [usize; 2]) {
    match case.rng.below(8) {
        0 => convolution_as::<C, u8, C>(case, kind, form, sizes),
        1 => convolution_as::<C, i8, i32>(case, kind, form, sizes),
        2 => convolution_as::<C, u8, f32>(case, kind, form, sizes),
        3 => convolution_as::<C, i8, i16>(case, kind, form, sizes),
        _ => convolution_as::<C, i8, C>(case, kind, form, sizes),
    }
}

/// Stages as networks have them, for sums of so many products in so many columns.
fn stages<O: Output>(case: &Case<'_>, k: usize, columns: usize) -> Values {
    let rng = case.rng;
    let stage = Stage {
        rounding: rng.pick(&[Some(Rounding::DoubleAway), Some(Rounding::DoubleUp), Some(case.rounding()), None]),
        axis: rng.pick(&[Axis::One, Axis::Columns]),
        bias: rng.pick(&[Size::None, Size::Usual]),
        zero_point: rng.one_in(2),
        clamp: rng.one_in(2),
        ..Stage::PLAIN
    };
    Values::new::<O>(stage, (0, k, columns), rng)
}

fn convolution_as<C: Byte, W: Code + Value, O: Output>(
    case: &mut Case<'_>,
    kind: Kind,
    form: Form,
    sizes: [usize; 2],
) {
    let (rng, Form { kernel, window, groups }, [a, b]) = (case.rng, form, sizes);
    let [batch, height, width, _] = case.shape();
    let size = window.output(kernel, [height, width]).unwrap();
    let (small, large) = ([batch, size[0], size[1]], [batch, height, width]);
    // Shapes of weights, input and output.
    let ([wo, wi], (input, inputs), (output, outputs)) = match kind {
        Kind::Conv => ([groups * b, a], (large, groups * a), (small, groups * b)),
        Kind::Depthwise => ([1, a * b], (large, a), (small, a * b)),
        Kind::Transpose => ([b, a], (small, a), (large, b)),
    };
    let with = |[n, h, w]: [usize; 3], c| [n, h, w, c];
    let weights = case.image::<W>([wo, kernel[0], kernel[1], wi]);
    let input = case.image::<C>(with(input, inputs));
    let old = case.image::<O>(with(output, outputs));
    let zero = case.zero::<C>();
    // Weights that are their own differences have shorter ways.
    let weight_zero = ZeroPoint::One(if rng.one_in(2) { 0 } else { case.zero::<W>() });
    let values = stages::<O>(case, kernel[0] * kernel[1] * wi, outputs);
    let stages = O::stages(&values);
    let threads = Turns(case.threads.0);

    let image = reference::Image { codes: input.view(), zero_point: zero };
    let moved = reference::Kernel { weights: weights.view(), zero_point: weight_zero, window };
    let what = format!("{form:?}, input {:?} strides {:?}", input.shape, input.strides);
    case.compare(
        &what,
        &old,
        |out| match kind {
            Kind::Conv => reference::conv2d(image, moved, groups, &stages, out),
            Kind::Depthwise => reference::depthwise_conv2d(image, moved, &stages, out),
            Kind::Transpose => reference::transpose_conv2d(image, moved, &stages, out),
        },
        |arena, backend, out| {
            let (weights, input) = (put(arena, &weights), put(arena, &input));
            let pack = PackOptions { backend: Some(backend), ..PackOptions::default() };
            let (weight_zero_point, input_zero_point) = (weight_zero, zero);
            match kind {
                Kind::Conv => {
                    let spec = Conv2dSpec { weights, weight_zero_point, input_zero_point, window, groups, pack };
                    let layer = Conv2d::new(&spec, &stages)?;
                    let workspace = &mut workspace(arena, layer.workspace_bytes(threads.0)?);
                    layer.run_on(&threads, input, out, workspace)
                }
                Kind::Depthwise => {
                    let (multiplier, backend) = (b, Some(backend));
                    let spec = DepthwiseConv2dSpec {
                        weights,
                        weight_zero_point,
                        input_zero_point,
                        multiplier,
                        window,
                        backend,
                    };
                    let layer = DepthwiseConv2d::new(&spec, &stages)?;
                    let workspace = &mut workspace(arena, layer.workspace_bytes(input.shape(), threads.0)?);
                    layer.run_on(&threads, input, out, workspace)
                }
                Kind::Transpose => {
                    let output = [height, width];
                    let spec =
                        TransposeConv2dSpec { weights, weight_zero_point, input_zero_point, window, output, pack };
                    let layer = TransposeConv2d::new(&spec, &stages)?;
                    let workspace = &mut workspace(arena, layer.workspace_bytes(threads.0)?);
                    layer.run_on(&threads, input, out, workspace)
                }
            }
        },
    );
}

/// Rows are as many as an image is wide.
fn connected<C: Byte>(case: &mut Case<'_>) {
    let (rng, m, k, n) = (case.rng, case.width, case.channels, case.rng.pick(&CHANNELS));
    let (weights, input) = (case.image::<i8>([n, 1, 1, k]), case.image::<C>([m, 1, 1, k]));
    let old = case.image::<C>([m, 1, 1, n]);
    let input_zero_point = case.zero::<C>();
    let weight_zero_point = ZeroPoint::One(if rng.one_in(2) { 0 } else { case.zero::<i8>() });
    let values = stages::<C>(case, k, n);
    let (stages, threads) = (C::stages(&values), Turns(case.threads.0));
    let image = reference::Image { codes: input.view(), zero_point: input_zero_point };
    let (weights_view, window) = (weights.view(), Window::default());
    let moved = reference::Kernel { weights: weights_view, zero_point: weight_zero_point, window };
    case.compare(
        &format!("input strides {:?}, weights strides {:?}", input.strides, weights.strides),
        &old,
        |out| reference::conv2d(image, moved, 1, &stages, out),
        |arena, backend, out| {
            let weights = put(arena, &weights).pixels().unwrap();
            let pack = PackOptions { backend: Some(backend), ..PackOptions::default() };
            let spec = FullyConnectedSpec { weights, weight_zero_point, input_zero_point, pack };
            let layer = FullyConnected::new(&spec, &stages)?;
            let workspace = &mut workspace(arena, layer.workspace_bytes(threads.0)?);
            layer.run_on(&threads, put(arena, &input).pixels().unwrap(), out.into_pixels().unwrap(), workspace)
        },
    );
}

/// Tests a layer of two operands, of which one may be repeated along some dimensions.
macro_rules! binary {
    ($($test:ident $layer:ident)*) => {$(
        fn $test<C: Byte>(case: &mut Case<'_>) {
            let full = case.shape();
            let spec = BinarySpec {
                activation: case.activation(),
                rounding: case.rounding(),
                ..BinarySpec::new(case.params(), case.params(), case.params::<C>())
            };
            let single = [0; 4].map(|_: i32| case.rng.one_in(3));
            let cut = core::array::from_fn(|i| if single[i] { 1 } else { full[i] });
            let shapes = case.rng.pick(&[[full, full], [full, cut], [cut, full], [full, [1; 4]]]);
            let [lhs, rhs] = shapes.map(|shape| case.image::<C>(shape));
            let (old, threads) = (case.image(full), Turns(case.threads.0));
            case.compare(
                &format!("{shapes:?}, strides {:?} and {:?}", lhs.strides, rhs.strides),
                &old,
                |out| reference::$test(&spec, lhs.view(), rhs.view(), out),
                |arena, backend, out| {
                    let layer = $layer::new(&BinarySpec { backend: Some(backend), ..spec })?;
                    layer.run_on(&threads, put(arena, &lhs), put(arena, &rhs), out)
                },
            );
        }
    )*};
}
binary!(add Add sub Sub mul Mul);

/// Tests a layer that takes one image to another.
fn unary<I: Value, O: Value>(
    case: &mut Case<'_>,
    input: &Image<I>,
    out: [usize; 4],
    define: impl Fn(TensorRef<'_, I>, &mut TensorMut<'_, O>),
    run: impl Fn(&Turns, TensorRef<'_, I>, TensorMut<'_, O>) -> Result<(), Error>,
) {
    let (old, threads) = (case.image(out), Turns(case.threads.0));
    case.compare(
        &format!("input {:?} strides {:?}", input.shape, input.strides),
        &old,
        |out| define(input.view(), out),
        |arena, _, out| run(&threads, put(arena, input), out),
    );
}

fn average_pool<C: Byte>(case: &mut Case<'_>) {
    let Form { kernel, window, .. } = Form::any(case);
    let ties = case.rng.pick(&[AverageTies::AwayFromCodeZero, AverageTies::AwayFromZeroPoint]);
    let spec =
        AveragePool2dSpec { kernel, window, params: case.params::<C>(), activation: case.activation(), ties };
    let (layer, input) = (AveragePool2d::new(&spec).unwrap(), case.image(case.shape()));
    let out = layer.output(input.shape).unwrap();
    unary(
        case,
        &input,
        out,
        |input, out| reference::average_pool_2d(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn max_pool<C: Byte>(case: &mut Case<'_>) {
    let Form { kernel, window, .. } = Form::any(case);
    let spec = MaxPool2dSpec { kernel, window, params: case.params::<C>(), activation: case.activation() };
    let (layer, input) = (MaxPool2d::new(&spec).unwrap(), case.image(case.shape()));
    let out = layer.output(input.shape).unwrap();
    unary(
        case,
        &input,
        out,
        |input, out| reference::max_pool_2d(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn mean<C: Byte>(case: &mut Case<'_>) {
    let [height, width] = [case.rng.one_in(2), case.rng.one_in(2)];
    let (input, output) = (case.params::<C>(), case.params());
    let (activation, rounding) = (case.activation(), case.rounding());
    let spec = MeanSpec { height, width, input, output, activation, rounding };
    let (layer, input) = (Mean::new(&spec).unwrap(), case.image(case.shape()));
    let out = layer.output(input.shape);
    unary(
        case,
        &input,
        out,
        |input, out| reference::mean(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn pad<C: Byte>(case: &mut Case<'_>) {
    let [before, after] = [[0; 4]; 2].map(|sizes| sizes.map(|_: i32| case.rng.below(4).saturating_sub(1)));
    let spec = PadSpec { params: case.params::<C>(), before, after };
    let (layer, input) = (Pad::new(&spec), case.image(case.shape()));
    let out = layer.output(input.shape).unwrap();
    unary(
        case,
        &input,
        out,
        |input, out| reference::pad(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn requantize<C: Byte>(case: &mut Case<'_>) {
    let (input, output) = (case.params::<C>(), case.params::<u8>());
    let spec = RequantizeSpec { input, output, activation: case.activation(), rounding: case.rounding() };
    let (layer, input) = (Requantize::new(&spec).unwrap(), case.image(case.shape()));
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::requantize(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn relu<C: Byte>(case: &mut Case<'_>) {
    let (params, input) = (case.params::<C>(), case.image(case.shape()));
    let layer = Relu::new(&params);
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::relu(&params, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn relu6<C: Byte>(case: &mut Case<'_>) {
    let (params, input) = (case.params::<C>(), case.image(case.shape()));
    let layer = Relu6::new(&params);
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::relu6(&params, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn quantize<C: Byte>(case: &mut Case<'_>) {
    let (params, ties) = (case.params::<C>(), case.rng.pick(&[Ties::Away, Ties::Even]));
    let (layer, mut input) = (Quantize::new(&params, ties), case.image::<f32>(case.shape()));
    for real in input.data.iter_mut().filter(|_| !case.rng.one_in(4)) {
        *real = params.scale() * case.rng.within(-600, 600) as f32 / 2.0;
    }
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::quantize(&params, ties, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn dequantize<C: Byte>(case: &mut Case<'_>) {
    let (params, input) = (case.params::<C>(), case.image(case.shape()));
    let layer = Dequantize::new(&params);
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::dequantize(&params, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

fn concat<C: Byte>(case: &mut Case<'_>) {
    let output = case.params::<C>();
    joined(case, [output; 3], output, None);
}

fn concat_requantize<C: Byte>(case: &mut Case<'_>) {
    let (a, b, rounding) = (case.params::<C>(), case.params(), case.rounding());
    joined(case, [a, b, a], a, Some(rounding));
}

/// Three images side by side, requantized by a rule or as they are.
fn joined<C: Byte>(
    case: &mut Case<'_>,
    inputs: [QuantParams<C>; 3],
    output: QuantParams<C>,
    rounding: Option<Rounding>,
) {
    let rng = case.rng;
    let dimension = rng.pick(&[Dimension::Batch, Dimension::Height, Dimension::Width, Dimension::Channels]);
    let spec = ConcatSpec { dimension, inputs: &inputs, output };
    let mut shape = case.shape();
    let images = [0; 3].map(|first| {
        let mut shape = shape;
        shape[dimension as usize] = rng.below(shape[dimension as usize] + 2) + first;
        case.image::<C>(shape)
    });
    shape[dimension as usize] = images.iter().map(|image| image.shape[dimension as usize]).sum();
    let (old, threads) = (case.image(shape), Turns(case.threads.0));
    case.compare(
        &format!("{dimension:?} of {:?}", images.each_ref().map(|image| image.shape)),
        &old,
        |out| reference::concat(&spec, rounding, &images.each_ref().map(Image::view), out),
        |arena, _, out| {
            let inputs = images.each_ref().map(|image| put(arena, image));
            match rounding {
                None => Concat::new(&spec)?.run_on(&threads, &inputs, out),
                Some(rounding) => ConcatRequantize::new(&spec, rounding)?.run_on(&threads, &inputs, out),
            }
        },
    );
}

/// Tests a function of codes, in rows of `case.channels`.
fn function<C: Byte>(
    case: &mut Case<'_>,
    define: impl Fn(&[C]) -> Vec<C>,
    run: impl Fn(&[C], &mut [C]) -> Result<(), Error>,
) {
    let shape = [1, 1, case.width, case.channels];
    let [input, old] = [0; 2].map(|_: i32| Image::<C>::random(shape, Gaps::default(), case.rng));
    let all = |out: &mut TensorMut<'_, C>| -> Vec<[usize; 4]> {
        let [_, _, width, channels] = out.shape();
        (0..width).flat_map(|x| (0..channels).map(move |c| [0, 0, x, c])).collect()
    };
    case.compare(
        "codes",
        &old,
        |out| {
            for (at, code) in all(out).into_iter().zip(input.data.chunks(shape[3]).flat_map(&define)) {
                out.set(at, code);
            }
        },
        |arena, _, mut out| {
            run(arena.slice(input.data.len(), |i| input.data[i]), out.run([0; 3], shape[2]).unwrap())
        },
    );
}

fn logistic<C: Byte>(case: &mut Case<'_>) {
    let params = case.params::<C>();
    let define = |row: &[C]| row.iter().map(|code| reference::logistic(*code, &params)).collect();
    function(case, define, |input, out| Logistic::new(&params).run(input, out));
}

fn tanh<C: Byte>(case: &mut Case<'_>) {
    let params = case.params::<C>();
    let define = |row: &[C]| row.iter().map(|code| reference::tanh(*code, &params)).collect();
    function(case, define, |input, out| Tanh::new(&params).run(input, out));
}

fn softmax<C: Byte>(case: &mut Case<'_>) {
    let (params, depth) = (case.params::<C>(), case.channels);
    let define = |row: &[C]| reference::softmax(row, &params, 1.0);
    function(case, define, |input, out| Softmax::new(&params, 1.0)?.run(depth, input, out));
}

//! Every layer with its weights, inputs, output and workspace between pages that cannot be touched: one byte read or written
//! too far faults. Buffers start right behind an unmapped page, then end right before one; results are those of the
//! reference.
//!
//! A fault ends the process, after printing the line that repeats it.
#![cfg(all(unix, not(miri)))]

#[path = "../common/mod.rs"]
mod common;
mod plain;
mod weighted;

/// Memory that ends or begins at unmapped pages, as the tests of the kernels have it.
#[path = "../../kernels/tests/common"]
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
use plain::*;
use weighted::*;
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
    let exports = include_str!("../../src/layers/mod.rs").lines().filter_map(|line| line.strip_prefix("pub use "));
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

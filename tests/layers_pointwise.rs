//! Layers without weights against their definitions, bit for bit: any parameters, rules, shapes, layouts and threads; u8 and
//! i8 forms of a problem against each other; what is refused.
//!
//! `ZEROPOINT_SEED=number` changes all that is random, `PROPTEST_CASES=number` how much of it there is.
#![cfg(not(miri))]

mod common;

use common::image::{Gaps, Image, gaps, windows};
use common::matrix::Value;
use common::pool::Scoped;
use common::{RULES, Rng, backends, seed};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use zeropoint::layers::{
    Activation, Add, AveragePool2d, AveragePool2dSpec, AverageTies, BinarySpec, Concat, ConcatRequantize,
    ConcatSpec, Dequantize, Dimension, MaxPool2d, MaxPool2dSpec, Mean, MeanSpec, Mul, Pad, PadSpec, Quantize,
    Relu, Relu6, Requantize, RequantizeSpec, Sub, Window,
};
use zeropoint::quant::Ties;
use zeropoint::{Code, Error, OutputCode, QuantParams, Rounding, TensorMut, TensorRef, reference};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

const KINDS: [Kind; 14] = [
    Kind::Add,
    Kind::Sub,
    Kind::Mul,
    Kind::Requantize,
    Kind::Relu,
    Kind::Relu6,
    Kind::Quantize,
    Kind::Dequantize,
    Kind::AveragePool,
    Kind::MaxPool,
    Kind::Mean,
    Kind::Pad,
    Kind::Concat,
    Kind::ConcatRequantize,
];

/// Parameters in terms of u8; of i8 the zero point is 128 less.
#[derive(Clone, Copy, Debug)]
struct Params {
    scale: f32,
    zero: u8,
}

impl Params {
    fn of<C: Code + OutputCode>(self) -> QuantParams<C> {
        let first = if C::SIGNED { -128 } else { 0 };
        QuantParams::new(self.scale, i32::from(self.zero) + first).unwrap()
    }
}

/// A layer; its numbers derive from `seed`.
#[derive(Clone, Debug)]
struct Problem {
    kind: Kind,
    shape: [usize; 4],
    /// Which dimensions of the first and the second operand are 1.
    single: [[bool; 4]; 2],
    gaps: [Gaps; 3],
    params: [Params; 3],
    activation: Activation,
    rounding: Rounding,
    kernel: [usize; 2],
    window: Window,
    ties: AverageTies,
    over: [bool; 2],
    pads: [[usize; 4]; 2],
    dimension: Dimension,
    threads: usize,
    seed: u64,
}

/// Scales of one size, mostly, so that results are not all clamped, and never so far apart that a
/// factor is refused; powers of two make ties.
fn params() -> impl Strategy<Value = Params> {
    let fraction = prop_oneof![1 => Just(1.0f32), 1 => 1.0f32..2.0];
    let exponent = prop_oneof![8 => -3..=3i32, 1 => -10..=10i32];
    let zero = prop_oneof![1 => Just(0u8), 1 => Just(255), 1 => Just(128), 3 => any::<u8>()];
    (fraction, exponent, zero).prop_map(|(f, e, zero)| Params { scale: f * 2.0f32.powi(e - 4), zero })
}

fn problems(kind: Kind) -> impl Strategy<Value = Problem> {
    let size = || prop_oneof![1 => Just(0usize), 30 => 1..=9usize, 4 => 10..=40usize];
    let channels = prop_oneof![1 => Just(0usize), 20 => 1..=9usize, 5 => 10..=70usize, 2 => 250..=530usize];
    let shape = (prop_oneof![1 => Just(0usize), 10 => 1..=3usize], size(), size(), channels);
    let single = prop::array::uniform2(prop::array::uniform4(prop::bool::weighted(0.15)));
    let views = (gaps(true), gaps(true), gaps(false));
    let activations = vec![Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1];
    let numbers = (prop::array::uniform3(params()), select(activations), select(&RULES[..]));
    let ties = select(&[AverageTies::AwayFromCodeZero, AverageTies::AwayFromZeroPoint][..]);
    let kernel = prop_oneof![2 => prop::array::uniform2(1..=5usize), 1 => Just([20, 20]), 1 => Just([2, 2])];
    let pool = (kernel, windows(), ties, any::<[bool; 2]>());
    let pad = || prop::array::uniform4(prop_oneof![2 => Just(0usize), 1 => 1..=4usize]);
    let dimension = select(&[Dimension::Batch, Dimension::Height, Dimension::Width, Dimension::Channels][..]);
    (shape, single, views, numbers, pool, (pad(), pad(), dimension), 0..=3usize, any::<u64>()).prop_map(
        move |((n, h, w, c), single, views, numbers, pool, (before, after, dimension), threads, seed)| {
            let (params, activation, rounding) = numbers;
            let (kernel, window, ties, over) = pool;
            Problem {
                kind,
                shape: [n, h, w, if kind == Kind::Quantize { c.min(70) } else { c }],
                single,
                gaps: views.into(),
                params,
                activation,
                rounding,
                kernel,
                window,
                ties,
                over,
                pads: [before, after],
                dimension,
                threads,
                seed,
            }
        },
    )
}

/// Runs a layer and its definition on copies of an output and compares all bits, those of gaps as well.
fn compare<O: Value>(
    old: &Image<O>,
    run: impl Fn(TensorMut<'_, O>) -> Result<(), Error>,
    define: impl Fn(&mut TensorMut<'_, O>),
) -> Result<Image<O>, String> {
    let (mut got, mut expected) = (old.clone(), old.clone());
    define(&mut expected.view_mut());
    run(got.view_mut()).map_err(|error| error.to_string())?;
    match (0..got.data.len()).find(|i| got.data[*i].bits() != expected.data[*i].bits()) {
        None => Ok(got),
        Some(at) => {
            let (got, expected) = (got.data[at], expected.data[at]);
            Err(format!("{} is {got:?}, should be {expected:?}", old.place(at)))
        }
    }
}

impl Problem {
    /// Checks the form of one type of codes, and returns all bytes of the output.
    fn check<C: Code + OutputCode + reference::Output + Value + TryFrom<i32>>(&self) -> Result<Vec<u32>, String> {
        let flip = if C::SIGNED { 0x80 } else { 0 };
        let rng = Rng::new(self.seed);
        // The same images in both forms.
        let image = |shape, gaps| -> Image<C> {
            let Image { data, shape, strides } = Image::<u8>::random(shape, gaps, &rng);
            Image { data: data.into_iter().map(|code| C::of(u32::from(code ^ flip))).collect(), shape, strides }
        };
        let bits = |image: Image<C>| image.data.iter().map(|code| (code.bits() as u8 ^ flip).into()).collect();
        let [a, b, o] = self.params.map(Params::of::<C>);
        let Self { kind, shape, activation, rounding, window, kernel, .. } = *self;
        let threads = Scoped(self.threads.max(1));
        let serial = self.threads == 0;
        macro_rules! unary {
            ($layer:expr, $input:expr, $old:expr, $define:expr) => {{
                let (layer, input, old) = ($layer, $input, $old);
                compare(
                    &old,
                    |out| match serial {
                        true => layer.run(input.view(), out),
                        false => layer.run_on(&threads, input.view(), out),
                    },
                    |out| $define(input.view(), out),
                )
            }};
        }
        let said = |error: Error| error.to_string();
        match kind {
            Kind::Add | Kind::Sub | Kind::Mul => {
                let backend = Some(rng.pick(&backends()));
                let spec = BinarySpec { lhs: a, rhs: b, output: o, activation, rounding, backend };
                let cut = |i: usize| {
                    core::array::from_fn(|d| if self.single[i][d] && shape[d] > 0 { 1 } else { shape[d] })
                };
                let (lhs, rhs) = (image(cut(0), self.gaps[0]), image(cut(1), self.gaps[1]));
                let full = core::array::from_fn(|d| if lhs.shape[d] == 1 { rhs.shape[d] } else { lhs.shape[d] });
                let old = image(full, self.gaps[2]);
                macro_rules! layer {
                    ($name:ident, $define:ident) => {{
                        let layer = $name::new(&spec).map_err(said)?;
                        compare(
                            &old,
                            |out| match serial {
                                true => layer.run(lhs.view(), rhs.view(), out),
                                false => layer.run_on(&threads, lhs.view(), rhs.view(), out),
                            },
                            |out| reference::$define(&spec, lhs.view(), rhs.view(), out),
                        )
                    }};
                }
                match kind {
                    Kind::Add => layer!(Add, add),
                    Kind::Sub => layer!(Sub, sub),
                    _ => layer!(Mul, mul),
                }
                .map(bits)
            }
            Kind::Requantize => {
                let (input, old) = (image(shape, self.gaps[0]), image(shape, self.gaps[2]));
                // To the other type as well.
                let other = Image::<u8>::random(shape, self.gaps[2], &rng);
                let to_u8 = RequantizeSpec { input: a, output: self.params[2].of::<u8>(), activation, rounding };
                let input_to_u8 = input.clone();
                unary!(Requantize::new(&to_u8).map_err(said)?, input_to_u8, other, |input, out: &mut _| {
                    reference::requantize(&to_u8, input, out)
                })?;
                let spec = RequantizeSpec { input: a, output: o, activation, rounding };
                unary!(Requantize::new(&spec).map_err(said)?, input, old, |input, out: &mut _| {
                    reference::requantize(&spec, input, out)
                })
                .map(bits)
            }
            Kind::Relu => {
                let (input, old) = (image(shape, self.gaps[0]), image(shape, self.gaps[2]));
                unary!(Relu::new(&a), input, old, |input, out: &mut _| reference::relu(&a, input, out)).map(bits)
            }
            Kind::Relu6 => {
                let (input, old) = (image(shape, self.gaps[0]), image(shape, self.gaps[2]));
                unary!(Relu6::new(&a), input, old, |input, out: &mut _| reference::relu6(&a, input, out)).map(bits)
            }
            Kind::Quantize => {
                let mut input = Image::<f32>::random(shape, self.gaps[0], &rng);
                // Any bits, and many that are near a tie.
                for x in &mut input.data {
                    if !rng.one_in(4) {
                        *x = a.scale() * (rng.within(-600, 600) as f32 / 2.0);
                    }
                }
                let old = image(shape, self.gaps[2]);
                let ties = if self.over[0] { Ties::Away } else { Ties::Even };
                unary!(Quantize::new(&a, ties), input, old, |input, out: &mut _| {
                    reference::quantize(&a, ties, input, out)
                })
                .map(bits)
            }
            Kind::Dequantize => {
                let input = image(shape, self.gaps[0]);
                let old = Image::<f32>::random(shape, self.gaps[2], &rng);
                unary!(Dequantize::new(&a), input, old, |input, out: &mut _| {
                    reference::dequantize(&a, input, out)
                })
                .map(|image| image.data.iter().map(|real| real.to_bits()).collect())
            }
            Kind::AveragePool => {
                let spec = AveragePool2dSpec { kernel, window, params: a, activation, ties: self.ties };
                let layer = AveragePool2d::new(&spec).map_err(said)?;
                let old = image(layer.output(shape).map_err(said)?, self.gaps[2]);
                unary!(layer, image(shape, self.gaps[0]), old, |input, out: &mut _| {
                    reference::average_pool_2d(&spec, input, out)
                })
                .map(bits)
            }
            Kind::MaxPool => {
                let spec = MaxPool2dSpec { kernel, window, params: a, activation };
                let layer = MaxPool2d::new(&spec).map_err(said)?;
                let old = image(layer.output(shape).map_err(said)?, self.gaps[2]);
                unary!(layer, image(shape, self.gaps[0]), old, |input, out: &mut _| {
                    reference::max_pool_2d(&spec, input, out)
                })
                .map(bits)
            }
            Kind::Mean => {
                let [height, width] = self.over;
                let spec = MeanSpec { height, width, input: a, output: o, activation, rounding };
                let layer = Mean::new(&spec).map_err(said)?;
                let old = image(layer.output(shape), self.gaps[2]);
                unary!(layer, image(shape, self.gaps[0]), old, |input, out: &mut _| {
                    reference::mean(&spec, input, out)
                })
                .map(bits)
            }
            Kind::Pad => {
                let [before, after] = self.pads;
                let spec = PadSpec { params: a, before, after };
                let layer = Pad::new(&spec);
                let old = image(layer.output(shape).map_err(said)?, self.gaps[2]);
                unary!(layer, image(shape, self.gaps[0]), old, |input, out: &mut _| {
                    reference::pad(&spec, input, out)
                })
                .map(bits)
            }
            Kind::Concat | Kind::ConcatRequantize => {
                let d = self.dimension as usize;
                let mut total = shape;
                total[d] = 0;
                let inputs: Vec<_> = (0..rng.below(4))
                    .map(|i| {
                        let mut shape = shape;
                        shape[d] = rng.below(shape[d] + 2);
                        total[d] += shape[d];
                        image(shape, self.gaps[i % 2])
                    })
                    .collect();
                let views: Vec<_> = inputs.iter().map(Image::view).collect();
                let old = image(total, self.gaps[2]);
                let params: Vec<_> = (0..inputs.len())
                    .map(|_| if kind == Kind::Concat { o } else { rng.pick(&[a, b, o]) })
                    .collect();
                let spec = ConcatSpec { dimension: self.dimension, inputs: &params, output: o };
                match kind {
                    Kind::Concat => {
                        let layer = Concat::new(&spec).map_err(said)?;
                        compare(
                            &old,
                            |out| match serial {
                                true => layer.run(&views, out),
                                false => layer.run_on(&threads, &views, out),
                            },
                            |out| reference::concat(&spec, None, &views, out),
                        )
                    }
                    _ => {
                        let layer = ConcatRequantize::new(&spec, rounding).map_err(said)?;
                        compare(
                            &old,
                            |out| match serial {
                                true => layer.run(&views, out),
                                false => layer.run_on(&threads, &views, out),
                            },
                            |out| reference::concat(&spec, Some(rounding), &views, out),
                        )
                    }
                }
                .map(bits)
            }
        }
    }

    /// Whether codes of u8 and i8 have to agree but for 128.
    fn agrees(&self) -> bool {
        self.kind != Kind::AveragePool || self.ties == AverageTies::AwayFromZeroPoint
    }
}

fn check(kind: Kind) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    // Plain code without optimization takes long.
    let cases = cases.unwrap_or(if cfg!(debug_assertions) { 30 } else { 150 });
    let config = ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(&problems(kind), |problem| {
        let unsigned = problem.check::<u8>().map_err(|error| TestCaseError::fail(format!("u8: {error}")))?;
        let signed = problem.check::<i8>().map_err(|error| TestCaseError::fail(format!("i8: {error}")))?;
        if problem.agrees() && unsigned != signed {
            return Err(TestCaseError::fail("u8 and i8 disagree"));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("ZEROPOINT_SEED={}: {kind:?}: {error}", seed());
    }
}

#[test]
fn sums_and_products_are_those_of_the_reference() {
    [Kind::Add, Kind::Sub, Kind::Mul].into_iter().for_each(check);
}

#[test]
fn rescaled_codes_are_those_of_the_reference() {
    KINDS[3..8].iter().copied().for_each(check);
}

#[test]
fn pools_are_those_of_the_reference() {
    KINDS[8..11].iter().copied().for_each(check);
}

#[test]
fn moved_codes_are_those_of_the_reference() {
    KINDS[11..].iter().copied().for_each(check);
}

/// Pairs of codes that nearly cancel: a small output scale shows every bit of the operands' rescaling.
#[test]
fn sums_that_nearly_cancel_are_those_of_the_reference() {
    let params = |scale, zero| QuantParams::<u8>::new(scale, zero).unwrap();
    let second = std::f32::consts::FRAC_1_SQRT_2;
    let real = |(a, b): (u8, u8)| (f32::from(a) - f32::from(b) * second).abs();
    let pairs = (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))).filter(|pair| real(*pair) < 0.02);
    let (lhs, rhs): (Vec<u8>, Vec<u8>) = pairs.unzip();
    let shape = [1, 1, lhs.len(), 1];
    let [lhs, rhs] = [&lhs, &rhs].map(|codes| TensorRef::nhwc(codes, shape).unwrap());
    let old = Image::<u8>::random(shape, Gaps::default(), &Rng::new(seed()));
    let backends = backends();
    for i in 0..600 {
        let output = params(2f32.powf(-12.0 - i as f32 / 100.0), 128);
        let mut spec = BinarySpec::new(params(1.0, 0), params(second, 0), output);
        (spec.rounding, spec.backend) = (RULES[i % RULES.len()], Some(backends[i % backends.len()]));
        let sub = Sub::new(&spec).unwrap();
        compare(&old, |out| sub.run(lhs, rhs, out), |out| reference::sub(&spec, lhs, rhs, out)).unwrap();
        // The negative of a difference is a sum of other codes.
        (spec.lhs, spec.rhs) = (params(1.0, 255), params(second, 0));
        let add = Add::new(&spec).unwrap();
        compare(&old, |out| add.run(lhs, rhs, out), |out| reference::add(&spec, lhs, rhs, out)).unwrap();
    }
}

/// All pairs of codes by every rule on every backend, of u8 and of i8.
#[test]
fn sums_and_products_of_all_codes_are_those_of_the_reference() {
    fn check<C: Code + OutputCode + reference::Output + Value>(rng: &Rng) {
        let [lhs, rhs]: [Vec<C>; 2] =
            [8, 0].map(|shift| (0..1 << 16).map(|i: u32| C::of(i >> shift & 255)).collect());
        let shape = [1, 16, 64, 64];
        let [lhs, rhs] = [&lhs, &rhs].map(|codes| TensorRef::nhwc(codes, shape).unwrap());
        let old = Image::<C>::random(shape, Gaps::default(), rng);
        for rounding in RULES {
            let params = || Params { scale: rng.fraction() / 32.0, zero: rng.bits() as u8 }.of::<C>();
            let activation = rng.pick(&[Activation::None, Activation::Relu6]);
            let spec = BinarySpec { activation, rounding, ..BinarySpec::new(params(), params(), params()) };
            macro_rules! layer {
                ($name:ident, $define:ident) => {
                    let mut expected = old.clone();
                    reference::$define(&spec, lhs, rhs, &mut expected.view_mut());
                    // Twins have no lanes of their own; the tests of the kernels see to them.
                    for backend in backends().into_iter().filter(|backend| backend.name() != "twin") {
                        let layer = $name::new(&BinarySpec { backend: Some(backend), ..spec }).unwrap();
                        assert_eq!(layer.backend(), backend);
                        let mut got = old.clone();
                        layer.run(lhs, rhs, got.view_mut()).unwrap();
                        let wrong = (0..got.data.len()).find(|i| got.data[*i].bits() != expected.data[*i].bits());
                        assert_eq!(wrong, None, "ZEROPOINT_SEED={}: {backend:?}, {spec:?}", seed());
                    }
                };
            }
            layer!(Add, add);
            layer!(Sub, sub);
            layer!(Mul, mul);
        }
    }
    let rng = Rng::new(seed());
    check::<u8>(&rng);
    check::<i8>(&rng);
}

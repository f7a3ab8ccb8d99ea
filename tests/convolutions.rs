//! Convolutions, depthwise and transposed ones too, against their sums, bit for bit: any kernel, stride, dilation, padding, groups,
//! layout, zero points, stages and threads, on every backend and every twin.
//!
//! `ZEROPOINT_SEED=number` changes all that is random, `PROPTEST_CASES=number` how much of it there is.
#![cfg(not(miri))]

mod common;

use common::image::{Gaps, Image, gaps, windows};
use common::matrix::Value;
use common::pool::Scoped;
use common::stage::{Axis, Output, Size, Stage, Values};
use common::{Rng, backends, seed};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use zeropoint::kernels::Dest;
use zeropoint::layers::{
    Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, Padding, TransposeConv2d, TransposeConv2dSpec,
    Window,
};
use zeropoint::{
    Backend, Code, Error, PackOptions, Rounding, TensorMut, TensorRef, Workspace, ZeroPoint, reference,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Conv,
    Depthwise,
    Transpose,
}

/// A convolution; its numbers derive from `seed`.
#[derive(Clone, Copy, Debug)]
struct Problem {
    kind: Kind,
    /// Whether inputs and weights are `i8`.
    signed: (bool, bool),
    dest: Dest,
    /// Of the input; of the output, if transposed.
    image: [usize; 3],
    kernel: [usize; 2],
    window: Window,
    groups: usize,
    /// Of a group, in and out; for depthwise ones channels and multiplier.
    channels: [usize; 2],
    gaps: [Gaps; 2],
    stage: Stage,
    zero_each: bool,
    threads: usize,
    seed: u64,
}

fn stages(dest: Dest) -> impl Strategy<Value = Stage> {
    let rules = Rounding::ALL.iter().copied().map(Some).chain([None, None]);
    let rounding = select(rules.collect::<Vec<_>>());
    let axis = || select(&[Axis::One, Axis::Columns][..]);
    let size = || select(&[Size::Usual, Size::Usual, Size::Any][..]);
    (rounding, axis(), size(), size(), axis(), any::<(bool, bool, bool)>()).prop_map(
        move |(rounding, axis, factors, bias, float_bias, (zero_point, clamp, accumulate))| Stage {
            rounding,
            axis,
            factors,
            bias,
            float_bias,
            zero_point,
            clamp,
            accumulate: accumulate && dest == Dest::I32,
            ..Stage::PLAIN
        },
    )
}

fn problems(kind: Kind, dest: Dest) -> impl Strategy<Value = Problem> {
    let size = || prop_oneof![1 => Just(0usize), 30 => 1..=9usize, 4 => 10..=30usize];
    let image = (prop_oneof![1 => Just(0usize), 10 => 1..=2usize], size(), size()).prop_map(|(n, h, w)| [n, h, w]);
    let kernel = prop_oneof![2 => Just([1, 1]), 4 => Just([3, 3]), 4 => prop::array::uniform2(1..=5usize)];
    let channels = || prop_oneof![1 => Just(0usize), 20 => 1..=9usize, 5 => 10..=70usize];
    let channels = match kind {
        Kind::Depthwise => (channels(), prop_oneof![3 => Just(1usize), 1 => 2..=3usize]).boxed(),
        _ => (channels(), prop_oneof![4 => 1..=9usize, 1 => 10..=40usize]).boxed(),
    };
    let groups =
        if kind == Kind::Conv { prop_oneof![3 => Just(1usize), 1 => 2..=3usize].boxed() } else { Just(1).boxed() };
    let shape = (image, kernel, windows(), groups, channels);
    let rest = (any::<bool>(), 0..=3usize, any::<u64>());
    (any::<(bool, bool)>(), shape, (gaps(true), gaps(false)), stages(dest), rest).prop_map(
        move |(signed, shape, gaps, stage, (zero_each, threads, seed))| {
            let (image, kernel, window, groups, channels) = shape;
            Problem {
                kind,
                signed,
                dest,
                image,
                kernel,
                window,
                groups,
                channels: channels.into(),
                gaps: gaps.into(),
                stage,
                zero_each,
                threads,
                seed,
            }
        },
    )
}

impl Problem {
    fn check(&self, backends: &[Backend]) -> Result<(), String> {
        macro_rules! dispatch {
            ($($dest:ident $out:ty),*) => {
                match (self.signed, self.dest) {$(
                    ((false, false), Dest::$dest) => self.check_as::<u8, u8, $out>(backends),
                    ((false, true), Dest::$dest) => self.check_as::<u8, i8, $out>(backends),
                    ((true, false), Dest::$dest) => self.check_as::<i8, u8, $out>(backends),
                    ((true, true), Dest::$dest) => self.check_as::<i8, i8, $out>(backends),
                )*}
            };
        }
        dispatch!(U8 u8, I8 i8, I16 i16, I32 i32, F32 f32)
    }

    fn check_as<L: Code + Value, W: Code + Value, O: Output>(&self, backends: &[Backend]) -> Result<(), String> {
        let rng = Rng::new(self.seed);
        let Self { kind, image: [batch, height, width], kernel: [kh, kw], window, groups, .. } = *self;
        let [a, b] = self.channels;
        let size = window.output(self.kernel, [height, width]).unwrap();
        let (small, large) = ([batch, size[0], size[1]], self.image);
        // Shapes of weights, input and output.
        let ([wo, wi], (input, inputs), (output, outputs)) = match kind {
            Kind::Conv => ([groups * b, a], (large, groups * a), (small, groups * b)),
            Kind::Depthwise => ([1, a * b], (large, a), (small, a * b)),
            Kind::Transpose => ([b, a], (small, a), (large, b)),
        };
        let with = |[n, h, w]: [usize; 3], c| [n, h, w, c];
        let weights = Image::<W>::random([wo, kh, kw, wi], Gaps::default(), &rng);
        let input = Image::<L>::random(with(input, inputs), self.gaps[0], &rng);
        let old = Image::<O>::random(with(output, outputs), self.gaps[1], &rng);
        let zero = rng.extreme(L::RANGE.0, L::RANGE.1);
        let zeros: Vec<_> = (0..outputs).map(|_| rng.extreme(W::RANGE.0, W::RANGE.1)).collect();
        let weight_zero = if self.zero_each {
            ZeroPoint::Each(&zeros)
        } else {
            ZeroPoint::One(rng.extreme(W::RANGE.0, W::RANGE.1))
        };
        let k = kh * kw * if kind == Kind::Depthwise { 1 } else { a };
        let values = Values::new::<O>(self.stage, (0, k, outputs), &rng);
        let stages = O::stages(&values);

        let mut expected = old.clone();
        let image = reference::Image { codes: input.view(), zero_point: zero };
        let kernel = reference::Kernel { weights: weights.view(), zero_point: weight_zero, window };
        let out = &mut expected.view_mut();
        match kind {
            Kind::Conv => reference::conv2d(image, kernel, groups, &stages, out),
            Kind::Depthwise => reference::depthwise_conv2d(image, kernel, &stages, out),
            Kind::Transpose => reference::transpose_conv2d(image, kernel, &stages, out),
        }
        for backend in backends {
            let mut got = old.clone();
            let weights = weights.view();
            let pack = PackOptions { backend: Some(*backend), ..PackOptions::default() };
            let ran = match kind {
                Kind::Conv => {
                    let spec = Conv2dSpec {
                        weights,
                        weight_zero_point: weight_zero,
                        input_zero_point: zero,
                        window,
                        groups,
                        pack,
                    };
                    Conv2d::new(&spec, &stages).and_then(|layer| {
                        let bytes = layer.workspace_bytes(self.threads)?;
                        self.run(bytes, input.view(), got.view_mut(), |threads, input, out, ws| {
                            layer.run_on(threads, input, out, ws)
                        })
                    })
                }
                Kind::Depthwise => {
                    let spec = DepthwiseConv2dSpec {
                        weights,
                        weight_zero_point: weight_zero,
                        input_zero_point: zero,
                        multiplier: b,
                        window,
                        backend: Some(*backend),
                    };
                    DepthwiseConv2d::new(&spec, &stages).and_then(|layer| {
                        let bytes = layer.workspace_bytes(input.shape, self.threads)?;
                        self.run(bytes, input.view(), got.view_mut(), |threads, input, out, ws| {
                            layer.run_on(threads, input, out, ws)
                        })
                    })
                }
                Kind::Transpose => {
                    let output = [height, width];
                    let spec = TransposeConv2dSpec {
                        weights,
                        weight_zero_point: weight_zero,
                        input_zero_point: zero,
                        window,
                        output,
                        pack,
                    };
                    TransposeConv2d::new(&spec, &stages).and_then(|layer| {
                        let bytes = layer.workspace_bytes(self.threads)?;
                        self.run(bytes, input.view(), got.view_mut(), |threads, input, out, ws| {
                            layer.run_on(threads, input, out, ws)
                        })
                    })
                }
            };
            ran.map_err(|error| format!("on {}: {error}", backend.kernel()))?;
            let differs = |i: &usize| got.data[*i].bits() != expected.data[*i].bits();
            if let Some(at) = (0..got.data.len()).find(differs) {
                let (place, got, expected) = (old.place(at), got.data[at], expected.data[at]);
                return Err(format!("on {}: {place} is {got:?}, should be {expected:?}", backend.kernel()));
            }
        }
        Ok(())
    }

    fn run<L: Copy, O: Copy>(
        &self,
        bytes: usize,
        input: TensorRef<'_, L>,
        out: TensorMut<'_, O>,
        run: impl Fn(&Scoped, TensorRef<'_, L>, TensorMut<'_, O>, &mut Workspace<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut memory = vec![0xa5; bytes + 63];
        run(&Scoped(self.threads.max(1)), input, out, &mut Workspace::borrow(&mut memory))
    }
}

fn check(kind: Kind) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    // Plain code and twins without optimization take long.
    let cases = cases.unwrap_or(if cfg!(debug_assertions) { 8 } else { 40 });
    let backends = backends();
    for dest in [Dest::U8, Dest::I8, Dest::I16, Dest::I32, Dest::F32] {
        let config = ProptestConfig {
            cases,
            rng_seed: RngSeed::Fixed(seed()),
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let result = TestRunner::new(config)
            .run(&problems(kind, dest), |problem| problem.check(&backends).map_err(TestCaseError::fail));
        if let Err(error) = result {
            panic!("ZEROPOINT_SEED={}: {error}", seed());
        }
    }
}

#[test]
fn convolutions_are_those_of_the_reference() {
    check(Kind::Conv);
}

#[test]
fn depthwise_convolutions_are_those_of_the_reference() {
    check(Kind::Depthwise);
}

/// What most networks have: each width of a tile and beside it, each type of output, whatever the random ones met.
#[test]
fn depthwise_kernels_of_three_by_three_at_every_width() {
    let backends = backends();
    let rounding = |i: usize| [Some(Rounding::DoubleAway), Some(Rounding::DoubleUp), None][i % 3];
    // Heights that end with either of two lines that are woven; and, of one type, lines of which a copy holds few at a time.
    let widths = (1..=15).flat_map(|width| [1, 2].map(|stride| ([stride; 2], [3 + width / 2 % 2, width], 35)));
    let long = ([1; 2], [7, 36], 700);
    for (i, (stride, [height, width], channels)) in widths.chain([long]).enumerate() {
        let types = if channels == 700 { 1 } else { 4 };
        for (j, dest) in [Dest::U8, Dest::I8, Dest::I32, Dest::F32].into_iter().enumerate().take(types) {
            let stage = Stage {
                axis: Axis::Columns,
                rounding: rounding(i / 2 + j),
                zero_point: true,
                bias: Size::Usual,
                ..Stage::PLAIN
            };
            let problem = Problem {
                kind: Kind::Depthwise,
                signed: (i % 4 > 1, j % 2 > 0),
                dest,
                image: [1, height, width],
                kernel: [3, 3],
                window: Window { stride, padding: Padding::Same, ..Window::default() },
                groups: 1,
                channels: [channels, 1],
                gaps: [Gaps::default(); 2],
                stage,
                zero_each: false,
                threads: 1,
                seed: seed() + i as u64,
            };
            problem.check(&backends).unwrap_or_else(|error| panic!("{problem:?}: {error}"));
        }
    }
}

/// What leaves vectors half empty: some pixels of a line come at once then, where they divide it.
#[test]
fn few_channels_at_every_width() {
    let backends = backends();
    let mut i = 0;
    let mut check = |kind, image, kernel, stride, channels| {
        let rounding = [Some(Rounding::DoubleAway), Some(Rounding::DoubleUp), None][i % 3];
        let dest = [Dest::U8, Dest::I8, Dest::I32][i % 3];
        let stage = Stage { axis: Axis::Columns, rounding, zero_point: true, bias: Size::Usual, ..Stage::PLAIN };
        let problem = Problem {
            kind,
            signed: (i % 4 > 1, i % 2 > 0),
            dest,
            image,
            kernel,
            window: Window { stride, padding: Padding::Same, ..Window::default() },
            groups: 1,
            channels,
            gaps: [Gaps::default(); 2],
            stage,
            zero_each: i % 5 == 0,
            threads: 1 + i % 2,
            seed: seed() + i as u64,
        };
        problem.check(&backends).unwrap_or_else(|error| panic!("{problem:?}: {error}"));
        i += 1;
    };
    for outputs in [1, 2, 3, 4, 5, 8] {
        for (kernel, stride, channels) in
            [([3, 3], [1, 1], 3), ([3, 3], [2, 2], 3), ([2, 5], [1, 2], 4), ([1, 4], [1, 1], 5)]
        {
            // One or the other is whole rows of pixels.
            for width in [15, 16] {
                check(Kind::Conv, [1, 5, width * stride[1]], kernel, stride, [channels, outputs]);
            }
        }
    }
    for channels in [2, 4, 8] {
        for width in 1..=18 {
            check(Kind::Depthwise, [1, 6, width], [3, 3], [1 + width / 2 % 2, 1], [channels, 1]);
        }
    }
}

#[test]
fn transposed_convolutions_are_those_of_the_reference() {
    check(Kind::Transpose);
}

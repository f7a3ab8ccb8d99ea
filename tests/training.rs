//! Fake quantization: TensorFlow's own results, and the definitions bit for bit, on every backend.
//!
//! `ZEROPOINT_SEED=number` changes all that is random, `PROPTEST_CASES=number` how much of it there is.
#![cfg(not(miri))]

mod common;

use common::{Rng, backends, seed};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::Value;
use zeropoint::training::{
    Axis, FakeQuant, FakeQuantSpec, Form, Gradient, Gradients, Grid, Levels, TensorFlowSpec,
};
use zeropoint::{Backend, Error, OutputCode, QuantParams, reference};

/// Reals as bits: a NaN is like any other, since its bits are the compiler's.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }.to_bits()).collect()
}

/// A case that TensorFlow has computed.
struct Case<'a>(&'a Value);

impl Case<'_> {
    fn reals(&self, name: &str) -> Vec<f32> {
        let hex = |bits: &Value| u32::from_str_radix(bits.as_str().unwrap(), 16).unwrap();
        self.0[name].as_array().unwrap().iter().map(|bits| f32::from_bits(hex(bits))).collect()
    }

    /// What `backend` makes of it: y, dx, dmin, dmax.
    fn run(&self, backend: Backend) -> [Vec<f32>; 4] {
        let [x, dy, min, max] = ["x", "dy", "min", "max"].map(|name| self.reals(name));
        let levels = Levels::bits(self.0["num_bits"].as_u64().unwrap() as u32).unwrap();
        let levels = if self.0["narrow_range"] == true { levels.narrow().unwrap() } else { levels };
        let (form, axis) = if self.0["per_channel"] == true {
            (Form::Multiplication, Axis::Channels { channels: min.len(), inner: 1 })
        } else {
            (Form::Division, Axis::Tensor)
        };
        let backend = Some(backend);
        let fake =
            FakeQuant::tensorflow(&TensorFlowSpec { min: &min, max: &max, levels, form, axis, backend }).unwrap();
        let (mut y, mut dx) = (x.clone(), x.clone());
        let mut gradients = Gradients::new(&fake).unwrap();
        fake.forward(&x, &mut y).unwrap();
        fake.backward(&x, &dy, &mut dx, &mut gradients).unwrap();
        let [dmin, dmax] = gradients.range().unwrap().map(<[f32]>::to_vec);
        [y, dx, dmin, dmax]
    }
}

/// 80 of TensorFlow's 81 cases. The other, `edge_denormal`, has a range of 0..=1e-38: TensorFlow flushes it to 0..=0, where all gradients pass;
/// here it is a range.
#[test]
fn tensorflow_gives_the_same_bits() {
    const TEXT: &str = include_str!("golden/tf_fake_quant.json");
    let all: Value = serde_json::from_str(TEXT).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 81);
    for backend in backends() {
        let mut different = vec![];
        for case in cases.iter().map(Case) {
            let name = case.0["name"].as_str().unwrap();
            let [y, dx, dmin, dmax] = case.run(backend);
            let same = |name, got: &[f32]| bits(&case.reals(name)) == bits(got);
            if !(same("y", &y) && same("dx", &dx) && same("dmin", &dmin) && same("dmax", &dmax)) {
                different.push(name);
            }
        }
        assert_eq!(different, ["edge_denormal"], "{}", backend.kernel());
    }
}

/// Sums of arrays that are not on record: tensors and channels of lengths that differ in what is left of 32, of eight, and in halves.
#[test]
fn sums_have_the_order_of_tensorflow() {
    const TEXT: &str = include_str!("golden/tf_sums.json");
    // Of tf_sums_gen.py.
    let reals = |mut state: u64, count: usize, spread: bool| {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let exponent = if spread { state >> 32 & 15 } else { 0 };
            ((state >> 40) as f32 / 2_097_152.0 - 4.0) / f32::powi(2.0, exponent as i32)
        };
        (0..count).map(|_| next()).collect::<Vec<_>>()
    };
    let all: Value = serde_json::from_str(TEXT).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 27);
    let levels = Levels::bits(8).unwrap();
    for backend in backends() {
        for case in cases {
            let [seed, rows, channels] = ["seed", "rows", "channels"].map(|name| case[name].as_u64().unwrap());
            let count = (rows * channels.max(1)) as usize;
            let (form, axis) = match channels as usize {
                0 => (Form::Division, Axis::Tensor),
                channels => (Form::Multiplication, Axis::Channels { channels, inner: 1 }),
            };
            let (min, max) = (vec![-1.0; axis.channels()], vec![1.0; axis.channels()]);
            let spec = TensorFlowSpec { min: &min, max: &max, levels, form, axis, backend: Some(backend) };
            let fake = FakeQuant::tensorflow(&spec).unwrap();
            let mut gradients = Gradients::new(&fake).unwrap();
            let (x, dy) = (reals(seed, count, false), reals(seed + 1, count, true));
            let mut dx = vec![0.0; count];
            fake.backward(&x, &dy, &mut dx, &mut gradients).unwrap();
            let expected = ["dmin", "dmax"].map(|name| bits(&Case(case).reals(name)));
            let got = gradients.range().unwrap().map(bits);
            assert_eq!(got, expected, "{}: {rows} rows, {channels} channels", backend.kernel());
        }
    }
}

/// Fake quantization of any kind; its numbers derive from `seed`.
#[derive(Clone, Debug)]
struct Problem {
    /// TensorFlow's form, or the library's own.
    form: Option<Form>,
    gradient: Gradient,
    axis: Axis,
    outer: usize,
    levels: Levels,
    seed: u64,
}

fn problems() -> impl Strategy<Value = Problem> {
    let form = select(&[None, None, Some(Form::Division), Some(Form::Multiplication)][..]);
    let gradient = select(&[Gradient::Range, Gradient::Index, Gradient::Learned][..]);
    let inner = prop_oneof![2 => Just(1usize), 2 => 2..=15usize, 2 => 16..=70usize];
    let axis = prop_oneof![
        1 => Just(Axis::Tensor),
        2 => (1..=70usize, inner).prop_map(|(channels, inner)| Axis::Channels { channels, inner }),
    ];
    let levels = (2..=16u32, 2..=65536u32, any::<[bool; 2]>()).prop_map(|(bits, levels, [odd, narrow])| {
        let levels = if odd { Levels::new(levels) } else { Levels::bits(bits) }.unwrap();
        if narrow { levels.narrow().unwrap_or(levels) } else { levels }
    });
    let outer = prop_oneof![3 => 0..=5usize, 1 => 7..=20usize];
    (form, gradient, axis, outer, levels, any::<u64>()).prop_map(|(form, gradient, axis, outer, levels, seed)| {
        Problem { form, gradient, axis, outer, levels, seed }
    })
}

/// A grid of any scale, whose zero point is often at an end.
fn grid(rng: &Rng, levels: Levels) -> Grid {
    let (low, high) = levels.codes();
    Grid::new(rng.fraction() * f32::powi(2.0, rng.within(-20, 20)), rng.extreme(low, high), levels).unwrap()
}

/// A range that contains 0, mostly.
fn range(rng: &Rng) -> (f32, f32) {
    let real = || rng.fraction() * f32::powi(2.0, rng.within(-8, 8));
    match rng.below(12) {
        0 => (0.0, 0.0),
        1 => (real(), real()),
        2 => (f32::NAN, real()),
        3 => (-real(), 0.0),
        4 => (0.0, real()),
        _ => (-real(), real()),
    }
}

/// A real near one of the grid, on a tie, at an end, beside it, or anything at all.
fn real(rng: &Rng, scale: f32, (low, high): (f32, f32)) -> f32 {
    let steps = rng.within(-300, 300) as f32;
    let near = |x: f32| f32::from_bits(x.to_bits().wrapping_add(rng.below(3) as u32).wrapping_sub(1));
    match rng.below(8) {
        0 => near((steps + 0.5) * scale),
        1 => near(rng.pick(&[low, high])),
        2 => near(rng.pick(&[low - scale / 2.0, high + scale / 2.0])),
        3 => f32::from_bits(rng.bits() as u32),
        4 => rng.pick(&[0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE]),
        _ => rng.fraction() * steps * scale,
    }
}

impl Problem {
    fn check(&self) -> Result<(), TestCaseError> {
        let Self { form, gradient, axis, outer, levels, .. } = *self;
        let rng = Rng::new(self.seed);
        let (channels, inner) = match axis {
            Axis::Tensor => (1, 37),
            Axis::Channels { channels, inner } => (channels, inner),
        };
        let len = outer * channels * inner;
        let grids: Vec<_> = (0..channels).map(|_| grid(&rng, levels)).collect();
        let (min, max): (Vec<_>, Vec<_>) = (0..channels).map(|_| range(&rng)).unzip();
        let tensorflow: Vec<_> = (0..channels)
            .map(|c| reference::TensorFlow::new(min[c], max[c], levels, form.unwrap_or(Form::Division)))
            .collect();
        let channel = |i: usize| if axis == Axis::Tensor { 0 } else { i / inner % channels };
        let x: Vec<_> = (0..len)
            .map(|i| match (form, channel(i)) {
                (None, c) => real(&rng, grids[c].scale(), grids[c].range()),
                (_, c) => real(&rng, (max[c] - min[c]) / levels.codes().1 as f32, (min[c], max[c])),
            })
            .collect();
        let dy: Vec<_> = (0..len).map(|_| (rng.fraction() - 1.5) * f32::powi(2.0, rng.within(-30, 30))).collect();

        let expected: Vec<_> = (0..len)
            .map(|i| match (form, channel(i)) {
                (None, c) => reference::fake_quant(&grids[c], x[i]),
                (_, c) => tensorflow[c].real(x[i]),
            })
            .collect();
        let gains = |i: usize| match (form, channel(i)) {
            (None, c) => reference::fake_quant_gradients(&grids[c], gradient, x[i], dy[i]),
            (_, c) => tensorflow[c].gradients(x[i], dy[i]),
        };
        let expected_dx: Vec<_> = (0..len).map(|i| gains(i).0).collect();
        let units = |c: usize| form.map_or_else(|| reference::gradient_units(&grids[c], gradient), |_| [1.0; 2]);
        let sums = reference::channel_sums(axis, &(0..len).map(|i| gains(i).1).collect::<Vec<_>>(), units);
        for backend in backends() {
            let (name, backend) = (backend.kernel(), Some(backend));
            let fake = match form {
                None => FakeQuant::new(&FakeQuantSpec { grids: &grids, axis, gradient, backend }),
                Some(form) => {
                    FakeQuant::tensorflow(&TensorFlowSpec { min: &min, max: &max, levels, form, axis, backend })
                }
            };
            let fake = fake.unwrap();
            let (mut y, mut there, mut dx) = (vec![7.0; len], x.clone(), vec![7.0; len]);
            fake.forward(&x, &mut y).unwrap();
            fake.forward_in_place(&mut there).unwrap();
            prop_assert_eq!(bits(&y), bits(&expected), "{}: y of {:?}", name, x);
            prop_assert_eq!(bits(&there), bits(&expected), "{}: y in place", name);
            let mut gradients = Gradients::new(&fake).unwrap();
            // The second run starts from zero, too.
            for _ in 0..2 {
                fake.backward(&x, &dy, &mut dx, &mut gradients).unwrap();
            }
            prop_assert_eq!(bits(&dx), bits(&expected_dx), "{}: dx of {:?}", name, x);
            let got = gradients.range().or(gradients.learned()).unwrap();
            for (i, got) in got.into_iter().enumerate() {
                let sums: Vec<_> = sums.iter().map(|sums| sums[i]).collect();
                prop_assert_eq!(bits(got), bits(&sums), "{}: sums {}", name, i);
            }
        }
        Ok(())
    }
}

#[test]
fn every_backend_has_the_bits_of_the_definition() {
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config).run(&problems(), |problem| problem.check()).unwrap();
}

/// Sums of more than 8,192 elements, of lines or of a run, of which half are summed apart; and of parts of parts.
#[test]
fn long_sums_have_the_bits_of_the_definition() {
    let channels = |channels, inner| Axis::Channels { channels, inner };
    let cases = [
        (Axis::Tensor, 222),
        (Axis::Tensor, 900),
        (channels(2, 1), 8200),
        (channels(1, 1), 40_001),
        (channels(2, 3), 8193),
        (channels(2, 8200), 3),
        (channels(1, 33_000), 1),
        (channels(70, 1), 300),
    ];
    for (i, (axis, outer)) in cases.into_iter().enumerate() {
        for (form, gradient) in [(Some(Form::Multiplication), Gradient::Range), (None, Gradient::Learned)] {
            let levels = Levels::bits(4).unwrap();
            let seed = seed().wrapping_add(i as u64);
            Problem { form, gradient, axis, outer, levels, seed }.check().unwrap();
        }
    }
}

/// So many elements that dx goes past the caches, part by part, to any place of a line.
#[test]
fn gradients_past_the_caches_have_the_bits_of_the_definition() {
    let rng = Rng::new(seed());
    let levels = Levels::bits(8).unwrap();
    let grid = Grid::from_range(-1.0, 2.0, levels).unwrap();
    let channels = |channels, inner| Axis::Channels { channels, inner };
    for (axis, len) in [
        (Axis::Tensor, 600_003),
        (channels(3, 9001), 9001 * 69),
        (channels(3, 513), 513 * 1200),
        (channels(40, 1), 40 * 15_001),
    ] {
        let x: Vec<_> = (0..len).map(|_| (rng.fraction() - 1.25) * 4.0).collect();
        let dy: Vec<_> = (0..len).map(|_| rng.fraction() - 1.5).collect();
        let (dx, gains): (Vec<_>, Vec<_>) =
            (0..len).map(|i| reference::fake_quant_gradients(&grid, Gradient::Range, x[i], dy[i])).unzip();
        let sums = reference::channel_sums(axis, &gains, |_| [1.0; 2]);
        let grids = vec![grid; axis.channels()];
        for backend in backends() {
            let spec = FakeQuantSpec { axis, backend: Some(backend), ..FakeQuantSpec::new(&grids) };
            let fake = FakeQuant::new(&spec).unwrap();
            let mut gradients = Gradients::new(&fake).unwrap();
            let at = rng.below(16);
            let mut got = vec![0.0; at + len];
            fake.backward(&x, &dy, &mut got[at..], &mut gradients).unwrap();
            assert!(bits(&got[at..]) == bits(&dx), "{}: dx, {axis:?}", backend.kernel());
            for (i, got) in gradients.range().unwrap().into_iter().enumerate() {
                let sums: Vec<_> = sums.iter().map(|sums| sums[i]).collect();
                assert_eq!(bits(got), bits(&sums), "{}: {axis:?}, from {at} on", backend.kernel());
            }
        }
    }
}

/// What [`FakeQuant`] does to reals of all kinds is what the quantizer of a type does, and back.
fn as_the_quantizer_of<C: OutputCode + TryFrom<i32> + Into<i32> + PartialEq + std::fmt::Debug>(rng: &Rng) {
    let (first, last) = C::RANGE;
    for _ in 0..200 {
        let scale = rng.fraction() * f32::powi(2.0, rng.within(-30, 30));
        let params = match rng.below(3) {
            0 => QuantParams::<C>::symmetric(scale).unwrap(),
            1 => QuantParams::from_range(-scale * rng.fraction(), scale).unwrap(),
            _ => QuantParams::new(scale, rng.extreme(first, last)).unwrap(),
        };
        let grid = Grid::from(params);
        assert_eq!(grid.params(), Ok(params));
        let x: Vec<_> = (0..500).map(|_| real(rng, params.scale(), grid.range())).collect();
        let expected: Vec<_> =
            x.iter().map(|x| if x.is_nan() { *x } else { params.dequantize(params.quantize(*x)) }).collect();
        let fake: Vec<_> = x.iter().map(|x| grid.fake(*x)).collect();
        assert_eq!(bits(&fake), bits(&expected), "{params:?}");
        for backend in backends() {
            let mut y = x.clone();
            let grids = [grid];
            let spec = FakeQuantSpec { backend: Some(backend), ..FakeQuantSpec::new(&grids) };
            FakeQuant::new(&spec).unwrap().forward_in_place(&mut y).unwrap();
            assert_eq!(bits(&y), bits(&expected), "{} {params:?}", backend.kernel());
        }
    }
}

#[test]
fn forward_is_dequantize_of_quantize() {
    let rng = Rng::new(seed());
    as_the_quantizer_of::<u8>(&rng);
    as_the_quantizer_of::<i8>(&rng);
    as_the_quantizer_of::<i16>(&rng);
}

/// One in 1,021 of all reals, on a few grids; in debug builds, one in 7,147.
#[test]
fn every_real_is_rounded_as_defined() {
    let stride = if cfg!(debug_assertions) { 1021 * 7 } else { 1021 };
    for (scale, zero, levels) in
        [(0.1, 3, 256), (1.0, 0, 2), (1.0 / 3.0, 65535, 65536), (f32::MIN_POSITIVE, 7, 16)]
    {
        let grid = Grid::new(scale, zero, Levels::new(levels).unwrap()).unwrap();
        let fake = FakeQuant::new(&FakeQuantSpec::new(&[grid])).unwrap();
        let all: Vec<_> = (0..=u32::MAX).step_by(stride).map(f32::from_bits).collect();
        let mut y = all.clone();
        fake.forward_in_place(&mut y).unwrap();
        for (x, y) in all.iter().zip(&y) {
            let expected = reference::fake_quant(&grid, *x);
            assert!(
                expected.to_bits() == y.to_bits() || x.is_nan() && y.is_nan(),
                "{x:e}: {y:e}, not {expected:e}"
            );
        }
        // So many that they go past the caches, forward and back, in other places of their lines.
        let mut there = vec![0.0; all.len() + 3];
        fake.forward(&all, &mut there[3..]).unwrap();
        assert_eq!(bits(&y), bits(&there[3..]));
        let mut gradients = Gradients::new(&fake).unwrap();
        fake.backward(&all, &all, &mut there[3..], &mut gradients).unwrap();
        let (whole, mut parts) = (there[3..].to_vec(), vec![0.0; all.len()]);
        for (x, dx) in all.chunks(1000).zip(parts.chunks_mut(1000)) {
            fake.backward(x, x, dx, &mut gradients).unwrap();
        }
        assert_eq!(bits(&whole), bits(&parts));
    }
}

/// The straight-through gradient is the slope of the clamp, wherever it has one.
#[test]
fn gradients_are_differences_of_the_clamp() {
    let grid = Grid::from_range(-1.0, 2.0, Levels::bits(4).unwrap()).unwrap();
    let (low, high) = grid.range();
    let fake = FakeQuant::new(&FakeQuantSpec::new(&[grid])).unwrap();
    let step = 1.0 / 1024.0;
    let x: Vec<f32> = (-4000..4000)
        .map(|i| i as f32 / 1000.0)
        .filter(|x| (x - low).abs() > step && (x - high).abs() > step)
        .collect();
    let (dy, mut dx) = (vec![1.0; x.len()], vec![0.0; x.len()]);
    let mut gradients = Gradients::new(&fake).unwrap();
    fake.backward(&x, &dy, &mut dx, &mut gradients).unwrap();
    let clamp = |x: f32, low: f32, high: f32| f64::from(x.clamp(low, high));
    let slope = |up: f64, down: f64| ((up - down) / (2.0 * f64::from(step))) as f32;
    let mut ends = [0.0; 2];
    for (x, dx) in x.iter().zip(&dx) {
        let by_x = slope(clamp(x + step, low, high), clamp(x - step, low, high));
        assert!((by_x - dx).abs() < 1e-3, "{x}: {dx}, not {by_x}");
        ends[0] += slope(clamp(*x, low + step, high), clamp(*x, low - step, high));
        ends[1] += slope(clamp(*x, low, high + step), clamp(*x, low, high - step));
    }
    for (got, end) in gradients.range().unwrap().into_iter().zip(ends) {
        assert!((got[0] - end).abs() < 1.0, "{} {end}", got[0]);
    }
}

/// The gradients of a learned step are the slopes of `scale * (code - zero)` with codes held, and with `x / scale` in them inside, where
/// the gradient passes straight through.
#[test]
fn learned_gradients_are_those_of_held_codes() {
    let levels = Levels::bits(3).unwrap();
    let grid = Grid::new(0.5, 2, levels).unwrap();
    let fake =
        FakeQuant::new(&FakeQuantSpec { gradient: Gradient::Learned, ..FakeQuantSpec::new(&[grid]) }).unwrap();
    let mut gradients = Gradients::new(&fake).unwrap();
    let mut dx = [0.0];
    for x in [-7.0, -1.2, -0.9, 0.1, 0.6, 2.4, 2.76, 40.0] {
        fake.backward(&[x], &[1.0], &mut dx, &mut gradients).unwrap();
        let [scale, zero_point] = gradients.learned().unwrap();
        let code = (x / 0.5f32).round() + 2.0;
        let n = code.clamp(0.0, 7.0) - 2.0;
        let outside = !(0.0..=7.0).contains(&code);
        // y = scale * (q - zero), and q moves with x / scale inside.
        let expected = if outside { [n, -0.5] } else { [n - x / 0.5, 0.0] };
        assert_eq!([scale[0], zero_point[0], dx[0]], [expected[0], expected[1], f32::from(!outside)], "{x}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let levels = Levels::bits(8).unwrap();
    assert_eq!(Levels::bits(1), Err(Error::Limit { argument: "bits", value: 1, low: 2, high: 16 }));
    assert_eq!(Levels::bits(17).unwrap_err().to_string(), "bits: 17 is outside 2..=16");
    assert!(Levels::new(1).is_err() && Levels::new(65_537).is_err());
    assert_eq!(
        Levels::new(2).unwrap().narrow(),
        Err(Error::Limit { argument: "levels", value: 1, low: 2, high: 65536 })
    );
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(Grid::new(scale, 0, levels), Err(Error::Real { argument: "scale", .. })));
    }
    assert_eq!(
        Grid::new(1.0, 256, levels),
        Err(Error::ZeroPoint { argument: "zero_point", value: 256, low: 0, high: 255 })
    );
    let grid = Grid::new(1.0, 0, levels).unwrap();
    assert_eq!(grid.params::<i8>(), Err(Error::Clamp { low: 0, high: 255, min: -128, max: 127 }));
    let axis = Axis::Channels { channels: 3, inner: 2 };
    let of = |grids: &[Grid], axis| FakeQuant::new(&FakeQuantSpec { axis, ..FakeQuantSpec::new(grids) });
    assert_eq!(of(&[grid], axis).unwrap_err(), Error::Length { argument: "grids", expected: 3, got: 1 });
    for axis in [Axis::Channels { channels: 0, inner: 1 }, Axis::Channels { channels: 1, inner: 0 }] {
        assert!(matches!(of(&[grid], axis), Err(Error::Limit { value: 0, .. })));
    }
    assert!(matches!(of(&[grid], Axis::Channels { channels: 3, inner: usize::MAX }), Err(Error::Overflow { .. })));
    assert!(matches!(Axis::of(&[2, 3], 2), Err(Error::Range { argument: "axis", end: 3, len: 2 })));
    assert!(matches!(Axis::of(&[2, 0], 0), Err(Error::Limit { argument: "inner", .. })));
    assert!(matches!(Axis::of(&[2, usize::MAX, 2], 0), Err(Error::Overflow { .. })));

    let fake = of(&[grid; 3], axis).unwrap();
    let mut gradients = Gradients::new(&fake).unwrap();
    let (x, mut y) = ([0.0; 12], [0.0; 12]);
    let turns = Err(Error::Divisor { argument: "channels times inner", value: 6, of: 11 });
    assert_eq!(fake.forward(&x[..11], &mut y[..11]), turns);
    assert_eq!(fake.forward_in_place(&mut y[..11]), turns);
    assert_eq!(fake.backward(&x[..11], &x[..11], &mut y[..11], &mut gradients), turns);
    let length = |argument| Err(Error::Length { argument, expected: 12, got: 6 });
    assert_eq!(fake.forward(&x, &mut y[..6]), length("y"));
    assert_eq!(fake.backward(&x, &x[..6], &mut y, &mut gradients), length("dy"));
    assert_eq!(fake.backward(&x, &x, &mut y[..6], &mut gradients), length("dx"));
    let mut other = Gradients::new(&of(&[grid], Axis::Tensor).unwrap()).unwrap();
    assert_eq!(
        fake.backward(&x, &x, &mut y, &mut other),
        Err(Error::Length { argument: "gradients", expected: 3, got: 1 })
    );
}

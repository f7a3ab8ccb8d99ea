//! Ranges: of batches, averaged, of histograms; the grids they give; the delay of activations; batch normalization that is folded.
#![cfg(not(miri))]

mod common;

use common::{Rng, seed};
use zeropoint::Error;
use zeropoint::training::{
    Activations, Axis, BatchNorm, Fold, Grid, Histogram, Levels, MinMax, MovingAverage, Range, Start, Statistics,
    WeightLayout, fold_batch_norm, moments, ranges,
};

fn levels(bits: u32) -> Levels {
    Levels::bits(bits).unwrap()
}

fn real(rng: &Rng) -> f32 {
    (rng.fraction() - 1.5) * f32::powi(2.0, rng.within(-6, 6))
}

/// 0.0 is exact in a million ranges, of any number of levels, and the nudged ends are within half a step.
#[test]
fn zero_is_exact_in_a_million_ranges() {
    let rng = Rng::new(seed());
    let end = || (rng.fraction() - 1.5) * f32::powi(2.0, rng.within(-100, 100));
    for i in 0..1_000_000 {
        let (a, b) = (end(), end());
        let range = Range { min: a.min(b), max: a.max(b) };
        let levels = if i % 2 == 0 { levels(8) } else { Levels::new(2 + rng.below(65_535) as u32).unwrap() };
        let grid = range.grid(levels).unwrap();
        assert_eq!(grid.fake(0.0).to_bits(), 0, "{range:?} {levels:?}");
        assert_eq!(grid.quantize(0.0), grid.zero_point());
        let (low, high) = grid.codes();
        assert!(low <= grid.zero_point() && grid.zero_point() <= high && grid.scale() > 0.0);
        let (scale, zero) = (f64::from(grid.scale()), f64::from(grid.zero_point()));
        // The scale is rounded to a float: that moves each end by less than 1/256 of a step for 65,536 levels.
        let off = (scale * (f64::from(low) - zero) - f64::from(range.min.min(0.0))).abs() / scale;
        assert!(off <= 0.51, "{range:?} {levels:?}: {off} steps");
    }
}

#[test]
fn grids_of_ranges() {
    let of = |min, max, levels| Range { min, max }.grid(levels);
    let (eight, two) = (levels(8), levels(2));
    let parts = |grid: Grid| (grid.zero_point(), grid.codes(), grid.is_degenerate());
    // As the parameters of u8; and of other numbers of levels.
    assert_eq!(parts(of(-1.0, 1.0, eight).unwrap()), (128, (0, 255), false));
    assert_eq!(parts(of(2.0, 3.0, eight).unwrap()), (0, (0, 255), false));
    assert_eq!(parts(of(-3.0, -2.0, eight).unwrap()), (255, (0, 255), false));
    assert_eq!(parts(of(-1.0, 2.0, two).unwrap()), (1, (0, 3), false));
    assert_eq!(parts(of(-1.0, 1.0, eight.narrow().unwrap()).unwrap()), (128, (1, 255), false));
    assert_eq!(of(2.0, 2.0, eight).unwrap().range(), (0.0, 2.0));
    // What is degenerate says so.
    let none = of(0.0, -0.0, eight).unwrap();
    assert_eq!((parts(none), none.scale()), ((0, (0, 255), true), 1.0));
    let none = Range::default().symmetric(eight).unwrap();
    assert_eq!((parts(none), none.scale()), ((128, (1, 255), true), 1.0));
    for (min, max) in
        [(1.0, -1.0), (f32::NAN, 1.0), (0.0, f32::NAN), (f32::NEG_INFINITY, 0.0), (0.0, f32::INFINITY)]
    {
        for refused in [of(min, max, eight), Range { min, max }.symmetric(eight)] {
            assert!(matches!(refused, Err(Error::RealRange { .. })), "{min} {max}");
        }
    }
    let message = of(1.0, -1.0, eight).unwrap_err().to_string();
    assert_eq!(message, "range: 1..-1 is reversed, NaN, infinite or too wide");
    // As wide as there is.
    assert!(of(f32::MIN, f32::MAX, levels(3)).is_ok());
    assert!(of(f32::MIN, f32::MAX, Levels::new(2).unwrap()).is_err());
    assert!(Range { min: -1.0, max: 1.0 }.symmetric(Levels::new(2).unwrap()).is_err());
}

/// Weights of 8 bits, narrow or symmetric, are never -128, whatever they are.
#[test]
fn weights_are_never_the_smallest_code() {
    let rng = Rng::new(seed());
    for _ in 0..2000 {
        let weights: Vec<_> = (0..40).map(|_| real(&rng)).collect();
        let mut range = [Range::default()];
        ranges(&weights, Axis::Tensor, &mut range).unwrap();
        let narrow = levels(8).narrow().unwrap();
        for grid in [range[0].grid(narrow), range[0].symmetric(levels(8)), range[0].symmetric(narrow)] {
            let grid = grid.unwrap();
            assert_eq!(grid.codes(), (1, 255));
            let codes: Vec<_> = weights.iter().map(|w| grid.quantize(*w) - 128).collect();
            assert!(codes.iter().all(|code| (-127..=127).contains(code)), "{grid:?}");
        }
        let symmetric = range[0].symmetric(levels(8)).unwrap();
        let largest = weights.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        assert_eq!((symmetric.scale(), symmetric.zero_point()), (largest / 127.0, 128));
        let largest = weights.iter().map(|w| (symmetric.quantize(*w) - 128).abs()).max();
        assert_eq!(largest, Some(127));
    }
}

#[test]
fn ranges_are_the_ends_of_each_channel() {
    let rng = Rng::new(seed());
    for _ in 0..300 {
        let (channels, inner, outer) = (1 + rng.below(9), 1 + rng.below(40), 1 + rng.below(4));
        let axis = if rng.one_in(4) { Axis::Tensor } else { Axis::Channels { channels, inner } };
        let x: Vec<_> = (0..channels * inner * outer).map(|_| real(&rng)).collect();
        let mut got = vec![Range::default(); axis.channels()];
        ranges(&x, axis, &mut got).unwrap();
        for (channel, got) in got.iter().enumerate() {
            let own = |i: &usize| axis == Axis::Tensor || i / inner % channels == channel;
            let of = || (0..x.len()).filter(own).map(|i| x[i]);
            let expected =
                Range { min: of().fold(f32::INFINITY, f32::min), max: of().fold(f32::NEG_INFINITY, f32::max) };
            assert_eq!(*got, expected, "{axis:?}");
        }
        // The same of batches, each of whole turns of the channels.
        let mut observer = MinMax::new(axis).unwrap();
        x.chunks(x.len() / outer).for_each(|batch| observer.observe(batch).unwrap());
        assert_eq!(observer.ranges(), Some(&got[..]), "{axis:?}");
    }
    let mut one = [Range::default()];
    let nan = ranges(&[1.0, f32::NAN], Axis::Tensor, &mut one).unwrap_err();
    assert_eq!(nan.to_string(), "x: element 1 is NaN, which is no finite number");
    assert_eq!(ranges(&[], Axis::Tensor, &mut one), Err(Error::Length { argument: "x", expected: 1, got: 0 }));
    let mut observer = MinMax::new(Axis::Tensor).unwrap();
    observer.observe(&[1.0]).unwrap();
    assert!(observer.observe(&[f32::INFINITY]).is_err());
    assert_eq!(observer.ranges(), Some(&[Range { min: 1.0, max: 1.0 }][..]));
}

/// After n batches: `decay^(n-1) * first + (1 - decay) * sum of decay^(n-i) * batch i`; of a fixed start, `decay^n * start` and the same sum.
#[test]
fn averages_are_those_of_the_closed_form() {
    let rng = Rng::new(seed());
    let fixed = Range { min: -6.0, max: 6.0 };
    for (decay, start) in [
        (MovingAverage::DECAY, Start::FirstBatch),
        (0.9, Start::FirstBatch),
        (0.0, Start::FirstBatch),
        (0.999, Start::Fixed(fixed)),
    ] {
        let axis = Axis::Channels { channels: 2, inner: 1 };
        let mut observer = MovingAverage::new(axis, decay, start).unwrap();
        assert_eq!(observer.range(0), if start == Start::FirstBatch { None } else { Some(fixed) });
        let batches: Vec<[f32; 4]> = (0..200).map(|_| [(); 4].map(|()| real(&rng))).collect();
        for (n, batch) in batches.iter().enumerate() {
            observer.observe(batch).unwrap();
            let seen = &batches[..=n];
            for channel in 0..2 {
                let ends = |batch: &[f32; 4]| {
                    let (a, b) = (batch[channel], batch[channel + 2]);
                    [a.min(b), a.max(b)].map(f64::from)
                };
                let (mut expected, seen) = match start {
                    Start::FirstBatch => (ends(&seen[0]), &seen[1..]),
                    Start::Fixed(range) => ([range.min, range.max].map(f64::from), seen),
                };
                expected = expected.map(|end| end * decay.powi(seen.len() as i32));
                for (i, batch) in seen.iter().enumerate() {
                    let part = (1.0 - decay) * decay.powi((seen.len() - 1 - i) as i32);
                    expected.iter_mut().zip(ends(batch)).for_each(|(sum, end)| *sum += part * end);
                }
                let got = observer.range(channel).unwrap();
                for (got, expected) in [got.min, got.max].into_iter().zip(expected) {
                    assert!((f64::from(got) - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{n} {decay}");
                }
            }
        }
    }
    for decay in [1.0, -0.1, f64::NAN] {
        let refused = MovingAverage::new(Axis::Tensor, decay, Start::FirstBatch);
        assert!(matches!(refused, Err(Error::Real { argument: "decay", .. })));
    }
    let reversed = Start::Fixed(Range { min: 1.0, max: 0.0 });
    assert!(matches!(MovingAverage::new(Axis::Tensor, 0.5, reversed), Err(Error::RealRange { .. })));
}

#[test]
fn histograms_do_not_depend_on_the_order_of_batches() {
    let rng = Rng::new(seed());
    for _ in 0..20 {
        let mut batches: Vec<Vec<f32>> = (0..6)
            .map(|_| {
                let scale = f32::powi(2.0, rng.within(-60, 60));
                (0..rng.below(50)).map(|_| if rng.one_in(5) { 0.0 } else { real(&rng) * scale }).collect()
            })
            .collect();
        let of = |batches: &[Vec<f32>]| {
            let mut histogram = Histogram::new().unwrap();
            batches.iter().for_each(|batch| histogram.observe(batch).unwrap());
            let all = histogram.percentile(100.0).unwrap();
            assert_eq!(all, histogram.range());
            let percentiles = [50.0, 90.0, 99.0].map(|percent| histogram.percentile(percent).unwrap());
            (histogram.range(), percentiles, histogram.least_squares(levels(4)).unwrap())
        };
        let first = of(&batches);
        batches.reverse();
        assert_eq!(of(&batches), first);
        assert_eq!(of(&[batches.concat()]), first);
    }
    let empty = Histogram::new().unwrap();
    assert_eq!((empty.range(), empty.percentile(9.0), empty.least_squares(levels(8))), (None, Ok(None), Ok(None)));
    assert!(matches!(empty.percentile(0.0), Err(Error::Real { argument: "percent", .. })));
    assert!(Histogram::new().unwrap().observe(&[f32::NAN]).is_err());
}

#[test]
fn percentiles_leave_out_what_they_say() {
    let rng = Rng::new(seed());
    for lift in [0.0, 0.5, -0.5] {
        let mut x: Vec<_> =
            (0..20_000).map(|_| (rng.bits() >> 40) as f32 / (1 << 24) as f32 - 0.5 + lift).collect();
        let mut histogram = Histogram::new().unwrap();
        x.chunks(999).for_each(|x| histogram.observe(x).unwrap());
        x.sort_by(f32::total_cmp);
        for percent in [50.0, 90.0, 99.0, 99.9] {
            let Range { min, max } = histogram.percentile(percent).unwrap().unwrap();
            let out = (x.len() as f64 * (100.0 - percent) / 100.0) as usize;
            let [below, above] = if lift > 0.0 {
                [0, out]
            } else if lift < 0.0 {
                [out, 0]
            } else {
                [out / 2; 2]
            };
            // To the width of a bin: 1/1024, for reals within 1.
            let (low, high) = (x[below], x[x.len() - 1 - above]);
            assert!(min <= low && low - min <= 1.0 / 1024.0, "{lift} {percent}: {min} {low}");
            assert!(max >= high && max - high <= 1.0 / 1024.0, "{lift} {percent}: {max} {high}");
        }
    }
}

/// The search against all pairs of 64 ends a side, on bell shapes with reals that are far off, of one sign and of both.
#[test]
fn searches_are_as_good_as_all_pairs_of_ends() {
    let rng = Rng::new(seed());
    let bell = || (0..12).map(|_| (rng.bits() >> 40) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0;
    for (positive, far, bits) in
        [(false, 0.0, 8), (false, 20.0, 4), (true, 30.0, 4), (false, 12.0, 3), (true, 0.0, 2)]
    {
        let mut x: Vec<_> = (0..4000).map(|_| if positive { bell().max(0.0) } else { bell() }).collect();
        if far > 0.0 {
            x.push(far);
        }
        let mut histogram = Histogram::new().unwrap();
        histogram.observe(&x).unwrap();
        let all = histogram.range().unwrap();
        let error = |range| histogram.squared_error(range, levels(bits)).unwrap();
        let found = error(histogram.least_squares(levels(bits)).unwrap().unwrap());
        let mut best = f64::INFINITY;
        for a in if positive { 64..=64 } else { 1..=64 } {
            for b in 1..=64 {
                let share = |end: f32, part: i32| end * part as f32 / 64.0;
                best = best.min(error(Range { min: share(all.min, a), max: share(all.max, b) }));
            }
        }
        assert!(found <= 1.02 * best && found <= error(all), "{positive} {far} {bits}: {found}, not {best}");
        if far > 0.0 {
            assert!(found < 0.7 * error(all), "{positive} {far} {bits}: {found} of {}", error(all));
        }
        // The histogram's error is that of the reals, but for the width of its bins.
        let grid = all.grid(levels(bits)).unwrap();
        let exact: f64 = x.iter().map(|x| f64::from(grid.fake(*x) - x).powi(2)).sum();
        assert!((exact - error(all)).abs() < 0.1 * exact, "{exact} {}", error(all));
    }
}

/// Step N - 1 passes through, step N quantizes; observing and quantizing are two switches.
#[test]
fn quantization_starts_at_its_step() {
    let observer = || MovingAverage::new(Axis::Tensor, 0.5, Start::FirstBatch).unwrap();
    let delay = 3;
    let mut activations = Activations::new(observer(), levels(2), delay).unwrap();
    assert_eq!(activations.grid(), Err(Error::Length { argument: "observed batches", expected: 1, got: 0 }));
    let (x, dy) = ([-0.2f32, 0.4, 1.1, 3.0], [1.0f32, 2.0, 3.0, 4.0]);
    let mut gradients = activations.gradients().unwrap();
    for step in 0..6 {
        let (mut y, mut dx) = ([0.0; 4], [0.0; 4]);
        assert_eq!(activations.steps(), step);
        activations.forward(&x, &mut y).unwrap();
        activations.backward(&x, &dy, &mut dx, &mut gradients).unwrap();
        assert_eq!(y == x, step < delay, "step {step}");
        let grid = activations.grid().unwrap();
        if step >= delay {
            assert_eq!(y, x.map(|x| grid.fake(x)));
            assert_eq!((dx, gradients.range()), ([0.0, 2.0, 3.0, 4.0], Some([&[1.0][..], &[0.0][..]])));
        } else {
            assert_eq!((dx, gradients.range()), (dy, Some([&[0.0][..], &[0.0][..]])));
        }
    }
    // Not observing: the range stays, and no step passes.
    let (grid, mut y) = (activations.grid().unwrap(), [0.0; 4]);
    activations.set_observing(false);
    activations.forward(&[-9.0, 9.0, 0.0, 0.0], &mut y).unwrap();
    assert_eq!((activations.grid().unwrap(), activations.steps(), y[1]), (grid, 6, grid.range().1));
    // Not quantizing: it passes through, however late it is.
    activations.set_quantizing(false);
    activations.forward(&x, &mut y).unwrap();
    assert_eq!(y, x);
    // Observing alone, then quantizing alone.
    let mut activations = Activations::new(observer(), levels(2), 0).unwrap();
    activations.set_quantizing(false);
    activations.forward(&x, &mut y).unwrap();
    assert_eq!((y, activations.steps()), (x, 1));
    activations.set_quantizing(true);
    activations.set_observing(false);
    activations.forward(&x, &mut y).unwrap();
    assert_eq!(y, x.map(|x| activations.grid().unwrap().fake(x)));
    // Frozen before the delay is over, which it then never is; and on from there.
    let mut activations = Activations::new(observer(), levels(2), 2).unwrap();
    activations.forward(&x, &mut y).unwrap();
    activations.set_observing(false);
    for _ in 0..3 {
        activations.forward(&[-9.0, 9.0, 0.0, 0.0], &mut y).unwrap();
        assert_eq!((y, activations.steps(), activations.quantizes()), ([-9.0, 9.0, 0.0, 0.0], 1, false));
    }
    activations.set_observing(true);
    for quantized in [false, true] {
        activations.forward(&x, &mut y).unwrap();
        assert_eq!(y != x, quantized);
    }
    // Nothing to quantize by.
    let mut activations = Activations::new(observer(), levels(2), 0).unwrap();
    activations.set_observing(false);
    assert!(matches!(activations.forward(&x, &mut y), Err(Error::Length { argument: "observed batches", .. })));
    assert!(matches!(activations.forward(&x, &mut y[..3]), Err(Error::Length { argument: "y", .. })));
    let channels = MovingAverage::new(Axis::Channels { channels: 2, inner: 1 }, 0.5, Start::FirstBatch).unwrap();
    assert!(Activations::new(channels, levels(2), 0).is_err());
}

/// A layer at one place: rows of inputs, and which weights each output channel has.
struct Net {
    layout: WeightLayout,
    channels: usize,
    inputs: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<f32>,
}

impl Net {
    fn new(rng: &Rng, layout: WeightLayout) -> Self {
        let (channels, inputs, rows) = (1 + rng.below(6), 1 + rng.below(20), 50);
        let some = |count: usize| (0..count).map(|_| real(rng)).collect::<Vec<_>>();
        // A depthwise channel has inputs of its own.
        let width = if layout == WeightLayout::Depthwise { inputs * channels } else { inputs };
        Self {
            layout,
            channels,
            inputs,
            weights: some(channels * inputs),
            bias: some(channels),
            x: some(rows * width),
        }
    }

    /// Outputs, rows x channels, in 64-bit floats.
    fn run(&self, weights: &[f32]) -> Vec<f64> {
        let depthwise = self.layout == WeightLayout::Depthwise;
        let width = if depthwise { self.inputs * self.channels } else { self.inputs };
        let product = |x: &[f32], channel: usize, i: usize| {
            let (at, w) = match depthwise {
                true => (i * self.channels + channel, i * self.channels + channel),
                false => (i, channel * self.inputs + i),
            };
            f64::from(x[at]) * f64::from(weights[w])
        };
        let sum = |x: &[f32], channel| (0..self.inputs).map(|i| product(x, channel, i)).sum();
        let row = |x| (0..self.channels).map(|channel| sum(x, channel)).collect::<Vec<f64>>();
        self.x.chunks(width).flat_map(row).collect()
    }
}

const LAYOUTS: [WeightLayout; 3] = [WeightLayout::Conv, WeightLayout::Depthwise, WeightLayout::FullyConnected];

/// Outputs within 1e-5 of the largest.
fn near(got: &[f64], expected: &[f64]) {
    let largest = expected.iter().fold(1e-30, |a: f64, b| a.max(b.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-5 * largest, "{got}, not {expected}");
    }
}

#[test]
fn folded_layers_are_those_with_batch_normalization() {
    let rng = Rng::new(seed());
    for layout in LAYOUTS.into_iter().cycle().take(300) {
        let net = Net::new(&rng, layout);
        let n = net.channels;
        let some =
            |low| (0..n).map(|_| if low == 0.0 { real(&rng).abs() } else { real(&rng) }).collect::<Vec<_>>();
        let (mut gamma, beta, mean, variance) = (some(-1.0), some(-1.0), some(-1.0), some(0.0));
        if rng.one_in(4) {
            gamma[0] = 0.0;
        }
        let average = Statistics { mean: &mean, variance: &variance };
        let norm = BatchNorm { gamma: &gamma, beta: &beta, average, epsilon: 1e-3 };
        let bias = if rng.one_in(2) { Some(&net.bias[..]) } else { None };
        let fold = Fold { layout, weights: &net.weights, bias, norm };
        let (mut weights, mut folded) = (vec![0.0; net.weights.len()], vec![0.0; n]);
        fold_batch_norm(&fold, &mut weights, &mut folded).unwrap();

        let raw = |i: usize, y: &f64| y + bias.map_or(0.0, |bias| f64::from(bias[i % n]));
        let normal = |i: usize, y: f64, mean: &[f32], variance: &[f32]| {
            let of = |x: &[f32]| f64::from(x[i % n]);
            of(&gamma) * (y - of(mean)) / (of(variance) + f64::from(norm.epsilon)).sqrt() + of(&beta)
        };
        let outputs: Vec<_> = net.run(&net.weights).iter().enumerate().map(|(i, y)| raw(i, y)).collect();
        let expected: Vec<_> = outputs.iter().enumerate().map(|(i, y)| normal(i, *y, &mean, &variance)).collect();
        let seen = net.run(&weights);
        let with = |scale: &[f32], shift: &[f32]| -> Vec<f64> {
            seen.iter().enumerate().map(|(i, y)| y * f64::from(scale[i % n]) + f64::from(shift[i % n])).collect()
        };
        near(&with(&vec![1.0; n], &folded), &expected);

        // Before the freeze: the statistics of the batch.
        let (mut scale, mut shift) = (vec![0.0; n], vec![0.0; n]);
        let floats: Vec<_> = outputs.iter().map(|y| *y as f32).collect();
        let (mut batch_mean, mut batch_variance) = (vec![0.0; n], vec![0.0; n]);
        moments(&floats, Axis::Channels { channels: n, inner: 1 }, &mut batch_mean, &mut batch_variance).unwrap();
        let batch = Statistics { mean: &batch_mean, variance: &batch_variance };
        fold.correction(Some(batch), &mut scale, &mut shift).unwrap();
        let expected: Vec<_> =
            outputs.iter().enumerate().map(|(i, y)| normal(i, *y, &batch_mean, &batch_variance)).collect();
        near(&with(&scale, &shift), &expected);
        // After it: the very bits of inference.
        fold.correction(None, &mut scale, &mut shift).unwrap();
        assert_eq!((scale, &shift), (vec![1.0; n], &folded));
        let mut alone = vec![0.0; weights.len()];
        fold.weights(&mut alone).unwrap();
        assert_eq!(alone, weights);
    }
}

#[test]
fn moments_are_those_of_the_definition() {
    let rng = Rng::new(seed());
    let x: Vec<_> = (0..6000).map(|_| real(&rng) + 100.0).collect();
    for axis in [Axis::Tensor, Axis::Channels { channels: 3, inner: 20 }, Axis::Channels { channels: 5, inner: 1 }]
    {
        let n = axis.channels();
        let (mut mean, mut variance) = (vec![0.0; n], vec![0.0; n]);
        moments(&x, axis, &mut mean, &mut variance).unwrap();
        for channel in 0..n {
            let inner = if let Axis::Channels { inner, .. } = axis { inner } else { x.len() };
            let own: Vec<_> = (0..x.len()).filter(|i| i / inner % n == channel).map(|i| f64::from(x[i])).collect();
            let expected = own.iter().sum::<f64>() / own.len() as f64;
            let spread = own.iter().map(|x| (x - expected).powi(2)).sum::<f64>() / own.len() as f64;
            assert!((f64::from(mean[channel]) - expected).abs() < 1e-5 * expected);
            assert!((f64::from(variance[channel]) - spread).abs() < 1e-5 * spread);
        }
    }
}

#[test]
fn batch_normalization_that_is_none_is_refused() {
    let fine = BatchNorm {
        gamma: &[1.0, 2.0],
        beta: &[0.0; 2],
        average: Statistics { mean: &[0.0; 2], variance: &[1.0, 0.0] },
        epsilon: 1e-3,
    };
    let fold = |norm: BatchNorm<'_>, weights: &[f32], bias: Option<&[f32]>| {
        let fold = Fold { layout: WeightLayout::Conv, weights, bias, norm };
        fold.inference(&mut vec![0.0; weights.len()], &mut [0.0; 2])
    };
    assert_eq!(fold(fine, &[1.0; 6], None), Ok(()));
    let statistics = |variance| BatchNorm { average: Statistics { mean: &[0.0; 2], variance }, ..fine };
    for (epsilon, variance) in [(0.0, &[1.0, 0.0]), (1e-3, &[1.0, -1.0]), (f32::NAN, &[1.0; 2]), (-2.0, &[1.0; 2])]
    {
        let norm = BatchNorm { epsilon, ..statistics(variance) };
        assert!(matches!(fold(norm, &[1.0; 6], None), Err(Error::Real { argument: "variance plus epsilon", .. })));
    }
    let length = |argument, expected, got| Err(Error::Length { argument, expected, got });
    assert_eq!(fold(statistics(&[1.0]), &[1.0; 6], None), length("variance", 2, 1));
    assert_eq!(fold(BatchNorm { beta: &[], ..fine }, &[1.0; 6], None), length("beta", 2, 0));
    assert_eq!(fold(fine, &[1.0; 6], Some(&[1.0])), length("bias", 2, 1));
    assert_eq!(fold(fine, &[1.0; 5], None), Err(Error::Divisor { argument: "channels", value: 2, of: 5 }));
    assert!(matches!(fold(fine, &[], None), Err(Error::Limit { argument: "weights", .. })));
    let nan = BatchNorm { gamma: &[1.0, f32::NAN], ..fine };
    assert!(matches!(fold(nan, &[1.0; 6], None), Err(Error::NotFinite { argument: "gamma", index: 1, .. })));
}

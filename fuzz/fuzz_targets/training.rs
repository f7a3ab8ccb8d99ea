//! Fake quantization of anything on every backend against the reference, equal bits; ranges, folding and conversion of anything: an error or a
//! result, never a panic.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::layers::{Activation, Window};
use zeropoint::training::*;
use zeropoint::{Backend, Error, MatMut, MatRef, Rounding, reference};
use zeropoint_fuzz::{Rng, backends, cycle};

#[derive(Arbitrary, Debug)]
struct Input {
    levels: u32,
    bits: bool,
    narrow: bool,
    /// TensorFlow's way by division or multiplication; else the library's.
    form: Option<bool>,
    gradient: u8,
    /// Channels, neighbours.
    axis: Option<[u8; 2]>,
    turns: u8,
    scales: Vec<(f32, i32)>,
    ends: Vec<(f32, f32)>,
    /// Exponents of what else there is.
    spread: u8,
    seed: u64,
    x: Vec<f32>,
    dy: Vec<f32>,
    /// Which length is wrong.
    wrong: u8,
    decay: f64,
    convert: u8,
}

/// Elements at most.
const LARGEST: usize = 20_000;

fuzz_target!(|input: Input| {
    // What is refused is refused: there is no more to compare.
    let _ = input.fake();
    let _ = input.observe();
    let _ = input.convert();
});

/// A NaN is like any other.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }.to_bits()).collect()
}

impl Input {
    fn levels(&self) -> Result<Levels, Error> {
        let levels = if self.bits { Levels::bits(self.levels % 20) } else { Levels::new(self.levels % 70_000) }?;
        if self.narrow { levels.narrow() } else { Ok(levels) }
    }

    fn axis(&self) -> Axis {
        self.axis.map_or(Axis::Tensor, |[channels, inner]| Axis::Channels {
            channels: channels.into(),
            inner: inner.into(),
        })
    }

    /// Elements of whole turns of the channels, mostly.
    fn len(&self) -> usize {
        let period = self.axis.map_or(1, |[channels, inner]| usize::from(channels) * usize::from(inner));
        (period * usize::from(self.turns)).min(LARGEST) + usize::from(self.wrong == 1)
    }

    /// Given reals, and others of an exponent.
    fn reals(&self, given: &[f32], salt: u64) -> Vec<f32> {
        let mut rng = Rng(self.seed ^ salt);
        let scale = 2f32.powi(i32::from(self.spread) - 128);
        let mut other = || (rng.bits() as i32 as f32) * scale;
        (0..self.len()).map(|i| given.get(i).copied().unwrap_or_else(&mut other)).collect()
    }

    fn grids(&self, count: usize, levels: Levels) -> Result<Vec<Grid>, Error> {
        let (low, high) = levels.codes();
        let grid = |(scale, zero): (f32, i32)| Grid::new(scale, low + zero.rem_euclid(high - low + 1), levels);
        cycle(&self.scales, count, (0.5, 0)).into_iter().map(grid).collect()
    }

    fn fake(&self) -> Result<(), Error> {
        let (levels, axis, len) = (self.levels()?, self.axis(), self.len());
        let gradient = [Gradient::Range, Gradient::Index, Gradient::Learned][usize::from(self.gradient) % 3];
        let grids = self.grids(axis.channels(), levels)?;
        let (min, max): (Vec<f32>, Vec<f32>) = cycle(&self.ends, axis.channels(), (-1.0, 2.0)).into_iter().unzip();
        let form = self.form.map(|divide| if divide { Form::Division } else { Form::Multiplication });
        let prepare = |backend: Option<Backend>| match form {
            None => FakeQuant::new(&FakeQuantSpec { grids: &grids, axis, gradient, backend }),
            Some(form) => {
                FakeQuant::tensorflow(&TensorFlowSpec { min: &min, max: &max, levels, form, axis, backend })
            }
        };
        let (x, dy) = (self.reals(&self.x, 0), self.reals(&self.dy, 1));
        // Refused, or all of it runs.
        prepare(None)?.forward(&x, &mut x.clone())?;
        let channel = |i: usize| match axis {
            Axis::Tensor => 0,
            Axis::Channels { channels, inner } => i / inner % channels,
        };
        let define = |c: usize| reference::TensorFlow::new(min[c], max[c], levels, form.unwrap_or(Form::Division));
        let expected: Vec<_> = (0..len)
            .map(|i| match (form, channel(i)) {
                (None, c) => reference::fake_quant(&grids[c], x[i]),
                (_, c) => define(c).real(x[i]),
            })
            .collect();
        let gains = |i: usize| match (form, channel(i)) {
            (None, c) => reference::fake_quant_gradients(&grids[c], gradient, x[i], dy[i]),
            (_, c) => define(c).gradients(x[i], dy[i]),
        };
        let expected_dx: Vec<_> = (0..len).map(|i| gains(i).0).collect();
        let units = |c: usize| form.map_or_else(|| reference::gradient_units(&grids[c], gradient), |_| [1.0; 2]);
        let sums = reference::channel_sums(axis, &(0..len).map(|i| gains(i).1).collect::<Vec<_>>(), units);
        for backend in backends() {
            let name = backend.kernel();
            let fake = prepare(Some(backend)).expect(name);
            let (mut y, mut there, mut dx) = (vec![7.0; len], x.clone(), vec![7.0; len]);
            fake.forward(&x, &mut y).expect(name);
            fake.forward_in_place(&mut there).expect(name);
            assert_eq!([bits(&y), bits(&there)], [bits(&expected), bits(&expected)], "{name}: y of {x:?}");
            let mut gradients = Gradients::new(&fake).expect(name);
            fake.backward(&x, &dy, &mut dx, &mut gradients).expect(name);
            assert_eq!(bits(&dx), bits(&expected_dx), "{name}: dx of {x:?} by {dy:?}");
            let got = gradients.range().or(gradients.learned()).expect(name);
            for (i, got) in got.into_iter().enumerate() {
                let sums: Vec<_> = sums.iter().map(|sums| sums[i]).collect();
                assert_eq!(bits(got), bits(&sums), "{name}: sums {i} of {x:?} by {dy:?}");
            }
            if self.wrong == 2 {
                let mut longer = vec![0.0; len + 1];
                assert!(fake.forward(&x, &mut longer).is_err());
                assert!(fake.backward(&x, &longer, &mut dx, &mut gradients).is_err());
            }
        }
        Ok(())
    }

    fn observe(&self) -> Result<(), Error> {
        let (levels, axis, x) = (self.levels()?, self.axis(), self.reals(&self.x, 0));
        let mut all = vec![Range::default(); axis.channels() + usize::from(self.wrong == 3)];
        ranges(&x, axis, &mut all)?;
        for range in all {
            // 0 is exact, whatever the range.
            if let Ok(grid) = range.grid(levels) {
                assert_eq!(grid.fake(0.0).abs().to_bits(), 0, "{range:?}");
            }
            let _ = range.symmetric(levels);
        }
        let mut histogram = Histogram::new()?;
        for x in x.chunks(x.len() / 2 + 1) {
            let _ = histogram.observe(x);
        }
        let _ = histogram.percentile(self.decay);
        let _ = histogram.least_squares(levels);
        let start =
            if self.convert.is_multiple_of(2) { Start::FirstBatch } else { Start::Fixed(Range::default()) };
        let mut average = MovingAverage::new(axis, self.decay, start)?;
        average.observe(&x)?;
        average.range(0).map_or(Ok(()), |range| range.grid(levels).map(drop))
    }

    /// Folds, converts, and runs, if it can be run.
    fn convert(&self) -> Result<(), Error> {
        let levels = self.levels()?;
        let (weights, more) = (self.reals(&self.x, 2), self.reals(&self.dy, 3));
        let channels = self.axis().channels();
        let layouts = [WeightLayout::Conv, WeightLayout::Depthwise, WeightLayout::FullyConnected];
        let layout = layouts[usize::from(self.convert) % 3];
        let bias = cycle(&more, channels, 0.5);
        let norm = BatchNorm {
            gamma: &bias,
            beta: &cycle(&weights, channels, 0.0),
            average: Statistics {
                mean: &bias,
                variance: &cycle(&more, channels + usize::from(self.wrong == 4), 1.0),
            },
            epsilon: 1e-3,
        };
        let (mut folded, mut shift) = (weights.clone(), vec![0.0; channels]);
        let fold = Fold { layout, weights: &weights, bias: None, norm };
        let _ = fold_batch_norm(&fold, &mut folded, &mut shift);
        let codes = Levels::bits(8)?;
        let grids = self.grids(if self.convert.is_multiple_of(5) { 1 } else { channels }, levels)?;
        let ends = self.grids(2, codes)?;
        let layer = TrainedLayer {
            name: "a layer",
            layout,
            weights: &folded,
            bias: &shift,
            grids: &grids,
            input: ends[0],
            output: ends[1],
            activation: [Activation::None, Activation::Relu, Activation::Relu6][usize::from(self.convert / 3) % 3],
            rounding: Rounding::SingleAway,
        }
        .convert()?;
        let _ = layer.conv2d::<u8, u8>([1, 1], Window::default(), 1);
        let _ = layer.depthwise_conv2d::<u8, u8>([1, 1], Window::default(), 1);
        let dense = layer.fully_connected::<u8, u8>()?;
        let (inputs, mut out) = (vec![200; weights.len() / channels.max(1)], vec![0; channels]);
        let rows = MatRef::row_major(&inputs, 1, inputs.len())?;
        dense.run(rows, MatMut::row_major(&mut out, 1, channels)?, &mut dense.workspace())
    }
}

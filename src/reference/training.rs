//! Fake quantization, one element after another (training.md 2).

use alloc::vec;
use alloc::vec::Vec;

use super::layers::nearest;
use crate::quant::Ties;
use crate::training::{Axis, Form, Gradient, Grid, Levels};

/// What [`FakeQuant::new`](crate::training::FakeQuant::new) does to one element of a grid.
///
/// ```
/// use zeropoint::{reference, training::{Grid, Levels}};
/// assert_eq!(reference::fake_quant(&Grid::new(0.5, 1, Levels::bits(2)?)?, 0.75), 1.0);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn fake_quant(grid: &Grid, x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let zero = i128::from(grid.zero_point());
    let (low, high) = grid.codes();
    let code = (nearest(x / grid.scale(), Ties::Away) + zero).clamp(low.into(), high.into());
    grid.scale() * (code - zero) as f32
}

/// What happens to the gradient dy of an element: dx, and what it adds to both sums, the second of a learned step being counted in
/// scales, [`gradient_units`].
pub fn fake_quant_gradients(grid: &Grid, gradient: Gradient, x: f32, dy: f32) -> (f32, [f32; 2]) {
    if x.is_nan() {
        return (0.0, [0.0; 2]);
    }
    let zero = i128::from(grid.zero_point());
    let (low, high) = (i128::from(grid.codes().0), i128::from(grid.codes().1));
    let code = nearest(x / grid.scale(), Ties::Away) + zero;
    let (below, above) = match gradient {
        Gradient::Range => {
            let end = |code: i128| grid.scale() * (code - zero) as f32;
            (x < end(low), x > end(high))
        }
        Gradient::Index | Gradient::Learned => (code < low, code > high),
    };
    let dx = if below || above { 0.0 } else { dy };
    let n = (code.clamp(low, high) - zero) as f32;
    let sums = match gradient {
        Gradient::Learned if below || above => [dy * n, -dy],
        Gradient::Learned => [dy * (n - x / grid.scale()), 0.0],
        _ => [if below { dy } else { 0.0 }, if above { dy } else { 0.0 }],
    };
    (dx, sums)
}

/// What the sums of [`fake_quant_gradients`] are multiplied by in the end.
pub fn gradient_units(grid: &Grid, gradient: Gradient) -> [f64; 2] {
    if gradient == Gradient::Learned { [1.0, grid.scale().into()] } else { [1.0; 2] }
}

/// TensorFlow's fake quantization of a range, in strict IEEE arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct TensorFlow {
    form: Form,
    scale: f32,
    inverse: f32,
    low: f32,
    high: f32,
    zero: f32,
    empty: bool,
}

impl TensorFlow {
    /// For one range.
    pub fn new(min: f32, max: f32, levels: Levels, form: Form) -> Self {
        let (first, last) = (levels.codes().0 as f32, levels.codes().1 as f32);
        let scale = (max - min) / (last - first);
        let inverse = (last - first) / (max - min);
        let zero = first - min / scale;
        // A NaN is neither.
        let zero_point = match zero {
            z if z <= first => first,
            z if z >= last => last,
            z if z.is_nan() => z,
            z => nearest(z, Ties::Away) as f32,
        };
        let (low, high) = ((first - zero_point) * scale, (last - zero_point) * scale);
        let zero = floor(-low * inverse + 0.5);
        Self { form, scale, inverse, low, high, zero, empty: min == 0.0 && max == 0.0 }
    }

    /// Forward.
    pub fn real(&self, x: f32) -> f32 {
        if self.empty {
            return 0.0;
        }
        let mut above = x;
        if above > self.high {
            above = self.high;
        }
        if above < self.low {
            above = self.low;
        }
        above -= self.low;
        let steps = match self.form {
            Form::Division => above / self.scale,
            Form::Multiplication => above * self.inverse,
        };
        floor(steps - self.zero + 0.5) * self.scale
    }

    /// Back, as [`fake_quant_gradients`].
    pub fn gradients(&self, x: f32, dy: f32) -> (f32, [f32; 2]) {
        let only = |so: bool| dy * f32::from(u8::from(so));
        if self.empty {
            return (dy, [0.0; 2]);
        }
        let (below, above) = (only(x < self.low), only(x > self.high));
        (only(x >= self.low && x <= self.high), [below, above])
    }
}

/// The largest integer up to `x`.
fn floor(x: f32) -> f32 {
    if x.is_nan() || x.abs() > 1e9 {
        return x;
    }
    let whole = x as i64;
    (if whole as f32 > x { whole - 1 } else { whole }) as f32
}

/// How many elements a sum of [`channel_sums`] gains at once.
pub fn gradient_terms(gradient: Gradient) -> usize {
    if gradient == Gradient::Learned { 8 } else { 1 }
}

/// Sums over the elements of each channel, in the order that [`Gradients`](crate::training::Gradients) states; `gains` is what
/// element i adds to both, `terms` how many of them in 32 bits, and `units` what those of a channel are multiplied by in the end.
pub fn channel_sums(
    axis: Axis,
    gains: &[[f32; 2]],
    terms: usize,
    units: impl Fn(usize) -> [f64; 2],
) -> Vec<[f32; 2]> {
    let (channels, inner) = match axis {
        Axis::Tensor => (1, usize::MAX),
        Axis::Channels { channels, inner } => (channels, inner),
    };
    let mut partial = vec![[[0.0f64; 16]; 2]; channels];
    // Of each, which terms are being added up, and to what.
    let mut short = vec![[([0; 2], [0.0f32; 2]); 16]; channels];
    let settle = |partial: &mut [[f64; 16]; 2], i: usize, short: [f32; 2]| {
        partial.iter_mut().zip(short).for_each(|(sums, short)| sums[i] += f64::from(short));
    };
    for (at, gain) in gains.iter().enumerate() {
        let (outer, channel, i) = (at / inner / channels, at / inner % channels, at % inner);
        let these = if inner < 16 { [outer / terms, 0] } else { [outer, i / 16 / terms] };
        let (last, sum) = &mut short[channel][i % 16];
        if *last != these {
            settle(&mut partial[channel], i % 16, core::mem::take(sum));
            *last = these;
        }
        sum.iter_mut().zip(gain).for_each(|(sum, gain)| *sum += gain);
    }
    for (partial, short) in partial.iter_mut().zip(&short) {
        short.iter().enumerate().for_each(|(i, (_, sum))| settle(partial, i, *sum));
    }
    let total = |s: &[f64; 16]| {
        let eight = |i: usize| s[i] + s[i + 8];
        let four = |i: usize| eight(i) + eight(i + 4);
        let two = |i: usize| four(i) + four(i + 2);
        two(0) + two(1)
    };
    let sums = |(channel, [first, second]): (usize, &[_; 2])| {
        let [first_unit, second_unit] = units(channel);
        [(total(first) * first_unit) as f32, (total(second) * second_unit) as f32]
    };
    partial.iter().enumerate().map(sums).collect()
}

//! Fake quantization, one element after another (training.md 2).

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
pub fn gradient_units(grid: &Grid, gradient: Gradient) -> [f32; 2] {
    if gradient == Gradient::Learned { [1.0, grid.scale()] } else { [1.0; 2] }
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

/// Sums over the elements of each channel, in the order that [`Gradients`](crate::training::Gradients) states; `gains` is what
/// element i adds to both, and `units` what those of a channel are multiplied by in the end.
pub fn channel_sums(axis: Axis, gains: &[[f32; 2]], units: impl Fn(usize) -> [f32; 2]) -> Vec<[f32; 2]> {
    let (channels, inner) = match axis {
        Axis::Tensor => (1, gains.len().max(1)),
        Axis::Channels { channels, inner } => (channels, inner),
    };
    let total = |channel: usize, kind: usize| {
        let of = |run: &[[f32; 2]]| run.iter().map(|gains| gains[kind]).collect::<Vec<_>>();
        let runs = gains.chunks(inner).skip(channel).step_by(channels).map(of);
        let total = match inner {
            1 => sum(&runs.flatten().collect::<Vec<_>>()),
            _ => runs.fold(0.0, |total, run| total + f64::from(sum(&run))) as f32,
        };
        total * units(channel)[kind]
    };
    (0..channels).map(|channel| [total(channel, 0), total(channel, 1)]).collect()
}

/// The sum of some values in TensorFlow's order.
fn sum(values: &[f32]) -> f32 {
    if values.len() > 8192 {
        let half = values.len().div_ceil(2).next_multiple_of(8);
        return sum(&values[..half]) + sum(&values[half..]);
    }
    let whole = values.len() / 32 * 32;
    let eights = values.len() / 8 * 8;
    let mut sums = [0.0; 32];
    (0..whole).for_each(|i| sums[i % 32] += values[i]);
    (8..32).for_each(|i| sums[i % 8] += sums[i]);
    (whole..eights).for_each(|i| sums[i % 8] += values[i]);
    for half in [4, 2, 1] {
        (0..half).for_each(|i| sums[i] += sums[i + half]);
    }
    let mut last = 0.0;
    values[eights..].iter().for_each(|value| last += value);
    last + sums[0]
}

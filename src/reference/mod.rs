//! The oracle of tests, fuzzers and benches: semantics.md in plain code, slow, independent of the kernels.
//!
//! Everything is an exact integer (`i128`) or one float32 operation after another. Nothing here is shared with
//! the code under test but the views and the types that describe a product.

mod conv;
#[cfg(feature = "std")]
mod functions;
mod layers;
mod training;

pub use conv::{Image, Kernel, conv2d, depthwise_conv2d, transpose_conv2d};
#[cfg(feature = "std")]
pub use functions::{logistic, softmax, tanh};
pub use layers::{
    add, average_pool_2d, concat, dequantize, max_pool_2d, mean, mul, pad, quantize, relu, relu6, requantize, sub,
};
pub use training::{TensorFlow, channel_sums, fake_quant, fake_quant_gradients, gradient_units};
use zeropoint_kernels::{Code, Element, Error, MatMut, Multiplier, Quantized, Rounding, ZeroPoint};

use crate::stages::{FloatScale, PerAxis, Scaling, Stages};

/// What [`gemm`](crate::gemm) computes, by a triple loop. Lengths of vectors are the caller's business.
///
/// # Errors
/// [`Error::Shape`] if the three matrices do not fit, [`Error::Uninitialized`].
///
/// ```
/// use zeropoint::{MatMut, MatRef, Stages, reference};
/// let mut sum = [0i32];
/// let (a, b) = (MatRef::row_major(&[2u8], 1, 1)?, MatRef::row_major(&[3u8], 1, 1)?);
/// reference::gemm(a.into(), b.into(), &Stages::raw(), MatMut::row_major(&mut sum, 1, 1)?)?;
/// assert_eq!(sum, [6]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn gemm<L: Code, R: Code, O: Output>(
    lhs: Quantized<'_, L>,
    rhs: Quantized<'_, R>,
    stages: &Stages<'_, O>,
    mut out: MatMut<'_, O>,
) -> Result<(), Error> {
    let (m, k, n) = (lhs.codes.rows(), lhs.codes.cols(), rhs.codes.cols());
    if rhs.codes.rows() != k {
        return Err(Error::Shape { argument: "rhs", expected: (k, n), got: (rhs.codes.rows(), n) });
    }
    if (out.rows(), out.cols()) != (m, n) {
        return Err(Error::Shape { argument: "out", expected: (m, n), got: (out.rows(), out.cols()) });
    }
    for i in 0..m {
        for j in 0..n {
            let (za, zb) = (zero(lhs.zero_point, i), zero(rhs.zero_point, j));
            let mut sum = 0i128;
            for p in 0..k {
                let (Some(a), Some(b)) = (lhs.codes.get(i, p), rhs.codes.get(p, j)) else { continue };
                sum += (Into::<i32>::into(a) as i128 - za) * (Into::<i32>::into(b) as i128 - zb);
            }
            sum += stages.bias.map_or(0, |bias| i128::from(bias[j]));
            sum += stages.row_bias.map_or(0, |bias| i128::from(bias[i]));
            let old = if stages.accumulate { Some(out.get(i, j).ok_or(Error::Uninitialized)?) } else { None };
            out.set(i, j, O::finish(wrap32(sum), (i, j), old, stages));
        }
    }
    Ok(())
}

fn zero(zero_point: ZeroPoint<'_>, at: usize) -> i128 {
    match zero_point {
        ZeroPoint::One(zero) => i128::from(zero),
        ZeroPoint::Each(zeros) => i128::from(zeros[at]),
    }
}

/// An output element that the oracle can compute.
pub trait Output: Element {
    /// The output for a sum at (row, column); `old` is what the output held, if that matters.
    fn finish(sum: i32, at: (usize, usize), old: Option<Self>, stages: &Stages<'_, Self>) -> Self;
}

impl Output for i32 {
    fn finish(sum: i32, _: (usize, usize), old: Option<i32>, _: &Stages<'_, i32>) -> i32 {
        wrap32(i128::from(sum) + i128::from(old.unwrap_or(0)))
    }
}

impl Output for f32 {
    fn finish(sum: i32, at: (usize, usize), _: Option<f32>, stages: &Stages<'_, f32>) -> f32 {
        let product = sum as f32 * scale(stages, at);
        product + pick(&stages.float_bias, at)
    }
}

macro_rules! codes {
    ($($t:ty),*) => {$(
        impl Output for $t {
            fn finish(sum: i32, at: (usize, usize), _: Option<$t>, stages: &Stages<'_, $t>) -> $t {
                let y = match &stages.scaling {
                    Scaling::Fixed(multipliers) => fixed(stages.rounding, sum, pick(multipliers, at)),
                    _ => nearest_even(sum as f32 * scale(stages, at)),
                };
                let (low, high) = stages.bounds();
                (y + i128::from(stages.zero_point)).clamp(i128::from(low), i128::from(high)) as $t
            }
        }
    )*};
}
codes!(u8, i8, i16);

fn pick<T: Copy>(axis: &PerAxis<'_, T>, (i, j): (usize, usize)) -> T {
    match axis {
        PerAxis::One(value) => *value,
        PerAxis::PerColumn(values) => values[j],
        PerAxis::PerRow(values) => values[i],
    }
}

fn scale<O>(stages: &Stages<'_, O>, (i, j): (usize, usize)) -> f32 {
    match stages.scaling {
        Scaling::Float(FloatScale::One(scale)) => scale,
        Scaling::Float(FloatScale::PerColumn(columns)) => columns[j],
        Scaling::Float(FloatScale::PerRow(rows)) => rows[i],
        Scaling::Float(FloatScale::Both { rows, columns }) => rows[i] * columns[j],
        _ => 1.0,
    }
}

/// x mod 2^32, in i32.
fn wrap32(x: i128) -> i32 {
    x.rem_euclid(1 << 32) as u32 as i32
}

/// floor(x / 2^e + 1/2)
fn half_up(x: i128, e: u32) -> i128 {
    (2 * x + (1 << e)).div_euclid(2 << e)
}

/// sign(x) * floor(|x| / 2^e + 1/2)
fn half_away(x: i128, e: u32) -> i128 {
    x.signum() * half_up(x.abs(), e)
}

/// The nearest integer to x / 2^e, the even one of two.
fn half_even(x: i128, e: u32) -> i128 {
    let up = half_up(x, e);
    let tie = (2 * x).rem_euclid(2 << e) == 1 << e;
    if tie && up % 2 != 0 { up - 1 } else { up }
}

/// The rules of semantics.md 5.2.
fn fixed(rounding: Rounding, x: i32, by: Multiplier) -> i128 {
    scaled(rounding, x, i128::from(by.multiplier()), by.shift())
}

/// [`fixed`] by any m and s, not only those of a [`Multiplier`].
fn scaled(rounding: Rounding, x: i32, m: i128, s: i32) -> i128 {
    let (left, right) = (s.max(0) as u32, (-s).max(0) as u32);
    let shifted = i128::from(x) << left;
    let saturated = shifted.clamp(i128::from(i32::MIN), i128::from(i32::MAX));
    let (wrapped, exact) = (i128::from(wrap32(shifted)), i128::from(x) * m);
    match rounding {
        Rounding::DoubleAway => half_away(half_up(wrapped * m, 31), right),
        Rounding::DoubleAwaySat => half_away(half_up(saturated * m, 31), right),
        Rounding::DoubleUp => half_up(half_up(wrapped * m, 31), right),
        Rounding::SingleUp => half_up(exact, (31 - s) as u32),
        Rounding::SingleAway => half_away(exact, (31 - s) as u32),
        Rounding::SingleEven => half_even(exact, (31 - s) as u32),
        Rounding::IntMulShift => half_away(i128::from(wrap32(exact)), right),
    }
}

/// The nearest integer, ties to even; far values stay far.
fn nearest_even(x: f32) -> i128 {
    // Beyond 2^24 every float is an even integer; these are far beyond every clamp, an overflowed product further.
    const FAR: f32 = (1u64 << 62) as f32;
    let x = x.clamp(-FAR, FAR);
    let whole = x as i128;
    let rest = (x - whole as f32).abs();
    let away = if x < 0.0 { -1 } else { 1 };
    // The tests never see a NaN: scales and their products are finite.
    if rest > 0.5 || (rest == 0.5 && whole % 2 != 0) { whole + away } else { whole }
}

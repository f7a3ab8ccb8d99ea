//! Accumulators at which a scale goes wrong most easily: constructed, not hoped for.

use zeropoint_kernels::{Multiplier, Rounding};

use super::Rng;
use super::stage::{By, Scaling};

/// A scale and the sums to try with it.
pub struct Points {
    pub by: By,
    pub sums: Vec<i32>,
}

impl Points {
    /// All scales worth trying, or one in `share` of them, each with its sums.
    pub fn of(rng: &Rng, scaling: Scaling, share: usize) -> Vec<Self> {
        let mut scales = scales(rng, scaling);
        let one = rng.below(scales.len());
        scales.swap(0, one);
        let mut first = true;
        scales.retain(|_| std::mem::take(&mut first) || rng.one_in(share));
        scales
            .into_iter()
            .map(|by| {
                let mut sums = edges(rng);
                match by {
                    By::None => {}
                    By::Fixed(Rounding::IntMulShift, by) => sums.extend(of_product(by, rng)),
                    By::Fixed(_, by) => sums.extend(of_multiplier(by, rng)),
                    By::Float(scale) => sums.extend(of_float(scale, rng)),
                }
                if let (Scaling::Fixed { near: true, .. }, By::Fixed(_, by)) = (scaling, by) {
                    // What the caller of the shorter form has to have proven.
                    sums.retain(|x| i64::from(*x).abs() + (1 << (-by.shift() - 1)) < 1 << 31);
                }
                Self { by, sums }
            })
            .collect()
    }
}

/// Scales: both ends of everything, every exponent.
fn scales(rng: &Rng, scaling: Scaling) -> Vec<By> {
    match scaling {
        Scaling::None { .. } => vec![By::None],
        Scaling::Float { .. } => float_scales(rng).into_iter().map(By::Float).collect(),
        Scaling::Fixed { rounding: Rounding::IntMulShift, .. } => {
            let mut scales = vec![];
            for right in 0..=31 {
                for m in [0, 1, -1, i32::MIN, i32::MAX, 1 << 30, rng.within(-4096, 4096) | 1, rng.bits() as i32] {
                    let by = Multiplier::int_mul_shift(m, right).unwrap();
                    scales.push(By::Fixed(Rounding::IntMulShift, by));
                }
            }
            scales
        }
        Scaling::Fixed { rounding, near, .. } => {
            let mut scales = vec![];
            for s in -31..=if near { -1 } else { 30 } {
                // An odd number with many zeros below it: its products hit ties.
                let round = rng.within(1 << 14, (1 << 15) - 1) << 16;
                for m in [0, 1 << 30, i32::MAX, round, rng.within(1 << 30, i32::MAX)] {
                    scales.push(By::Fixed(rounding, Multiplier::new(m, s).unwrap()));
                }
            }
            scales
        }
    }
}

fn float_scales(rng: &Rng) -> Vec<f32> {
    // Zero, the smallest, and so large that scaled sums overflow.
    let mut scales =
        vec![0.0, f32::from_bits(1), f32::MIN_POSITIVE, f32::MAX, 1e30, f32::INFINITY, 0.1, 1.0 / 3.0];
    for exponent in -32..=8 {
        scales.extend([f32::powi(2.0, exponent), rng.real(exponent, exponent + 1)]);
    }
    scales
}

/// The ends of i32, powers of two and their neighbours, numbers that floats round, anything.
fn edges(rng: &Rng) -> Vec<i32> {
    let mut sums = vec![0, 1, -1, 2, -2, i32::MAX, i32::MAX - 1, i32::MIN, i32::MIN + 1];
    sums.extend([1 << 30, -(1 << 30), (1 << 30) + 5, (1 << 24) + 1, (1 << 24) + 3, -(1 << 24) - 1]);
    for _ in 0..6 {
        let power = 1 << rng.within(1, 30);
        sums.extend([power + rng.within(-1, 1), -power + rng.within(-1, 1), rng.bits() as i32]);
    }
    sums
}

/// Outputs at which something changes: around zero, the ends of code types and their distances.
fn outputs(rng: &Rng) -> Vec<i64> {
    let mut outputs: Vec<i64> = vec![0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535];
    outputs.extend((0..8).map(|_| i64::from(rng.within(0, 1 << rng.within(1, 16)))));
    outputs.extend(outputs.clone().into_iter().map(|y| -y));
    outputs
}

/// Those of `sums` that are i32.
fn fitting(sums: impl IntoIterator<Item = i128>) -> impl Iterator<Item = i32> {
    sums.into_iter().filter_map(|x| i32::try_from(x).ok())
}

/// For `x * m * 2^(s - 31)`.
fn of_multiplier(by: Multiplier, rng: &Rng) -> Vec<i32> {
    let (m, s) = (i128::from(by.multiplier()), by.shift());
    if m == 0 {
        return vec![];
    }
    let mut sums = vec![];
    // Sums whose exact product is next to an output and a half: ties of one rounding, and of the second of two.
    for y in outputs(rng) {
        let nearest = ((2 * i128::from(y) + 1) << (30 - s)) / m;
        sums.extend([nearest - 1, nearest, nearest + 1]);
    }
    // Exact ties of one rounding (x * m is an odd multiple of 2^(30 - s)), and of the first of two (of 2^30).
    for exponent in [30 - s, 30] {
        let missing = exponent - m.trailing_zeros() as i32;
        if missing >= 0 {
            let odd = || i128::from(rng.within(-300, 300) | 1);
            sums.extend([1, -1, 3, -3, odd(), odd(), odd()].map(|odd| odd << missing));
        }
    }
    // Where a left shift leaves i32, and far beyond.
    if s > 0 {
        let end = 1i128 << (31 - s);
        for x in [end, -end, 2 * end, -2 * end, 3 * end / 2] {
            sums.extend([x - 1, x, x + 1]);
        }
    }
    fitting(sums).collect()
}

/// For `wrap32(x * m) / 2^right`: products at ties and at the ends of i32, by the inverse of an odd m.
fn of_product(by: Multiplier, rng: &Rng) -> Vec<i32> {
    let (m, right) = (by.multiplier(), by.shift().unsigned_abs());
    if m % 2 == 0 {
        return vec![];
    }
    // Newton: each step doubles the correct low bits.
    let inverse = (0..5).fold(m, |i, _| i.wrapping_mul(2i32.wrapping_sub(m.wrapping_mul(i))));
    let mut products = vec![i128::from(i32::MIN), i128::from(i32::MAX)];
    for y in outputs(rng) {
        let tie = ((2 * i128::from(y) + 1) << right) / 2;
        products.extend([tie - 1, tie, tie + 1]);
    }
    fitting(products).map(|product| product.wrapping_mul(inverse)).collect()
}

/// For `fl32(fl32(x) * scale)`.
fn of_float(scale: f32, rng: &Rng) -> Vec<i32> {
    let mut sums = vec![];
    for y in outputs(rng) {
        let nearest = (y as f64 + 0.5) / f64::from(scale);
        if nearest.abs() < 2f64.powi(31) {
            let nearest = nearest as i128;
            sums.extend([nearest - 1, nearest, nearest + 1]);
        }
    }
    fitting(sums).collect()
}

//! The definitions that every backend has to equal, written plainly and without the kernels: wide integers, no
//! blocks, no lanes. Only the scalar rounding rules are taken from the crate: they are the definition, and
//! `golden.rs` holds them to vectors that were computed elsewhere.

use std::fmt::Debug;

use zeropoint_kernels::{Elem, Element, Finish, FloatBias, Multiplier, Panel, PerRow, Rounding, Scale};

use super::Rng;
use super::matrix::{Matrix, TestCode};

/// Where element `k` of `member` lies in packed data, in elements. Members that are contiguous get a cache line
/// more where their length is a multiple of 512 bytes.
pub fn position(panel: Panel, padded_k: usize, member: usize, k: usize) -> usize {
    if panel.group == Panel::ROWS {
        let line = 64 / panel.elem.size();
        let skewed = padded_k > 0 && padded_k.is_multiple_of(512 / panel.elem.size());
        return member * (padded_k + if skewed { line } else { 0 }) + k;
    }
    let (p, w) = (member / panel.width, member % panel.width);
    let (step, i) = (k / panel.group, k % panel.group);
    p * panel.width * padded_k + step * panel.width * panel.group + w * panel.group + i
}

/// What packing makes of a code: i8 codes in u8 elements are raised by 128, u8 codes in i8 elements lowered.
pub fn packed(elem: Elem, code: i64, signed: bool) -> i64 {
    match (elem, signed) {
        (Elem::U8, true) => code + 128,
        (Elem::I8, false) => code - 128,
        _ => code,
    }
}

/// An element of packed data.
pub fn element(elem: Elem, data: &[u8], at: usize) -> i64 {
    match elem {
        Elem::U8 => i64::from(data[at]),
        Elem::I8 => i64::from(data[at] as i8),
        Elem::I16 => i64::from(i16::from_ne_bytes([data[2 * at], data[2 * at + 1]])),
    }
}

/// Writes an element of packed data.
pub fn set_element(elem: Elem, data: &mut [u8], at: usize, value: i64) {
    match elem {
        Elem::U8 => data[at] = u8::try_from(value).unwrap(),
        Elem::I8 => data[at] = i8::try_from(value).unwrap() as u8,
        Elem::I16 => data[2 * at..2 * at + 2].copy_from_slice(&i16::try_from(value).unwrap().to_ne_bytes()),
    }
}

/// `sum over k of (lhs - za) * (rhs - zb)` for one element, not wrapped.
pub fn product<L: TestCode, R: TestCode>(
    lhs: &Matrix<L>,
    rhs: &Matrix<R>,
    at: (usize, usize),
    za: i32,
    zb: i32,
) -> i64 {
    let (mut sum, za, zb) = (0, i64::from(za), i64::from(zb));
    for k in 0..lhs.shape.1 {
        sum += (lhs.at(at.0, k) - za) * (rhs.at(k, at.1) - zb);
    }
    sum
}

/// The value of a row.
pub fn of_row<T: Copy>(values: &PerRow<'_, T>, row: usize) -> T {
    match values {
        PerRow::One(value) => *value,
        PerRow::Each(values) => values[row],
    }
}

/// A multiplier from its parts.
pub fn multiplier(rounding: Rounding, m: i32, s: i32) -> Multiplier {
    match rounding {
        Rounding::IntMulShift => Multiplier::int_mul_shift(m, s.unsigned_abs()).unwrap(),
        _ => Multiplier::new(m, s).unwrap(),
    }
}

/// The fixed-point rule and multiplier of an element.
pub fn fixed_factor(finish: &Finish<'_>, (i, j): (usize, usize)) -> Option<(Rounding, Multiplier)> {
    match &finish.scale {
        Scale::Columns { rounding, multipliers, shifts, .. } => {
            Some((*rounding, multiplier(*rounding, multipliers[j], shifts[j])))
        }
        Scale::Rows { rounding, multipliers } => Some((*rounding, of_row(multipliers, i))),
        Scale::Float { .. } | Scale::None => None,
    }
}

/// The float factor of an element.
pub fn float_factor(finish: &Finish<'_>, (i, j): (usize, usize)) -> Option<f32> {
    match &finish.scale {
        Scale::Float { columns, rows, .. } => Some(of_row(rows, i) * columns[j]),
        _ => None,
    }
}

/// A sum with its biases, mod 2^32.
fn biased(finish: &Finish<'_>, (i, j): (usize, usize), sum: i64) -> i32 {
    (sum + i64::from(finish.bias[j]) + i64::from(of_row(&finish.row_bias, i))) as i32
}

/// An output type, with what a sum has to become.
pub trait Output: Element + Debug + PartialEq {
    /// Any value.
    fn random(rng: &Rng) -> Self;
    /// What element `at` becomes whose sum is `sum` and whose old value is `old`.
    fn finished(finish: &Finish<'_>, at: (usize, usize), sum: i64, old: Self) -> Self;
    /// Equality of bits; all NaN are one.
    fn same(self, other: Self) -> bool {
        self == other
    }
}

/// `clamp(y + zero point)`, and how y comes from the sum.
fn code(finish: &Finish<'_>, at: (usize, usize), sum: i64) -> i64 {
    let x = biased(finish, at, sum);
    let Finish { zero_point, low, high, .. } = *finish;
    let y = if let Some((rounding, by)) = fixed_factor(finish, at) {
        rounding.apply(x, by)
    } else {
        let scaled = x as f32 * float_factor(finish, at).unwrap();
        // 0 times an overflowed scale becomes the lower bound. The conversion saturates.
        if scaled.is_nan() { i64::from(low - zero_point) } else { scaled.round_ties_even() as i32 as i64 }
    };
    (y + i64::from(zero_point)).clamp(i64::from(low), i64::from(high))
}

macro_rules! codes {
    ($($t:ty),*) => {$(
        impl Output for $t {
            fn random(rng: &Rng) -> Self {
                rng.bits() as $t
            }

            fn finished(finish: &Finish<'_>, at: (usize, usize), sum: i64, _: Self) -> Self {
                Self::try_from(code(finish, at, sum)).unwrap()
            }
        }
    )*};
}
codes!(u8, i8, i16);

impl Output for i32 {
    fn random(rng: &Rng) -> Self {
        rng.extreme(i32::MIN, i32::MAX)
    }

    fn finished(finish: &Finish<'_>, at: (usize, usize), sum: i64, old: Self) -> Self {
        let x = biased(finish, at, sum);
        if finish.accumulate { (i64::from(old) + i64::from(x)) as i32 } else { x }
    }
}

impl Output for f32 {
    fn random(rng: &Rng) -> Self {
        // Without the top bit of the exponent there is neither NaN nor infinity.
        f32::from_bits(rng.bits() as u32 & 0xbfff_ffff)
    }

    fn finished(finish: &Finish<'_>, at: (usize, usize), sum: i64, _: Self) -> Self {
        let scaled = biased(finish, at, sum) as f32 * float_factor(finish, at).unwrap();
        let bias = match &finish.float_bias {
            FloatBias::Columns(bias) => bias[at.1],
            FloatBias::Rows(bias) => of_row(bias, at.0),
        };
        scaled + bias
    }

    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}

//! What is measured: one product with its data, what must come out, and the check of what did.

use std::borrow::Cow;
use std::fmt;

use aligned_vec::{AVec, ConstAlign};
use zeropoint::kernels::float_even;
use zeropoint::{Multiplier, Rounding};

use crate::args::Weights;
use crate::shape::Shape;

/// What becomes of the sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// int32 sums, both zero points 0.
    I32,
    /// u8 codes: float rule, ties to even, a scale and a bias a column, the full clamp.
    U8,
    /// u8 codes by gemmlowp's fixed-point rule, clamped from the zero point up: a ReLU.
    U8Q31,
}

impl Variant {
    pub const ALL: [Self; 3] = [Self::I32, Self::U8, Self::U8Q31];

    pub fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::U8Q31 => "u8-q31",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Memory that starts at a cache line.
pub type Aligned<T> = AVec<T, ConstAlign<64>>;

/// Default values, or those of `values`.
pub fn aligned<T: Clone>(values: impl IntoIterator<Item = T>) -> Aligned<T> {
    AVec::from_iter(64, values)
}

/// The zero points of a product: a real number is `scale * (code - zero point)`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Zeros {
    pub lhs: i32,
    pub rhs: i32,
}

/// Both zero points as a user has them, and with the easier one of the weights.
pub const BOTH: Zeros = Zeros { lhs: 117, rhs: 3 };
pub const LHS_ONLY: Zeros = Zeros { lhs: 117, rhs: 0 };
/// Zero points that stand for a shift of the codes: activations minus 128, and weights plus 128.
pub const SIGNED_LHS: Zeros = Zeros { lhs: 128, rhs: 0 };
pub const UNSIGNED_RHS: Zeros = Zeros { lhs: 0, rhs: -128 };
/// The zero point of u8 output.
pub const OUT_ZERO: i32 = 128;
/// The zero point of u8 output that is clamped from there.
pub const RELU_ZERO: i32 = 9;

/// One product: u8 activations, i8 weights, both row-major, and the vectors of the output stage.
pub struct Case {
    pub shape: Shape,
    pub lhs: Aligned<u8>,
    /// The same activations minus 128, for those who want both sides signed.
    pub signed_lhs: Aligned<i8>,
    pub rhs: Aligned<i8>,
    pub bias: Vec<i32>,
    pub scales: Vec<f32>,
    pub multipliers: Vec<Multiplier>,
    /// Sums over K of a row of lhs, and of a column of rhs.
    row_sums: Vec<i32>,
    pub column_sums: Vec<i32>,
    sums: Vec<i64>,
}

impl Case {
    pub fn new(shape: Shape, weights: Weights) -> Self {
        let Shape { m, k, n } = shape;
        let mut rng = Rng((m * 31 + k) as u64 * 31 + n as u64);
        let lhs = aligned((0..m * k).map(|_| rng.bits() as u8));
        let rhs = aligned((0..k * n).map(|_| weights.draw(&mut rng)));
        let bias = (0..n).map(|_| (rng.real() * 100_000.0 - 50_000.0) as i32).collect();
        // A sum of k products of two independent codes: most outputs lie inside the clamp.
        let spread = 74.0 * weights.deviation() * (k as f64).sqrt();
        let factors: Vec<f64> = (0..n).map(|_| (30.0 + 30.0 * rng.real()) / spread).collect();
        let multipliers =
            factors.iter().map(|by| Multiplier::from_real(*by).expect("small and positive")).collect();
        let mut column_sums = vec![0; n];
        for row in rhs.chunks_exact(n) {
            column_sums.iter_mut().zip(row).for_each(|(sum, code)| *sum += i32::from(*code));
        }
        let row_sums = lhs.chunks_exact(k).map(|row| row.iter().map(|code| i32::from(*code)).sum()).collect();
        let sums = sums(shape, &lhs, &rhs);
        Self {
            shape,
            signed_lhs: aligned(lhs.iter().map(|code| (code ^ 0x80) as i8)),
            lhs,
            rhs,
            bias,
            scales: factors.iter().map(|by| *by as f32).collect(),
            multipliers,
            row_sums,
            column_sums,
            sums,
        }
    }

    /// The sum at (i, j) with these zero points.
    fn sum(&self, at: (usize, usize), zeros: Zeros) -> i64 {
        let ((i, j), (za, zb)) = (at, (i64::from(zeros.lhs), i64::from(zeros.rhs)));
        self.sums[i * self.shape.n + j] - za * i64::from(self.column_sums[j]) - zb * i64::from(self.row_sums[i])
            + self.shape.k as i64 * za * zb
    }

    /// Whether `output` is right everywhere.
    pub fn is_exact(&self, variant: Variant, output: &Output<'_>) -> bool {
        let Shape { m, n, .. } = self.shape;
        let all = |right: &dyn Fn((usize, usize)) -> bool| (0..m).all(|i| (0..n).all(|j| right((i, j))));
        match *output {
            Output::Sums { out, zeros, column_major } => all(&|(i, j)| {
                let at = if column_major { j * m + i } else { i * n + j };
                i64::from(out[at]) == self.sum((i, j), zeros)
            }),
            Output::Reals(out) => {
                all(&|(i, j)| f64::from(out[i * n + j]) == self.sum((i, j), Zeros::default()) as f64)
            }
            Output::Codes { ref out, zeros, rule } => all(&|(i, j)| {
                let code = i32::from(out[i * n + j]);
                let sum = self.sum((i, j), zeros);
                let biased = sum + i64::from(self.bias[j]);
                match (rule, variant) {
                    (Rule::Bits, Variant::U8Q31) => code == self.relu_code(biased as i32, j),
                    (Rule::Bits, _) => code == self.float_code(biased as i32, j),
                    (Rule::Rounded, _) => self.is_rounded(code, biased, j),
                    (Rule::WithoutBias, _) => self.is_rounded(code, sum, j),
                    (Rule::OneScale, _) => self.is_rounded(code, biased, 0),
                }
            }),
        }
    }

    fn relu_code(&self, sum: i32, j: usize) -> i32 {
        let scaled = Rounding::DoubleAway.apply(sum, self.multipliers[j]);
        (scaled + i64::from(RELU_ZERO)).clamp(RELU_ZERO.into(), 255) as i32
    }

    fn float_code(&self, sum: i32, j: usize) -> i32 {
        let scaled = float_even(sum, self.scales[j], -OUT_ZERO, 255 - OUT_ZERO);
        (scaled as i32 + OUT_ZERO).clamp(0, 255)
    }

    /// Whether a code differs from the real number by rounding only: libraries add scale and bias in another order.
    fn is_rounded(&self, code: i32, sum: i64, j: usize) -> bool {
        let real = (sum as f64 * f64::from(self.scales[j]) + f64::from(OUT_ZERO)).clamp(0.0, 255.0);
        (f64::from(code) - real).abs() < 0.501
    }
}

/// What a peer computed.
pub enum Output<'a> {
    /// Sums.
    Sums { out: &'a [i32], zeros: Zeros, column_major: bool },
    /// Sums in float, row-major.
    Reals(&'a [f32]),
    /// Codes, row-major.
    Codes { out: Cow<'a, [u8]>, zeros: Zeros, rule: Rule },
}

/// What is asked of codes: of zeropoint the very bits, of others a correct rounding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The bits of the variant's rule.
    Bits,
    Rounded,
    /// The same, of a product that has no bias.
    WithoutBias,
    /// The same, of a product whose columns share the scale of the first.
    OneScale,
}

impl<'a> Output<'a> {
    /// Sums with these zero points, row-major.
    pub fn sums(out: &'a [i32], zeros: Zeros) -> Self {
        Self::Sums { out, zeros, column_major: false }
    }

    /// Sums of the codes as they are, row-major.
    pub fn plain(out: &'a [i32]) -> Self {
        Self::sums(out, Zeros::default())
    }

    pub fn codes(out: &'a [u8], zeros: Zeros, rule: Rule) -> Self {
        Self::Codes { out: out.into(), zeros, rule }
    }
}

/// Room for outputs, as a variant has them.
pub enum Room {
    Sums(Aligned<i32>),
    Codes(Aligned<u8>),
}

impl Room {
    pub fn new(shape: Shape, variant: Variant) -> Self {
        let elements = shape.m * shape.n;
        match variant {
            Variant::I32 => Self::Sums(aligned(vec![0; elements])),
            Variant::U8 | Variant::U8Q31 => Self::Codes(aligned(vec![0; elements])),
        }
    }
}

/// The products, summed in i32 where that cannot overflow, in i64 beyond.
fn sums(shape: Shape, lhs: &[u8], rhs: &[i8]) -> Vec<i64> {
    /// 2^31 / (255 * 128), and a little less.
    const LARGEST: usize = 65_000;
    let Shape { k, n, .. } = shape;
    let mut part = vec![0i32; n];
    let mut out = vec![0i64; shape.m * n];
    for (out, row) in out.chunks_exact_mut(n).zip(lhs.chunks_exact(k)) {
        for (codes, rhs) in row.chunks(LARGEST).zip(rhs.chunks(LARGEST * n)) {
            part.fill(0);
            for (code, rhs) in codes.iter().zip(rhs.chunks_exact(n)) {
                let code = i16::from(*code);
                part.iter_mut().zip(rhs).for_each(|(sum, by)| *sum += i32::from(code) * i32::from(i16::from(*by)));
            }
            out.iter_mut().zip(&part).for_each(|(sum, part)| *sum += i64::from(*part));
        }
    }
    out
}

/// Numbers that are the same in every run (splitmix64).
pub struct Rng(u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number from 0 to 1.
    pub fn real(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

//! Sums by one affine form of both codes, where that gives the same code for every pair of them.
//!
//! Three rescalings round two operands and their sum. Only codes come out, of 65,536 pairs that go in: all of them are tried. The
//! form has multipliers of 29 bits, in two halves of 16-bit numbers.

use super::{LEFT, Operation, Pairwise};
use crate::lanes::Lanes;
use crate::rounding::Multiplier;

/// Bits of the lower half.
const HALF: u32 = 15;

/// Where rules round: how much above or below a tie, of 2^(shift + 15) parts of a code, for results from 0 up and for negative ones.
/// Those that round twice round up first, at 2^10 parts.
const TIES: [[i32; 2]; 4] = [[0, 0], [512, 512], [512, -512], [0, -1]];

/// `(x + ((a * low[0] + b * low[1] + fraction + (x < 0 ? negative : 0)) >> 15)) >> shift`, where
/// `x = a * high[0] + b * high[1] + constant`, of codes as `u8`: those of `i8` are raised by 128. Sums wrap. Made by
/// [`Pairwise::shortened`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affine {
    high: [i16; 2],
    low: [i16; 2],
    constant: i32,
    fraction: i32,
    negative: i32,
    shift: u32,
}

impl Affine {
    /// The form that has the multipliers of a sum, if 32 bits hold it.
    fn of(spec: &Pairwise, by: Multiplier, negative: [bool; 2], [above, below]: [i32; 2]) -> Option<Self> {
        // The first operand's is m * 2^(s - 31 + 19), that of the second m * by * 2^(s - 31 + 20); each times 2^(shift + 15), so
        // that the larger is m / 4.
        let (m, s) = (i128::from(spec.scale.multiplier()), spec.scale.shift());
        let shift = u32::try_from(-5 - s).ok().filter(|shift| (1..=30).contains(shift))?;
        let second = (m * i128::from(by.multiplier())) << 2;
        let right = u32::try_from(34 - by.shift()).ok().filter(|right| *right < 100)?;
        let whole = [(m + 2) >> 2, (second + (1 << (right - 1))) >> right];
        let signed = |i: usize| if negative[i] { -whole[i] } else { whole[i] };
        let raise = if spec.signed { 128 } else { 0 };
        let parts = [signed(0), signed(1)];
        let zeros = spec.zero_points.map(|zero| i128::from(zero + raise));
        let constant = -(parts[0] * zeros[0] + parts[1] * zeros[1]);
        let low = |x: i128| (x & ((1 << HALF) - 1)) as i32;
        let high = parts.map(|x| i16::try_from(x >> HALF).ok());
        Some(Self {
            high: [high[0]?, high[1]?],
            low: parts.map(|x| low(x) as i16),
            constant: i32::try_from(constant >> HALF).ok()?.checked_add(1 << (shift - 1))?,
            fraction: low(constant) + above,
            negative: below - above,
            shift,
        })
    }

    /// The result for two codes as `u8`, before zero point and clamp.
    fn apply(&self, [a, b]: [u8; 2]) -> i32 {
        let sum = |by: [i16; 2]| i32::from(a) * i32::from(by[0]) + i32::from(b) * i32::from(by[1]);
        let x = sum(self.high).wrapping_add(self.constant);
        let fraction = sum(self.low).wrapping_add(self.fraction).wrapping_add(x >> 31 & self.negative);
        x.wrapping_add(fraction >> HALF) >> self.shift
    }
}

impl Pairwise {
    /// The same function of codes by a shorter way, if there is one: of a sum, after 65,536 pairs of codes were tried.
    ///
    /// ```
    /// use zeropoint_kernels::{Multiplier, Operation, Pairwise, Rounding, available};
    /// let sum = Pairwise {
    ///     operation: Operation::Sum { by: Multiplier::from_real(0.3)?, negative: [false, false] },
    ///     zero_points: [10, 0],
    ///     signed: false,
    ///     rounding: Rounding::DoubleAway,
    ///     scale: Multiplier::from_real(1.7 / f64::from(1 << 20))?,
    ///     zero_point: 1,
    ///     low: 0,
    ///     high: 255,
    /// };
    /// let short = sum.shortened();
    /// assert_ne!(sum, short);
    /// let (mut a, mut b) = ([0; 2], [0; 2]);
    /// sum.run(available().next().unwrap(), [&[10, 100], &[3, 99]], &mut a)?;
    /// short.run(available().next().unwrap(), [&[10, 100], &[3, 99]], &mut b)?;
    /// assert_eq!(a, b);
    /// # Ok::<(), zeropoint_kernels::Error>(())
    /// ```
    pub fn shortened(self) -> Self {
        let Operation::Sum { by, negative } = self.operation else { return self };
        if self.check().is_err() {
            return self;
        }
        let raise = if self.signed { 128 } else { 0 };
        let difference = |byte: u8, i: usize| i32::from(byte) - raise - self.zero_points[i];
        let half = Multiplier::from_parts(1 << 30, 0);
        let mut terms = [[0i64; 256]; 2];
        for byte in 0..=255 {
            for (i, by) in [half, by].into_iter().enumerate() {
                let term = self.rounding.apply(difference(byte, i) << LEFT, by);
                terms[i][usize::from(byte)] = if negative[i] { -term } else { term };
            }
        }
        let clamped = |x: i64| x.clamp((self.low - self.zero_point).into(), (self.high - self.zero_point).into());
        let right = |affine: &Affine| {
            (0..=255u8).all(|a| {
                (0..=255u8).all(|b| {
                    let sum = terms[0][usize::from(a)] + terms[1][usize::from(b)];
                    let expected = self.rounding.apply(sum as i32, self.scale);
                    clamped(expected) == clamped(affine.apply([a, b]).into())
                })
            })
        };
        let forms = TIES.into_iter().filter_map(|ties| Affine::of(&self, by, negative, ties));
        let mut forms = forms.filter(right);
        forms.next().map_or(self, |affine| Self { operation: Operation::Affine(affine), ..self })
    }
}

/// [`Affine`] in lanes.
pub(super) struct InLanes<L: Lanes> {
    flip: L::Pairs,
    high: L::Pairs,
    low: L::Pairs,
    constant: L::I,
    fraction: L::I,
    negative: L::I,
    shift: L::I,
    even: bool,
    signed: bool,
}

impl<L: Lanes> InLanes<L> {
    /// # Safety
    /// Features of `L`.
    #[inline(always)]
    pub unsafe fn new(affine: &Affine, signed: bool) -> Self {
        // SAFETY: Features; each vector of pairs has all lanes.
        unsafe {
            let pairs = |[a, b]: [i16; 2]| {
                let all: [i16; 32] = core::array::from_fn(|i| if i % 2 == 0 { a } else { b });
                L::load_pairs(all.as_ptr())
            };
            Self {
                flip: pairs([0x80; 2]),
                high: pairs(affine.high),
                low: pairs(affine.low),
                constant: L::splat(affine.constant),
                fraction: L::splat(affine.fraction),
                negative: L::splat(affine.negative),
                shift: L::splat(affine.shift as i32),
                even: affine.negative == 0,
                signed,
            }
        }
    }
}

// SAFETY: reads a vector of codes of either operand.
unsafe impl<L: Lanes> super::Way<L> for InLanes<L> {
    #[inline(always)]
    unsafe fn codes(&self, a: *const u8, b: *const u8) -> L::I {
        // SAFETY: our caller's.
        unsafe {
            let mut pairs = L::code_pairs(a, b);
            if self.signed {
                pairs = L::xor_pairs(pairs, self.flip);
            }
            let x = L::add_products(self.constant, pairs, self.high);
            let mut fraction = L::add_products(self.fraction, pairs, self.low);
            if !self.even {
                fraction = L::add(fraction, L::and(L::sar(x, L::splat(31)), self.negative));
            }
            let x = L::add(x, L::sar(fraction, L::splat(HALF as i32)));
            L::sar(x, self.shift)
        }
    }
}

//! The lane operations in which the one epilogue is written, and the rounding rules in those operations.

use crate::rounding::{Multiplier, Rounding};

/// A vector of `N` int32 lanes, and one of `N` float32 lanes.
///
/// # Safety
/// An implementation upholds the lane semantics stated for each operation. A caller upholds:
/// * **Features**: the CPU has the features that the implementation is compiled for.
/// * **Pointers**: a pointer given to a load or store is valid for `N` elements (any alignment).
#[allow(clippy::missing_safety_doc)] // the contract is the trait's
pub unsafe trait Lanes: Sized + 'static {
    /// Lanes of a vector, at most 16.
    const N: usize;
    /// `N` x i32.
    type I: Copy;
    /// `N` x f32.
    type F: Copy;

    /// Loads `N` lanes.
    unsafe fn load(p: *const i32) -> Self::I;
    /// Stores `N` lanes.
    unsafe fn store(p: *mut i32, x: Self::I);
    /// Stores `N` lanes past the caches, if `p` is aligned to the vector, as it must be.
    #[inline(always)]
    unsafe fn stream(p: *mut i32, x: Self::I) {
        // SAFETY: our caller's clauses.
        unsafe { Self::store(p, x) }
    }
    /// Orders what was stored so before what follows.
    #[inline(always)]
    unsafe fn fence() {}
    /// All lanes `x`.
    unsafe fn splat(x: i32) -> Self::I;
    /// Wrapping sum.
    unsafe fn add(a: Self::I, b: Self::I) -> Self::I;
    /// Wrapping difference.
    unsafe fn sub(a: Self::I, b: Self::I) -> Self::I;
    /// Low 32 bits of the product.
    unsafe fn mul(a: Self::I, b: Self::I) -> Self::I;
    /// High 32 bits of `a * b + c`, all operands unsigned.
    unsafe fn mul_hi(a: Self::I, b: Self::I, c: Self::I) -> Self::I;
    /// The smaller, signed.
    unsafe fn min(a: Self::I, b: Self::I) -> Self::I;
    /// The larger, signed.
    unsafe fn max(a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise and.
    unsafe fn and(a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    unsafe fn xor(a: Self::I, b: Self::I) -> Self::I;
    /// All ones where equal, else zero.
    unsafe fn eq(a: Self::I, b: Self::I) -> Self::I;
    /// All ones where `a > b` (signed), else zero.
    unsafe fn gt(a: Self::I, b: Self::I) -> Self::I;
    /// `x << by`, each lane by its own count in `0..=31`.
    unsafe fn shl(x: Self::I, by: Self::I) -> Self::I;
    /// `x >> by`, filling with zeros.
    unsafe fn shr(x: Self::I, by: Self::I) -> Self::I;
    /// `x >> by`, filling with the sign.
    unsafe fn sar(x: Self::I, by: Self::I) -> Self::I;

    /// Asks for the cache line of `p`, which may be anywhere.
    #[inline(always)]
    unsafe fn fetch(p: *const f32) {
        let _ = p;
    }
    /// Whether there is `stream_f`.
    const STREAMS: bool = false;
    /// Stores `N` lanes past the caches; `p` is aligned to the vector. [`Lanes::fence`] orders it.
    #[inline(always)]
    unsafe fn stream_f(p: *mut f32, x: Self::F) {
        // SAFETY: our caller's clauses.
        unsafe { Self::store_f(p, x) }
    }
    /// Loads `N` lanes.
    unsafe fn load_f(p: *const f32) -> Self::F;
    /// Stores `N` lanes.
    unsafe fn store_f(p: *mut f32, x: Self::F);
    /// All lanes `x`.
    unsafe fn splat_f(x: f32) -> Self::F;
    /// The nearest float, ties to even.
    unsafe fn to_f(x: Self::I) -> Self::F;
    /// The nearest integer, ties to even; |x| < 2^22. Lanes with [`Lanes::QUADS`] take all x < 2^31, and NaN: what is
    /// less than `i32::MIN`, or NaN, becomes that.
    unsafe fn to_i(x: Self::F) -> Self::I;
    /// Never fused with an addition.
    unsafe fn mul_f(a: Self::F, b: Self::F) -> Self::F;
    /// Sum, rounded to nearest even.
    unsafe fn add_f(a: Self::F, b: Self::F) -> Self::F;
    /// The smaller; `b` if either is NaN.
    unsafe fn min_f(a: Self::F, b: Self::F) -> Self::F;
    /// The larger; `b` if `a` is NaN.
    unsafe fn max_f(a: Self::F, b: Self::F) -> Self::F;

    /// `N` pairs of 16-bit numbers.
    type Pairs: Copy;
    /// Pair i is code i of `a` and code i of `b`, `N` each.
    unsafe fn code_pairs(a: *const u8, b: *const u8) -> Self::Pairs;
    /// Pair i is code i of `a`, of `N`, and anything.
    unsafe fn code_singles(a: *const u8) -> Self::Pairs;
    /// Loads `N` pairs.
    unsafe fn load_pairs(p: *const i16) -> Self::Pairs;
    /// Whether `woven` is cheaper than `code_pairs` and `code_singles`, and a product with 0 as cheap as none.
    const WOVEN: bool = true;
    /// Loads `N` pairs of codes.
    unsafe fn woven(p: *const u8) -> Self::Pairs;
    /// The same vector, of which the compiler does not know where it comes from: it would add in an order of its own, for which there are not
    /// enough registers.
    #[inline(always)]
    unsafe fn opaque(x: Self::I) -> Self::I {
        x
    }
    /// Exclusive or.
    unsafe fn xor_pairs(a: Self::Pairs, b: Self::Pairs) -> Self::Pairs;
    /// `acc` and, in each lane, the products of both numbers of a pair with those of the other.
    unsafe fn add_products(acc: Self::I, a: Self::Pairs, b: Self::Pairs) -> Self::I;

    /// Whether there are `quads`, `quad` and `add_dots`.
    const DOTS: bool = false;
    /// Lane i of vector j has the codes j * N + i of four runs of `4 * N`, the first in the lowest byte.
    #[inline(always)]
    unsafe fn quads(runs: [*const u8; 4]) -> [Self::I; 4] {
        let _ = runs;
        // SAFETY: Features.
        unsafe { [Self::splat(0); 4] }
    }
    /// Lane i has the codes i of four runs of `N`, the first in the lowest byte.
    #[inline(always)]
    unsafe fn quad(runs: [*const u8; 4]) -> Self::I {
        let _ = runs;
        // SAFETY: Features.
        unsafe { Self::splat(0) }
    }
    /// `acc` and, in each lane, the products of four codes with four i8.
    #[inline(always)]
    unsafe fn add_dots(acc: Self::I, codes: Self::I, weights: Self::I) -> Self::I {
        let _ = (codes, weights);
        acc
    }

    /// Loads `N` unsigned codes.
    unsafe fn load_codes(p: *const u8) -> Self::I;

    /// Whether there is `store_codes`.
    const QUADS: bool = false;
    /// `code + zero_point`, clamped, of four vectors of codes, as bytes: `rows` (1, 2 or 4) times `4 / rows` vectors,
    /// `step` bytes apart.
    #[inline(always)]
    unsafe fn store_codes(p: *mut u8, step: usize, rows: usize, codes: [Self::I; 4], clamp: &ByteClamp<Self::I>) {
        let _ = (p, step, rows, codes, clamp);
    }

    /// The low byte of each lane.
    unsafe fn store_8(p: *mut u8, x: Self::I);
    /// The low half of each lane.
    unsafe fn store_16(p: *mut i16, x: Self::I);

    /// `x` scaled by `m` and `s` and rounded by a rule, saturated to i32 or to anything beyond an 8- or 16-bit clamp.
    /// An instruction set with rounding instructions of its own has a shorter way.
    #[inline(always)]
    unsafe fn requantize<R: Rule>(x: Self::I, m: Self::I, s: Self::I) -> Self::I {
        // SAFETY: Features, promised by our caller.
        unsafe { Factor::<Self>::new(m, s).apply::<R>(x) }
    }

    /// Whether the forms of [`Rule::NEAR`] are shorter than what these lanes do otherwise.
    const NEAR: bool = true;
    /// Whether a rule costs so much that choosing it for each vector does not matter; then there is one loop for all
    /// rules instead of one each, and [`Lanes::requantize_any`] is what it calls.
    const RULE_AT_RUN_TIME: bool = false;
    /// `x` scaled by `m` and `s` and rounded by a rule, saturated to i32.
    #[inline(always)]
    unsafe fn requantize_any(rounding: Rounding, x: Self::I, m: Self::I, s: Self::I) -> Self::I {
        let _ = (rounding, m, s);
        x
    }
}

/// Zero point and clamp of codes that are narrowed with saturation, which makes part of the clamp.
#[derive(Clone, Copy, Debug)]
pub struct ByteClamp<V> {
    /// The zero point in 16-bit lanes, for u8.
    pub zero_point: V,
    /// The smallest and the largest code in 8-bit lanes, as u8.
    pub low: V,
    /// The largest code.
    pub high: V,
    /// How much of it saturation makes.
    pub narrows: Narrows,
    /// What exclusive or turns u8 into codes of the output.
    pub flip: V,
    /// Whether it changes anything.
    pub flips: bool,
}

/// How narrow a clamp is, beside saturation to bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Narrows {
    /// No narrower.
    Nothing,
    /// From the zero point up, as that of ReLU: saturation before the zero point is added, and again by adding it.
    ToZero,
    /// Narrower.
    More,
}

impl<V> ByteClamp<V> {
    /// The clamp of `u8` codes, or of signed ones.
    ///
    /// # Safety
    /// Features of `L`.
    #[inline(always)]
    pub unsafe fn new<L: Lanes<I = V>>(zero_point: i32, low: i32, high: i32, signed: bool) -> Self {
        let raise = if signed { 128 } else { 0 };
        let bytes = |code: i32| i32::from_ne_bytes([(code + raise) as u8; 4]);
        let narrows = match (low + raise, high + raise) {
            (0, 255) => Narrows::Nothing,
            (_, 255) if low == zero_point => Narrows::ToZero,
            _ => Narrows::More,
        };
        // SAFETY: our caller's.
        unsafe {
            Self {
                zero_point: L::splat((zero_point + raise) * 0x1_0001),
                low: L::splat(bytes(low)),
                high: L::splat(bytes(high)),
                narrows,
                flip: L::splat(bytes(0)),
                flips: signed,
            }
        }
    }
}

/// A rounding rule as a type, so that each gets a loop of its own.
pub trait Rule: 'static {
    /// The rule.
    const ROUNDING: Rounding;
    /// Whether the plan has proven `|x| + 2^(-s-1) < 2^31` and every shift to be negative, which allows the
    /// shorter form of limits.md 6.1. It takes sums that were raised by 2^31.
    const NEAR: bool = false;
    /// What is added to sums beforehand; wraps.
    const OFFSET: i32 = if Self::NEAR { i32::MIN } else { 0 };
}

macro_rules! rules {
    ($($name:ident),*) => {$(
        /// The rule of the same name in [`Rounding`].
        pub struct $name;
        impl Rule for $name {
            const ROUNDING: Rounding = Rounding::$name;
        }
    )*};
}
rules!(DoubleAway, DoubleAwaySat, DoubleUp, SingleUp, SingleAway, SingleEven, IntMulShift);

/// Whatever the epilogue says, for lanes with [`Lanes::RULE_AT_RUN_TIME`].
pub struct AnyRule;
impl Rule for AnyRule {
    const ROUNDING: Rounding = Rounding::DoubleAway;
}

/// [`DoubleAway`] where the plan has proven that the shorter form is exact.
pub struct DoubleAwayNear;
impl Rule for DoubleAwayNear {
    const ROUNDING: Rounding = Rounding::DoubleAway;
    const NEAR: bool = true;
}

/// [`DoubleUp`], likewise; and [`DoubleAway`], if the clamp starts at the zero point or above: they differ only where
/// both are below it.
pub struct DoubleUpNear;
impl Rule for DoubleUpNear {
    const ROUNDING: Rounding = Rounding::DoubleUp;
    const NEAR: bool = true;
}

/// Multipliers of `N` lanes and what the rules derive from them. What a rule does not use costs nothing: all of
/// it is inlined.
pub struct Factor<L: Lanes> {
    m: L::I,
    /// 2m, for a product whose high dword is `x * m >> 31`.
    m2: L::I,
    left: L::I,
    right: L::I,
}

impl<L: Lanes> Factor<L> {
    /// # Safety
    /// Features of [`Lanes`].
    #[inline(always)]
    pub unsafe fn new(m: L::I, s: L::I) -> Self {
        // SAFETY: Features, promised by our caller.
        unsafe {
            let zero = L::splat(0);
            Self { m, m2: L::add(m, m), left: L::max(s, zero), right: L::max(L::sub(zero, s), zero) }
        }
    }

    /// `x` scaled and rounded by a rule, saturated to i32 or to anything beyond an 8- or 16-bit clamp: the rules of
    /// [`Rounding`] in 32-bit lanes (limits.md, 6 and 6.1).
    ///
    /// # Safety
    /// Features of [`Lanes`].
    #[inline(always)]
    pub unsafe fn apply<R: Rule>(&self, x: L::I) -> L::I {
        // SAFETY: Features, promised by our caller; no pointers.
        unsafe {
            if R::NEAR {
                return self.near(x, matches!(R::ROUNDING, Rounding::DoubleAway));
            }
            match R::ROUNDING {
                Rounding::DoubleAway => self.divide_away(self.high_mul(L::shl(x, self.left))),
                Rounding::DoubleAwaySat => self.divide_away(self.high_mul(self.saturating_shl(x))),
                Rounding::DoubleUp => self.divide_up(self.high_mul(L::shl(x, self.left))),
                Rounding::SingleUp => {
                    // With a right shift, the floor of x*m/2^31 and a rounding shift compose to one rounding.
                    let x = L::xor(self.saturating_shl(x), L::splat(i32::MIN));
                    self.divide_up(L::sub(L::mul_hi(x, self.m2, self.half_unless_shifted()), self.m))
                }
                Rounding::SingleAway => self.single_by_magnitude(x, false),
                Rounding::SingleEven => self.single_by_magnitude(x, true),
                Rounding::IntMulShift => self.divide_away(L::mul(x, self.m)),
            }
        }
    }

    /// `(x * m + 2^30) >> 31`, exact for every x and m >= 0: with X = x + 2^31, the high dword of
    /// `X * 2m + 2^31` is that plus m.
    #[inline(always)]
    unsafe fn high_mul(&self, x: L::I) -> L::I {
        // SAFETY: Features.
        unsafe {
            let x = L::xor(x, L::splat(i32::MIN));
            L::sub(L::mul_hi(x, self.m2, L::splat(i32::MIN)), self.m)
        }
    }

    /// `x << left`, clamped to i32.
    #[inline(always)]
    unsafe fn saturating_shl(&self, x: L::I) -> L::I {
        // SAFETY: Features.
        unsafe {
            let shifted = L::shl(x, self.left);
            let fits = L::eq(L::sar(shifted, self.left), x);
            let limit = L::xor(L::sar(x, L::splat(31)), L::splat(i32::MAX));
            L::xor(limit, L::and(fits, L::xor(shifted, limit)))
        }
    }

    /// `y / 2^right`, ties away from zero, for every y: no sum can overflow.
    #[inline(always)]
    unsafe fn divide_away(&self, y: L::I) -> L::I {
        // SAFETY: Features.
        unsafe {
            let mask = L::sub(L::shl(L::splat(1), self.right), L::splat(1));
            let threshold = L::add(L::shr(mask, L::splat(1)), L::shr(y, L::splat(31)));
            L::sub(L::sar(y, self.right), L::gt(L::and(y, mask), threshold))
        }
    }

    /// 1 where there is a right shift, and the shift without its last bit.
    #[inline(always)]
    unsafe fn shift_parts(&self) -> (L::I, L::I) {
        // SAFETY: Features.
        unsafe {
            let last = L::min(self.right, L::splat(1));
            (last, L::sub(self.right, last))
        }
    }

    /// `y / 2^right`, ties upward; y < 2^31 - 1.
    #[inline(always)]
    unsafe fn divide_up(&self, y: L::I) -> L::I {
        // SAFETY: Features.
        unsafe {
            let (last, rest) = self.shift_parts();
            L::sar(L::add(L::sar(y, rest), last), last)
        }
    }

    /// 2^31 where there is no right shift: the half that rounds the product itself.
    #[inline(always)]
    unsafe fn half_unless_shifted(&self) -> L::I {
        // SAFETY: Features.
        unsafe { L::and(L::eq(self.right, L::splat(0)), L::splat(i32::MIN)) }
    }

    /// One rounding of `|x| * m`, half away or half to even, with the sign of x.
    #[inline(always)]
    unsafe fn single_by_magnitude(&self, x: L::I, even: bool) -> L::I {
        // SAFETY: Features.
        unsafe {
            let x = self.saturating_shl(x);
            let sign = L::sar(x, L::splat(31));
            let magnitude = L::sub(L::xor(x, sign), sign);
            let half = self.half_unless_shifted();
            let (last, rest) = self.shift_parts();
            let product = L::mul_hi(magnitude, self.m2, half);
            let mut y = L::shr(L::add(L::shr(product, rest), last), last);
            if even {
                // A tie: nothing below the dword, and exactly the half above it (0 where there is no shift).
                let below = L::add(L::mul(magnitude, self.m2), half);
                let mask = L::sub(L::shl(L::splat(1), self.right), L::splat(1));
                let half_above = L::shl(last, rest);
                let tie = L::and(L::eq(below, L::splat(0)), L::eq(L::and(product, mask), half_above));
                y = L::sub(y, L::and(tie, L::and(y, L::splat(1))));
            }
            L::sub(L::xor(y, sign), sign)
        }
    }

    /// Both roundings in one product, one sum and one shift (limits.md 6.1), of X = x + 2^31: with half = 2^(e-1),
    /// the high dword of `X * 2m + 2^31`, plus half - m, is the first rounding plus half; where ties go away from
    /// zero, half is one less, and the top bit of X, [x >= 0], is added.
    #[inline(always)]
    unsafe fn near(&self, x: L::I, away: bool) -> L::I {
        // SAFETY: Features.
        unsafe {
            let half = L::shl(L::splat(1), L::sub(self.right, L::splat(1)));
            let half = if away { L::sub(half, L::splat(1)) } else { half };
            let sum = L::add(L::mul_hi(x, self.m2, L::splat(i32::MIN)), L::sub(half, self.m));
            let sum = if away { L::add(sum, L::shr(x, L::splat(31))) } else { sum };
            L::sar(sum, self.right)
        }
    }
}

/// The scalar definition of a rule, clamped to i32: what lanes without SIMD apply one by one.
///
/// A shift beyond every rule's range is moved into it: its result means nothing, but it must not panic.
#[inline(always)]
pub fn requantize_one(rounding: Rounding, x: i32, m: i32, s: i32) -> i32 {
    let y = rounding.apply(x, Multiplier::from_parts(m, s.clamp(-31, 30)));
    y.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

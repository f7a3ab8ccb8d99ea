//! Two operands, element by element: sums and products of codes to codes.
//!
//! Every element takes the same way through the lanes: codes are widened, one operand of a sum is shifted, the other rescaled,
//! and the result goes through the output stage of its rounding rule. One of the operands of a sum has the larger scale, so that
//! its factor is exactly 1/2: a shift, by every rule.
//!
//! ```text
//! sum       x = (a - za) << 19  +-  rule((b - zb) << 20, by)        |x| < 2^28
//! product   x = (a - za) * (b - zb)                                |x| < 2^16
//!           code = clamp(rule(x, scale) + zero point)
//! ```
//! Zero points, the flip of i8 to u8, signs and the raise of sums that a short rule asks for are constants of two exclusive ors and
//! two additions.
//!
//! On Emerald Rapids, 2026-11-26, ns a code of 14x14x64: sums 0.37 with AVX-512, 0.60 with AVX2, 5.6 without SIMD; products 0.26,
//! 0.40, 5.0; sums by `SingleEven` 0.83, 1.45, 5.4. Lost: both rescaled differences of a sum from tables, which sixteen lanes
//! gather at 0.44 and eight at 0.49 before any output stage; from memory by scalar code, 3.4 with all that follows.
//! As one affine form ([`Affine`]), on Zen 3 with AVX2, 2026-11-27: sums 0.29.

mod affine;

use core::marker::PhantomData;

use crate::Error;
use crate::backend::Backend;
use crate::finish::copy_few;
use crate::lanes::*;
use crate::microkernel::Microkernel;
use crate::rounding::{Multiplier, Rounding};
use crate::view::ZeroPoint;

pub use affine::Affine;

/// What operands of a sum are shifted left by, so that rescaling them loses little.
const LEFT: i32 = 20;
/// Codes of an operand that is repeated, and of what is left of one: the most lanes there are.
const VECTOR: usize = 16;
/// Codes of a piece of an operand of which more is repeated.
const TILE: usize = 512;

/// What becomes of two codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// The sum of both differences to their zero points, shifted left by 20 and rescaled: that of the first by 1/2, that of the
    /// second as is said here.
    Sum {
        /// The factor of the second, at most 1/2.
        by: Multiplier,
        /// Which of the rescaled differences are subtracted instead of added.
        negative: [bool; 2],
    },
    /// The product of both differences.
    Product,
    /// A sum that [`Pairwise::shortened`] has found shorter.
    Affine(Affine),
}

/// Two operands to one output, element by element: `finish(operation(lhs - zero point, rhs - zero point))`.
///
/// ```
/// use zeropoint_kernels::{Multiplier, Operation, Pairwise, Rounding, available};
/// let product = Pairwise {
///     operation: Operation::Product,
///     zero_points: [10, 0],
///     signed: false,
///     rounding: Rounding::DoubleAway,
///     scale: Multiplier::from_real(0.5)?,
///     zero_point: 1,
///     low: 0,
///     high: 255,
/// };
/// let mut codes = [0; 3];
/// product.run(available().next().unwrap(), [&[10, 12, 255], &[4]], &mut codes)?; // 4 is repeated
/// assert_eq!(codes, [1, 5, 255]);
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pairwise {
    /// What becomes of two codes.
    pub operation: Operation,
    /// Of both operands.
    pub zero_points: [i32; 2],
    /// Whether all codes are `i8`.
    pub signed: bool,
    /// The rule of every rescaling; any but [`Rounding::IntMulShift`].
    pub rounding: Rounding,
    /// The factor of the result.
    pub scale: Multiplier,
    /// Added after scaling.
    pub zero_point: i32,
    /// The smallest code.
    pub low: i32,
    /// The largest code.
    pub high: i32,
}

/// A run, everything checked. Made by [`Pairwise`].
#[derive(Clone, Copy, Debug)]
pub struct PairwiseRun<'a> {
    spec: &'a Pairwise,
    /// The first codes; an operand that is repeated has [`VECTOR`] of its code, and steps of 0.
    operands: [(*const u8, usize); 2],
    out: *mut u8,
    len: usize,
}

impl Pairwise {
    /// Runs on the bytes of codes: as many of each operand as of `out`, or fewer that are repeated, as many of both if neither is
    /// one. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::ZeroPoint`], [`Error::Clamp`], [`Error::FixedPoint`] for a factor beyond the range of its
    /// rule, or of an operand over 1/2.
    pub fn run(&self, backend: Backend, operands: [&[u8]; 2], out: &mut [u8]) -> Result<(), Error> {
        self.check()?;
        let len = out.len();
        let mut period = len;
        for (argument, codes) in ["lhs", "rhs"].into_iter().zip(operands) {
            let got = codes.len();
            if got == len || got == 1 {
                continue;
            }
            if got == 0 || !len.is_multiple_of(got) || (period != len && period != got) {
                return Err(Error::Length { argument, expected: period, got });
            }
            period = got;
        }
        if period == len {
            self.run_whole(backend, operands, out);
            return Ok(());
        }
        // As many periods as there is room for, and pieces of that length.
        let mut tiles = [[0; TILE]; 2];
        let piece = period * (TILE / period).max(1);
        let mut repeated = operands;
        for (codes, tile) in repeated.iter_mut().zip(&mut tiles) {
            if codes.len() == period && period < piece {
                for part in tile[..piece].chunks_exact_mut(period) {
                    part.copy_from_slice(codes);
                }
                *codes = &tile[..piece];
            }
        }
        for (i, out) in out.chunks_mut(piece).enumerate() {
            let part = |j: usize| match operands[j] {
                codes if codes.len() == len => &codes[i * piece..][..out.len()],
                [_] => operands[j],
                _ => &repeated[j][..out.len()],
            };
            self.run_whole(backend, [part(0), part(1)], out);
        }
        Ok(())
    }

    /// Runs on operands of as many codes as `out`, or of one.
    fn run_whole(&self, backend: Backend, operands: [&[u8]; 2], out: &mut [u8]) {
        let mut repeated = [[0; VECTOR]; 2];
        let mut places = [(core::ptr::null(), 0); 2];
        for (i, codes) in operands.into_iter().enumerate() {
            places[i] = match codes {
                [code] => {
                    repeated[i] = [*code; VECTOR];
                    (repeated[i].as_ptr(), 0)
                }
                _ => (codes.as_ptr(), 1),
            };
        }
        let run = PairwiseRun { spec: self, operands: places, out: out.as_mut_ptr(), len: out.len() };
        // SAFETY: Features: the backend exists, so the CPU has them. Pairwise: `run` has checked lengths, and all is borrowed until
        // the call returns.
        unsafe { (backend.row().pairwise)(&run) };
    }

    fn check(&self) -> Result<(), Error> {
        let Self { operation, zero_points, signed, rounding, scale, zero_point, low, high } = *self;
        let (min, max) = if signed { (-128, 127) } else { (0, 255) };
        for (argument, zero) in [("lhs", zero_points[0]), ("rhs", zero_points[1]), ("zero_point", zero_point)] {
            ZeroPoint::One(zero).check(argument, 0, min, max)?;
        }
        if low > high || low < min || high > max {
            return Err(Error::Clamp { low, high, min, max });
        }
        let refused = |by: Multiplier| Error::FixedPoint { multiplier: by.multiplier(), shift: by.shift() };
        if rounding == Rounding::IntMulShift || !rounding.accepts(scale) {
            return Err(refused(scale));
        }
        match operation {
            Operation::Sum { by, .. }
                if !rounding.accepts(by) || by.shift() > 0 || (by.shift() == 0 && by.multiplier() > 1 << 30) =>
            {
                Err(refused(by))
            }
            _ => Ok(()),
        }
    }

    /// Whether results and scale are those that the short forms of a rule take, [`Rule::NEAR`].
    fn is_near(&self) -> bool {
        let largest = if self.operation == Operation::Product { 1 << 16 } else { 1 << 28 };
        let s = self.scale.shift();
        s < 0 && largest + (1i64 << (-s - 1)) < 1 << 31
    }
}

/// Runs.
///
/// # Safety
/// * **Features** of `K`.
/// * **Pairwise**: `run` was made by [`Pairwise`], and the memory it points to is still borrowed.
pub(crate) unsafe fn run<K: Microkernel>(run: &PairwiseRun<'_>) {
    let near = K::Lanes::NEAR && !K::Lanes::RULE_AT_RUN_TIME && run.spec.is_near();
    // SAFETY: our caller's clauses.
    unsafe {
        match run.spec.rounding {
            // An affine form has no rule.
            _ if matches!(run.spec.operation, Operation::Affine(_)) => K::enter_pairwise::<DoubleAway>(run),
            // No shift to the left is left that could saturate.
            Rounding::DoubleAway | Rounding::DoubleAwaySat if near => K::enter_pairwise::<DoubleAwayNear>(run),
            Rounding::DoubleUp if near => K::enter_pairwise::<DoubleUpNear>(run),
            Rounding::DoubleAway => K::enter_pairwise::<DoubleAway>(run),
            Rounding::DoubleAwaySat => K::enter_pairwise::<DoubleAwaySat>(run),
            Rounding::DoubleUp => K::enter_pairwise::<DoubleUp>(run),
            Rounding::SingleUp => K::enter_pairwise::<SingleUp>(run),
            Rounding::SingleAway => K::enter_pairwise::<SingleAway>(run),
            Rounding::SingleEven => K::enter_pairwise::<SingleEven>(run),
            // `check` refuses it.
            Rounding::IntMulShift => {}
        }
    }
}

/// Runs by a rule.
///
/// # Safety
/// As [`run`].
#[inline(always)]
pub(crate) unsafe fn all<L: Lanes, R: Rule>(run: &PairwiseRun<'_>) {
    // SAFETY: our caller's clauses.
    unsafe {
        match run.spec.operation {
            Operation::Sum { by, negative } => {
                each::<L, _>(run, Ruled::<L, R, _>::new(run.spec, Sum::<L>::new::<R>(run.spec, by, negative)));
            }
            Operation::Product => {
                each::<L, _>(run, Ruled::<L, R, _>::new(run.spec, Product::<L>::new::<R>(run.spec)))
            }
            Operation::Affine(affine) if const { matches!(R::ROUNDING, Rounding::DoubleAway) && !R::NEAR } => {
                each::<L, _>(run, affine::InLanes::<L>::new(&affine, run.spec.signed));
            }
            // `run` chooses the rule.
            Operation::Affine(_) => {}
        }
    }
}

/// The rule, in lanes; sums are raised by its offset.
#[inline(always)]
unsafe fn rescale<L: Lanes, R: Rule>(x: L::I, by: (L::I, L::I)) -> L::I {
    // SAFETY: Features.
    unsafe {
        if L::RULE_AT_RUN_TIME {
            L::requantize_any(R::ROUNDING, x, by.0, by.1)
        } else {
            L::requantize::<R>(x, by.0, by.1)
        }
    }
}

/// A multiplier in lanes.
#[inline(always)]
unsafe fn splat<L: Lanes>(by: Multiplier) -> (L::I, L::I) {
    // SAFETY: Features.
    unsafe { (L::splat(by.multiplier()), L::splat(by.shift())) }
}

/// From codes to codes, before zero point and clamp.
///
/// # Safety
/// Implementations read a vector of codes of each operand; callers uphold Features of `L`.
#[allow(clippy::missing_safety_doc)] // the contract is the trait's
unsafe trait Way<L: Lanes> {
    unsafe fn codes(&self, a: *const u8, b: *const u8) -> L::I;
}

/// An operation, and the rescaling of its results by a rule.
struct Ruled<L: Lanes, R, C> {
    combine: C,
    scale: (L::I, L::I),
    rule: PhantomData<R>,
}

impl<L: Lanes, R: Rule, C: Combine<L>> Ruled<L, R, C> {
    #[inline(always)]
    unsafe fn new(spec: &Pairwise, combine: C) -> Self {
        // SAFETY: Features.
        Self { combine, scale: unsafe { splat::<L>(spec.scale) }, rule: PhantomData }
    }
}

// SAFETY: reads a vector of codes of each operand.
unsafe impl<L: Lanes, R: Rule, C: Combine<L>> Way<L> for Ruled<L, R, C> {
    #[inline(always)]
    unsafe fn codes(&self, a: *const u8, b: *const u8) -> L::I {
        // SAFETY: our caller's.
        unsafe { rescale::<L, R>(self.combine.combine::<R>(L::load_codes(a), L::load_codes(b)), self.scale) }
    }
}

/// An operation in lanes, on codes as they are in memory.
///
/// # Safety
/// Implementations touch no memory; callers uphold Features of `L`.
#[allow(clippy::missing_safety_doc)] // the contract is the trait's
unsafe trait Combine<L: Lanes> {
    /// The result, raised by the offset of the rule.
    unsafe fn combine<R: Rule>(&self, a: L::I, b: L::I) -> L::I;
}

struct Sum<L: Lanes> {
    /// Shift of the first operand, and what is then flipped: the sign of i8 codes, and of the difference.
    left: L::I,
    flip: L::I,
    /// Shift, flip and what makes a difference of the second.
    second: [L::I; 3],
    by: (L::I, L::I),
    negate: L::I,
    /// All constants that the result has to gain.
    more: L::I,
}

impl<L: Lanes> Sum<L> {
    #[inline(always)]
    unsafe fn new<R: Rule>(spec: &Pairwise, by: Multiplier, negative: [bool; 2]) -> Self {
        let raise = if spec.signed { 128 } else { 0 };
        let [a, b] = spec.zero_points.map(|zero| zero + raise);
        let signs = negative.map(|negative| -i32::from(negative));
        // A factor without a right shift is 1/2, or 0: twice the difference, and half the factor.
        let (by, second) =
            if by.shift() == 0 { (Multiplier::from_parts(by.multiplier(), -1), LEFT + 1) } else { (by, LEFT) };
        // -x is !x + 1, and x ^ sign - sign either.
        let first = ((a << (LEFT - 1)) ^ signs[0]) - signs[0];
        // SAFETY: Features.
        unsafe {
            Self {
                left: L::splat(LEFT - 1),
                flip: L::splat((raise << (LEFT - 1)) ^ signs[0]),
                second: [
                    L::splat(second),
                    L::splat(raise << second),
                    L::splat(R::OFFSET.wrapping_sub(b << second)),
                ],
                by: splat::<L>(by),
                negate: L::splat(signs[1]),
                more: L::splat(R::OFFSET.wrapping_sub(first).wrapping_sub(signs[0] + signs[1])),
            }
        }
    }
}

// SAFETY: arithmetic alone.
unsafe impl<L: Lanes> Combine<L> for Sum<L> {
    #[inline(always)]
    unsafe fn combine<R: Rule>(&self, a: L::I, b: L::I) -> L::I {
        let [left, flip, difference] = self.second;
        // SAFETY: Features.
        unsafe {
            let a = L::add(L::xor(L::shl(a, self.left), self.flip), self.more);
            let b = L::add(L::xor(L::shl(b, left), flip), difference);
            L::add(a, L::xor(rescale::<L, R>(b, self.by), self.negate))
        }
    }
}

struct Product<L: Lanes> {
    flip: L::I,
    zeros: [L::I; 2],
    offset: L::I,
}

impl<L: Lanes> Product<L> {
    #[inline(always)]
    unsafe fn new<R: Rule>(spec: &Pairwise) -> Self {
        let raise = if spec.signed { 128 } else { 0 };
        let [a, b] = spec.zero_points;
        // SAFETY: Features.
        unsafe {
            let zeros = [L::splat(a + raise), L::splat(b + raise)];
            Self { flip: L::splat(raise), zeros, offset: L::splat(R::OFFSET) }
        }
    }
}

// SAFETY: arithmetic alone.
unsafe impl<L: Lanes> Combine<L> for Product<L> {
    #[inline(always)]
    unsafe fn combine<R: Rule>(&self, a: L::I, b: L::I) -> L::I {
        // SAFETY: Features.
        unsafe {
            let a = L::sub(L::xor(a, self.flip), self.zeros[0]);
            let b = L::sub(L::xor(b, self.flip), self.zeros[1]);
            L::add(L::mul(a, b), self.offset)
        }
    }
}

#[inline(always)]
unsafe fn each<L: Lanes, W: Way<L>>(run: &PairwiseRun<'_>, way: W) {
    let Pairwise { zero_point, low, high, signed, .. } = *run.spec;
    let [(mut a, by_a), (mut b, by_b)] = run.operands;
    let (mut out, mut left) = (run.out, run.len);
    // SAFETY: Pairwise: `left` codes are left of each, and a whole vector of what is repeated.
    unsafe {
        if L::QUADS && left >= 4 * L::N {
            let clamp = ByteClamp::new::<L>(zero_point, low, high, signed);
            while left >= 4 * L::N {
                let mut codes = [L::splat(0); 4];
                for (v, codes) in codes.iter_mut().enumerate() {
                    *codes = way.codes(a.add(v * L::N * by_a), b.add(v * L::N * by_b));
                }
                L::store_codes(out, 0, 1, codes, &clamp);
                (a, b, out) = (a.add(4 * L::N * by_a), b.add(4 * L::N * by_b), out.add(4 * L::N));
                left -= 4 * L::N;
            }
        }
        // Clamped before the zero point is added, so that the sum cannot wrap.
        let (low, high) = (L::splat(low - zero_point), L::splat(high - zero_point));
        let zero_point = L::splat(zero_point);
        macro_rules! put {
            ($a:expr, $b:expr, $to:expr) => {
                L::store_8($to, L::add(L::min(L::max(way.codes($a, $b), low), high), zero_point))
            };
        }
        while left >= L::N {
            put!(a, b, out);
            (a, b, out, left) = (a.add(L::N * by_a), b.add(L::N * by_b), out.add(L::N), left - L::N);
        }
        if left > 0 {
            let (mut some_a, mut some_b, mut edge) = ([0; VECTOR], [0; VECTOR], [0; VECTOR]);
            if by_a != 0 {
                copy_few(a, some_a.as_mut_ptr(), left);
                a = some_a.as_ptr();
            }
            if by_b != 0 {
                copy_few(b, some_b.as_mut_ptr(), left);
                b = some_b.as_ptr();
            }
            put!(a, b, edge.as_mut_ptr());
            copy_few(edge.as_ptr(), out, left);
        }
    }
}

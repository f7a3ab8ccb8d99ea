//! What layers without weights do to an int32 result on its way to a code.

use zeropoint_kernels::{Code, Error, Multiplier, Rounding};

use crate::layers::Activation;
use crate::quant::QuantParams;
use crate::stages::OutputCode;

/// What exclusive or makes unsigned bytes of codes.
pub(crate) const fn flip<C: Code>() -> u8 {
    if C::SIGNED { 0x80 } else { 0 }
}

/// Zero point and clamp of an output, in unsigned terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    pub zero: i32,
    pub low: u8,
    pub high: u8,
    /// What exclusive or makes codes of the unsigned bytes.
    pub flip: u8,
}

impl Bytes {
    pub fn new<C: Code + OutputCode>(output: &QuantParams<C>, activation: Activation) -> Self {
        let (low, high) = activation.bounds(output);
        let first = C::RANGE.0;
        // Bounds are codes.
        let byte = |code: i32| (code - first) as u8;
        Self { zero: output.zero_point() - first, low: byte(low), high: byte(high), flip: flip::<C>() }
    }

    /// The code, as a byte, of an integer that has no zero point yet.
    #[inline]
    pub fn code(&self, y: i64) -> u8 {
        (y + i64::from(self.zero)).clamp(self.low.into(), self.high.into()) as u8 ^ self.flip
    }

    /// The code of an unsigned byte.
    #[inline]
    pub fn clamp(&self, byte: u8) -> u8 {
        byte.max(self.low).min(self.high) ^ self.flip
    }
}

/// Refuses the rule whose multipliers are none that a scale has.
pub(crate) fn check(rounding: Rounding, by: Multiplier) -> Result<Multiplier, Error> {
    if rounding == Rounding::IntMulShift || !rounding.accepts(by) {
        return Err(Error::FixedPoint { multiplier: by.multiplier(), shift: by.shift() });
    }
    Ok(by)
}

/// Scales int32 results and makes codes of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finisher {
    pub by: Multiplier,
    pub rounding: Rounding,
    pub bytes: Bytes,
}

impl Finisher {
    pub fn new<C: Code + OutputCode>(
        real: f64,
        rounding: Rounding,
        output: &QuantParams<C>,
        activation: Activation,
    ) -> Result<Self, Error> {
        let by = check(rounding, Multiplier::from_real(real)?)?;
        Ok(Self { by, rounding, bytes: Bytes::new(output, activation) })
    }

    pub fn one(&self, x: i32) -> u8 {
        self.bytes.code(self.rounding.apply(x, self.by))
    }

    /// Codes of as many results.
    pub fn all(&self, results: &[i32], codes: &mut [u8]) {
        macro_rules! by_rule {
            ($($rule:ident),*) => {
                match self.rounding {$(
                    // A constant rule has a loop of its own.
                    Rounding::$rule => {
                        for (code, x) in codes.iter_mut().zip(results) {
                            *code = self.bytes.code(Rounding::$rule.apply(*x, self.by));
                        }
                    }
                )*}
            };
        }
        by_rule!(DoubleAway, DoubleAwaySat, DoubleUp, SingleUp, SingleAway, SingleEven, IntMulShift);
    }
}

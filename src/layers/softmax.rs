//! Softmax of rows of codes, of any length.

use core::marker::PhantomData;

use zeropoint_kernels::Error;

use super::functions::TableCode;
use super::window::limit;
use crate::fixedpoint::wide::{exp_of_minus, product};
use crate::quant::QuantParams;

/// e^(beta x) of each code over their sum in a row; the output has scale 1/256, and the smallest code is 0 (semantics.md 9).
///
/// Every code is the one nearest to the real function, ties away from zero, as far as sums of 2^-63 can tell: rows may be as long as
/// memory allows.
///
/// ```
/// use zeropoint::{QuantParams, layers::Softmax};
/// let layer = Softmax::new(&QuantParams::<u8>::new(0.5, 0)?, 1.0)?;
/// let mut out = [0; 3];
/// layer.run(3, &[7, 9, 9], &mut out)?;
/// assert_eq!(out, [40, 108, 108]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Softmax<C> {
    /// e^(-beta * scale * distance), in steps of 2^-63, of each distance from the largest code.
    powers: [u64; 256],
    code: PhantomData<C>,
}

impl<C: TableCode> Softmax<C> {
    /// For codes of this scale; the zero point cancels out.
    ///
    /// # Errors
    /// [`Error::Real`] if `beta` is negative, NaN or infinite.
    pub fn new(input: &QuantParams<C>, beta: f32) -> Result<Self, Error> {
        if !(beta >= 0.0 && beta.is_finite()) {
            return Err(Error::Real { argument: "beta", value: f64::from(beta) });
        }
        // The product of two floats is exact.
        let scale = f64::from(input.scale()) * f64::from(beta);
        let mut powers = [0; 256];
        for (distance, power) in powers.iter_mut().enumerate() {
            // No power is nothing: 512 equal codes and a far lower one are no tie.
            *power = exp_of_minus(product(distance as u32, scale)).max(1);
        }
        Ok(Self { powers, code: PhantomData })
    }

    /// Computes rows of `depth` codes, one after another.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length, [`Error::Limit`] if `depth` is 0, [`Error::Divisor`] if they are not
    /// whole rows.
    pub fn run(&self, depth: usize, input: &[C], out: &mut [C]) -> Result<(), Error> {
        if input.len() != out.len() {
            return Err(Error::Length { argument: "out", expected: input.len(), got: out.len() });
        }
        limit("depth", depth, 1, usize::MAX)?;
        if !input.len().is_multiple_of(depth) {
            return Err(Error::Divisor { argument: "depth", value: depth, of: input.len() });
        }
        for (input, out) in input.chunks_exact(depth).zip(out.chunks_exact_mut(depth)) {
            self.row(input, out);
        }
        Ok(())
    }

    fn row(&self, input: &[C], out: &mut [C]) {
        let Some(largest) = input.iter().map(|code| code.index()).max() else { return };
        let power = |code: &C| self.powers[largest - code.index().min(largest)];
        let sum: u128 = input.iter().map(|code| u128::from(power(code))).sum();
        let (low, high) = C::RANGE;
        // What 256 * e^x has to reach for each code: most do not reach half a step.
        let least = sum.div_ceil(512);
        let mut last = (u64::MAX, C::default());
        for (to, code) in out.iter_mut().zip(input) {
            let power = power(code);
            if power != last.0 {
                let code = if u128::from(power) < least {
                    low
                } else {
                    // floor(256 p + 1/2)
                    (low + ((u128::from(power) * 512 + sum) / (2 * sum)) as i32).min(high)
                };
                last = (power, C::try_from(code).unwrap_or_default());
            }
            *to = last.1;
        }
    }
}

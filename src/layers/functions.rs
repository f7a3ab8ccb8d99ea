//! Functions of a code, by a table of all 256: logistic, tanh.

use zeropoint_kernels::Error;

use crate::fixedpoint::wide::{exp_of_minus, nearest, product};
use crate::quant::QuantParams;
use crate::stages::OutputCode;

/// A code that can be an index.
pub trait TableCode: OutputCode + Into<i32> + TryFrom<i32> {
    /// 0 for the smallest code.
    fn index(self) -> usize {
        (self.into() - Self::RANGE.0) as usize & 0xff
    }
}

impl TableCode for u8 {}
impl TableCode for i8 {}

/// Output codes of all input codes.
#[derive(Clone, Debug)]
struct Table<C>([C; 256]);

impl<C: TableCode> Table<C> {
    /// `f` takes the distance of a code from the zero point and gives the output less the smallest code, in units of a step.
    fn new(input: &QuantParams<C>, f: impl Fn(i32) -> i32) -> Self {
        let (low, high) = C::RANGE;
        let mut codes = [C::default(); 256];
        for (i, code) in codes.iter_mut().enumerate() {
            let distance = low + i as i32 - input.zero_point();
            *code = C::try_from((low + f(distance)).clamp(low, high)).unwrap_or_default();
        }
        Self(codes)
    }

    fn run(&self, input: &[C], out: &mut [C]) -> Result<(), Error> {
        if input.len() != out.len() {
            return Err(Error::Length { argument: "out", expected: input.len(), got: out.len() });
        }
        for (to, code) in out.iter_mut().zip(input) {
            *to = self.0[code.index()];
        }
        Ok(())
    }
}

/// 1 / (1 + e^-x); the output has scale 1/256, and the smallest code is 0 (semantics.md 9).
///
/// Every code is the one nearest to the real function.
///
/// ```
/// use zeropoint::{QuantParams, layers::Logistic};
/// let layer = Logistic::new(&QuantParams::<i8>::new(0.0625, 0)?);
/// let mut out = [0; 3];
/// layer.run(&[-128, 0, 127], &mut out)?;
/// assert_eq!(out, [-128, 0, 127]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Logistic<C>(Table<C>);

impl<C: TableCode> Logistic<C> {
    /// For codes with these parameters.
    pub fn new(input: &QuantParams<C>) -> Self {
        let scale = f64::from(input.scale());
        Self(Table::new(input, |distance| {
            let power = u128::from(exp_of_minus(product(distance.unsigned_abs(), scale)));
            let part = if distance < 0 { power } else { 1 << 63 };
            nearest(part << 8, (1 << 63) + power) as i32
        }))
    }

    /// Writes the code of each input.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn run(&self, input: &[C], out: &mut [C]) -> Result<(), Error> {
        self.0.run(input, out)
    }
}

/// The hyperbolic tangent; the output has scale 1/128, and its zero point in the middle (semantics.md 9).
///
/// Every code is the one nearest to the real function.
///
/// ```
/// use zeropoint::{QuantParams, layers::Tanh};
/// let layer = Tanh::new(&QuantParams::<u8>::new(0.0625, 128)?);
/// let mut out = [0; 3];
/// layer.run(&[0, 128, 255], &mut out)?;
/// assert_eq!(out, [0, 128, 255]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tanh<C>(Table<C>);

impl<C: TableCode> Tanh<C> {
    /// For codes with these parameters.
    pub fn new(input: &QuantParams<C>) -> Self {
        let scale = f64::from(input.scale());
        Self(Table::new(input, |distance| {
            let power = u128::from(exp_of_minus(product(2 * distance.unsigned_abs(), scale)));
            let size = nearest(((1 << 63) - power) << 7, (1 << 63) + power) as i32;
            128 + if distance < 0 { -size } else { size }
        }))
    }

    /// Writes the code of each input.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn run(&self, input: &[C], out: &mut [C]) -> Result<(), Error> {
        self.0.run(input, out)
    }
}

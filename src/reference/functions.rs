//! Functions of codes in reals (semantics.md 9): what a layer of codes should be nearest to.

use alloc::vec::Vec;

use crate::QuantParams;
use crate::layers::TableCode;

/// The real number of a code, in f64.
fn real<C: TableCode>(code: C, params: &QuantParams<C>) -> f64 {
    f64::from(params.scale()) * f64::from(code.into() - params.zero_point())
}

/// The code of a number of steps above the smallest code, nearest, ties away from zero.
fn code<C: TableCode>(steps: f64) -> C {
    let (low, high) = C::RANGE;
    C::try_from((low + steps.round() as i32).clamp(low, high)).unwrap_or_default()
}

/// What [`Logistic`](crate::layers::Logistic) computes.
///
/// ```
/// use zeropoint::{QuantParams, reference};
/// assert_eq!(reference::logistic(10, &QuantParams::<u8>::new(0.1, 10)?), 128);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn logistic<C: TableCode>(x: C, input: &QuantParams<C>) -> C {
    code(256.0 / (1.0 + (-real(x, input)).exp()))
}

/// What [`Tanh`](crate::layers::Tanh) computes.
pub fn tanh<C: TableCode>(x: C, input: &QuantParams<C>) -> C {
    code(128.0 + (128.0 * real(x, input).tanh()).round())
}

/// What [`Softmax`](crate::layers::Softmax) computes of one row.
pub fn softmax<C: TableCode>(row: &[C], input: &QuantParams<C>, beta: f32) -> Vec<C> {
    let beta = f64::from(beta);
    let largest = row.iter().map(|x| (*x).into()).max().unwrap_or(0);
    let power = |x: &C| (f64::from(input.scale()) * beta * f64::from((*x).into() - largest)).exp();
    let sum: f64 = row.iter().map(power).sum();
    // Powers that an f64 sum loses still break ties.
    let equal = row.iter().filter(|x| (**x).into() == largest).count();
    let sum = if equal < row.len() && sum == equal as f64 { sum.next_up() } else { sum };
    row.iter().map(|x| code(256.0 * power(x) / sum)).collect()
}

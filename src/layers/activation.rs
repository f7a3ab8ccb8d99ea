//! Clamps that are fused into a layer's output.

use crate::quant::{QuantParams, Ties, quantize};
use crate::stages::OutputCode;

/// The function that a layer applies to its result; on codes, a clamp (semantics.md 5).
///
/// ```
/// use zeropoint::layers::Activation;
/// use zeropoint::quant::QuantParams;
/// let output = QuantParams::<u8>::new(0.1, 10)?;
/// assert_eq!(Activation::None.bounds(&output), (0, 255));
/// assert_eq!(Activation::Relu.bounds(&output), (10, 255));
/// assert_eq!(Activation::Relu6.bounds(&output), (10, 70));
/// assert_eq!(Activation::ReluN1.bounds(&output), (0, 20));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Activation {
    /// The result as it is.
    #[default]
    None,
    /// max(0, x).
    Relu,
    /// min(max(0, x), 6).
    Relu6,
    /// min(max(-1, x), 1).
    ReluN1,
}

impl Activation {
    /// The smallest and the largest code of an output with these parameters.
    pub fn bounds<C: OutputCode>(self, output: &QuantParams<C>) -> (i32, i32) {
        let (low, high) = C::RANGE;
        let code = |real| quantize(real, output.scale(), output.zero_point(), low..=high, Ties::Away);
        match self {
            Self::None => (low, high),
            Self::Relu => (code(0.0), high),
            Self::Relu6 => (code(0.0), code(6.0)),
            Self::ReluN1 => (code(-1.0), code(1.0)),
        }
    }
}

//! candle's `Linear` and `Conv2d` in 8-bit integers, by zeropoint.
//!
//! A layer of floats becomes one whose weights are `i8`, a scale an output channel, packed once; activations are `u8`
//! tensors, and so is the result, or it is `f32`. Layers are candle's custom operations and modules. They run on the
//! CPU, on rayon's global pool, as candle does, and have no gradients. The bits are the same on every CPU.
//!
//! ```
//! use candle_core::{Device, Module, Tensor};
//! use candle_nn::Linear;
//! use zeropoint::QuantParams;
//! use zeropoint_candle::{Output, QuantizedLinear, quantize};
//!
//! let weights = Tensor::new(&[[0.5f32, -0.25], [1.0, 0.0]], &Device::Cpu)?;
//! let float = Linear::new(weights, Some(Tensor::new(&[0.25f32, -0.5], &Device::Cpu)?));
//! let range = QuantParams::from_range(0.0, 2.0)?; // of the input, from a few batches
//! let layer = QuantizedLinear::from_float(&float, &range, Output::Reals)?;
//!
//! let x = Tensor::new(&[[2.0f32, 1.0]], &Device::Cpu)?;
//! let y = layer.forward(&quantize(&x, &range)?)?.to_vec2::<f32>()?;
//! // Floats: 1 and 1.5.
//! assert!((y[0][0] - 1.0).abs() < 0.01 && (y[0][1] - 1.5).abs() < 0.01);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How far from the floats
//! With inputs in their range, of scale `Si`, weights `w` of an output channel, whose scale is `Sw = max |w| / 127`,
//! and codes that stand for the reals `x`, a result is off by at most
//!
//! ```text
//! Si/2 * sum |w|  +  Sw/2 * sum |x|                    inputs, weights
//! + Si*Sw/2  +  (1/2 + 2^-(shift+1)) * So              codes only: the bias, a step of the output So
//! ```
//!
//! The last term is what the rule of rounding does: the default one rounds twice where it shifts, by 1 or more;
//! others, and a shift of 0, leave it at `So/2`. Codes end where their range does: compare with floats that end
//! there. Roundings of floats, in scales and in ratios of a real and a scale, add less than 2^-14 of all this.

mod conv;
mod linear;
mod output;
mod reals;

pub use conv::QuantizedConv2d;
pub use linear::QuantizedLinear;
pub use output::{Options, Output};
pub use reals::{dequantize, quantize};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

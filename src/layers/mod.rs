//! Integer-only layers on images (NHWC), prepared once, run many times, on any number of threads, without allocating.
//!
//! A layer is made from what is known beforehand: weights, scales, zero points, the [`Activation`] fused into it and the
//! rule by which it rounds. `run` takes views of codes. The arithmetic is that of semantics.md 10, bit by bit, the same on every
//! CPU.

mod activation;
mod conv;
mod depthwise;
mod functions;
mod gather;
mod softmax;
mod transpose;
mod window;

pub use activation::Activation;
pub use conv::{Conv2d, Conv2dSpec};
pub use depthwise::{DepthwiseConv2d, DepthwiseConv2dSpec};
pub use functions::{Logistic, TableCode, Tanh};
pub use softmax::Softmax;
pub use transpose::{TransposeConv2d, TransposeConv2dSpec};
pub use window::{Padding, Window};

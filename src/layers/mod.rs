//! Integer-only layers on images (NHWC), prepared once, run many times, on any number of threads, without allocating.
//!
//! A layer is made from what is known beforehand: weights, scales, zero points, the [`Activation`] fused into it and the
//! rule by which it rounds. `run` takes views of codes. The arithmetic is that of semantics.md 10, bit by bit, the same on every
//! CPU.

mod activation;
mod binary;
mod concat;
mod connected;
mod conv;
mod depthwise;
mod finish;
mod functions;
mod gather;
mod pad;
mod pool;
mod product;
mod rescale;
pub(crate) mod run;
mod softmax;
mod transpose;
mod window;

pub use activation::Activation;
pub use binary::{Add, BinarySpec, Mul, Sub};
pub use concat::{Concat, ConcatRequantize, ConcatSpec, Dimension};
pub use connected::{FullyConnected, FullyConnectedSpec};
pub use conv::{Conv2d, Conv2dSpec};
pub use depthwise::{DepthwiseConv2d, DepthwiseConv2dSpec};
pub use functions::{Logistic, TableCode, Tanh};
pub use pad::{Pad, PadSpec};
pub use pool::{AveragePool2d, AveragePool2dSpec, AverageTies, MaxPool2d, MaxPool2dSpec, Mean, MeanSpec};
pub use rescale::{Dequantize, Quantize, Relu, Relu6, Requantize, RequantizeSpec};
pub use softmax::Softmax;
pub use transpose::{TransposeConv2d, TransposeConv2dSpec};
pub use window::{Padding, Window};

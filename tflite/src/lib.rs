//! Quantized `.tflite` networks on zeropoint.

mod model;

pub use model::{Kind, Model, Operation, Operator, Quantization, Tensor};

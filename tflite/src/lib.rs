//! Quantized `.tflite` networks on zeropoint.
//!
//! [`Model::read`] takes a file apart and checks all that it says; [`Model::write`] is its inverse;
//! [`Plan`] gives every activation a place in one block of memory; [`Network`] is prepared once and runs.

mod error;
mod flat;
mod load;
mod model;
mod network;
mod plan;
mod prepare;
mod schema;
mod write;

pub use error::Error;
pub use model::{Kind, Model, Operation, Operator, Quantization, Tensor};
pub use network::{Memory, Network, Options, Rules};
pub use plan::{ALIGN, Place, Plan};

//! Quantized `.tflite` networks on zeropoint.
//!
//! [`Model::read`] takes a file apart and checks all that it says; [`Model::write`] is its inverse;
//! [`Plan`] gives every activation, and what layers use beside, a place in one block of memory; [`Network`] is prepared once and runs. With the feature `cli`,
//! `Picture` makes input codes of picture files, and `Npz` reads recorded tensors.

/// The code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod error;
mod flat;
mod load;
mod model;
mod network;
#[cfg(feature = "cli")]
mod npz;
#[cfg(feature = "cli")]
mod picture;
mod plan;
mod prepare;
mod raise;
mod schema;
mod write;

pub use error::Error;
pub use model::{Kind, Model, Operation, Operator, Quantization, Tensor};
pub use network::{Memory, Network, Options, Rules};
#[cfg(feature = "cli")]
pub use npz::{Npz, NpzError};
#[cfg(feature = "cli")]
pub use picture::{Picture, PictureError};
pub use plan::{ALIGN, Place, Plan};

//! zeropoint for C and C++: the functions of `zeropoint.h`.
//!
//! ```text
//! edge.rs      the only `unsafe` code: the contract with the caller, handles, panics
//! failure.rs   statuses, and the message of the last error
//! types.rs     the structs and the constants of the header; layer_types.rs, those that layers need
//! views.rs     structs to the library's views and stages
//! threads.rs   threads that the caller lends
//! gemm.rs      prepared products and workspaces
//! layer.rs     one handle for every layer
//! conv.rs      layers with weights
//! op.rs        layers without
//! info.rs      version, backends, multipliers
//! ```
// What goes into the header is named as there.
#![allow(non_camel_case_types)]

mod conv;
mod edge;
mod failure;
mod gemm;
mod info;
mod layer;
mod layer_types;
mod op;
mod threads;
mod types;
mod views;

pub use conv::zeropoint_conv_new;
pub use failure::{zeropoint_last_error, zeropoint_status};
pub use gemm::*;
pub use info::*;
pub use layer::*;
pub use layer_types::*;
pub use op::zeropoint_op_new;
pub use types::*;

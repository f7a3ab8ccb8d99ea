//! zeropoint for C and C++: the functions of `zeropoint.h`.
//!
//! ```text
//! edge.rs      the only `unsafe` code: the contract with the caller, handles, panics
//! failure.rs   statuses, and the message of the last error
//! types.rs     the structs and the constants of the header
//! views.rs     structs to the library's views and stages
//! threads.rs   threads that the caller lends
//! gemm.rs      prepared products and workspaces
//! layer.rs     one handle for every layer
//! layers.rs    what layers without weights are made of
//! info.rs      version, backends, multipliers
//! ```
// What goes into the header is named as there.
#![allow(non_camel_case_types)]

mod edge;
mod failure;
mod gemm;
mod info;
mod threads;
mod types;
mod views;

pub use failure::{zeropoint_last_error, zeropoint_status};
pub use gemm::*;
pub use info::*;
pub use types::*;

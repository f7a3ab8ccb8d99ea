//! zeropoint's kernels in [tract](https://github.com/sonos/tract): linking this crate registers them with
//! `tract-linalg`.
//!
//! tract chooses the kernels of a model when it is optimized: int8 products and convolutions that are optimized while
//! kernels are [`enabled`] run on zeropoint, with the same results. All else stays tract's.
//!
//! ```
//! zeropoint_tract::enable(true); // they are, from the start; a call makes sure that this crate is linked
//! println!("{}", zeropoint_tract::explain()?);
//! // Now tract_onnx::onnx().model_for_path("model.onnx")?.into_optimized()?.into_runnable()?, as ever.
//! # Ok::<(), zeropoint::Error>(())
//! ```
//!
//! # Map
//! ```text
//! registry.rs  what tract finds: two kernels, and the tier that chooses them
//!   kernel.rs  a tile by zeropoint, then what tract fuses to it
//!     fused.rs the fused operations, on int32 sums
//!   format.rs  panels of zeropoint as a packed format of tract
//! edge.rs      tract's pointers: all `unsafe`
//! ```
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod edge;
mod format;
mod fused;
mod kernel;
mod registry;

pub use format::{Panels, Room};
pub use kernel::{Kernel, tiles};
pub use registry::{enable, enabled, explain};

//! Integer-only layers on images (NHWC), prepared once, run many times, on any number of threads, without allocating.
//!
//! A layer is made from what is known beforehand: weights, scales, zero points, the [`Activation`] fused into it and the
//! rule by which it rounds. `run` takes views of codes. The arithmetic is that of semantics.md 10, bit by bit, the same on every
//! CPU.

mod activation;

pub use activation::Activation;

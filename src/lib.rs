//! Exact 8-bit integer matrix multiplication: the same bits on every CPU, for every input.
//!
//! `zeropoint` computes `out = finish(sum over k of (lhs - za) * (rhs - zb))` for `u8` and `i8` codes, with int32
//! sums and an output stage fused into the store, as in Jacob et al. 2018, "Quantization and Training of Neural
//! Networks for Efficient Integer-Arithmetic-Only Inference". It is made for people who write inference engines.
//!
//! # Map
//! ```text
//! MatRef, MatMut       views of your memory, checked once
//!   .zero_point(z)     codes with their zero point(s): Quantized
//! Packed               weights, packed once                            packed.rs
//! Stages               the output pipeline, composed                   stages.rs
//! Gemm = Packed + Stages, prepared; run with a Workspace               gemm.rs
//!   lower              stages to the kernels' normal form              lower.rs
//!   plan               every heuristic                                 plan.rs
//!   Threads            lent by you, or Rayon                           parallel.rs
//! available, selected  backends; ZEROPOINT_BACKEND forces one          dispatch.rs
//! layers               convolutions and what else a network has        layers/
//! fixedpoint           functions of reals in integers                  fixedpoint.rs
//! training             fake quantization, ranges, conversion           training/
//! quant                scales and zero points from real numbers        quant.rs
//! reference            the oracle: plain and slow                      reference.rs
//! ```
//!
//! # Words
//! *lhs*: activations, M x K. *rhs*: weights, K x N, usually constant. *out*: M x N. (The paper and gemmlowp call
//! the weights lhs and compute the transpose; [`Packed::lhs`] is for engines that do the same.)
//!
//! # Sums
//! Sums are int32 and wrap mod 2^32. With u8 (or i8) codes on both sides and any zero points no sum can wrap up to
//! K = 33,025; with u8 activations and weights in -127..=127 with zero point 0, up to K = 66,311; bias aside.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod dispatch;
pub mod fixedpoint;
mod gemm;
pub mod layers;
mod lower;
mod packed;
mod parallel;
mod plan;
#[cfg(feature = "rayon")]
mod pool;
pub mod quant;
pub mod reference;
mod stages;
pub mod training;

pub use dispatch::{BACKEND_VARIABLE, explain, selected};
pub use gemm::{Gemm, Options, Workspace, gemm};
pub use packed::{PackOptions, Packed};
pub use parallel::{Serial, Threads};
#[cfg(feature = "rayon")]
pub use pool::{Rayon, RayonAwake};
pub use quant::QuantParams;
pub use stages::{FloatScale, OutputCode, PerAxis, Stages};
pub use zeropoint_kernels as kernels;
pub use zeropoint_kernels::{
    Backend, Code, Effort, Element, Error, MatMut, MatRef, Multiplier, Quantized, Rounding, Shares, Side,
    TensorMut, TensorRef, ZeroPoint, available,
};

//! The kernels of `zeropoint`: exact 8-bit integer GEMM, without `std`, `alloc` or threads.
//!
//! Most users want the crate `zeropoint`. This one is the tier below, for those who bring loops, memory and
//! threads of their own. All `unsafe` code of the project is here; its contract stands once, on
//! [`Microkernel`]. Everything public is safe but the implementation traits.
//!
//! # Map
//! ```text
//! MatRef, MatMut   views, checked once                                   view.rs
//! Job              a checked description of one run                      job.rs
//!   -> block       packs rows, walks panels and tiles                    block.rs
//!        -> pack   any strides into any Panel, with sums                 packing.rs, panel.rs
//!        -> tile   the Microkernel of a backend                          x86/ aarch64/ scalar.rs twin.rs
//!        -> finish sums to outputs, in the Lanes of the backend          finish.rs, ways.rs, scatter.rs, lanes.rs, rounding.rs
//! Depthwise        a line of a depthwise convolution                      depthwise.rs
//! Pairwise         two operands, element by element                       pairwise.rs
//! FakeQuant        reals to those of codes, and gradients back            fake_quant.rs
//! proof            rhs panels that carry a proof, and their search        proof/, matching.rs
//! Backend          a row of the TABLE that this CPU can run              backend.rs, cpu.rs
//! ```
//!
//! # Words
//! *lhs*: activations, M x K. *rhs*: weights, K x N. *out*: M x N. A *panel* is a strip of packed rows or
//! columns, its *members*; a *group* is how many consecutive k one instruction consumes; a *tile* is the
//! MR x NR result of one microkernel call; *finish* is everything that happens to an int32 sum on its way out.
#![no_std]
#![warn(missing_docs)]

#[cfg(all(feature = "std", target_arch = "aarch64"))]
extern crate std;

mod backend;
mod block;
mod blocks;
pub mod bytes;
mod cpu;
mod depthwise;
mod element;
mod error;
mod fake_quant;
mod finish;
mod job;
mod lanes;
mod matching;
mod microkernel;
mod packing;
mod pairwise;
mod panel;
mod parts;
mod proof;
mod rounding;
pub mod scalar;
mod scatter;
mod tensor;
mod terms;
pub mod twin;
mod view;
mod ways;

#[cfg(all(target_arch = "aarch64", target_feature = "neon", not(miri), not(zeropoint_scalar_only)))]
pub mod aarch64;
#[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))]
pub mod x86;

pub use backend::{Backend, Row, TABLE, available, describe, names};
pub use block::{BlockRun, Blocking, Plan};
pub use blocks::{Block, Blocks};
pub use cpu::Features;
pub use depthwise::{Depthwise, DepthwiseForm, DepthwiseRun, DepthwiseShape, DepthwiseWeights};
pub use element::{Code, Dest, Element};
pub use error::{Error, Name};
pub use fake_quant::{FakeForm, FakeGradient, FakeQuant, FakeQuantRun};
pub use finish::{Epilogue, Finish, FloatBias, PerRow, Scale, TileAt};
pub use job::{Job, Outlier, Outliers, Weights};
pub use lanes::{Factor, Lanes, Rule};
pub use matching::Effort;
pub use microkernel::{Direct, Microkernel, Registers, Tile};
pub use packing::{Form, Gather, NoGather, PackRun, Side};
pub use pairwise::{Operation, Pairwise, PairwiseRun};
pub use panel::{Elem, Panel, Strides};
pub use proof::{Proof, Shares};
pub use rounding::{Multiplier, Rounding, divide_away, float_even};
pub use tensor::{Strip, Strips, TensorMut, TensorRef};
pub use view::{MatMut, MatRef, Quantized, ZeroPoint};

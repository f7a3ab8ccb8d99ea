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
//! Depthwise        lines of a depthwise convolution, woven or not        depthwise/, weave.rs
//! Pairwise         two operands, element by element                       pairwise.rs
//! FakeQuant        reals to those of codes, and gradients back            fake_quant/
//! proof            rhs panels that carry a proof, and their search        proof/, matching.rs
//! Backend          a row of the TABLE that this CPU can run              backend.rs, cpu.rs
//! ```
//!
//! # Words
//! *lhs*: activations, M x K. *rhs*: weights, K x N. *out*: M x N. A *panel* is a strip of packed rows or
//! columns, its *members*; a *group* is how many consecutive k one instruction consumes; a *tile* is the
//! MR x NR result of one microkernel call; *finish* is everything that happens to an int32 sum on its way out.
//!
//! # Tiles
//! Engines that bring loops of their own, or have a place where a kernel goes, take a backend apart: [`Backend::pack`] writes
//! either side in panels, [`Backend::tile`] multiplies a panel of lhs by a panel of rhs, [`Backend::finish`] takes sums to
//! outputs. All rows of [`available`] have them, they check every length, and errors name the argument and both numbers.
//! A tile costs a call and those checks more than one inside of [`Job`], which does the same for whole blocks.
//!
//! These stay as they are, by the rules of versions: the methods of [`Backend`] that this page names; that panel p of a
//! packed side begins at p times [`Backend::panel_bytes`]; that packing adds [`Backend::offset`] to each code, pads with
//! zeros, and sums what it packed; that sums are row-major, [`Backend::nr`] apart, and wrap mod 2^32. What tile and layout a
//! backend has may change: ask [`Backend::members`], [`Backend::lhs`] and [`Backend::rhs`]. Packed bytes are for the kernel
//! that packed them, and for this version of it.
//!
//! With `za` and `zb` the zero points of what was packed, a sum of `(lhs - za) * (rhs - zb)` begins with
//! `K * za * zb - za * column sum - zb * row sum`, to which the tile adds:
//!
//! ```
//! use zeropoint_kernels::{Backend, Error, MatRef, Side, available};
//!
//! /// Memory aligned to 64 bytes.
//! fn lines<T: Copy + Default>(memory: &mut Vec<T>, len: usize) -> &mut [T] {
//!     memory.resize(len + 64, T::default());
//!     let start = memory.as_ptr().align_offset(64);
//!     &mut memory[start..start + len]
//! }
//!
//! /// `lhs`, M x K, times `rhs`, K x N, whose zero point is `zb`, to M x N sums.
//! fn multiply(b: Backend, lhs: MatRef<i8>, rhs: MatRef<u8>, zb: i32, out: &mut [i32]) -> Result<(), Error> {
//!     let (m, k, n, mr, nr) = (lhs.rows(), lhs.cols(), rhs.cols(), b.mr(), b.nr());
//!     let (za, zb) = (b.offset::<i8>(Side::Lhs), zb + b.offset::<u8>(Side::Rhs));
//!     let (mut left, mut right, mut sums) = (vec![], vec![], vec![]);
//!     let (mut row_sums, mut col_sums) = (vec![0; m], vec![0; n]);
//!     // Once for each side.
//!     let left = lines(&mut left, b.packed_bytes(Side::Lhs, m, k)?);
//!     b.pack(Side::Lhs, lhs, left, Some(&mut row_sums))?;
//!     let right = lines(&mut right, b.packed_bytes(Side::Rhs, n, k)?);
//!     b.pack(Side::Rhs, rhs, right, Some(&mut col_sums))?;
//!
//!     let padded_k = b.padded_k(k)?;
//!     let acc = lines(&mut sums, b.tile_len(padded_k)?);
//!     for (p, left) in left.chunks_exact(b.panel_bytes(Side::Lhs, k)?).enumerate() {
//!         for (q, right) in right.chunks_exact(b.panel_bytes(Side::Rhs, k)?).enumerate() {
//!             let (rows, cols) = (mr.min(m - p * mr), nr.min(n - q * nr));
//!             for i in 0..rows {
//!                 for j in 0..cols {
//!                     acc[i * nr + j] = k as i32 * za * zb - za * col_sums[q * nr + j] - zb * row_sums[p * mr + i];
//!                 }
//!             }
//!             b.tile(rows, padded_k, left, right, acc, true)?;
//!             for i in 0..rows {
//!                 let to = (p * mr + i) * n + q * nr;
//!                 out[to..to + cols].copy_from_slice(&acc[i * nr..i * nr + cols]);
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//!
//! let (lhs, rhs) = ([-128i8, 1, 127, 2, 3, -4], [255u8, 0, 7, 100, 130, 128]);
//! for backend in available() {
//!     let mut out = [0; 4];
//!     multiply(backend, MatRef::row_major(&lhs, 2, 3)?, MatRef::row_major(&rhs, 3, 2)?, 128, &mut out)?;
//!     assert_eq!(out, [-128 * 127 - 121 + 127 * 2, 128 * 128 - 28, 2 * 127 - 3 * 121 - 4 * 2, -2 * 128 - 3 * 28]);
//! }
//! # Ok::<(), Error>(())
//! ```
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
mod weave;
mod windows;

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
pub use job::{Job, Outlier, Outliers, Rows, Weights};
pub use lanes::{Factor, Lanes, Rule};
pub use matching::Effort;
pub use microkernel::{Direct, Microkernel, Registers, Tile};
pub use packing::{Form, Gather, NoGather, PackRun, Side};
pub use pairwise::{Affine, Operation, Pairwise, PairwiseRun};
pub use panel::{Elem, Panel, Strides};
pub use proof::{Proof, Shares};
pub use rounding::{Multiplier, Rounding, divide_away, float_even};
pub use tensor::{Strip, Strips, TensorMut, TensorRef};
pub use view::{MatMut, MatRef, Quantized, ZeroPoint};
pub use weave::WeaveRun;
pub use windows::{Windows, WindowsRef};

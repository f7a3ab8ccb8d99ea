//! AArch64: one file an instruction set; lanes, vectors of the packer and a tile loop that they share.

mod dot;
pub mod dotprod;
mod gather;
pub mod i8mm;
mod lanes;
pub mod neon;

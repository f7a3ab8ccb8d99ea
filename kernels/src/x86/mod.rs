//! x86-64: one file an instruction set.

pub mod avx2;
mod avx2_bytes;
pub mod avx2_proven;

//! x86-64: one file an instruction set.

pub mod amx;
pub mod avx2;
pub mod avx512;
pub mod avx512_vnni;
pub mod avx_vnni;
mod bytes;
mod dot;
mod zmm;

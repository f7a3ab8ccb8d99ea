//! x86-64: one file an instruction set, and what they share: `dot` (the tile loop), `ymm` and `zmm` (eight and sixteen lanes), `bytes` (a
//! gather), `tiles` (the instructions of AMX).

pub mod amx;
pub mod avx2;
pub mod avx2_proven;
pub mod avx512;
pub mod avx512_vnni;
pub mod avx_vnni;
mod bytes;
mod dot;
pub mod tiles;
mod ymm;
mod zmm;

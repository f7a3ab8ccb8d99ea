//! AArch64: one file an instruction set.

pub mod neon;

//! AArch64: one file an instruction set; and what they share: lanes, vectors of the packer, two tile loops.

// The blocks of `opaque!` are empty.
#![allow(clippy::pointers_in_nomem_asm_block)]

/// A number or pointer that the compiler knows nothing about: left to itself, it computes each address from another one in
/// every step.
macro_rules! opaque {
    ($x:expr) => {{
        let mut x = $x;
        core::arch::asm!("/* {0} */", inout(reg) x, options(nomem, nostack, preserves_flags));
        x
    }};
}

mod dot;
pub mod dotprod;
mod gather;
pub mod i8mm;
mod lanes;
pub mod neon;
pub mod neon_proven;
mod sixteen;

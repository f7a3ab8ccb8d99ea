//! Twins of every real layout, and of a few odd ones, compiled once for all the tests that walk them; a reader of the
//! one layout that is no formula.

pub mod proven;

#[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))]
pub mod amx;

use zeropoint_kernels::twin::{Shape, Twin};
use zeropoint_kernels::{Elem, Panel, Row, describe, scalar};

macro_rules! twins {
    ($($shape:ident, $name:literal: tile $tile:expr, step $step:literal, groups $groups:expr, elems $elems:expr,
        lanes $lanes:literal $(, width $width:literal)?;)*) => {
        $(
            #[doc = concat!("The layout of `", $name, "`.")]
            pub struct $shape;
            impl Shape for $shape {
                const NAME: &'static str = $name;
                const TILE: (usize, usize) = $tile;
                $(const WIDTH: usize = $width;)?
                const K_STEP: usize = $step;
                const GROUPS: (usize, usize) = $groups;
                const ELEMS: (Elem, Elem) = $elems;
                type Lanes = scalar::Plain<$lanes>;
            }
        )*
        /// Twins of every real layout, and of a few odd ones, and of kernels in another encoding.
        pub static TWINS: &[Row] = &[
            $(describe::<Twin<$shape>>(),)*
            #[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))]
            describe::<zeropoint_kernels::x86::avx_vnni::AvxVnniEvex>(),
            #[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))]
            describe::<zeropoint_kernels::x86::amx::Amx<amx::Model>>(),
        ];
    };
}

const ROWS: usize = Panel::ROWS;
use Elem::{I8, I16, U8};
twins! {
    Avx2, "twin-avx2-6x16": tile (6, 16), step 2, groups (ROWS, 2), elems (I16, I16), lanes 8;
    Avx2Bytes, "twin-avx2-i8-6x16": tile (6, 16), step 2, groups (ROWS, 2), elems (I16, I8), lanes 8;
    Neon, "twin-neon-4x4": tile (4, 4), step 16, groups (ROWS, 16), elems (U8, U8), lanes 4;
    Vnni, "twin-vnni-6x64": tile (6, 64), step 4, groups (ROWS, 4), elems (U8, I8), lanes 16;
    VnniTall, "twin-vnni-14x32": tile (14, 32), step 4, groups (ROWS, 4), elems (U8, I8), lanes 16;
    AvxVnni, "twin-avx-vnni-6x16": tile (6, 16), step 4, groups (ROWS, 4), elems (U8, I8), lanes 8;
    Avx512, "twin-avx512-14x32": tile (14, 32), step 2, groups (ROWS, 2), elems (I16, I16), lanes 16;
    Amx, "twin-amx-32x32": tile (32, 32), step 64, groups (64, 4), elems (U8, I8), lanes 16, width 16;
    Dotprod, "twin-dotprod-8x8": tile (8, 8), step 16, groups (ROWS, 4), elems (U8, U8), lanes 4;
    I8mm, "twin-i8mm-8x12": tile (8, 12), step 8, groups (8, 8), elems (U8, I8), lanes 4;
    Signed, "twin-odd-3x5-signed": tile (3, 5), step 3, groups (3, 1), elems (I8, I8), lanes 5;
    Prime, "twin-odd-7x6-mixed": tile (7, 6), step 10, groups (5, 2), elems (I16, U8), lanes 3;
    Single, "twin-odd-1x1": tile (1, 1), step 1, groups (1, 1), elems (I8, I16), lanes 1;
}

//! The tile instructions of AMX, which have no stable intrinsics: the smallest set of functions that can hold them. It is
//! a trait so that a model in plain Rust can stand in for them where the CPU has none.

use core::arch::asm;

use crate::cpu::Features;
use crate::lanes::Lanes;
use crate::microkernel::Microkernel;
use crate::packing::Gather;
use crate::x86::avx512::Avx512;
use crate::x86::bytes::BytesGather;
use crate::x86::zmm::ZmmLanes;

/// The configuration of the tile registers, as `ldtilecfg` reads it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row of each tile.
    pub row_bytes: [u16; 16],
    /// Rows of each tile.
    pub rows: [u8; 16],
}

impl Config {
    /// For `rows` rows of lhs, `1..=32`: sums 0 to 3, lhs 4 and 5, rhs 6 and 7.
    pub const fn new(rows: usize) -> Self {
        let (low, high) = if rows > 16 { (16, rows as u8 - 16) } else { (rows as u8, 1) };
        let mut config = Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let all = [low, low, high, high, low, high, 16, 16];
        let mut tile = 0;
        while tile < all.len() {
            config.rows[tile] = all[tile];
            config.row_bytes[tile] = 64;
            tile += 1;
        }
        config
    }
}

/// The tile instructions, one function each; tiles are numbered `0..8`.
///
/// # Safety
/// An implementation does what the instruction of its name does. A caller upholds:
/// * **Features**: the CPU, and the operating system for this process, allow the instructions.
/// * **Configured**: the tiles were configured, and not released since.
/// * **Rows**: a pointer is valid for the configured rows of a tile, `stride` bytes apart, and their bytes.
#[allow(clippy::missing_safety_doc)] // the contract is the trait's
pub unsafe trait Tiles: 'static {
    /// Names of backend and kernel.
    const NAMES: (&'static str, &'static str);
    /// What the instructions need.
    const NEEDS: Features;
    /// Lanes of the epilogue, and the kernel that does what they alone decide.
    type Lanes: Lanes;
    /// [`Microkernel::Base`].
    type Base: Microkernel;
    /// Vectors of the packer.
    type Gather: Gather;
    /// `ldtilecfg`: sets the sizes of all tiles, and clears them.
    unsafe fn configure(config: &Config);
    /// `tilerelease`.
    unsafe fn release();
    /// `tilezero`.
    unsafe fn zero<const TILE: u8>();
    /// `tileloadd`.
    unsafe fn load<const TILE: u8>(from: *const u8, stride: usize);
    /// `tileloaddt1`: a load of what is not needed again soon.
    unsafe fn stream<const TILE: u8>(from: *const u8, stride: usize);
    /// `tilestored`.
    unsafe fn store<const TILE: u8>(to: *mut u8, stride: usize);
    /// `tdpbusd`: adds the products of u8 rows and i8 columns.
    unsafe fn multiply<const SUMS: u8, const LHS: u8, const RHS: u8>();
}

/// The real instructions.
pub struct Instructions;

// SAFETY: each function is the instruction of its name. The compiler never uses tile registers itself.
unsafe impl Tiles for Instructions {
    const NAMES: (&'static str, &'static str) = ("amx-int8", "x86-amx-int8-tdpbusd-32x32");
    const NEEDS: Features = Features::AMX_INT8.with(Features::AVX512).with(Features::AVX512_VNNI);
    type Lanes = ZmmLanes<true>;
    type Base = Avx512;
    type Gather = BytesGather<true>;

    #[inline(always)]
    unsafe fn configure(config: &Config) {
        // SAFETY: Features.
        unsafe { asm!("ldtilecfg [{}]", in(reg) config, options(readonly, nostack, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn release() {
        // SAFETY: Features.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn zero<const TILE: u8>() {
        // SAFETY: Features, Configured.
        unsafe { asm!("tilezero tmm{t}", t = const TILE, options(nomem, nostack, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn load<const TILE: u8>(from: *const u8, stride: usize) {
        // SAFETY: Features, Configured, Rows.
        unsafe {
            asm!("tileloadd tmm{t}, [{from} + {stride}]", t = const TILE, from = in(reg) from,
                stride = in(reg) stride, options(readonly, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn stream<const TILE: u8>(from: *const u8, stride: usize) {
        // SAFETY: Features, Configured, Rows.
        unsafe {
            asm!("tileloaddt1 tmm{t}, [{from} + {stride}]", t = const TILE, from = in(reg) from,
                stride = in(reg) stride, options(readonly, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: u8>(to: *mut u8, stride: usize) {
        // SAFETY: Features, Configured, Rows.
        unsafe {
            asm!("tilestored [{to} + {stride}], tmm{t}", t = const TILE, to = in(reg) to,
                stride = in(reg) stride, options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn multiply<const SUMS: u8, const LHS: u8, const RHS: u8>() {
        // SAFETY: Features, Configured.
        unsafe {
            asm!("tdpbusd tmm{s}, tmm{l}, tmm{r}", s = const SUMS, l = const LHS, r = const RHS,
                options(nomem, nostack, preserves_flags));
        }
    }
}

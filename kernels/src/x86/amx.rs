//! AMX: `tdpbusd` on tiles of 16 x 64 bytes, u8 x i8 with a 32-bit sum, exact for all input.
//!
//! One instruction multiplies 16 rows of lhs, 64 bytes each, by 16 columns: 16,384 products. Tiles: 4 of sums
//! (32 x 32), 2 of lhs, 2 of rhs. A tile load takes a row step, so rows of lhs are read where they are.
//! ```text
//! 64 k of lhs, rows 0..16:  t4    rhs, columns 0..16:  t6    16..32:  t7      row of a rhs tile: 4 k of 16 columns
//!             rows 16..32:  t5    t0 += t4 t6     t1 += t4 t7
//!                                 t2 += t5 t6     t3 += t5 t7
//! ```
//! Order of a step: load rhs and lhs alternately, each first used at once (limits.md 5). The sums of the upper
//! tiles are left alone where there are at most 16 rows.
//!
//! The instructions have no stable intrinsics; [`Tiles`] is the smallest set of functions that can hold them. It is
//! a trait so that a model in plain Rust can stand in for them where the CPU has none.

use core::arch::asm;
use core::marker::PhantomData;

use crate::cpu::Features;
use crate::lanes::Lanes;
use crate::microkernel::{Microkernel, Tile, entries};
use crate::packing::Gather;
use crate::panel::{Elem, Panel};
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
    /// Lanes of the epilogue.
    type Lanes: Lanes;
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
pub struct Registers;

// SAFETY: each function is the instruction of its name. The compiler never uses tile registers itself.
unsafe impl Tiles for Registers {
    const NAMES: (&'static str, &'static str) = ("amx-int8", "x86-amx-int8-tdpbusd-32x32");
    const NEEDS: Features = Features::AMX_INT8.with(Features::AVX512);
    type Lanes = ZmmLanes;
    type Gather = BytesGather;

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

/// The microkernel, of the real instructions or of a model of them.
pub struct Amx<T>(PhantomData<T>);

const MR: usize = 32;
const NR: usize = 32;
const STEP: usize = 64;
/// Bytes from a row of sums to the next, and from 4 k of rhs to the next.
const SUMS_ROW: usize = NR * size_of::<i32>();
const RHS_ROW: usize = NR * 4;

// SAFETY: tiles have the rows and columns that the contract states; a tile of rhs is 16 groups of 16 columns.
unsafe impl<T: Tiles> Microkernel for Amx<T> {
    const BACKEND: &'static str = T::NAMES.0;
    const NAME: &'static str = T::NAMES.1;
    const NEEDS: Features = T::NEEDS;
    const MR: usize = MR;
    const NR: usize = NR;
    const K_STEP: usize = STEP;
    const LHS: Panel = Panel { width: MR, group: Panel::ROWS, elem: Elem::U8 };
    const RHS: Panel = Panel { width: NR, group: 4, elem: Elem::I8 };
    type Lanes = T::Lanes;
    type Gather = T::Gather;
    /// A tile of 1,024 sums outweighs the call of its epilogue.
    const ONE_LOOP: bool = true;

    #[inline(always)]
    unsafe fn enter(rows: usize) {
        // SAFETY: Features.
        unsafe { T::configure(&Config::new(rows)) }
    }

    #[inline(always)]
    unsafe fn leave() {
        // SAFETY: Features.
        unsafe { T::release() }
    }

    #[inline(always)]
    unsafe fn tile(tile: Tile) {
        // SAFETY: Features, Lhs, Rhs, Acc, Entered.
        unsafe {
            if tile.rows > 16 {
                multiply::<T, true>(tile);
            } else {
                multiply::<T, false>(tile);
            }
        }
    }

    entries!("avx512f,avx512bw,avx512dq,avx512vl");
}

/// Multiplies up to 16 rows, or more if `TALL`.
#[inline(always)]
unsafe fn multiply<T: Tiles, const TALL: bool>(tile: Tile) {
    let step = tile.lhs_member;
    let (mut low, mut high) = (tile.lhs, tile.lhs.wrapping_add(16 * step));
    let mut rhs = tile.rhs;
    let sums = tile.acc.cast::<u8>();
    let upper = sums.wrapping_add(16 * SUMS_ROW);
    // SAFETY: Features, Entered; Lhs: 64 bytes of each row a step; Rhs: 16 rows of 128 bytes a step; Acc.
    unsafe {
        if tile.add {
            T::load::<0>(sums, SUMS_ROW);
            T::load::<1>(sums.add(64), SUMS_ROW);
            if TALL {
                T::load::<2>(upper, SUMS_ROW);
                T::load::<3>(upper.add(64), SUMS_ROW);
            }
        } else {
            T::zero::<0>();
            T::zero::<1>();
            if TALL {
                T::zero::<2>();
                T::zero::<3>();
            }
        }
        for _ in 0..tile.k / STEP {
            T::stream::<6>(rhs, RHS_ROW);
            T::load::<4>(low, step);
            T::multiply::<0, 4, 6>();
            T::stream::<7>(rhs.add(64), RHS_ROW);
            T::multiply::<1, 4, 7>();
            if TALL {
                T::load::<5>(high, step);
                T::multiply::<2, 5, 6>();
                T::multiply::<3, 5, 7>();
            }
            (low, high) = (low.wrapping_add(STEP), high.wrapping_add(STEP));
            rhs = rhs.wrapping_add(STEP / 4 * RHS_ROW);
        }
        T::store::<0>(sums, SUMS_ROW);
        T::store::<1>(sums.add(64), SUMS_ROW);
        if TALL {
            T::store::<2>(upper, SUMS_ROW);
            T::store::<3>(upper.add(64), SUMS_ROW);
        }
    }
}

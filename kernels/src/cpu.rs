//! CPU features: detecting and naming them.

use core::fmt;
#[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))]
use core::sync::atomic::{AtomicU32, Ordering};

/// A set of CPU features.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Features(u32);

const NAMES: [&str; 8] = ["avx2", "neon", "avx512", "avx512-vnni", "avx-vnni", "amx-int8", "dotprod", "i8mm"];

impl Features {
    /// No feature beyond the target's baseline.
    pub const NONE: Self = Self(0);
    /// AVX2, and an operating system that saves its registers.
    pub const AVX2: Self = Self(1);
    /// NEON, which every ARMv8 core has.
    pub const NEON: Self = Self(1 << 1);
    /// AVX-512 F, BW, DQ and VL, and an operating system that saves its registers and masks.
    pub const AVX512: Self = Self(1 << 2);
    /// `vpdpbusd` and its kin in EVEX encoding.
    pub const AVX512_VNNI: Self = Self(1 << 3);
    /// `vpdpbusd` and its kin in VEX encoding.
    pub const AVX_VNNI: Self = Self(1 << 4);
    /// AMX tiles with 8-bit products, which Linux has allowed this process to use.
    pub const AMX_INT8: Self = Self(1 << 5);
    /// `udot` and its kin.
    pub const DOTPROD: Self = Self(1 << 6);
    /// `ummla` and its kin.
    pub const I8MM: Self = Self(1 << 7);

    /// Whether every feature of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What this CPU has, and the operating system allows. Looked up once.
    ///
    /// On a CPU with AMX the first call asks Linux for the permission to use tiles, for the whole process: signal frames
    /// become 8 kB larger.
    pub fn detect() -> Self {
        cfg_if::cfg_if! {
            if #[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))] {
                // Once: a virtual machine takes microseconds for each CPUID.
                static KNOWN: AtomicU32 = AtomicU32::new(u32::MAX);
                let known = KNOWN.load(Ordering::Relaxed);
                if known != u32::MAX {
                    return Self(known);
                }
                let features = detect_x86();
                KNOWN.store(features.0, Ordering::Relaxed);
                features
            } else if #[cfg(all(target_arch = "aarch64", target_feature = "neon", not(miri)))] {
                detect_arm()
            } else {
                Self::NONE
            }
        }
    }
}

/// Asks the operating system, which `std` knows how to; without `std`, what the compiler's target promises.
#[cfg(all(target_arch = "aarch64", target_feature = "neon", not(miri)))]
fn detect_arm() -> Features {
    #[cfg(feature = "std")]
    use std::arch::is_aarch64_feature_detected as has;
    #[cfg(not(feature = "std"))]
    macro_rules! has {
        ($name:literal) => {
            cfg!(target_feature = $name)
        };
    }
    let mut features = Features::NEON;
    if has!("dotprod") {
        features = features.with(Features::DOTPROD);
    }
    if has!("i8mm") {
        features = features.with(Features::I8MM);
    }
    features
}

/// By hand, because `std`'s macro is not there without `std` (limits.md 9).
#[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))]
fn detect_x86() -> Features {
    use core::arch::x86_64::{__cpuid_count, _xgetbv, CpuidResult};

    #[target_feature(enable = "xsave")]
    fn saved_state() -> u64 {
        // SAFETY: the caller has checked that the operating system enabled XGETBV.
        unsafe { _xgetbv(0) }
    }

    #[allow(unused_unsafe)] // unsafe up to Rust 1.89
    fn leaf(leaf: u32, sub_leaf: u32) -> CpuidResult {
        // SAFETY: every x86-64 CPU has CPUID.
        unsafe { __cpuid_count(leaf, sub_leaf) }
    }

    const XSAVE: u32 = 1 << 26;
    const OSXSAVE: u32 = 1 << 27;
    const AVX_STATE: u64 = 0b110;
    const AVX512_STATE: u64 = 0b1110_0000 | AVX_STATE;
    const AVX2: u32 = 1 << 5;
    const AVX512: u32 = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31; // F, DQ, BW, VL
    const AVX512_VNNI: u32 = 1 << 11;
    const AVX_VNNI: u32 = 1 << 4;
    const TILE_STATE: u64 = 0b11 << 17;
    const AMX_INT8: u32 = 1 << 24 | 1 << 25; // TILE, INT8
    let leaf1 = leaf(1, 0).ecx;
    if leaf(0, 0).eax < 7 || leaf1 & (XSAVE | OSXSAVE) != XSAVE | OSXSAVE {
        return Features::NONE;
    }
    // SAFETY: CPUID says that XSAVE and XGETBV are there.
    let saved = unsafe { saved_state() };
    let leaf7 = leaf(7, 0);
    if saved & AVX_STATE != AVX_STATE || leaf7.ebx & AVX2 == 0 {
        return Features::NONE;
    }
    let mut features = Features::AVX2;
    if leaf7.eax >= 1 && leaf(7, 1).eax & AVX_VNNI != 0 {
        features = features.with(Features::AVX_VNNI);
    }
    if saved & AVX512_STATE == AVX512_STATE && leaf7.ebx & AVX512 == AVX512 {
        features = features.with(Features::AVX512);
        if leaf7.ecx & AVX512_VNNI != 0 {
            features = features.with(Features::AVX512_VNNI);
        }
    }
    if saved & TILE_STATE == TILE_STATE && leaf7.edx & AMX_INT8 == AMX_INT8 {
        // The sizes that kernels count on: 8 tiles, 16 rows of 64 bytes.
        let tiles = leaf(0x1d, 1);
        let sizes = (tiles.ebx >> 16, tiles.ecx & 0xffff, tiles.ebx & 0xffff);
        if sizes == (8, 16, 64) && tiles_allowed() {
            features = features.with(Features::AMX_INT8);
        }
    }
    features
}

/// Asks Linux for the permission to use tiles; without it their first instruction kills the process. Other systems
/// are not asked.
#[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))]
fn tiles_allowed() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_PRCTL: usize = 158;
        const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
        const TILE_DATA: usize = 18;
        let status: usize;
        // SAFETY: the system call changes nothing but the permission; it clobbers rcx and r11.
        unsafe {
            core::arch::asm!("syscall", inlateout("rax") ARCH_PRCTL => status, in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") TILE_DATA, lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        status == 0
    }
    #[cfg(not(target_os = "linux"))]
    false
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let mut names = NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1);
        if let Some((_, first)) = names.next() {
            f.write_str(first)?;
        }
        names.try_for_each(|(_, name)| write!(f, "+{name}"))
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

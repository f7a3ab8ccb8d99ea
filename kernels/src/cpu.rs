//! CPU features: detecting and naming them.

use core::fmt;

/// A set of CPU features.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Features(u32);

const NAMES: [&str; 2] = ["avx2", "neon"];

impl Features {
    /// No feature beyond the target's baseline.
    pub const NONE: Self = Self(0);
    /// AVX2, and an operating system that saves its registers.
    pub const AVX2: Self = Self(1);
    /// NEON, which every ARMv8 core has.
    pub const NEON: Self = Self(1 << 1);

    /// Whether every feature of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What this CPU has.
    pub fn detect() -> Self {
        cfg_if::cfg_if! {
            if #[cfg(all(target_arch = "x86_64", not(miri), not(zeropoint_scalar_only)))] {
                detect_x86()
            } else if #[cfg(all(target_arch = "aarch64", target_feature = "neon", not(miri)))] {
                Self::NEON
            } else {
                Self::NONE
            }
        }
    }
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
    const AVX2: u32 = 1 << 5;
    let leaf1 = leaf(1, 0).ecx;
    if leaf(0, 0).eax < 7 || leaf1 & (XSAVE | OSXSAVE) != XSAVE | OSXSAVE {
        return Features::NONE;
    }
    // SAFETY: CPUID says that XSAVE and XGETBV are there.
    if unsafe { saved_state() } & AVX_STATE != AVX_STATE {
        return Features::NONE;
    }
    if leaf(7, 0).ebx & AVX2 != 0 { Features::AVX2 } else { Features::NONE }
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

//! What a core can do: a loop in registers of the same instructions as a backend's microkernel, on random data.

use std::time::Instant;

/// The best rate seen so far; measure again now and then, since the clock of a core wanders.
pub struct Peak {
    /// `None` unless the CPU has the instructions.
    run: Option<unsafe fn(u64) -> u64>,
    best: f64,
    clock: f64,
}

impl Peak {
    /// The peak of the instructions that a backend of this name uses, or of the saturating bytes that others use;
    /// `-proven` is what a backend may use for weights with a proof.
    pub fn of(name: &str) -> Self {
        Self { run: Self::loop_of(name), best: 0.0, clock: 0.0 }
    }

    #[cfg(target_arch = "x86_64")]
    fn loop_of(name: &str) -> Option<unsafe fn(u64) -> u64> {
        let evex = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl");
        match name {
            "avx2" | "avx2-proven" if is_x86_feature_detected!("avx2") => Some(x86::madd_ymm),
            "avx2-saturating" if is_x86_feature_detected!("avx2") => Some(x86::bytes_ymm),
            "avx512" if is_x86_feature_detected!("avx512bw") => Some(x86::madd_zmm),
            "avx-vnni" if is_x86_feature_detected!("avxvnni") => Some(x86::dot_vex),
            "avx-vnni" if evex => Some(x86::dot_ymm),
            "avx512-vnni" if evex => Some(x86::dot_zmm),
            _ => None,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn loop_of(name: &str) -> Option<unsafe fn(u64) -> u64> {
        match name {
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            "neon" => Some(arm::widening),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            "neon-proven" => Some(arm::proven),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            "neon-dotprod" if std::arch::is_aarch64_feature_detected!("dotprod") => Some(arm::dot),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            "neon-i8mm" if std::arch::is_aarch64_feature_detected!("i8mm") => Some(arm::matrix),
            _ => None,
        }
    }

    /// Measures for about three milliseconds.
    pub fn refresh(&mut self) {
        for _ in 0..10 {
            self.clock = self.clock.max(clock().unwrap_or(0.0));
        }
        let Some(run) = self.run else { return };
        for _ in 0..75 {
            let start = Instant::now();
            // SAFETY: the CPU has the instructions.
            let products = unsafe { run(std::hint::black_box(20_000)) };
            let ns = start.elapsed().as_nanos() as f64;
            self.best = self.best.max(2.0 * products as f64 / ns);
        }
    }

    /// GOP/s: a multiplication and an addition are two operations.
    pub fn gops(&self) -> Option<f64> {
        (self.best > 0.0).then_some(self.best)
    }

    /// The clock of the core in GHz, where it can be known.
    #[allow(dead_code)] // not every user asks
    pub fn clock(&self) -> Option<f64> {
        (self.clock > 0.0).then_some(self.clock)
    }

    /// The share of the peak.
    pub fn share(&self, gops: Option<f64>) -> Option<f64> {
        Some(gops? / self.gops()?)
    }
}

/// Cycles in a nanosecond, by additions that each wait for the last and take one cycle on any core.
fn clock() -> Option<f64> {
    const TURNS: u64 = 200;
    const ADDITIONS: u64 = 256;
    let start = Instant::now();
    // SAFETY: additions in registers.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "2:", ".rept 256", "add {x}, {x}", ".endr", "sub {left}, 1", "jnz 2b",
            x = inout(reg) 1u64 => _, left = inout(reg) TURNS => _, options(nomem, nostack)
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!(
            "2:", ".rept 256", "add {x}, {x}, {x}", ".endr", "subs {left}, {left}, #1", "b.ne 2b",
            x = inout(reg) 1u64 => _, left = inout(reg) TURNS => _, options(nomem, nostack)
        );
    }
    let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    known.then(|| (TURNS * ADDITIONS) as f64 / start.elapsed().as_nanos() as f64)
}

/// Each is a loop of one step into 12 accumulators, as a tile of 6 rows by two registers or of 4 by three has them.
/// Registers 12 and 13 hold the operands.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::asm;

    macro_rules! peak {
        ($name:ident, $products:literal, $load:literal, $($step:literal),+) => {
            /// The CPU must have the instruction.
            pub unsafe fn $name(steps: u64) -> u64 {
                let data: [u8; 128] = core::array::from_fn(|i| ((i + 1) * 0x9e37_79b9 >> 11) as u8);
                // SAFETY: the CPU has the instruction; 128 bytes are read; every register written is named.
                unsafe {
                    asm!(
                        concat!($load, "12, [{data}]\n", $load, "13, [{data} + 64]"),
                        "2:", ".irp i,0,1,2,3,4,5,6,7,8,9,10,11", $($step,)+ ".endr",
                        "sub {left}, 1", "jnz 2b", "vzeroupper",
                        data = in(reg) data.as_ptr(), left = inout(reg) steps => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _,
                        out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(readonly, nostack)
                    );
                }
                steps * 12 * $products
            }
        };
    }

    peak!(madd_ymm, 16, "vmovdqu ymm", "vpmaddwd ymm14, ymm12, ymm13", "vpaddd ymm\\i, ymm\\i, ymm14");
    peak!(
        bytes_ymm,
        32,
        "vmovdqu ymm",
        "vpmaddubsw ymm14, ymm12, ymm13",
        "vpmaddwd ymm14, ymm14, ymm13",
        "vpaddd ymm\\i, ymm\\i, ymm14"
    );
    peak!(madd_zmm, 32, "vmovdqu64 zmm", "vpmaddwd zmm14, zmm12, zmm13", "vpaddd zmm\\i, zmm\\i, zmm14");
    peak!(dot_vex, 32, "vmovdqu ymm", "{{vex}} vpdpbusd ymm\\i, ymm12, ymm13");
    peak!(dot_ymm, 32, "vmovdqu ymm", "{{evex}} vpdpbusd ymm\\i, ymm12, ymm13");
    peak!(dot_zmm, 64, "vmovdqu64 zmm", "vpdpbusd zmm\\i, zmm12, zmm13");
}

/// As above. Where sums come out of several instructions, none waits for another, so that a core that runs in order
/// shows what its pipes do: products go to registers 10 to 28, and what is added is register 29.
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod arm {
    use core::arch::asm;

    macro_rules! peak {
        ($name:ident, $products:literal, $extension:literal, $indices:literal, $($step:literal),+) => {
            /// The CPU must have the extension.
            pub unsafe fn $name(steps: u64) -> u64 {
                let data: [u8; 48] = core::array::from_fn(|i| ((i + 1) * 0x9e37_79b9 >> 11) as u8);
                // SAFETY: the CPU has the extension; 48 bytes are read; every register written is named.
                unsafe {
                    asm!(
                        concat!(".arch_extension ", $extension),
                        "ldp q30, q31, [{data}]", "ldr q29, [{data}, #32]",
                        "2:", concat!(".irp i,", $indices), $($step,)+ ".endr",
                        "subs {left}, {left}, #1", "b.ne 2b",
                        data = in(reg) data.as_ptr(), left = inout(reg) steps => _,
                        out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
                        out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _,
                        out("v13") _, out("v14") _, out("v15") _, out("v16") _, out("v17") _, out("v18") _,
                        out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _, out("v24") _,
                        out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
                        out("v30") _, out("v31") _, options(readonly, nostack)
                    );
                }
                steps * $products
            }
        };
    }

    peak!(
        widening,
        80,
        "simd",
        "0,1,2,3,4,5,6,7,8,9",
        "umull v1\\i\\().8h, v30.8b, v31.8b",
        "uadalp v\\i\\().4s, v29.8h"
    );
    peak!(
        proven,
        144,
        "simd",
        "0,1,2,3,4,5,6,7,8",
        "smull v1\\i\\().8h, v30.8b, v31.8b",
        "smlal2 v2\\i\\().8h, v30.16b, v31.16b",
        "sadalp v\\i\\().4s, v29.8h"
    );
    peak!(
        dot,
        384,
        "dotprod",
        "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
        "udot v\\i\\().4s, v30.16b, v31.16b"
    );
    peak!(
        matrix,
        768,
        "i8mm",
        "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
        "ummla v\\i\\().4s, v30.16b, v31.16b"
    );
}

//! What a core can do: a loop in registers of the same instructions as a backend's microkernel, on random data.

use std::time::Instant;

/// The best rate seen so far; measure again now and then, since the clock of a core wanders.
pub struct Peak {
    /// `None` unless the CPU has the instructions.
    run: Option<unsafe fn(u64) -> u64>,
    best: f64,
}

impl Peak {
    /// The peak of the instructions that a backend of this name uses, or of the saturating bytes that others use.
    pub fn of(name: &str) -> Self {
        Self { run: Self::loop_of(name), best: 0.0 }
    }

    #[cfg(target_arch = "x86_64")]
    fn loop_of(name: &str) -> Option<unsafe fn(u64) -> u64> {
        let evex = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl");
        match name {
            "avx2" if is_x86_feature_detected!("avx2") => Some(x86::madd_ymm),
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
            "neon" => Some(neon::run),
            _ => None,
        }
    }

    /// Measures for about three milliseconds.
    pub fn refresh(&mut self) {
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

    /// The share of the peak.
    pub fn share(&self, gops: Option<f64>) -> Option<f64> {
        Some(gops? / self.gops()?)
    }
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

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon {
    use core::arch::aarch64::*;
    use core::arch::asm;

    /// Products of `steps` steps of `umull` + `uadalp` into 16 accumulators, as a 4 x 4 tile has them.
    pub fn run(steps: u64) -> u64 {
        // SAFETY: the target has NEON.
        unsafe { turn(steps) };
        steps * 16 * 8
    }

    /// A value that the compiler knows nothing about.
    macro_rules! opaque {
        ($x:expr) => {{
            let mut x = $x;
            asm!("/* {0:v} */", inout(vreg) x, options(nomem, nostack, preserves_flags));
            x
        }};
    }

    #[target_feature(enable = "neon")]
    unsafe fn turn(steps: u64) {
        // SAFETY: arithmetic in registers, and comments.
        unsafe {
            let mut a: uint8x8_t = opaque!(vcreate_u8(0x9b_e3_11_fe_42_77_d0_08));
            let r: [uint8x8_t; 4] = [
                opaque!(vcreate_u8(0xff_7b_12_c4_9d_31_46_fe)),
                opaque!(vcreate_u8(0xa2_07_33_b5_de_68_71_90)),
                opaque!(vcreate_u8(0x2a_d9_c8_13_05_e7_b6_5c)),
                opaque!(vcreate_u8(0x7f_a1_ec_3e_19_f2_84_4d)),
            ];
            let mut acc = [[vdupq_n_u32(0); 4]; 4];
            for _ in 0..steps {
                for acc in &mut acc {
                    a = opaque!(a);
                    for (acc, r) in acc.iter_mut().zip(r) {
                        *acc = opaque!(vpadalq_u16(*acc, vmull_u8(a, r)));
                    }
                }
            }
            for acc in acc.iter().flatten() {
                let _: uint32x4_t = opaque!(*acc);
            }
        }
    }
}

//! What a core can do: a loop in registers of the same instructions as a backend's microkernel, on random data.

use std::time::Instant;

use zeropoint::Backend;

/// The best rate seen so far; measure again now and then, since the clock of a core wanders.
pub struct Peak {
    run: Option<fn(u64) -> u64>,
    best: f64,
}

impl Peak {
    /// The peak of a backend; the scalar one has none.
    pub fn new(backend: Backend) -> Self {
        let run: Option<fn(u64) -> u64> = match backend.name() {
            #[cfg(target_arch = "x86_64")]
            "avx2" => Some(avx2::run),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            "neon" => Some(neon::run),
            _ => None,
        };
        Self { run, best: 0.0 }
    }

    /// Measures for about three milliseconds.
    pub fn refresh(&mut self) {
        let Some(run) = self.run else { return };
        for _ in 0..75 {
            let start = Instant::now();
            let products = run(std::hint::black_box(20_000));
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

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use core::arch::asm;
    use core::arch::x86_64::*;

    /// Products of `steps` steps of `vpmaddwd` + `vpaddd` into 12 accumulators, as a 6 x 16 tile has them.
    pub fn run(steps: u64) -> u64 {
        assert!(is_x86_feature_detected!("avx2"));
        // SAFETY: the CPU has AVX2.
        unsafe { turn(steps) };
        steps * 12 * 16
    }

    /// A value that the compiler knows nothing about.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn opaque(mut x: __m256i) -> __m256i {
        // SAFETY: a comment.
        unsafe { asm!("/* {0} */", inout(ymm_reg) x, options(nomem, nostack, preserves_flags)) };
        x
    }

    #[target_feature(enable = "avx2")]
    fn turn(steps: u64) {
        let mut a = opaque(_mm256_set1_epi32(0x00e3_009b));
        let r = [
            opaque(_mm256_setr_epi32(
                0xff007b, 0x1200c4, 0x9d0031, 0x4600fe, 0xa20007, 0x3300b5, 0xde0068, 0x710090,
            )),
            opaque(_mm256_setr_epi32(
                0x2a00d9, 0xc80013, 0x0500e7, 0xb6005c, 0x7f00a1, 0xec003e, 0x1900f2, 0x84004d,
            )),
        ];
        let mut acc = [_mm256_setzero_si256(); 12];
        for _ in 0..steps {
            for pair in acc.as_chunks_mut::<2>().0 {
                // Nothing is hoisted out of the loop, and no sum is put together in another order.
                a = opaque(a);
                pair[0] = opaque(_mm256_add_epi32(pair[0], _mm256_madd_epi16(a, r[0])));
                pair[1] = opaque(_mm256_add_epi32(pair[1], _mm256_madd_epi16(a, r[1])));
            }
        }
        for acc in acc {
            opaque(acc);
        }
    }
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

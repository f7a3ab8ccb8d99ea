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
            "avx2" => Some(x86::avx2),
            #[cfg(target_arch = "x86_64")]
            "avx512" => Some(x86::avx512),
            #[cfg(target_arch = "x86_64")]
            "avx512-vnni" => Some(x86::avx512_vnni),
            #[cfg(target_arch = "x86_64")]
            "avx-vnni" => Some(x86::avx_vnni),
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
mod x86 {
    use core::arch::asm;
    use core::arch::x86_64::*;

    /// A value that the compiler knows nothing about.
    macro_rules! opaque {
        ($class:ident, $x:expr) => {{
            let mut x = $x;
            asm!("/* {0} */", inout($class) x, options(nomem, nostack, preserves_flags));
            x
        }};
    }

    /// Writes a loop of `$dot` into 12 accumulators of `$products` products each.
    macro_rules! turns {
        ($name:ident, $feature:literal, $class:ident, $load:ident, $zero:ident, $products:literal, $mask:expr,
            |$acc:ident, $a:ident, $r:ident| $dot:expr) => {
            /// The products of so many steps.
            pub fn $name(steps: u64) -> u64 {
                #[target_feature(enable = $feature)]
                unsafe fn turn(steps: u64) {
                    let mut rng = crate::common::Rng::new(5);
                    let data: [u64; 24] = std::array::from_fn(|_| rng.bits() & $mask);
                    // SAFETY: three vectors of data; arithmetic in registers, and comments.
                    unsafe {
                        let vector = |i: usize| $load(data.as_ptr().add(8 * i).cast());
                        let (mut $a, r) = (opaque!($class, vector(0)), [vector(1), vector(2)]);
                        let r = [opaque!($class, r[0]), opaque!($class, r[1])];
                        let mut acc = [$zero(); 12];
                        for _ in 0..steps {
                            for pair in acc.as_chunks_mut::<2>().0 {
                                // Nothing is hoisted out of the loop, and no sum is put together in another order.
                                $a = opaque!($class, $a);
                                for ($acc, $r) in pair.iter_mut().zip(r) {
                                    *$acc = opaque!($class, {
                                        let $acc = *$acc;
                                        $dot
                                    });
                                }
                            }
                        }
                        for acc in acc {
                            let _ = opaque!($class, acc);
                        }
                    }
                }
                // SAFETY: a backend that runs here needs the features.
                unsafe { turn(steps) };
                steps * 12 * $products
            }
        };
    }

    turns!(
        avx2,
        "avx2",
        ymm_reg,
        _mm256_loadu_si256,
        _mm256_setzero_si256,
        16,
        0x00ff_00ff_00ff_00ff,
        |acc, a, r| _mm256_add_epi32(acc, _mm256_madd_epi16(a, r))
    );
    turns!(
        avx512,
        "avx512bw",
        zmm_reg,
        _mm512_loadu_si512,
        _mm512_setzero_si512,
        32,
        0x00ff_00ff_00ff_00ff,
        |acc, a, r| _mm512_add_epi32(acc, _mm512_madd_epi16(a, r))
    );
    turns!(
        avx512_vnni,
        "avx512vnni",
        zmm_reg,
        _mm512_loadu_si512,
        _mm512_setzero_si512,
        64,
        u64::MAX,
        |acc, a, r| _mm512_dpbusd_epi32(acc, a, r)
    );
    turns!(avx_vnni, "avxvnni", ymm_reg, _mm256_loadu_si256, _mm256_setzero_si256, 32, u64::MAX, |acc, a, r| {
        _mm256_dpbusd_avx_epi32(acc, a, r)
    });
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

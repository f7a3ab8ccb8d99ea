//! gemm: the same product in float, for orientation. It has no packed weights.

use gemm::Parallelism;

use crate::case::{Aligned, Case, Output, Variant, aligned};
use crate::peer::{Peer, Product, Ready};

pub struct GemmF32;

impl Peer for GemmF32 {
    fn name(&self) -> &'static str {
        "gemm-f32"
    }

    fn is_rival(&self) -> bool {
        false
    }

    fn has(&self, variant: Variant) -> bool {
        variant == Variant::I32
    }

    fn prepare<'c>(&'c self, case: &'c Case, _: Variant, threads: usize) -> Ready<'c> {
        Ok(Box::new(Prepared {
            case,
            lhs: aligned(case.lhs.iter().map(|code| f32::from(*code))),
            rhs: aligned(case.rhs.iter().map(|code| f32::from(*code))),
            out: aligned(vec![0.0; case.shape.m * case.shape.n]),
            threads: if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None },
        }))
    }
}

struct Prepared<'c> {
    case: &'c Case,
    lhs: Aligned<f32>,
    rhs: Aligned<f32>,
    out: Aligned<f32>,
    threads: Parallelism,
}

impl Product for Prepared<'_> {
    fn run(&mut self) {
        let (m, k, n) = (self.case.shape.m, self.case.shape.k, self.case.shape.n);
        let (out, lhs, rhs) = (self.out.as_mut_ptr(), self.lhs.as_ptr(), self.rhs.as_ptr());
        let (lhs_row, rhs_row) = (k as isize, n as isize);
        // SAFETY: row-major matrices of these sizes; no other reference to `out`.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out,
                1,
                rhs_row,
                false,
                lhs,
                1,
                lhs_row,
                rhs,
                1,
                rhs_row,
                0.0,
                1.0,
                false,
                false,
                false,
                self.threads,
            );
        }
    }

    fn output(&self) -> Output<'_> {
        Output::Reals(&self.out)
    }

    fn kernel(&self) -> String {
        "float, unpacked".into()
    }
}

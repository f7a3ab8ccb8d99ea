//! MKL: `cblas_gemm_s8u8s32` with packed weights. Row-major, its lhs is u8 and its rhs i8.

use std::cell::OnceCell;
use std::ffi::{c_int, c_void};

use crate::case::{Aligned, Case, Output, Variant, aligned};
use crate::isa::Isa;
use crate::library::functions;
use crate::peer::{Held, Peer, Product, Ready, switch};

// Of `mkl_cblas.h`; the integers are 32-bit (LP64).
const ROW_MAJOR: c_int = 101;
const NO_TRANS: c_int = 111;
const PACKED: c_int = 151;
const B_MATRIX: c_int = 162;
const FIX_OFFSET: c_int = 173;

functions! {
    "libmkl_rt.so", "cblas_gemm_s8u8s32_":
    pack_get_size: fn(identifier: c_int, m: c_int, n: c_int, k: c_int) -> usize,
    pack: fn(
        layout: c_int,
        identifier: c_int,
        trans: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        src: *const c_void,
        ld: c_int,
        dest: *mut c_void,
    ) -> (),
    compute: fn(
        layout: c_int,
        trans_a: c_int,
        trans_b: c_int,
        offset: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: f32,
        a: *const c_void,
        lda: c_int,
        a_offset: i8,
        b: *const c_void,
        ldb: c_int,
        b_offset: i8,
        beta: f32,
        c: *mut i32,
        ldc: c_int,
        c_offset: *const i32,
    ) -> (),
}

#[derive(Default)]
pub struct Mkl(OnceCell<Result<Functions, String>>);

impl Peer for Mkl {
    fn name(&self) -> &'static str {
        "mkl"
    }

    fn has(&self, variant: Variant) -> bool {
        variant == Variant::I32
    }

    fn hold(&self, isa: Isa) -> Held {
        switch("MKL_ENABLE_INSTRUCTIONS", isa, ["AVX2", "AVX2_E1", "AVX512", "AVX512_E1"].map(Some))
    }

    fn prepare<'c>(&'c self, case: &'c Case, _: Variant, _: usize) -> Ready<'c> {
        let functions = self.0.get_or_init(Functions::load).clone()?;
        let [m, k, n] = [case.shape.m, case.shape.k, case.shape.n].map(|size| size as c_int);
        // SAFETY: the size is what the library asks for, the source is k x n and row-major.
        let weights = unsafe {
            let mut weights = aligned(vec![0u8; (functions.pack_get_size)(B_MATRIX, m, n, k)]);
            let (src, dest) = (case.rhs.as_ptr().cast(), weights.as_mut_ptr().cast());
            (functions.pack)(ROW_MAJOR, B_MATRIX, NO_TRANS, m, n, k, src, n, dest);
            weights
        };
        Ok(Box::new(Prepared { case, functions, weights, out: aligned(vec![0; case.shape.m * case.shape.n]) }))
    }
}

struct Prepared<'c> {
    case: &'c Case,
    functions: Functions,
    weights: Aligned<u8>,
    out: Aligned<i32>,
}

impl Product for Prepared<'_> {
    fn run(&mut self) {
        let [m, k, n] = [self.case.shape.m, self.case.shape.k, self.case.shape.n].map(|size| size as c_int);
        let (a, b) = (self.case.lhs.as_ptr().cast(), self.weights.as_ptr().cast());
        let (compute, c) = (self.functions.compute, self.out.as_mut_ptr());
        // SAFETY: matrices of these sizes, the weights packed for them.
        unsafe {
            compute(ROW_MAJOR, NO_TRANS, PACKED, FIX_OFFSET, m, n, k, 1.0, a, k, 0, b, n, 0, 0.0, c, n, &0);
        }
    }

    fn output(&self) -> Output<'_> {
        Output::plain(&self.out)
    }

    fn kernel(&self) -> String {
        "packed".into()
    }
}

//! gemmkit: i8 x i8. Its packed weights need column-major sums; its u8 output takes them unpacked, and scales by row,
//! so the product is transposed there. Either is the best it can do.

use gemmkit::{
    MatMut, MatRef, PackedRhs, Parallelism, RequantScale, Requantize, gemm_i8_packed_b, gemm_i8_requant_u8,
    prepack_rhs_i8,
};

use crate::case::{Aligned, Case, LHS_ONLY, OUT_ZERO, Output, Rule, SIGNED_LHS, Variant, aligned};
use crate::isa::Isa;
use crate::peer::{Held, Peer, Product, Ready, switch};

pub struct Gemmkit;

impl Peer for Gemmkit {
    fn name(&self) -> &'static str {
        "gemmkit"
    }

    fn has(&self, variant: Variant) -> bool {
        variant != Variant::U8Q31
    }

    fn hold(&self, isa: Isa) -> Held {
        // It would panic.
        if !isa.is_here() {
            return Err("has no kernel for it here".into());
        }
        switch("GEMMKIT_REQUIRE_ISA", isa, [Some("fma"), None, Some("avx512f"), Some("avx512vnni")])
    }

    fn prepare<'c>(&'c self, case: &'c Case, variant: Variant, threads: usize) -> Ready<'c> {
        let shape = case.shape;
        let threads = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::Serial };
        let elements = shape.m * shape.n;
        if variant == Variant::I32 {
            let weights = prepack_rhs_i8(MatRef::from_row_major(&case.rhs, shape.k, shape.n));
            return Ok(Box::new(Sums { case, weights, threads, out: aligned(vec![0; elements]) }));
        }
        // The activations are minus 128 where their zero point is less: the rest goes into the bias.
        let rest = 128 - LHS_ONLY.lhs;
        let bias = case.bias.iter().zip(&case.column_sums).map(|(bias, sum)| bias + rest * sum).collect();
        Ok(Box::new(Codes { case, bias, threads, out: aligned(vec![0; elements]) }))
    }
}

struct Sums<'c> {
    case: &'c Case,
    weights: PackedRhs<i8>,
    threads: Parallelism,
    out: Aligned<i32>,
}

impl Product for Sums<'_> {
    fn run(&mut self) {
        let shape = self.case.shape;
        let lhs = MatRef::from_row_major(&self.case.signed_lhs, shape.m, shape.k);
        let out = MatMut::from_col_major(&mut self.out, shape.m, shape.n);
        gemm_i8_packed_b(1, lhs, &self.weights, 0, out, self.threads);
    }

    fn output(&self) -> Output<'_> {
        Output::Sums { out: &self.out, zeros: SIGNED_LHS, column_major: true }
    }

    fn kernel(&self) -> String {
        "packed, column-major out".into()
    }
}

struct Codes<'c> {
    case: &'c Case,
    bias: Vec<i32>,
    threads: Parallelism,
    out: Aligned<u8>,
}

impl Product for Codes<'_> {
    fn run(&mut self) {
        let shape = self.case.shape;
        let weights = MatRef::from_col_major(&self.case.rhs, shape.n, shape.k);
        let lhs = MatRef::from_col_major(&self.case.signed_lhs, shape.k, shape.m);
        let out = MatMut::from_col_major(&mut self.out, shape.n, shape.m);
        let scale = RequantScale::PerRow(&self.case.scales);
        let stage = Requantize { scale, zero_point: OUT_ZERO, bias: Some(&self.bias) };
        gemm_i8_requant_u8(weights, lhs, stage, out, self.threads);
    }

    fn output(&self) -> Output<'_> {
        Output::codes(&self.out, LHS_ONLY, Rule::Rounded)
    }

    fn kernel(&self) -> String {
        "unpacked".into()
    }
}

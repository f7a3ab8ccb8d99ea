//! rten-gemm: u8 x i8 sums, weights packed, activations packed at every call.

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_tensor::NdTensorView;

use crate::case::{Aligned, Case, Output, Variant, aligned};
use crate::peer::{Peer, Product, Ready};

pub struct Rten;

impl Peer for Rten {
    fn name(&self) -> &'static str {
        "rten"
    }

    fn has(&self, variant: Variant) -> bool {
        variant == Variant::I32
    }

    fn prepare<'c>(&'c self, case: &'c Case, _: Variant, _: usize) -> Ready<'c> {
        let shape = case.shape;
        let executor = GemmExecutor::new();
        let weights = executor.prepack_b(NdTensorView::from_data([shape.k, shape.n], &case.rhs[..]).view());
        Ok(Box::new(Prepared { case, executor, weights, out: aligned(vec![0; shape.m * shape.n]) }))
    }
}

struct Prepared<'c> {
    case: &'c Case,
    executor: GemmExecutor<u8, i8, i32>,
    weights: PackedBMatrix<i8>,
    out: Aligned<i32>,
}

impl Product for Prepared<'_> {
    fn run(&mut self) {
        let lhs = NdTensorView::from_data([self.case.shape.m, self.case.shape.k], &self.case.lhs[..]);
        let (lhs, rhs) = (GemmInputA::Unpacked(lhs.view()), GemmInputB::Packed(&self.weights));
        self.executor.gemm(&mut self.out, lhs, rhs, GemmOptions::default()).expect("runs");
    }

    fn output(&self) -> Output<'_> {
        Output::plain(&self.out)
    }

    fn kernel(&self) -> String {
        self.executor.kernel_name().into()
    }
}

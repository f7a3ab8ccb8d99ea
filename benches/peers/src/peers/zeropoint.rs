//! This library: both zero points are non-zero wherever there are codes.

use std::time::Duration;

use zeropoint::reference::Output as Element;
use zeropoint::{
    BACKEND_VARIABLE, Error, FloatScale, Gemm, MatMut, MatRef, PackOptions, Packed, PerAxis, RayonAwake,
};
use zeropoint::{Stages, Workspace};

use crate::case::{self, Aligned, BOTH, Case, OUT_ZERO, Output, RELU_ZERO, Rule, Variant, Zeros, aligned};
use crate::isa::Isa;
use crate::peer::{Held, Peer, Product, Ready, switch};

/// Threads that wait as long as OpenMP's: idle ones have fallen asleep when another library's turn comes.
const AWAKE: RayonAwake = RayonAwake(Duration::from_millis(1));

pub struct Zeropoint;

impl Peer for Zeropoint {
    fn name(&self) -> &'static str {
        super::OURS
    }

    fn has(&self, _: Variant) -> bool {
        true
    }

    fn hold(&self, isa: Isa) -> Held {
        switch(BACKEND_VARIABLE, isa, Isa::NAMED.map(|isa| Some(isa.name())))
    }

    fn prepare<'c>(&'c self, case: &'c Case, variant: Variant, threads: usize) -> Ready<'c> {
        let codes: fn(&[u8]) -> Output<'_> = |out| Output::codes(out, BOTH, Rule::Bits);
        let product: Result<Box<dyn Product>, Error> = match variant {
            Variant::I32 => {
                Prepared::boxed(case, Zeros::default(), &Stages::raw(), |out| Output::plain(out), threads)
            }
            Variant::U8 => {
                let stages =
                    Stages::float(FloatScale::PerColumn(&case.scales)).bias(&case.bias).zero_point(OUT_ZERO);
                Prepared::boxed(case, BOTH, &stages, codes, threads)
            }
            Variant::U8Q31 => {
                let stages = Stages::fixed(PerAxis::PerColumn(&case.multipliers)).bias(&case.bias);
                let stages = stages.zero_point(RELU_ZERO).clamp(RELU_ZERO, 255);
                Prepared::boxed(case, BOTH, &stages, codes, threads)
            }
        };
        product.map_err(|error| error.to_string())
    }
}

struct Prepared<'c, O> {
    case: &'c Case,
    gemm: Gemm<'static, O>,
    workspace: Workspace<'static>,
    lhs_zero: i32,
    threads: usize,
    out: Aligned<O>,
    wrap: fn(&[O]) -> Output<'_>,
}

impl<'c, O: Element + Default> Prepared<'c, O> {
    fn boxed(
        case: &'c Case,
        zeros: Zeros,
        stages: &Stages<'_, O>,
        wrap: fn(&[O]) -> Output<'_>,
        threads: usize,
    ) -> Result<Box<dyn Product + 'c>, Error> {
        let case::Case { shape, rhs, .. } = case;
        let options = PackOptions { backend: None, expected_rows: Some(shape.m), ..PackOptions::default() };
        let weights = MatRef::row_major(rhs, shape.k, shape.n)?.zero_point(zeros.rhs);
        let gemm = Gemm::new(Packed::rhs_with(weights, options)?, stages)?;
        let workspace = gemm.workspace_for(threads);
        let out = aligned(vec![O::default(); shape.m * shape.n]);
        Ok(Box::new(Self { case, gemm, workspace, lhs_zero: zeros.lhs, threads, out, wrap }))
    }
}

impl<O: Element + Default> Product for Prepared<'_, O> {
    fn run(&mut self) {
        let shape = self.case.shape;
        let lhs = MatRef::row_major(&self.case.lhs, shape.m, shape.k).expect("lhs").zero_point(self.lhs_zero);
        let out = MatMut::row_major(&mut self.out, shape.m, shape.n).expect("out");
        let options = self.gemm.options();
        let options = if self.threads > 1 { options.threads(&AWAKE) } else { options };
        options.run(lhs, out, &mut self.workspace).expect("runs");
    }

    fn output(&self) -> Output<'_> {
        (self.wrap)(&self.out)
    }

    fn kernel(&self) -> String {
        self.gemm.packed().backend().kernel().into()
    }
}

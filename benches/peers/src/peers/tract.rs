//! tract-linalg: i8 x i8 sums, weights packed, activations packed at every call.

use tract_data::internal::{DatumType, Tensor, TractErrorContext as _, TractResult};
use tract_linalg::MmmDispatch;
use tract_linalg::mmm::{AsInputValue, FusedSpec, MMMInputValue, MatMatMul, ScratchSpace};

use crate::case::{Case, Output, SIGNED_LHS, Variant};
use crate::isa::Isa;
use crate::peer::{Held, Peer, Product, Ready, switch};
use crate::shape::Shape;

/// The packing of two i8 operands in the kernel's list.
const I8: usize = 1;

pub struct Tract;

impl Peer for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn has(&self, variant: Variant) -> bool {
        variant == Variant::I32
    }

    fn hold(&self, isa: Isa) -> Held {
        let without = [
            "-avx512f,-avx512vnni,-avxvnni,-amx-int8",
            "-avx512f,-avx512vnni,-amx-int8",
            "-avx512vnni,-avxvnni,-amx-int8",
            "-avxvnni,-amx-int8",
        ];
        switch("TRACT_CPU_ISA", isa, without.map(Some))
    }

    fn prepare<'c>(&'c self, case: &'c Case, _: Variant, threads: usize) -> Ready<'c> {
        if threads > 1 {
            return Err("runs one thread".into());
        }
        Prepared::new(case).map(|prepared| Box::new(prepared) as _).map_err(|error| error.to_string())
    }
}

struct Prepared {
    kernel: Box<dyn MatMatMul>,
    scratch: Box<dyn ScratchSpace>,
    shape: Shape,
    lhs: Tensor,
    weights: Box<dyn MMMInputValue>,
    out: Tensor,
}

impl Prepared {
    fn new(case: &Case) -> TractResult<Self> {
        let shape = case.shape;
        let kernel = MmmDispatch::native()
            .preferred_kernel(DatumType::I32, Some(shape.m), Some(shape.k), Some(shape.n))
            .context("no kernel")?;
        let rhs = Tensor::from_shape(&[shape.k, shape.n], &case.rhs)?;
        Ok(Self {
            weights: kernel.packings()[I8].1.prepare_one(&rhs, 0, 1)?,
            // SAFETY: it goes to the kernel that made it.
            scratch: unsafe { kernel.allocate_scratch_space() },
            kernel,
            shape,
            lhs: Tensor::from_shape(&[shape.m, shape.k], &case.signed_lhs)?,
            out: Tensor::zero::<i32>(&[shape.m, shape.n])?,
        })
    }
}

impl Product for Prepared {
    fn run(&mut self) {
        let lhs = self.kernel.packings()[I8].0.prepare_one(&self.lhs, 1, 0).expect("packs");
        // SAFETY: operands are packed by the kernel's own packing, the output is row-major and of its size.
        unsafe {
            let product = FusedSpec::AddMatMul {
                a: AsInputValue::Borrowed(&*lhs),
                b: AsInputValue::Borrowed(&*self.weights),
                packing: I8,
            };
            let store = FusedSpec::Store(self.kernel.c_view(Some(0), Some(1)).wrap(&self.out.view_mut()));
            let stages = [product, store];
            self.kernel
                .run_with_scratch_space(self.shape.m, self.shape.n, &mut *self.scratch, &stages)
                .expect("runs");
        }
    }

    fn output(&self) -> Output<'_> {
        let plain = self.out.as_plain_ram().expect("in memory");
        Output::sums(plain.as_slice().expect("i32"), SIGNED_LHS)
    }

    fn kernel(&self) -> String {
        self.kernel.name().into()
    }
}

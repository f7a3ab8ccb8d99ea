//! ONNX Runtime: a model of one node, MatMulInteger or QLinearMatMul, whose weights it packs when it loads.
//! Its QLinearMatMul has no bias: it has less to do.

mod api;
mod model;

use std::cell::OnceCell;
use std::ptr;

use api::{ARENA, Api, DEFAULT, ERRORS, Handle};
use model::{FLOAT, INT8, INT32, Node, Tensor, UINT8};

use crate::case::{Aligned, Case, LHS_ONLY, OUT_ZERO, Output, Variant, aligned};
use crate::isa::Isa;
use crate::peer::{Held, Peer, Product};
use crate::shape::Shape;

#[derive(Default)]
pub struct OnnxRuntime(OnceCell<Result<Runtime, String>>);

impl Peer for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn has(&self, variant: Variant) -> bool {
        variant != Variant::U8Q31
    }

    fn hold(&self, isa: Isa) -> Held {
        isa.by_itself().map(|()| vec![])
    }

    fn prepare<'c>(
        &'c self,
        case: &'c Case,
        variant: Variant,
        threads: usize,
    ) -> Result<Box<dyn Product + 'c>, String> {
        let runtime = self.0.get_or_init(Runtime::new).as_ref().map_err(Clone::clone)?;
        let elements = case.shape.m * case.shape.n;
        let out = match variant {
            Variant::I32 => Out::Sums(aligned(vec![0; elements])),
            _ => Out::Codes(aligned(vec![0; elements])),
        };
        Ok(Box::new(Prepared::new(runtime, case, out, threads)?))
    }
}

/// The environment; it lives as long as the process.
struct Runtime {
    api: Api,
    environment: Handle,
    memory: Handle,
}

impl Runtime {
    fn new() -> Result<Self, String> {
        let api = Api::load()?;
        // SAFETY: the name ends with a zero.
        let environment = api.made(|handle| unsafe { (api.create_env)(ERRORS, c"peers".as_ptr(), handle) })?;
        // SAFETY: the numbers are of their enumerations.
        let memory = api.made(|handle| unsafe { (api.create_cpu_memory_info)(ARENA, DEFAULT, handle) })?;
        Ok(Self { api, environment, memory })
    }

    /// A session of its own for a model.
    fn session(&self, model: &[u8], threads: usize) -> Result<Handle, String> {
        let api = &self.api;
        // SAFETY: the environment is alive; the model is copied.
        unsafe {
            let options = api.made(|handle| (api.create_session_options)(handle))?;
            api.done((api.set_intra_op_num_threads)(options, threads as i32))?;
            api.made(|handle| {
                (api.create_session_from_array)(self.environment, model.as_ptr(), model.len(), options, handle)
            })
        }
    }

    /// The value at `data`, which must outlive it.
    fn value<T>(&self, data: &[T], sizes: [usize; 2], element: u64) -> Result<Handle, String> {
        let sizes = sizes.map(|size| size as i64);
        let (create, bytes) = (self.api.create_tensor_with_data, size_of_val(data));
        let data = data.as_ptr().cast_mut().cast();
        // SAFETY: the data are of this length; the memory is the CPU's.
        self.api
            .made(|handle| unsafe { create(self.memory, data, bytes, sizes.as_ptr(), 2, element as i32, handle) })
    }
}

enum Out {
    Sums(Aligned<i32>),
    Codes(Aligned<u8>),
}

struct Prepared<'c> {
    runtime: &'c Runtime,
    session: Handle,
    lhs: Handle,
    result: Handle,
    out: Out,
}

impl<'c> Prepared<'c> {
    fn new(runtime: &'c Runtime, case: &'c Case, out: Out, threads: usize) -> Result<Self, String> {
        let Shape { m, k, n } = case.shape;
        let (result, model) = match &out {
            Out::Sums(out) => (runtime.value(out, [m, n], INT32)?, sums(case)),
            Out::Codes(out) => (runtime.value(out, [m, n], UINT8)?, codes(case)),
        };
        let lhs = runtime.value(&case.lhs, [m, k], UINT8)?;
        let session = runtime.session(&model, threads)?;
        Ok(Self { runtime, session, lhs, result, out })
    }
}

/// The weights, as every model has them.
fn weights(case: &Case) -> Tensor<'_> {
    let bytes = case.rhs.iter().map(|code| *code as u8).collect();
    Tensor { name: "b", element: INT8, sizes: &[], bytes }
}

fn sums(case: &Case) -> Vec<u8> {
    let Shape { m, k, n } = case.shape;
    Node {
        operator: "MatMulInteger",
        inputs: &["a", "b"],
        variable: Tensor { name: "a", element: UINT8, sizes: &[m, k], bytes: vec![] },
        constants: &[Tensor { sizes: &[k, n], ..weights(case) }],
        output: Tensor { name: "y", element: INT32, sizes: &[m, n], bytes: vec![] },
    }
    .model()
}

fn codes(case: &Case) -> Vec<u8> {
    let Shape { m, k, n } = case.shape;
    let one = 1f32.to_le_bytes().to_vec();
    let scales = case.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
    Node {
        operator: "QLinearMatMul",
        inputs: &["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero"],
        variable: Tensor { name: "a", element: UINT8, sizes: &[m, k], bytes: vec![] },
        constants: &[
            Tensor { sizes: &[k, n], ..weights(case) },
            Tensor { name: "a_scale", element: FLOAT, sizes: &[], bytes: one.clone() },
            Tensor { name: "a_zero", element: UINT8, sizes: &[], bytes: vec![LHS_ONLY.lhs as u8] },
            Tensor { name: "b_scale", element: FLOAT, sizes: &[n], bytes: scales },
            Tensor { name: "b_zero", element: INT8, sizes: &[n], bytes: vec![0; n] },
            Tensor { name: "y_scale", element: FLOAT, sizes: &[], bytes: one },
            Tensor { name: "y_zero", element: UINT8, sizes: &[], bytes: vec![OUT_ZERO as u8] },
        ],
        output: Tensor { name: "y", element: UINT8, sizes: &[m, n], bytes: vec![] },
    }
    .model()
}

impl Product for Prepared<'_> {
    fn run(&mut self) {
        let api = &self.runtime.api;
        let (inputs, outputs) = ([c"a".as_ptr()], [c"y".as_ptr()]);
        // SAFETY: session and values are alive; names end with a zero.
        let status = unsafe {
            let (names, to) = (inputs.as_ptr(), &mut self.result);
            (api.run)(self.session, ptr::null_mut(), names, &self.lhs, 1, outputs.as_ptr(), 1, to)
        };
        api.done(status).expect("runs");
    }

    fn output(&self) -> Output<'_> {
        match &self.out {
            Out::Sums(out) => Output::Sums(out),
            Out::Codes(out) => Output::Codes { out, zeros: LHS_ONLY, bias: false, bits: false },
        }
    }

    fn kernel(&self) -> String {
        if matches!(self.out, Out::Sums(_)) { "MatMulInteger" } else { "QLinearMatMul, no bias" }.into()
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        let api = &self.runtime.api;
        // SAFETY: each was made once and is released once.
        unsafe {
            (api.release_session)(self.session);
            (api.release_value)(self.lhs);
            (api.release_value)(self.result);
        }
    }
}

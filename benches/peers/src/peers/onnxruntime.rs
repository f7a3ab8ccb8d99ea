//! ONNX Runtime: a model of one node, MatMulInteger or QLinearMatMul, whose weights it packs when it loads.
//! Its QLinearMatMul has no bias: it has less to do. Weights are i8, or the same plus 128 in u8: on AVX2 these take
//! a slower road that does not saturate, to which its option `session.x64quantprecision` sends i8 weights as well.

mod api;
mod model;

use std::cell::OnceCell;
use std::ptr;

use api::{ARENA, Api, DEFAULT, ERRORS};
use model::{FLOAT, INT8, INT32, Node, Tensor, UINT8};

use crate::case::{Case, LHS_ONLY, OUT_ZERO, Output, Room, Rule, UNSIGNED_RHS, Variant};
use crate::library::Owned;
use crate::peer::{Peer, Product, Ready};
use crate::shape::Shape;

pub struct OnnxRuntime {
    name: &'static str,
    weights: Weights,
    runtime: OnceCell<Result<Runtime, String>>,
}

/// The type of the weights' codes.
#[derive(Clone, Copy)]
enum Weights {
    I8,
    U8,
}

impl OnnxRuntime {
    pub fn u8i8() -> Self {
        Self { name: "onnxruntime", weights: Weights::I8, runtime: OnceCell::new() }
    }

    pub fn u8u8() -> Self {
        Self { name: "onnxruntime-u8u8", weights: Weights::U8, runtime: OnceCell::new() }
    }
}

impl Peer for OnnxRuntime {
    fn name(&self) -> &'static str {
        self.name
    }

    fn has(&self, variant: Variant) -> bool {
        variant != Variant::U8Q31
    }

    fn prepare<'c>(&'c self, case: &'c Case, variant: Variant, threads: usize) -> Ready<'c> {
        let runtime = self.runtime.get_or_init(Runtime::new).as_ref().map_err(Clone::clone)?;
        let out = Room::new(case.shape, variant);
        Ok(Box::new(Prepared::new(runtime, Model { case, weights: self.weights }, out, threads)?))
    }
}

/// The environment.
struct Runtime {
    api: Api,
    environment: Owned,
    memory: Owned,
}

impl Runtime {
    fn new() -> Result<Self, String> {
        let api = Api::load()?;
        // SAFETY: the name ends with a zero.
        let environment =
            api.owned(api.release_env, |handle| unsafe { (api.create_env)(ERRORS, c"peers".as_ptr(), handle) })?;
        // SAFETY: the numbers are of their enumerations.
        let memory = api.owned(api.release_memory_info, |handle| unsafe {
            (api.create_cpu_memory_info)(ARENA, DEFAULT, handle)
        })?;
        Ok(Self { api, environment, memory })
    }

    /// A session of its own for a model.
    fn session(&self, model: &[u8], threads: usize) -> Result<Owned, String> {
        let (api, environment) = (&self.api, self.environment.handle);
        // SAFETY: the environment is alive; the model is copied.
        unsafe {
            let options = api.owned(api.release_session_options, |handle| (api.create_session_options)(handle))?;
            api.done((api.set_intra_op_num_threads)(options.handle, threads as i32))?;
            api.owned(api.release_session, |handle| {
                let (from, bytes) = (model.as_ptr(), model.len());
                (api.create_session_from_array)(environment, from, bytes, options.handle, handle)
            })
        }
    }

    /// The value at `data`, which must outlive it.
    fn value<T>(&self, data: &[T], sizes: [usize; 2], element: u64) -> Result<Owned, String> {
        let sizes = sizes.map(|size| size as i64);
        let (create, bytes) = (self.api.create_tensor_with_data, size_of_val(data));
        let (memory, data) = (self.memory.handle, data.as_ptr().cast_mut().cast());
        // SAFETY: the data are of this length; the memory is the CPU's.
        self.api.owned(self.api.release_value, |handle| unsafe {
            create(memory, data, bytes, sizes.as_ptr(), 2, element as i32, handle)
        })
    }
}

struct Prepared<'c> {
    runtime: &'c Runtime,
    session: Owned,
    lhs: Owned,
    result: Owned,
    weights: Weights,
    out: Room,
}

impl<'c> Prepared<'c> {
    fn new(runtime: &'c Runtime, model: Model<'c>, out: Room, threads: usize) -> Result<Self, String> {
        let Shape { m, k, n } = model.case.shape;
        let (result, bytes) = match &out {
            Room::Sums(out) => (runtime.value(out, [m, n], INT32)?, model.sums()),
            Room::Codes(out) => (runtime.value(out, [m, n], UINT8)?, model.codes()),
        };
        let lhs = runtime.value(&model.case.lhs, [m, k], UINT8)?;
        let session = runtime.session(&bytes, threads)?;
        Ok(Self { runtime, session, lhs, result, weights: model.weights, out })
    }
}

/// What a model is made of.
struct Model<'c> {
    case: &'c Case,
    weights: Weights,
}

impl Model<'_> {
    fn element(&self) -> u64 {
        match self.weights {
            Weights::I8 => INT8,
            Weights::U8 => UINT8,
        }
    }

    /// A code of the weights, as it is stored.
    fn code(&self, code: i8) -> u8 {
        match self.weights {
            Weights::I8 => code as u8,
            Weights::U8 => code as u8 ^ 0x80,
        }
    }

    fn sums(&self) -> Vec<u8> {
        let Shape { m, k, n } = self.case.shape;
        let bytes = self.case.rhs.iter().map(|code| self.code(*code)).collect();
        Node {
            operator: "MatMulInteger",
            inputs: &["a", "b"],
            variable: Tensor { name: "a", element: UINT8, sizes: &[m, k], bytes: vec![] },
            constants: &[Tensor { name: "b", element: self.element(), sizes: &[k, n], bytes }],
            output: Tensor { name: "y", element: INT32, sizes: &[m, n], bytes: vec![] },
        }
        .model()
    }

    fn codes(&self) -> Vec<u8> {
        let Shape { m, k, n } = self.case.shape;
        let bytes = self.case.rhs.iter().map(|code| self.code(*code)).collect();
        let one = 1f32.to_le_bytes().to_vec();
        let scales = self.case.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        Node {
            operator: "QLinearMatMul",
            inputs: &["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero"],
            variable: Tensor { name: "a", element: UINT8, sizes: &[m, k], bytes: vec![] },
            constants: &[
                Tensor { name: "b", element: self.element(), sizes: &[k, n], bytes },
                Tensor { name: "a_scale", element: FLOAT, sizes: &[], bytes: one.clone() },
                Tensor { name: "a_zero", element: UINT8, sizes: &[], bytes: vec![LHS_ONLY.lhs as u8] },
                Tensor { name: "b_scale", element: FLOAT, sizes: &[n], bytes: scales },
                Tensor { name: "b_zero", element: self.element(), sizes: &[n], bytes: vec![self.code(0); n] },
                Tensor { name: "y_scale", element: FLOAT, sizes: &[], bytes: one },
                Tensor { name: "y_zero", element: UINT8, sizes: &[], bytes: vec![OUT_ZERO as u8] },
            ],
            output: Tensor { name: "y", element: UINT8, sizes: &[m, n], bytes: vec![] },
        }
        .model()
    }
}

impl Product for Prepared<'_> {
    fn run(&mut self) {
        let api = &self.runtime.api;
        let (inputs, outputs) = ([c"a".as_ptr()], [c"y".as_ptr()]);
        // SAFETY: session and values are alive; names end with a zero.
        let status = unsafe {
            let (names, session, to) = (inputs.as_ptr(), self.session.handle, &mut self.result.handle);
            (api.run)(session, ptr::null_mut(), names, &self.lhs.handle, 1, outputs.as_ptr(), 1, to)
        };
        api.done(status).expect("runs");
    }

    fn output(&self) -> Output<'_> {
        match &self.out {
            Room::Sums(out) => match self.weights {
                Weights::I8 => Output::plain(out),
                Weights::U8 => Output::sums(out, UNSIGNED_RHS),
            },
            Room::Codes(out) => Output::codes(out, LHS_ONLY, Rule::WithoutBias),
        }
    }

    fn kernel(&self) -> String {
        let operator = if matches!(self.out, Room::Sums(_)) { "MatMulInteger" } else { "QLinearMatMul, no bias" };
        let weights = match self.weights {
            Weights::I8 => "i8",
            Weights::U8 => "u8",
        };
        format!("{operator}, {weights} weights")
    }
}

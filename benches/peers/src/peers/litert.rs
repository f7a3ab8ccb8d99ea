//! LiteRT: a model of one FULLY_CONNECTED, compiled for the CPU, which means XNNPACK; it packs the weights when it loads.
//! What is measured is a run of the model, with all that LiteRT does around the product. The form is i8 x i8 -> i8 with a
//! scale a column, or the older u8 x u8 -> u8, which has one scale for all columns. The codes are the same, shifted.

mod api;
mod model;

use std::cell::OnceCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use api::{CPU, CPU_OPTIONS, Functions, TensorType, done};
use model::FullyConnected;

use crate::case::{Aligned, Case, LHS_ONLY, OUT_ZERO, Output, Rule, Variant, aligned};
use crate::library::Owned;
use crate::peer::{Peer, Product, Ready};
use crate::shape::Shape;

/// The library may read a register beyond the end of a tensor.
const SLACK: usize = 128;

pub struct LiteRt {
    name: &'static str,
    form: Form,
    runtime: OnceCell<Result<Runtime, String>>,
}

/// The type of all codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    I8,
    U8,
}

impl LiteRt {
    pub fn i8i8() -> Self {
        Self { name: "litert", form: Form::I8, runtime: OnceCell::new() }
    }

    pub fn u8u8() -> Self {
        Self { name: "litert-u8u8", form: Form::U8, runtime: OnceCell::new() }
    }
}

impl Peer for LiteRt {
    fn name(&self) -> &'static str {
        self.name
    }

    fn has(&self, variant: Variant) -> bool {
        variant == Variant::U8
    }

    fn prepare<'c>(&'c self, case: &'c Case, _: Variant, threads: usize) -> Ready<'c> {
        let runtime = self.runtime.get_or_init(Runtime::new).as_ref().map_err(Clone::clone)?;
        Ok(Box::new(Prepared::new(runtime, case, self.form, threads)?))
    }
}

struct Runtime {
    lite: Functions,
    environment: Owned,
}

impl Runtime {
    fn new() -> Result<Self, String> {
        let lite = Functions::load()?;
        let environment = Owned::new(lite.DestroyEnvironment, |handle| {
            let (create, options) = (lite.CreateEnvironment, &api::ENVIRONMENT);
            // SAFETY: the options are as many as it is told.
            done("environment", unsafe { create(options.len() as c_int, options.as_ptr(), handle) })
        })?;
        Ok(Self { lite, environment })
    }

    /// A compiled model, its options and the model it was compiled from, to be dropped in this order, and `bytes` after them.
    fn compiled(&self, bytes: &[u8], threads: usize) -> Result<[Owned; 3], String> {
        let (lite, environment) = (&self.lite, self.environment.handle);
        let model = Owned::new(lite.DestroyModel, |handle| {
            // SAFETY: the bytes are of this length.
            done("model", unsafe {
                (lite.CreateModelFromBuffer)(environment, bytes.as_ptr(), bytes.len(), handle)
            })
        })?;
        let options = Owned::new(lite.DestroyOptions, |handle| {
            // SAFETY: the options are made first.
            done("options", unsafe { (lite.CreateOptions)(handle) })
        })?;
        let text = CString::new(format!("num_threads = {threads}\n")).expect("has no zero");
        let mut opaque = ptr::null_mut();
        // SAFETY: the options take the opaque ones, and these the text.
        unsafe {
            let (name, text) = (CPU_OPTIONS.as_ptr(), text.into_raw().cast());
            done("threads", (lite.CreateOpaqueOptions)(name, text, forget, &mut opaque))?;
            done("threads", (lite.AddOpaqueOptions)(options.handle, opaque))?;
            done("accelerators", (lite.SetOptionsHardwareAccelerators)(options.handle, CPU))?;
        }
        let compiled = Owned::new(lite.DestroyCompiledModel, |handle| {
            let (create, options) = (lite.CreateCompiledModel, options.handle);
            // SAFETY: all handles are this library's.
            done("compiled model", unsafe { create(environment, model.handle, options, handle) })
        })?;
        let mut all = false;
        // SAFETY: the compiled model is alive.
        done("delegate", unsafe { (lite.CompiledModelIsFullyAccelerated)(compiled.handle, &mut all) })?;
        if all { Ok([compiled, options, model]) } else { Err("XNNPACK does not take the model".into()) }
    }

    /// The tensor at `data`, which must outlive it.
    fn tensor(&self, kind: &TensorType, data: &mut [u8]) -> Result<Owned, String> {
        Owned::new(self.lite.DestroyTensorBuffer, |handle| {
            let (create, bytes) = (self.lite.CreateTensorBufferFromHostMemory, data.len());
            // SAFETY: the data are of this length and nobody else frees them.
            done("tensor", unsafe { create(kind, data.as_mut_ptr().cast(), bytes, None, handle) })
        })
    }
}

/// Frees the text of options.
unsafe extern "C" fn forget(text: *mut c_void) {
    // SAFETY: it came from `CString::into_raw`.
    drop(unsafe { CString::from_raw(text.cast::<c_char>()) });
}

struct Prepared<'c> {
    runtime: &'c Runtime,
    form: Form,
    /// The compiled model, and what it was compiled from.
    compiled: [Owned; 3],
    lhs: Owned,
    result: Owned,
    out: Aligned<u8>,
    outputs: usize,
    /// What the handles point to.
    _bytes: Aligned<u8>,
    _lhs: Aligned<u8>,
}

impl<'c> Prepared<'c> {
    fn new(runtime: &'c Runtime, case: &'c Case, form: Form, threads: usize) -> Result<Self, String> {
        let Shape { m, k, n } = case.shape;
        let bytes = aligned(form.operator(case, &form.weights(case)).model());
        let mut lhs = aligned(case.lhs.iter().map(|code| code ^ form.flip()).chain([0; SLACK]));
        let mut out = aligned(vec![0; m * n + SLACK]);
        Ok(Self {
            runtime,
            form,
            compiled: runtime.compiled(&bytes, threads)?,
            lhs: runtime.tensor(&TensorType::matrix(form.element(), m, k), &mut lhs)?,
            result: runtime.tensor(&TensorType::matrix(form.element(), m, n), &mut out)?,
            out,
            outputs: m * n,
            _bytes: bytes,
            _lhs: lhs,
        })
    }
}

impl Form {
    /// How activations and outputs differ from u8 codes, in bits.
    fn flip(self) -> u8 {
        match self {
            Self::I8 => 0x80,
            Self::U8 => 0,
        }
    }

    fn element(self) -> c_int {
        match self {
            Self::I8 => api::INT8,
            Self::U8 => api::UINT8,
        }
    }

    /// The weights, a row a column; in u8 they are plus 128.
    fn weights(self, case: &Case) -> Vec<u8> {
        let (n, flip) = (case.shape.n, self.flip() ^ 0x80);
        let column = |j| case.rhs[j..].iter().step_by(n);
        (0..n).flat_map(|j| column(j).map(|code| *code as u8 ^ flip)).collect()
    }

    fn operator<'a>(self, case: &'a Case, weights: &'a [u8]) -> FullyConnected<'a> {
        let (shape, bias) = (case.shape, &case.bias);
        let (lhs_zero, out_zero) = (LHS_ONLY.lhs.into(), OUT_ZERO.into());
        match self {
            Self::I8 => FullyConnected {
                shape,
                element: model::INT8,
                weights,
                bias,
                scales: &case.scales,
                lhs_zero: lhs_zero - 128,
                rhs_zero: 0,
                out_zero: out_zero - 128,
            },
            Self::U8 => FullyConnected {
                shape,
                element: model::UINT8,
                weights,
                bias,
                scales: &case.scales[..1],
                lhs_zero,
                rhs_zero: 128,
                out_zero,
            },
        }
    }
}

impl Product for Prepared<'_> {
    fn run(&mut self) {
        let (run, model) = (self.runtime.lite.RunCompiledModel, self.compiled[0].handle);
        // SAFETY: model and tensors are alive.
        let status = unsafe { run(model, 0, 1, &mut self.lhs.handle, 1, &mut self.result.handle) };
        done("LiteRT", status).expect("runs");
    }

    fn output(&self) -> Output<'_> {
        let rule = match self.form {
            Form::I8 => Rule::Rounded,
            Form::U8 => Rule::OneScale,
        };
        let out = self.out[..self.outputs].iter().map(|code| code ^ self.form.flip()).collect();
        Output::Codes { out, zeros: LHS_ONLY, rule }
    }

    fn kernel(&self) -> String {
        match self.form {
            Form::I8 => "XNNPACK, FULLY_CONNECTED, i8 x i8 to i8, a scale a column",
            Form::U8 => "XNNPACK, FULLY_CONNECTED, u8 x u8 to u8, one scale",
        }
        .into()
    }
}

//! Prepared products and workspaces.

use std::ffi::c_char;
use std::fmt::Display;
use std::sync::Mutex;

use zp::{Gemm, Packed, Side, Workspace};

use crate::edge::{Caller, Handle, call};
use crate::failure::{Failure, zeropoint_status};
use crate::info::Text;
use crate::threads::Lent;
use crate::types::*;
use crate::views::{Input, Output, Read, output, pack, type_of, with_code, with_output};

/// A prepared product: packed weights and stages. Any number of threads may run one at the same time.
pub struct zeropoint_gemm(());

/// Memory that runs use and do not keep. One serves any number of products and layers, one run at a time.
pub struct zeropoint_workspace(());

/// A [`Gemm`] of any output.
pub(crate) enum AnyGemm {
    U8(Gemm<'static, u8>),
    I8(Gemm<'static, i8>),
    I16(Gemm<'static, i16>),
    I32(Gemm<'static, i32>),
    F32(Gemm<'static, f32>),
}

/// Calls an expression with the product inside.
macro_rules! any {
    ($gemm:expr, $inner:ident => $body:expr) => {
        match $gemm {
            AnyGemm::U8($inner) => $body,
            AnyGemm::I8($inner) => $body,
            AnyGemm::I16($inner) => $body,
            AnyGemm::I32($inner) => $body,
            AnyGemm::F32($inner) => $body,
        }
    };
}

macro_rules! from {
    ($($variant:ident: $t:ty),*) => {$(
        impl From<Gemm<'static, $t>> for AnyGemm {
            fn from(gemm: Gemm<'static, $t>) -> Self {
                Self::$variant(gemm)
            }
        }
    )*};
}
from!(U8: u8, I8: i8, I16: i16, I32: i32, F32: f32);

impl Handle for zeropoint_gemm {
    type Value = AnyGemm;
    const TAG: u64 = u64::from_ne_bytes(*b"zp gemm\x01");
    const NAME: &'static str = "zeropoint_gemm";
}

impl Handle for zeropoint_workspace {
    type Value = Mutex<Vec<u8>>;
    const TAG: u64 = u64::from_ne_bytes(*b"zp work\x01");
    const NAME: &'static str = "zeropoint_workspace";
}

/// A product of weights and stages.
fn prepare(packed: Packed<'static>, read: &Read<'_>) -> Result<AnyGemm, Failure> {
    with_output!("stages.output", read.output, O => Ok(Gemm::<O>::new(packed, &read.stages::<O>()?)?.into()))
}

/// Packs `weights` and prepares products with them: K x N for `ZEROPOINT_SIDE_RHS`, M x K for `ZEROPOINT_SIDE_LHS`.
///
/// `pack` may be null. Everything is copied. The product goes to `gemm`, which is null after an error. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_new(
    weights: *const zeropoint_matrix,
    pack: *const zeropoint_pack,
    stages: *const zeropoint_stages,
    gemm: *mut *mut zeropoint_gemm,
) -> zeropoint_status {
    call!(|caller| caller.hand_out("gemm", gemm, || {
        let (side, options) = self::pack(caller, pack)?;
        let weights = Input::read(caller, "weights", weights)?;
        let packed = with_code!("weights.elements", weights.matrix.elements, W => {
            let (codes, _) = weights.codes::<W>(caller)?;
            match side {
                Side::Rhs => Packed::rhs_with(codes, options),
                Side::Lhs => Packed::lhs_with(codes, options),
            }
            .map_err(Failure::from)
        })?;
        prepare(packed, &Read::new(caller, stages)?)
    }))
}

/// Prepares products with weights that [`zeropoint_gemm_save`] wrote, on a machine with the same backend; refuses
/// others. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_load(
    bytes: *const u8,
    len: usize,
    stages: *const zeropoint_stages,
    gemm: *mut *mut zeropoint_gemm,
) -> zeropoint_status {
    call!(|caller| caller.hand_out("gemm", gemm, || {
        prepare(Packed::from_bytes(caller.slice("bytes", bytes, len)?)?, &Read::new(caller, stages)?)
    }))
}

/// Writes the packed weights to `bytes`; `needed` gets their length, and with a `capacity` of 0 that is all. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_save(
    gemm: *const zeropoint_gemm,
    bytes: *mut u8,
    capacity: usize,
    needed: *mut usize,
) -> zeropoint_status {
    call!(|caller| {
        let packed = any!(caller.open("gemm", gemm)?, gemm => gemm.packed().as_bytes());
        caller.write("needed", needed, packed.len())?;
        if capacity != 0 {
            if capacity < packed.len() {
                return Err(
                    zp::Error::Length { argument: "capacity", expected: packed.len(), got: capacity }.into()
                );
            }
            let bytes = caller.slice_mut("bytes", bytes, packed.len())?;
            for (to, byte) in bytes.iter_mut().zip(packed) {
                to.write(*byte);
            }
        }
        Ok(())
    })
}

/// Frees a product that no thread is running. Null is allowed. Later use is undefined. Thread-safe, but for the handle itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_free(gemm: *mut zeropoint_gemm) -> zeropoint_status {
    call!(|caller| caller.take_back("gemm", gemm))
}

/// What was chosen for a product, and why, as a text: see [`zeropoint_backend_name`]. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_explain(
    gemm: *const zeropoint_gemm,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> zeropoint_status {
    call!(|caller| {
        let text: Box<dyn Display> = any!(caller.open("gemm", gemm)?, gemm => Box::new(gemm.explain()));
        Text::write(caller, buffer, capacity, needed, &text)
    })
}

/// How large a workspace runs on up to `threads` threads need. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_workspace_bytes(
    gemm: *const zeropoint_gemm,
    threads: usize,
    bytes: *mut usize,
) -> zeropoint_status {
    call!(|caller| {
        let gemm = caller.open("gemm", gemm)?;
        caller.write("bytes", bytes, any!(gemm, gemm => gemm.workspace_bytes(threads))?)
    })
}

/// A workspace of so many bytes. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_workspace_new(
    bytes: usize,
    workspace: *mut *mut zeropoint_workspace,
) -> zeropoint_status {
    call!(|caller| caller.hand_out("workspace", workspace, || {
        let mut memory = Vec::new();
        let refused = Failure::Library(zp::Error::Memory { argument: "workspace", bytes });
        // The library uses it from the first cache line on.
        let Some(bytes) = bytes.checked_add(63) else { return Err(refused) };
        memory.try_reserve_exact(bytes).map_err(|_| refused)?;
        memory.resize(bytes, 0);
        Ok(Mutex::new(memory))
    }))
}

/// Frees a workspace that no thread is using. Null is allowed. Later use is undefined. Thread-safe, but for the handle itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_workspace_free(workspace: *mut zeropoint_workspace) -> zeropoint_status {
    call!(|caller| caller.take_back("workspace", workspace))
}

/// Calls a function with the workspace of a handle, which no other run is using.
pub(crate) fn with_workspace<T>(
    caller: &Caller,
    workspace: *const zeropoint_workspace,
    body: impl FnOnce(&mut Workspace<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    use std::sync::TryLockError;
    let mut bytes = match caller.open("workspace", workspace)?.try_lock() {
        Ok(bytes) => bytes,
        // What a run that panicked has left there does not matter.
        Err(TryLockError::Poisoned(bytes)) => bytes.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(Failure::Busy),
    };
    body(&mut Workspace::borrow(&mut bytes))
}

/// Runs a product: `activations` is the lhs, M x K, and `out` M x N; of a packed lhs the rhs, K x N.
///
/// `run` may be null. Allocates nothing, unless `run` has stages with multipliers. Thread-safe, each thread with a
/// workspace and an output of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_run(
    gemm: *const zeropoint_gemm,
    activations: *const zeropoint_matrix,
    out: *const zeropoint_matrix_mut,
    workspace: *mut zeropoint_workspace,
    run: *const zeropoint_run,
) -> zeropoint_status {
    call!(|caller| {
        let input = Input::read(caller, "activations", activations)?;
        let out = caller.read("out", out)?;
        let (threads, stages) = match caller.read_optional("run", run)? {
            None => (None, None),
            Some(run) if run.stages.is_null() => (Lent::read(caller, run.threads)?, None),
            Some(run) => (Lent::read(caller, run.threads)?, Some(Read::new(caller, run.stages)?)),
        };
        let gemm = caller.open("gemm", gemm)?;
        with_workspace(
            caller,
            workspace,
            |workspace| any!(gemm, gemm => Run { input, out, threads, stages }.on(caller, gemm, workspace)),
        )
    })
}

/// The arguments of a run.
struct Run<'c> {
    input: Input<'c>,
    out: zeropoint_matrix_mut,
    threads: Option<Lent>,
    stages: Option<Read<'c>>,
}

impl Run<'_> {
    fn on<O: Output>(
        &self,
        caller: &Caller,
        gemm: &Gemm<'static, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Failure> {
        let mut options = gemm.options();
        let stages = self.stages.as_ref().map(Read::stages::<O>).transpose()?;
        if let Some(stages) = &stages {
            options = options.stages(stages);
        }
        if let Some(threads) = &self.threads {
            options = options.threads(threads);
        }
        with_code!("activations.elements", self.input.matrix.elements, L => {
            let (codes, memory) = self.input.codes::<L>(caller)?;
            // Sums may be added to what is there, whatever the stages are.
            let initialized = type_of::<O>() == zeropoint_type::I32;
            let out = output::<O>(caller, &self.out, initialized, ("activations", memory))?;
            Ok(options.run(codes, out, workspace)?)
        })
    }
}

/// A product that is not prepared: packs `rhs`, K x N, runs once with `lhs`, M x K, and keeps nothing. For weights
/// that change each time. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_gemm_once(
    lhs: *const zeropoint_matrix,
    rhs: *const zeropoint_matrix,
    stages: *const zeropoint_stages,
    out: *const zeropoint_matrix_mut,
) -> zeropoint_status {
    call!(|caller| {
        let (lhs, rhs) = (Input::read(caller, "lhs", lhs)?, Input::read(caller, "rhs", rhs)?);
        let (read, matrix) = (Read::new(caller, stages)?, caller.read("out", out)?);
        with_code!("lhs.elements", lhs.matrix.elements, L => {
            with_code!("rhs.elements", rhs.matrix.elements, R => {
                with_output!("stages.output", read.output, O => {
                    let ((lhs, memory), (rhs, others)) = (lhs.codes::<L>(caller)?, rhs.codes::<R>(caller)?);
                    output::<O>(caller, &matrix, false, ("rhs", others))?;
                    let out = output::<O>(caller, &matrix, read.accumulate, ("lhs", memory))?;
                    Ok(zp::gemm(lhs, rhs, &read.stages::<O>()?, out)?)
                })
            })
        })
    })
}

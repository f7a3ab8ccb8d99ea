//! The part of LiteRT's C interface that a compiled model needs, as versions 2.1.6 to 2.3.0 have it: before, models were made
//! without an environment.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::library::{Handle, functions};

pub type Status = c_int;

/// Of `LiteRtElementType`.
pub const UINT8: c_int = 3;
pub const INT8: c_int = 9;
/// Of `LiteRtHwAccelerators`.
pub const CPU: c_int = 1;
/// How the CPU's options are called among the opaque ones; they are text in TOML.
pub const CPU_OPTIONS: &CStr = c"xnnpack";
/// `LiteRtAny` that is an integer.
#[repr(C)]
struct Integer {
    kind: c_int,
    value: i64,
}

impl Integer {
    const fn new(value: i64) -> Self {
        /// Of `LiteRtAnyType`.
        const INTEGER: c_int = 2;
        Self { kind: INTEGER, value }
    }
}

/// `LiteRtEnvOption`.
#[repr(C)]
pub struct EnvironmentOption {
    tag: c_int,
    value: Integer,
}

/// Of `LiteRtEnvOptionTag` and `LiteRtLogSeverity`.
const AUTO_REGISTER_ACCELERATORS: c_int = 24;
const MIN_LOGGER_SEVERITY: c_int = 25;
const ERRORS: i64 = 3;

/// Look for no accelerator but the CPU, and say nothing but errors.
pub static ENVIRONMENT: [EnvironmentOption; 2] = [
    EnvironmentOption { tag: AUTO_REGISTER_ACCELERATORS, value: Integer::new(CPU as i64) },
    EnvironmentOption { tag: MIN_LOGGER_SEVERITY, value: Integer::new(ERRORS) },
];

/// `LiteRtRankedTensorType`.
#[repr(C)]
pub struct TensorType {
    element: c_int,
    /// The rank, below bit 7, which says that there are strides.
    rank: u32,
    sizes: [i32; 8],
    strides: [u32; 8],
}

impl TensorType {
    pub fn matrix(element: c_int, rows: usize, columns: usize) -> Self {
        let mut sizes = [0; 8];
        sizes[..2].copy_from_slice(&[rows as i32, columns as i32]);
        Self { element, rank: 2, sizes, strides: [0; 8] }
    }
}

functions! {
    "libLiteRt.so", "LiteRt":
    CreateEnvironment: fn(count: c_int, *const EnvironmentOption, environment: *mut Handle) -> Status,
    DestroyEnvironment: fn(Handle) -> (),
    CreateModelFromBuffer: fn(environment: Handle, *const u8, usize, model: *mut Handle) -> Status,
    DestroyModel: fn(Handle) -> (),
    CreateOptions: fn(*mut Handle) -> Status,
    SetOptionsHardwareAccelerators: fn(options: Handle, c_int) -> Status,
    CreateOpaqueOptions: fn(
        identifier: *const c_char,
        data: *mut c_void,
        delete: unsafe extern "C" fn(*mut c_void),
        options: *mut Handle,
    ) -> Status,
    AddOpaqueOptions: fn(options: Handle, opaque: Handle) -> Status,
    DestroyOptions: fn(Handle) -> (),
    CreateCompiledModel: fn(environment: Handle, model: Handle, options: Handle, compiled: *mut Handle) -> Status,
    CompiledModelIsFullyAccelerated: fn(compiled: Handle, *mut bool) -> Status,
    DestroyCompiledModel: fn(Handle) -> (),
    CreateTensorBufferFromHostMemory: fn(
        *const TensorType,
        data: *mut c_void,
        bytes: usize,
        delete: Option<unsafe extern "C" fn(*mut c_void)>,
        buffer: *mut Handle,
    ) -> Status,
    DestroyTensorBuffer: fn(Handle) -> (),
    RunCompiledModel: fn(
        compiled: Handle,
        signature: usize,
        inputs: usize,
        *mut Handle,
        outputs: usize,
        *mut Handle,
    ) -> Status,
}

/// An error unless `status` is that of success.
pub fn done(what: &str, status: Status) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(format!("{what}: status {status}")) }
}

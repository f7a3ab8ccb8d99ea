//! The part of ONNX Runtime's C interface that a session needs: a table of functions, in the order of
//! `onnxruntime_c_api.h`, which only ever grows at its end.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute;

use crate::library::{Dynamic, Handle, Owned};

/// Null, or an error.
pub type Status = *mut c_void;

/// The version of the interface that is asked for: any release since 2019 has it.
const VERSION: u32 = 1;
/// Of `OrtLoggingLevel`: errors.
pub const ERRORS: c_int = 3;
/// Of `OrtAllocatorType` and `OrtMemType`.
pub const ARENA: c_int = 1;
pub const DEFAULT: c_int = 0;

#[repr(C)]
struct Base {
    get_api: unsafe extern "C" fn(u32) -> *const [*const c_void; LENGTH],
    get_version: unsafe extern "C" fn() -> *const c_char,
}

/// How far this file reads the table.
const LENGTH: usize = 101;

macro_rules! functions {
    ($($name:ident: $index:literal, fn($($argument:ty),*) -> $result:ty;)*) => {
        #[derive(Clone, Copy)]
        pub struct Api {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Api {
            pub fn load() -> Result<Self, String> {
                let library = Dynamic::load("libonnxruntime.so")?;
                // SAFETY: entry point and table are as the header has them.
                unsafe {
                    let base: unsafe extern "C" fn() -> *const Base = library.get("OrtGetApiBase")?;
                    let table = ((*base()).get_api)(VERSION).as_ref().ok_or("does not have version 1")?;
                    Ok(Self {
                        $($name: transmute::<*const c_void, unsafe extern "C" fn($($argument),*) -> $result>(table[$index]),)*
                    })
                }
            }
        }
    };
}

functions! {
    get_error_message: 2, fn(Status) -> *const c_char;
    create_env: 3, fn(c_int, *const c_char, *mut Handle) -> Status;
    create_session_from_array: 8, fn(Handle, *const u8, usize, Handle, *mut Handle) -> Status;
    run: 9, fn(
        Handle, Handle, *const *const c_char, *const Handle, usize, *const *const c_char, usize, *mut Handle
    ) -> Status;
    create_session_options: 10, fn(*mut Handle) -> Status;
    set_intra_op_num_threads: 24, fn(Handle, c_int) -> Status;
    create_tensor_with_data: 49, fn(Handle, *mut c_void, usize, *const i64, usize, c_int, *mut Handle) -> Status;
    create_cpu_memory_info: 69, fn(c_int, c_int, *mut Handle) -> Status;
    release_env: 92, fn(Handle) -> ();
    release_status: 93, fn(Status) -> ();
    release_memory_info: 94, fn(Handle) -> ();
    release_session: 95, fn(Handle) -> ();
    release_value: 96, fn(Handle) -> ();
    release_session_options: 100, fn(Handle) -> ();
}

impl Api {
    /// What `create` makes, to be released by `release`.
    pub fn owned(
        &self,
        release: unsafe extern "C" fn(Handle),
        create: impl FnOnce(&mut Handle) -> Status,
    ) -> Result<Owned, String> {
        Owned::new(release, |handle| self.done(create(handle)))
    }

    /// An error unless `status` is that of success.
    pub fn done(&self, status: Status) -> Result<(), String> {
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: a status that is not null is an error of this library's, released once.
        unsafe {
            let message = CStr::from_ptr((self.get_error_message)(status)).to_string_lossy().into_owned();
            (self.release_status)(status);
            Err(message)
        }
    }
}

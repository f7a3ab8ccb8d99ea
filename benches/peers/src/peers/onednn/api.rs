//! The part of oneDNN's C interface that a matmul needs, of version 3.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::library::Dynamic;

pub const CPU: c_int = 1;
pub const IN_ORDER: c_uint = 1;
pub const F32: c_int = 3;
pub const S32: c_int = 4;
pub const S8: c_int = 5;
pub const U8: c_int = 6;
pub const ANY: c_int = 1;
pub const A: c_int = 2;
pub const AB: c_int = 3;
pub const SRC: c_int = 1;
pub const DST: c_int = 17;
pub const WEIGHTS: c_int = 33;
pub const BIAS: c_int = 41;
pub const SCALES: c_int = 4096;
pub const ZERO_POINTS: c_int = 8192;
pub const IMPLEMENTATION: c_int = 8;
pub const WEIGHTS_FORMAT: c_int = 131;

/// A handle of any kind; each kind is a pointer to something opaque.
pub type Handle = *mut c_void;
pub type Status = c_int;

#[repr(C)]
pub struct Argument {
    pub which: c_int,
    pub memory: Handle,
}

/// Functions by their names less `dnnl_`.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty,)*) => {
        #[derive(Clone, Copy)]
        pub struct Functions {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            pub fn load() -> Result<Self, String> {
                let library = Dynamic::load("libdnnl.so")?;
                // SAFETY: the types are those of `dnnl.h`.
                unsafe { Ok(Self { $($name: library.get(concat!("dnnl_", stringify!($name)))?,)* }) }
            }
        }
    };
}

functions! {
    engine_create: fn(*mut Handle, c_int, usize) -> Status,
    stream_create: fn(*mut Handle, Handle, c_uint) -> Status,
    stream_wait: fn(Handle) -> Status,
    memory_desc_create_with_tag: fn(*mut Handle, c_int, *const i64, c_int, c_int) -> Status,
    memory_desc_get_size: fn(Handle) -> usize,
    memory_desc_destroy: fn(Handle) -> Status,
    memory_create: fn(*mut Handle, Handle, Handle, *mut c_void) -> Status,
    memory_destroy: fn(Handle) -> Status,
    primitive_attr_create: fn(*mut Handle) -> Status,
    primitive_attr_set_scales_mask: fn(Handle, c_int, c_int) -> Status,
    primitive_attr_set_zero_points_mask: fn(Handle, c_int, c_int) -> Status,
    primitive_attr_destroy: fn(Handle) -> Status,
    matmul_primitive_desc_create: fn(*mut Handle, Handle, Handle, Handle, Handle, Handle, Handle) -> Status,
    reorder_primitive_desc_create: fn(*mut Handle, Handle, Handle, Handle, Handle, Handle) -> Status,
    primitive_desc_query: fn(Handle, c_int, c_int, *mut *const c_char) -> Status,
    primitive_desc_query_md: fn(Handle, c_int, c_int) -> Handle,
    primitive_desc_destroy: fn(Handle) -> Status,
    primitive_create: fn(*mut Handle, Handle) -> Status,
    primitive_execute: fn(Handle, Handle, c_int, *const Argument) -> Status,
    primitive_destroy: fn(Handle) -> Status,
}

/// A handle that is destroyed in the end.
pub struct Owned {
    pub handle: Handle,
    destroy: unsafe extern "C" fn(Handle) -> Status,
}

impl Owned {
    /// What `create` puts into its argument.
    pub fn new(
        what: &str,
        destroy: unsafe extern "C" fn(Handle) -> Status,
        create: impl FnOnce(&mut Handle) -> Status,
    ) -> Result<Self, String> {
        let mut handle = std::ptr::null_mut();
        done(what, create(&mut handle))?;
        Ok(Self { handle, destroy })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the handle is of the kind that the function destroys, and this is its only owner.
        unsafe { (self.destroy)(self.handle) };
    }
}

/// An error unless `status` is that of success.
pub fn done(what: &str, status: Status) -> Result<(), String> {
    match status {
        0 => Ok(()),
        3 => Err(format!("{what}: not implemented")),
        _ => Err(format!("{what}: status {status}")),
    }
}

//! The part of oneDNN's C interface that a matmul needs, of version 3.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::library::{Handle, functions};

/// A handle that is destroyed in the end.
pub type Owned = crate::library::Owned<Status>;

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

pub type Status = c_int;

#[repr(C)]
pub struct Argument {
    pub which: c_int,
    pub memory: Handle,
}

functions! {
    "libdnnl.so", "dnnl_":
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

/// An error unless `status` is that of success.
pub fn done(what: &str, status: Status) -> Result<(), String> {
    match status {
        0 => Ok(()),
        3 => Err(format!("{what}: not implemented")),
        _ => Err(format!("{what}: status {status}")),
    }
}

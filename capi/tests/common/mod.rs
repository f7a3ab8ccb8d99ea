//! What tests of the interface share: structs whose fields are 0, random numbers, and calls that must succeed or
//! fail.
#![allow(dead_code)] // not every test uses all

#[path = "../../../tests/common/rng.rs"]
mod rng;

use std::ffi::{CStr, c_void};
use std::ptr;

pub use rng::Rng;
use zeropoint::*;

/// A struct of the header with its size, all other fields 0.
pub fn zeroed<T: Copy>() -> T {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: structs of the header begin with their size and consist of numbers and pointers.
    unsafe {
        value.as_mut_ptr().cast::<usize>().write(size_of::<T>());
        value.assume_init()
    }
}

pub fn last_error() -> String {
    // SAFETY: a text that stays until the next failure.
    unsafe { CStr::from_ptr(zeropoint_last_error()) }.to_str().expect("UTF-8").to_owned()
}

#[track_caller]
pub fn ok(status: zeropoint_status) {
    assert_eq!(status, zeropoint_status::Ok, "{}", last_error());
}

/// A call that fails with a status and a message that has these words.
#[track_caller]
pub fn fails(status: zeropoint_status, expected: zeropoint_status, words: &str) {
    let message = last_error();
    assert_eq!(status, expected, "{message}");
    assert!(message.contains(words), "{message:?} does not say {words:?}");
}

/// A type of elements.
pub trait Elements: Copy {
    const TYPE: i32;
}
macro_rules! elements {
    ($($t:ty: $name:ident),*) => {$(
        impl Elements for $t {
            const TYPE: i32 = zeropoint_type::$name as i32;
        }
    )*};
}
elements!(u8: U8, i8: I8, i16: I16, i32: I32, f32: F32);

pub fn matrix<T: Elements>(data: &[T], rows: usize, cols: usize) -> zeropoint_matrix {
    zeropoint_matrix {
        data: data.as_ptr().cast::<c_void>(),
        len: data.len(),
        elements: T::TYPE,
        rows,
        cols,
        row_stride: cols,
        col_stride: 1,
        ..zeroed()
    }
}

pub fn matrix_mut<T: Elements>(data: &mut [T], rows: usize, cols: usize) -> zeropoint_matrix_mut {
    zeropoint_matrix_mut {
        data: data.as_mut_ptr().cast::<c_void>(),
        len: data.len(),
        elements: T::TYPE,
        rows,
        cols,
        row_stride: cols,
        col_stride: 1,
        ..zeroed()
    }
}

pub fn tensor<T: Elements>(data: &[T], shape: [usize; 4]) -> zeropoint_tensor {
    zeropoint_tensor { data: data.as_ptr().cast(), len: data.len(), elements: T::TYPE, shape, ..zeroed() }
}

pub fn tensor_mut<T: Elements>(data: &mut [T], shape: [usize; 4]) -> zeropoint_tensor_mut {
    zeropoint_tensor_mut { data: data.as_mut_ptr().cast(), len: data.len(), elements: T::TYPE, shape, ..zeroed() }
}

/// Sums of products.
pub fn raw() -> zeropoint_stages {
    zeropoint_stages { output: zeropoint_type::I32 as i32, ..zeroed() }
}

/// A product of u8 weights of 3 x 2 to int32 sums, and a workspace.
pub struct Small {
    pub gemm: *mut zeropoint_gemm,
    pub workspace: *mut zeropoint_workspace,
}

impl Small {
    pub fn new() -> Self {
        let (mut gemm, mut workspace) = (ptr::null_mut(), ptr::null_mut());
        let weights = matrix(&[1u8, 2, 3, 4, 5, 6], 3, 2);
        // SAFETY: the contract: everything is as long as it says.
        unsafe {
            ok(zeropoint_gemm_new(&weights, ptr::null(), &raw(), &mut gemm));
            let mut bytes = 0;
            ok(zeropoint_gemm_workspace_bytes(gemm, 4, &mut bytes));
            ok(zeropoint_workspace_new(bytes, &mut workspace));
        }
        Self { gemm, workspace }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // SAFETY: the contract: nobody else has the handles.
        unsafe {
            ok(zeropoint_gemm_free(self.gemm));
            ok(zeropoint_workspace_free(self.workspace));
        }
    }
}

/// Bytes of any value.
pub fn bytes(random: &Rng, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.bits() as u8).collect()
}

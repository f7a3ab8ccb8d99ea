//! The structs and the constants of the header.
//!
//! A struct that may grow begins with its size. A field of 0 is the default that the field names; 0 where none is
//! named is 0. Constants are passed as `int32_t`, so that a wrong one is an error.

use std::ffi::{c_char, c_void};

/// The type of elements.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_type {
    /// `uint8_t`.
    U8 = 1,
    /// `int8_t`.
    I8 = 2,
    /// `int16_t`; of outputs only.
    I16 = 3,
    /// `int32_t`; of outputs only.
    I32 = 4,
    /// `float`.
    F32 = 5,
}

/// The side of a product that is constant.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_side {
    /// K x N weights; runs take an lhs of M x K.
    Rhs = 0,
    /// M x K weights; runs take a rhs of K x N.
    Lhs = 1,
}

/// How long packing looks for an order of the weights that allows a faster instruction.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_effort {
    /// A few searches where the first does not succeed.
    Normal = 0,
    /// One search.
    Fast = 1,
    /// Many searches: for weights that are packed once and stored.
    Thorough = 2,
}

/// How sums are scaled.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_scaling {
    /// Not at all: sums, as `ZEROPOINT_TYPE_I32`.
    Raw = 0,
    /// By fixed-point multipliers, to codes of u8, i8 or i16.
    Fixed = 1,
    /// By float scales: to codes, ties to even, or to `ZEROPOINT_TYPE_F32`.
    Float = 2,
}

/// How a fixed-point product is rounded.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_rounding {
    /// gemmlowp, TFLite and the paper: a rounding doubling high multiply (ties up), then a rounding shift (ties
    /// away from zero). A left shift wraps.
    DoubleAway = 0,
    /// The same with a left shift that saturates.
    DoubleAwaySat = 1,
    /// Both roundings break ties upward. A left shift wraps.
    DoubleUp = 2,
    /// One rounding of the exact product, ties toward plus infinity.
    SingleUp = 3,
    /// One rounding of the exact product, ties away from zero.
    SingleAway = 4,
    /// One rounding of the exact product, ties to even.
    SingleEven = 5,
    /// gemmlowp's older stage: a wrapping integer product, then a rounding shift (ties away from zero).
    /// `multiplier` is any integer, `shift` -31..=0.
    IntMulShift = 6,
}

/// What a vector of multipliers or biases goes along.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_axis {
    /// One element for all.
    One = 0,
    /// One a column of the output: an output channel.
    Columns = 1,
    /// One a row of the output.
    Rows = 2,
}

/// A matrix that is read. `row_stride` and `col_stride` count elements and may be 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_matrix {
    /// `sizeof(zeropoint_matrix)`.
    pub size: usize,
    /// The first element.
    pub data: *const c_void,
    /// How many elements there are from `data` on: strides must not lead beyond.
    pub len: usize,
    /// A `zeropoint_type`.
    pub elements: i32,
    /// The code of 0, if `zero_points` is null.
    pub zero_point: i32,
    /// One a row of an lhs, or one a column of a rhs.
    pub zero_points: *const i32,
    /// How many.
    pub zero_points_len: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from a row to the next.
    pub row_stride: usize,
    /// Elements from a column to the next.
    pub col_stride: usize,
}

/// A matrix that is written. No two elements may share memory; what lies between rows is not written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_matrix_mut {
    /// `sizeof(zeropoint_matrix_mut)`.
    pub size: usize,
    /// The first element. Need not be initialized, unless stages accumulate.
    pub data: *mut c_void,
    /// How many elements there are from `data` on.
    pub len: usize,
    /// A `zeropoint_type`.
    pub elements: i32,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from a row to the next.
    pub row_stride: usize,
    /// Elements from a column to the next.
    pub col_stride: usize,
}

/// How to pack weights.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_pack {
    /// `sizeof(zeropoint_pack)`.
    pub size: usize,
    /// A `zeropoint_side`.
    pub side: i32,
    /// A `zeropoint_effort`.
    pub effort: i32,
    /// The name of a backend to force; null: the best for the shape and the weights.
    pub backend: *const c_char,
    /// How many rows the other side is expected to have; 0: not known.
    pub expected_rows: usize,
}

/// A fixed-point factor: `multiplier * 2^(shift - 31)`. `multiplier` is 0 or 2^30..2^31, `shift` -31..=30;
/// `INT_MUL_SHIFT` differs.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct zeropoint_multiplier {
    /// The fraction.
    pub multiplier: i32,
    /// The exponent; negative shifts right.
    pub shift: i32,
}

/// What happens to an int32 sum: + bias, scale and round, + zero point, clamp, cast.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_stages {
    /// `sizeof(zeropoint_stages)`.
    pub size: usize,
    /// The `zeropoint_type` of the output.
    pub output: i32,
    /// A `zeropoint_scaling`.
    pub scaling: i32,
    /// A `zeropoint_rounding`, of fixed-point scaling.
    pub rounding: i32,
    /// The code of 0, added after scaling.
    pub zero_point: i32,
    /// Not 0: codes are clamped to `clamp_low..=clamp_high`.
    pub clamp: i32,
    /// The smallest code.
    pub clamp_low: i32,
    /// The largest code.
    pub clamp_high: i32,
    /// Not 0: sums are added to what the output holds.
    pub accumulate: i32,
    /// A bias a column, added to sums; null: none.
    pub bias: *const i32,
    /// How many.
    pub bias_len: usize,
    /// A bias a row; null: none. Both may be given.
    pub row_bias: *const i32,
    /// How many.
    pub row_bias_len: usize,
    /// Of fixed-point scaling: one, or as many as `multipliers_axis` says.
    pub multipliers: *const zeropoint_multiplier,
    /// How many.
    pub multipliers_len: usize,
    /// A `zeropoint_axis`.
    pub multipliers_axis: i32,
    /// Of float scaling, if both vectors are null.
    pub scale: f32,
    /// A scale a column; null: none. With both vectors the factor is their product.
    pub scales: *const f32,
    /// How many.
    pub scales_len: usize,
    /// A scale a row; null: none.
    pub row_scales: *const f32,
    /// How many.
    pub row_scales_len: usize,
    /// Of `ZEROPOINT_TYPE_F32`: a float bias; null: none.
    pub float_bias: *const f32,
    /// How many.
    pub float_bias_len: usize,
    /// A `zeropoint_axis`: columns or rows.
    pub float_bias_axis: i32,
    /// 0.
    pub reserved: i32,
}

/// A task of lent threads: to be called with the pointer that `run` was given, from any thread.
pub type zeropoint_task = Option<unsafe extern "C" fn(task: *const c_void, index: usize)>;

/// Threads that the caller lends. What a product gives does not depend on them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_threads {
    /// `sizeof(zeropoint_threads)`.
    pub size: usize,
    /// How many tasks can run at a time.
    pub threads: usize,
    /// About how many nanoseconds it takes to hand out tasks and to wait for them: what takes less is not shared.
    /// 0 shares everything.
    pub handover_ns: u64,
    /// Passed to `run`.
    pub context: *mut c_void,
    /// Calls `perform(task, i)` for every `i < tasks`, each at least once, on any threads, and returns when all
    /// calls have. A call that was left out is an error; one after `run` has returned is undefined.
    pub run: Option<
        unsafe extern "C" fn(context: *mut c_void, tasks: usize, perform: zeropoint_task, task: *const c_void),
    >,
}

/// What is unusual about a run.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_run {
    /// `sizeof(zeropoint_run)`.
    pub size: usize,
    /// Lent threads; null: the caller's only.
    pub threads: *const zeropoint_threads,
    /// Other stages than the prepared, of the same output type: dynamic scales, for one; null: the prepared. Not
    /// of layers.
    pub stages: *const zeropoint_stages,
}

/// A tensor that is read: batch, height, width, channels. Strides count elements.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_tensor {
    /// `sizeof(zeropoint_tensor)`.
    pub size: usize,
    /// The first element.
    pub data: *const c_void,
    /// How many elements there are from `data` on.
    pub len: usize,
    /// A `zeropoint_type`.
    pub elements: i32,
    /// Sizes.
    pub shape: [usize; 4],
    /// Elements from one to the next of each; all 0: dense.
    pub strides: [usize; 4],
}

/// A tensor that is written. No two elements may share memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_tensor_mut {
    /// `sizeof(zeropoint_tensor_mut)`.
    pub size: usize,
    /// The first element.
    pub data: *mut c_void,
    /// How many elements there are from `data` on.
    pub len: usize,
    /// A `zeropoint_type`.
    pub elements: i32,
    /// Sizes.
    pub shape: [usize; 4],
    /// Elements from one to the next of each; all 0: dense.
    pub strides: [usize; 4],
}

/// A constant of the header from a number.
macro_rules! constants {
    ($($name:ident { $($variant:ident),* } $valid:literal)*) => {$(
        impl $name {
            pub(crate) fn of(argument: &'static str, value: i32) -> Result<Self, crate::failure::Failure> {
                $(if value == Self::$variant as i32 {
                    return Ok(Self::$variant);
                })*
                Err(crate::failure::Failure::Value { argument, value: value.into(), valid: $valid })
            }
        }
    )*};
}
constants! {
    zeropoint_side { Rhs, Lhs } "zeropoint_side"
    zeropoint_effort { Normal, Fast, Thorough } "zeropoint_effort"
    zeropoint_scaling { Raw, Fixed, Float } "zeropoint_scaling"
    zeropoint_rounding {
        DoubleAway, DoubleAwaySat, DoubleUp, SingleUp, SingleAway, SingleEven, IntMulShift
    } "zeropoint_rounding"
    zeropoint_axis { One, Columns, Rows } "zeropoint_axis"
}
pub(crate) use constants;

//! Structs of the header to views and stages of the library.

use std::mem::MaybeUninit;
use std::ops::Range;

use zp::{
    Backend, Effort, Element, FloatScale, MatMut, MatRef, Multiplier, OutputCode, PackOptions, PerAxis, Quantized,
    Rounding, Side, Stages, ZeroPoint,
};

use crate::edge::{Caller, Plain};
use crate::failure::Failure;
use crate::types::*;

/// Calls an expression with a type of elements, or says which ones there are.
macro_rules! with_type {
    ($argument:expr, $value:expr, [$($variant:ident: $t:ty),*] $valid:literal, $name:ident => $body:expr) => {
        match $value {
            $(value if value == $crate::types::zeropoint_type::$variant as i32 => {
                type $name = $t;
                $body
            })*
            value => Err($crate::failure::Failure::Value { argument: $argument, value: value.into(), valid: $valid }),
        }
    };
}
/// [`with_type!`] of codes.
macro_rules! with_code {
    ($argument:expr, $value:expr, $name:ident => $body:expr) => {
        $crate::views::with_type!($argument, $value, [U8: u8, I8: i8] "ZEROPOINT_TYPE_U8, I8", $name => $body)
    };
}
/// [`with_type!`] of outputs.
macro_rules! with_output {
    ($argument:expr, $value:expr, $name:ident => $body:expr) => {
        $crate::views::with_type!(
            $argument, $value, [U8: u8, I8: i8, I16: i16, I32: i32, F32: f32] "zeropoint_type", $name => $body
        )
    };
}
pub(crate) use {with_code, with_output, with_type};

/// Checks that a type is the one that is asked for.
pub(crate) fn same(argument: &'static str, value: i32, wanted: zeropoint_type) -> Result<(), Failure> {
    let valid = match wanted {
        zeropoint_type::U8 => "ZEROPOINT_TYPE_U8, as prepared",
        zeropoint_type::I8 => "ZEROPOINT_TYPE_I8, as prepared",
        zeropoint_type::I16 => "ZEROPOINT_TYPE_I16, as prepared",
        zeropoint_type::I32 => "ZEROPOINT_TYPE_I32, as prepared",
        zeropoint_type::F32 => "ZEROPOINT_TYPE_F32, as prepared",
    };
    if value == wanted as i32 { Ok(()) } else { Err(Failure::Value { argument, value: value.into(), valid }) }
}

/// Checks that memory of an output is not that of an input.
pub(crate) fn apart<T>(
    argument: &'static str,
    out: &[T],
    with: &'static str,
    input: Range<usize>,
) -> Result<(), Failure> {
    let out = out.as_ptr_range();
    let (start, end) = (out.start.addr(), out.end.addr());
    if start < input.end && input.start < end && start < end && !input.is_empty() {
        return Err(Failure::Shared { argument, with });
    }
    Ok(())
}

/// The addresses of memory.
pub(crate) fn addresses<T>(memory: &[T]) -> Range<usize> {
    let range = memory.as_ptr_range();
    range.start.addr()..range.end.addr()
}

/// The memory of an input.
pub(crate) struct Input<'c> {
    pub matrix: zeropoint_matrix,
    pub zero_point: ZeroPoint<'c>,
    argument: &'static str,
}

impl<'c> Input<'c> {
    pub fn read(
        caller: &'c Caller,
        argument: &'static str,
        pointer: *const zeropoint_matrix,
    ) -> Result<Self, Failure> {
        let matrix = caller.read(argument, pointer)?;
        let zero_point = zero_point(caller, matrix.zero_point, matrix.zero_points, matrix.zero_points_len)?;
        Ok(Self { matrix, zero_point, argument })
    }

    /// Codes of the type that `with_code!` found.
    pub fn codes<C: Plain>(&self, caller: &'c Caller) -> Result<(Quantized<'c, C>, Range<usize>), Failure> {
        let m = &self.matrix;
        let data = caller.slice(self.argument, m.data.cast::<C>(), m.len)?;
        let view = MatRef::new(data, m.rows, m.cols, m.row_stride, m.col_stride)?;
        Ok((view.zero_point(self.zero_point), addresses(data)))
    }
}

/// One zero point, or a vector of them.
pub(crate) fn zero_point<'c>(
    caller: &'c Caller,
    one: i32,
    each: *const i32,
    len: usize,
) -> Result<ZeroPoint<'c>, Failure> {
    Ok(match optional(caller, "zero_points", each, len)? {
        None => ZeroPoint::One(one),
        Some(each) => ZeroPoint::Each(each),
    })
}

/// The memory of an output, and its view; initialized, if it has to be.
pub(crate) fn output<'c, O: Element + Plain>(
    caller: &'c Caller,
    matrix: &zeropoint_matrix_mut,
    initialized: bool,
    (with, input): (&'static str, Range<usize>),
) -> Result<MatMut<'c, O>, Failure> {
    same("out.elements", matrix.elements, type_of::<O>())?;
    let data: &mut [MaybeUninit<O>] = caller.slice_mut("out", matrix.data.cast(), matrix.len)?;
    apart("out", data, with, input)?;
    let zeropoint_matrix_mut { rows, cols, row_stride, col_stride, .. } = *matrix;
    Ok(if initialized {
        MatMut::new(caller.initialized(data), rows, cols, row_stride, col_stride)?
    } else {
        MatMut::uninit(data, rows, cols, row_stride, col_stride)?
    })
}

/// The constant of a type.
pub(crate) const fn type_of<O: Element>() -> zeropoint_type {
    use zp::kernels::Dest;
    match O::DEST {
        Dest::U8 => zeropoint_type::U8,
        Dest::I8 => zeropoint_type::I8,
        Dest::I16 => zeropoint_type::I16,
        Dest::I32 => zeropoint_type::I32,
        Dest::F32 => zeropoint_type::F32,
    }
}

/// How to pack, and which side.
pub(crate) fn pack(caller: &Caller, pointer: *const zeropoint_pack) -> Result<(Side, PackOptions), Failure> {
    let Some(pack) = caller.read_optional("pack", pointer)? else {
        return Ok((Side::Rhs, PackOptions::default()));
    };
    let side = match zeropoint_side::of("pack.side", pack.side)? {
        zeropoint_side::Rhs => Side::Rhs,
        zeropoint_side::Lhs => Side::Lhs,
    };
    let effort = match zeropoint_effort::of("pack.effort", pack.effort)? {
        zeropoint_effort::Normal => Effort::Normal,
        zeropoint_effort::Fast => Effort::Fast,
        zeropoint_effort::Thorough => Effort::Thorough,
    };
    let backend = backend(caller, "pack.backend", pack.backend)?;
    let expected_rows = Some(pack.expected_rows).filter(|rows| *rows > 0);
    Ok((side, PackOptions { backend, expected_rows, effort }))
}

/// A backend by its name, if there is one.
pub(crate) fn backend(
    caller: &Caller,
    argument: &'static str,
    name: *const std::ffi::c_char,
) -> Result<Option<Backend>, Failure> {
    if name.is_null() {
        return Ok(None);
    }
    Ok(Some(Backend::named(caller.text(argument, name)?)?))
}

pub(crate) fn rounding(argument: &'static str, value: i32) -> Result<Rounding, Failure> {
    use zeropoint_rounding as R;
    Ok(match R::of(argument, value)? {
        R::DoubleAway => Rounding::DoubleAway,
        R::DoubleAwaySat => Rounding::DoubleAwaySat,
        R::DoubleUp => Rounding::DoubleUp,
        R::SingleUp => Rounding::SingleUp,
        R::SingleAway => Rounding::SingleAway,
        R::SingleEven => Rounding::SingleEven,
        R::IntMulShift => Rounding::IntMulShift,
    })
}

/// Refuses what has no meaning yet.
pub(crate) fn zero(argument: &'static str, value: i32) -> Result<(), Failure> {
    if value == 0 { Ok(()) } else { Err(Failure::Value { argument, value: value.into(), valid: "0" }) }
}

/// A vector that may be left out.
fn optional<'c, T: Plain>(
    caller: &'c Caller,
    argument: &'static str,
    pointer: *const T,
    len: usize,
) -> Result<Option<&'c [T]>, Failure> {
    if pointer.is_null() && len == 0 { Ok(None) } else { caller.slice(argument, pointer, len).map(Some) }
}

/// Stages as they are read, for any output.
pub(crate) struct Read<'c> {
    pub output: i32,
    pub accumulate: bool,
    scaling: zeropoint_scaling,
    rounding: Rounding,
    zero_point: i32,
    clamp: Option<(i32, i32)>,
    bias: Option<&'c [i32]>,
    row_bias: Option<&'c [i32]>,
    multipliers: Vec<Multiplier>,
    axis: zeropoint_axis,
    scale: FloatScale<'c>,
    float_bias: Option<(zeropoint_axis, &'c [f32])>,
}

impl<'c> Read<'c> {
    pub fn new(caller: &'c Caller, pointer: *const zeropoint_stages) -> Result<Self, Failure> {
        let s = caller.read("stages", pointer)?;
        zero("stages.reserved", s.reserved)?;
        let rounding = rounding("stages.rounding", s.rounding)?;
        let scaling = zeropoint_scaling::of("stages.scaling", s.scaling)?;
        let mut multipliers = Vec::new();
        let axis = zeropoint_axis::of("stages.multipliers_axis", s.multipliers_axis)?;
        let given = optional(caller, "stages.multipliers", s.multipliers, s.multipliers_len)?.unwrap_or_default();
        let memory = zp::Error::Memory { argument: "multipliers", bytes: size_of_val(given) };
        multipliers.try_reserve_exact(given.len()).map_err(|_| memory)?;
        for by in given {
            let right = by.shift.checked_neg().and_then(|shift| u32::try_from(shift).ok()).unwrap_or(u32::MAX);
            multipliers.push(match rounding {
                Rounding::IntMulShift => Multiplier::int_mul_shift(by.multiplier, right)?,
                _ => Multiplier::new(by.multiplier, by.shift)?,
            });
        }
        let columns = optional(caller, "stages.scales", s.scales, s.scales_len)?;
        let rows = optional(caller, "stages.row_scales", s.row_scales, s.row_scales_len)?;
        let float_bias = match optional(caller, "stages.float_bias", s.float_bias, s.float_bias_len)? {
            None => None,
            Some(bias) => Some((zeropoint_axis::of("stages.float_bias_axis", s.float_bias_axis)?, bias)),
        };
        Ok(Self {
            output: s.output,
            accumulate: s.accumulate != 0,
            scaling,
            rounding,
            zero_point: s.zero_point,
            clamp: (s.clamp != 0).then_some((s.clamp_low, s.clamp_high)),
            bias: optional(caller, "stages.bias", s.bias, s.bias_len)?,
            row_bias: optional(caller, "stages.row_bias", s.row_bias, s.row_bias_len)?,
            multipliers,
            axis,
            scale: match (rows, columns) {
                (None, None) => FloatScale::One(s.scale),
                (None, Some(columns)) => FloatScale::PerColumn(columns),
                (Some(rows), None) => FloatScale::PerRow(rows),
                (Some(rows), Some(columns)) => FloatScale::Both { rows, columns },
            },
            float_bias,
        })
    }

    /// The stages for an output of type `O`.
    pub fn stages<O: Output>(&self) -> Result<Stages<'_, O>, Failure> {
        same("stages.output", self.output, type_of::<O>())?;
        let mut stages = O::stages(self)?;
        if let Some(bias) = self.bias {
            stages = stages.bias(bias);
        }
        Ok(match self.row_bias {
            Some(bias) => stages.row_bias(bias),
            None => stages,
        })
    }

    fn wrong(&self, valid: &'static str) -> Failure {
        Failure::Value { argument: "stages.scaling", value: self.scaling as i64, valid }
    }

    /// Refuses what this output would not heed.
    fn unused(argument: &'static str, used: bool) -> Result<(), Failure> {
        if used { Err(Failure::Value { argument, value: 1, valid: "0, for this type of output" }) } else { Ok(()) }
    }

    fn only_codes(&self) -> Result<(), Failure> {
        Self::unused("stages.zero_point", self.zero_point != 0)?;
        Self::unused("stages.clamp", self.clamp.is_some())
    }
}

/// A type of outputs.
pub(crate) trait Output: Element + Plain {
    /// Stages without biases.
    fn stages<'s>(read: &'s Read<'_>) -> Result<Stages<'s, Self>, Failure>;
}

impl Output for i32 {
    fn stages<'s>(read: &'s Read<'_>) -> Result<Stages<'s, Self>, Failure> {
        read.only_codes()?;
        Read::unused("stages.float_bias", read.float_bias.is_some())?;
        match read.scaling {
            zeropoint_scaling::Raw if read.accumulate => Ok(Stages::<i32>::raw().accumulate()),
            zeropoint_scaling::Raw => Ok(Stages::<i32>::raw()),
            _ => Err(read.wrong("ZEROPOINT_SCALING_RAW, for ZEROPOINT_TYPE_I32")),
        }
    }
}

impl Output for f32 {
    fn stages<'s>(read: &'s Read<'_>) -> Result<Stages<'s, Self>, Failure> {
        read.only_codes()?;
        Read::unused("stages.accumulate", read.accumulate)?;
        if read.scaling != zeropoint_scaling::Float {
            return Err(read.wrong("ZEROPOINT_SCALING_FLOAT, for ZEROPOINT_TYPE_F32"));
        }
        let stages = Stages::<f32>::dequantize(read.scale);
        match read.float_bias {
            None => Ok(stages),
            Some((zeropoint_axis::Columns, bias)) => Ok(stages.float_bias(bias)),
            Some((zeropoint_axis::Rows, bias)) => Ok(stages.float_row_bias(bias)),
            Some((axis, _)) => Err(Failure::Value {
                argument: "stages.float_bias_axis",
                value: axis as i64,
                valid: "ZEROPOINT_AXIS_COLUMNS, ROWS",
            }),
        }
    }
}

fn codes<'s, O: OutputCode>(read: &'s Read<'_>) -> Result<Stages<'s, O>, Failure> {
    Read::unused("stages.accumulate", read.accumulate)?;
    Read::unused("stages.float_bias", read.float_bias.is_some())?;
    let by = &*read.multipliers;
    let stages = match (read.scaling, read.axis) {
        (zeropoint_scaling::Raw, _) => return Err(read.wrong("ZEROPOINT_SCALING_FIXED, FLOAT, for codes")),
        (zeropoint_scaling::Float, _) => Stages::float(read.scale),
        (zeropoint_scaling::Fixed, zeropoint_axis::Columns) => Stages::fixed(PerAxis::PerColumn(by)),
        (zeropoint_scaling::Fixed, zeropoint_axis::Rows) => Stages::fixed(PerAxis::PerRow(by)),
        (zeropoint_scaling::Fixed, zeropoint_axis::One) => match by {
            [by] => Stages::fixed(*by),
            _ => {
                let (argument, got) = ("multipliers", by.len());
                return Err(zp::Error::Length { argument, expected: 1, got }.into());
            }
        },
    };
    let stages = stages.rounding(read.rounding).zero_point(read.zero_point);
    Ok(match read.clamp {
        Some((low, high)) => stages.clamp(low, high),
        None => stages,
    })
}

macro_rules! code_outputs {
    ($($t:ty),*) => {$(
        impl Output for $t {
            fn stages<'s>(read: &'s Read<'_>) -> Result<Stages<'s, Self>, Failure> {
                codes(read)
            }
        }
    )*};
}
code_outputs!(u8, i8, i16);

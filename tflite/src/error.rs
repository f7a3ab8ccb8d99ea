//! What can be wrong with a file, with the numbers that show it.

use core::fmt;

use crate::Kind;

/// Why a network was refused.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// Bytes 4 to 7 are not `TFL3`.
    Identifier { found: Vec<u8> },
    /// The schema has another version than 3.
    Version { found: u32 },
    /// An offset or a length of the file leads out of it.
    Outside { what: &'static str, at: usize, bytes: usize, length: usize },
    /// A field must be there.
    Missing { what: &'static str },
    /// The parts of the file refer to the same bytes too often: what it unfolds to is out of proportion.
    Folded { length: usize },
    /// One graph is what can be run.
    Subgraphs { found: usize },
    /// An operator of a kind that is not in the file's list of kinds.
    OperatorCode { operator: usize, index: u32, count: usize },
    /// A built-in operator that this crate does not know.
    UnknownOperator { operator: usize, code: i32 },
    /// An operator that is not of the schema.
    CustomOperator { operator: usize, custom: String },
    /// An operator carries the options of another one.
    OptionsOf { operator: usize, name: &'static str, found: u8, expected: u8 },
    /// An operator has an option that cannot be honoured.
    Option { operator: usize, name: &'static str, option: &'static str, value: i64 },
    /// A softmax with a factor that is not a number.
    Beta { operator: usize, beta: f32 },
    /// Too few or too many tensors at an operator.
    Arity { operator: usize, name: &'static str, side: &'static str, found: usize, least: usize, most: usize },
    /// An operator lacks a tensor that is not optional.
    NoTensor { operator: usize, name: &'static str, input: usize },
    /// A list names a tensor that does not exist.
    TensorIndex { list: String, index: i64, count: usize },
    /// An operator reads, or the network returns, what nothing has written.
    Unwritten { reader: String, tensor: usize, name: String },
    /// A tensor has two sources: constant bytes, the caller, operators.
    Rewritten { writer: String, tensor: usize, name: String },
    /// A type of elements that this crate does not know.
    Kind { tensor: usize, name: String, code: i8 },
    /// An extent is not a positive number.
    Extent { tensor: usize, name: String, axis: usize, extent: i32 },
    /// More bytes than a computer can address.
    TooLarge { tensor: usize, name: String },
    /// Sparse tensors are not read.
    Sparse { tensor: usize, name: String },
    /// Tensors that keep their values from run to run are not known.
    Variable { tensor: usize, name: String },
    /// A tensor's bytes are in a buffer that is not in the list.
    BufferIndex { tensor: usize, name: String, index: u32, count: usize },
    /// A tensor's bytes lie behind the end of the flat part of the file.
    ExternalBuffer { tensor: usize, name: String, offset: u64 },
    /// A constant tensor with fewer or more bytes than its shape asks for.
    BufferLength { tensor: usize, name: String, found: usize, expected: usize },
    /// Quantized by a rule of its own.
    CustomQuantization { tensor: usize, name: String },
    /// As many zero points as scales.
    ZeroPoints { tensor: usize, name: String, scales: usize, zero_points: usize },
    /// Scales along an axis: one for each index.
    Scales { tensor: usize, name: String, scales: usize, axis: i32, shape: Vec<usize> },
    /// A scale is a positive number.
    Scale { tensor: usize, name: String, index: usize, scale: f32 },
    /// A zero point is a code.
    ZeroPoint { tensor: usize, name: String, index: usize, zero_point: i64, kind: Kind },
    /// What an operator's layer refuses.
    Layer { operator: usize, name: &'static str, error: Box<zeropoint::Error> },
    /// An operator that does not exist.
    NoOperator { operator: usize, count: usize },
    /// An operator in a form that no layer has.
    Unsupported { operator: usize, name: &'static str, what: &'static str },
    /// Memory for all activations is more than a computer can address.
    Arena,
    /// Memory for all activations that is not to be had.
    Memory { bytes: usize },
    /// A number or a count that a file has no room for.
    Unwritable { what: &'static str, value: usize },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier { found } => {
                write!(f, "not a .tflite file: bytes 4 to 7 are \"{}\", not \"TFL3\"", found.escape_ascii())
            }
            Self::Version { found } => write!(f, "schema version is {found}, not 3"),
            Self::Outside { what, at, bytes, length } => {
                write!(f, "{what}: {bytes} bytes at {at} are not inside the file's {length} bytes")
            }
            Self::Missing { what } => write!(f, "{what} is missing"),
            Self::Folded { length } => {
                write!(f, "the file's {length} bytes unfold to more than {} times as many", crate::flat::UNFOLDED)
            }
            Self::Subgraphs { found } => write!(f, "{found} subgraphs, not 1"),
            Self::OperatorCode { operator, index, count } => {
                write!(f, "operator {operator}: opcode_index {index}, but there are {count} operator codes")
            }
            Self::UnknownOperator { operator, code } => {
                write!(f, "operator {operator}: built-in operator {code} is not supported")
            }
            Self::CustomOperator { operator, custom } => {
                write!(f, "operator {operator}: custom operator {custom:?} is not supported")
            }
            Self::OptionsOf { operator, name, found, expected } => {
                write!(f, "operator {operator} ({name}): options of type {found}, not {expected}")
            }
            Self::Layer { operator, name, error } => write!(f, "operator {operator} ({name}): {error}"),
            Self::NoOperator { operator, count } => write!(f, "operator {operator}: there are {count}"),
            Self::Unsupported { operator, name, what } => {
                write!(f, "operator {operator} ({name}): {what} is not supported")
            }
            Self::Option { operator, name, option, value } => {
                write!(f, "operator {operator} ({name}): {option} = {value} is not supported")
            }
            Self::Beta { operator, beta } => write!(f, "operator {operator} (SOFTMAX): beta = {beta}"),
            Self::Arity { operator, name, side, found, least, most } => {
                write!(f, "operator {operator} ({name}): {found} {side}, not {least}")?;
                match *most {
                    usize::MAX => write!(f, " or more"),
                    most if most > *least => write!(f, " to {most}"),
                    _ => Ok(()),
                }
            }
            Self::NoTensor { operator, name, input } => {
                write!(f, "operator {operator} ({name}): input {input} is left out")
            }
            Self::TensorIndex { list, index, count } => {
                write!(f, "{list}: tensor {index}, but there are {count} tensors")
            }
            Self::Unwritten { reader, tensor, name } => {
                write!(f, "{reader} reads tensor {tensor} ({name:?}), which nothing has written before")
            }
            Self::Rewritten { writer, tensor, name } => {
                write!(f, "{writer} writes tensor {tensor} ({name:?}), which has its values already")
            }
            Self::Kind { tensor, name, code } => {
                write!(f, "tensor {tensor} ({name:?}): elements of type {code} are not supported")
            }
            Self::Extent { tensor, name, axis, extent } => {
                write!(f, "tensor {tensor} ({name:?}): extent {extent} of axis {axis} is not positive")
            }
            Self::TooLarge { tensor, name } => {
                write!(f, "tensor {tensor} ({name:?}): the product of the extents overflows")
            }
            Self::Sparse { tensor, name } => write!(f, "tensor {tensor} ({name:?}) is sparse"),
            Self::Variable { tensor, name } => write!(f, "tensor {tensor} ({name:?}) is a variable"),
            Self::BufferIndex { tensor, name, index, count } => {
                write!(f, "tensor {tensor} ({name:?}): buffer {index}, but there are {count} buffers")
            }
            Self::ExternalBuffer { tensor, name, offset } => {
                write!(f, "tensor {tensor} ({name:?}): its bytes are outside the tables, at {offset}")
            }
            Self::BufferLength { tensor, name, found, expected } => {
                write!(f, "tensor {tensor} ({name:?}): {found} bytes, but its shape asks for {expected}")
            }
            Self::CustomQuantization { tensor, name } => {
                write!(f, "tensor {tensor} ({name:?}): custom quantization is not supported")
            }
            Self::ZeroPoints { tensor, name, scales, zero_points } => {
                write!(f, "tensor {tensor} ({name:?}): {scales} scales, but {zero_points} zero points")
            }
            Self::Scales { tensor, name, scales, axis, shape } => {
                write!(f, "tensor {tensor} ({name:?}): {scales} scales along axis {axis} of {shape:?}")
            }
            Self::Scale { tensor, name, index, scale } => {
                write!(f, "tensor {tensor} ({name:?}): scale {index} is {scale}, not a positive number")
            }
            Self::ZeroPoint { tensor, name, index, zero_point, kind } => {
                write!(f, "tensor {tensor} ({name:?}): zero point {index} is {zero_point}, not a code of {kind:?}")
            }
            Self::Arena => write!(f, "the memory of the activations overflows an address"),
            Self::Memory { bytes } => write!(f, "{bytes} bytes of memory for activations could not be allocated"),
            Self::Unwritable { what, value } => write!(f, "{what}: {value} has no room in a .tflite file"),
        }
    }
}

impl core::error::Error for Error {}

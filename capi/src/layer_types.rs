//! The structs and the constants of the header that layers need.

use std::ffi::c_char;

use crate::types::{constants, zeropoint_pack, zeropoint_tensor};

/// What surrounds an image.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_padding {
    /// Nothing: a kernel stays inside.
    Valid = 0,
    /// As much as makes the output as large as the input over the stride, rounded up; the smaller half first.
    Same = 1,
    /// `top`, `bottom`, `left`, `right`.
    Explicit = 2,
}

/// How a kernel moves over an image: down, then across. Does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_window {
    /// Lines and pixels from one output to the next; 0: 1.
    pub stride: [usize; 2],
    /// Lines and pixels from one tap to the next; 0: 1.
    pub dilation: [usize; 2],
    /// Lines above the image.
    pub top: usize,
    /// Lines below.
    pub bottom: usize,
    /// Pixels before.
    pub left: usize,
    /// Pixels behind.
    pub right: usize,
    /// A `zeropoint_padding`.
    pub padding: i32,
    /// 0.
    pub reserved: i32,
}

/// Layers with weights.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_conv_kind {
    /// Weights: output channels x kernel height x kernel width x input channels of a group.
    Conv2d = 1,
    /// Weights: 1 x kernel height x kernel width x output channels.
    DepthwiseConv2d = 2,
    /// Weights: output channels x kernel height x kernel width x input channels.
    TransposeConv2d = 3,
    /// Weights: outputs x 1 x 1 x inputs. The pixels of the input are its rows.
    FullyConnected = 4,
}

/// A layer with weights; columns of its stages are output channels, rows have no vectors.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_conv {
    /// `sizeof(zeropoint_conv)`.
    pub size: usize,
    /// A `zeropoint_conv_kind`.
    pub kind: i32,
    /// The `zeropoint_type` of the input: u8 or i8.
    pub input: i32,
    /// The code of 0, which also surrounds the image.
    pub input_zero_point: i32,
    /// Of the weights, if `weight_zero_points` is null.
    pub weight_zero_point: i32,
    /// One an output channel.
    pub weight_zero_points: *const i32,
    /// How many.
    pub weight_zero_points_len: usize,
    /// The weights.
    pub weights: *const zeropoint_tensor,
    /// How the kernel moves; of a transposed one, how it would move over the output to give the input.
    pub window: zeropoint_window,
    /// Of `CONV2D`: into how many groups channels are divided; 0: 1.
    pub groups: usize,
    /// Of `DEPTHWISE_CONV2D`: output channels of each input channel; 0: 1.
    pub multiplier: usize,
    /// Of `TRANSPOSE_CONV2D`: height and width of the output.
    pub output: [usize; 2],
    /// How to pack; null: the defaults. The depthwise one heeds the backend only.
    pub pack: *const zeropoint_pack,
}

/// How reals and codes relate: `real = scale * (code - zero_point)`. Does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_params {
    /// The `zeropoint_type` of the codes: u8 or i8.
    pub elements: i32,
    /// The code of 0.
    pub zero_point: i32,
    /// The difference between two neighbouring codes.
    pub scale: f32,
}

/// Layers without weights. `inputs` are the parameters of inputs, `output` those of the output, which where no
/// `inputs` are named are those of the input, too.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_op_kind {
    /// Two `inputs`, `activation`, `rounding`, `backend`. A size of 1 is repeated as the other input asks for.
    Add = 1,
    /// As `ADD`.
    Sub = 2,
    /// As `ADD`.
    Mul = 3,
    /// `kernel`, `window`, `activation`, `ties`: away from code 0, or from the zero point.
    AveragePool2d = 4,
    /// `kernel`, `window`, `activation`.
    MaxPool2d = 5,
    /// One of `inputs`, `keep_height`, `keep_width`, `activation`, `rounding`.
    Mean = 6,
    /// `before`, `after`.
    Pad = 7,
    /// As many `inputs` as there are, which have the parameters of the output; `dimension`.
    Concat = 8,
    /// The same with any parameters; `rounding`.
    ConcatRequantize = 9,
    /// max(0, x).
    Relu = 10,
    /// min(max(0, x), 6).
    Relu6 = 11,
    /// One of `inputs`; the output has scale 1/256 and its smallest code for 0. Of `output` the type counts.
    Logistic = 12,
    /// One of `inputs`; the output has scale 1/128 and the middle code for 0. Of `output` the type counts.
    Tanh = 13,
    /// One of `inputs`, `beta`; over channels; the output is as of `LOGISTIC`. Of `output` the type counts.
    Softmax = 14,
    /// One of `inputs`, of any type, `activation`, `rounding`.
    Requantize = 15,
    /// Floats to codes; `ties`: away from 0, or to even.
    Quantize = 16,
    /// Codes to floats: one of `inputs`.
    Dequantize = 17,
}

/// The function that a layer applies to its result: a clamp of codes.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_activation {
    /// The result as it is.
    None = 0,
    /// max(0, x).
    Relu = 1,
    /// min(max(0, x), 6).
    Relu6 = 2,
    /// min(max(-1, x), 1).
    ReluN1 = 3,
}

/// Where a tie goes: see the kinds that have one.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_ties {
    /// As TFLite has it: what the kind says first.
    Default = 0,
    /// What the kind says second.
    Other = 1,
}

/// Along which inputs follow each other.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_dimension {
    /// Channels of a pixel.
    Channels = 0,
    /// Pixels of a line.
    Width = 1,
    /// Lines.
    Height = 2,
    /// Images.
    Batch = 3,
}

/// A layer without weights: the kind says which fields it heeds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zeropoint_op {
    /// `sizeof(zeropoint_op)`.
    pub size: usize,
    /// A `zeropoint_op_kind`.
    pub kind: i32,
    /// A `zeropoint_activation`.
    pub activation: i32,
    /// A `zeropoint_rounding`, but for `INT_MUL_SHIFT`.
    pub rounding: i32,
    /// A `zeropoint_ties`.
    pub ties: i32,
    /// Parameters of inputs.
    pub inputs: *const zeropoint_params,
    /// How many.
    pub inputs_len: usize,
    /// Parameters of the output.
    pub output: zeropoint_params,
    /// A `zeropoint_dimension`.
    pub dimension: i32,
    /// Lines and pixels of a window.
    pub kernel: [usize; 2],
    /// How it moves.
    pub window: zeropoint_window,
    /// How many zeros come before the image, each way.
    pub before: [usize; 4],
    /// How many come behind it.
    pub after: [usize; 4],
    /// Not 0: lines stay lines.
    pub keep_height: i32,
    /// Not 0: pixels of a line stay pixels.
    pub keep_width: i32,
    /// The name of a backend to force; null: the best.
    pub backend: *const c_char,
    /// The factor of the exponents; 0: 1.
    pub beta: f32,
    /// 0.
    pub reserved: i32,
}

constants! {
    zeropoint_padding { Valid, Same, Explicit } "zeropoint_padding"
    zeropoint_conv_kind { Conv2d, DepthwiseConv2d, TransposeConv2d, FullyConnected } "zeropoint_conv_kind"
    zeropoint_op_kind {
        Add, Sub, Mul, AveragePool2d, MaxPool2d, Mean, Pad, Concat, ConcatRequantize, Relu, Relu6, Logistic, Tanh,
        Softmax, Requantize, Quantize, Dequantize
    } "zeropoint_op_kind"
    zeropoint_activation { None, Relu, Relu6, ReluN1 } "zeropoint_activation"
    zeropoint_ties { Default, Other } "zeropoint_ties"
    zeropoint_dimension { Channels, Width, Height, Batch } "zeropoint_dimension"
}

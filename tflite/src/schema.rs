//! The numbers of the .tflite schema that files are read and written by.

/// A field of a table: its number, and the name that messages use.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) id: usize,
    pub(crate) name: &'static str,
}

macro_rules! tables {
    ($($table:ident { $($field:ident $id:literal),* })*) => {$(
        #[expect(non_upper_case_globals, reason = "the schema's names")]
        #[expect(non_snake_case, reason = "the schema's names")]
        pub(crate) mod $table {
            use super::Field;
            $(pub(crate) const $field: Field =
                Field { id: $id, name: concat!(stringify!($table), ".", stringify!($field)) };)*
        }
    )*};
}

tables! {
    Model { version 0, operator_codes 1, subgraphs 2, buffers 4 }
    OperatorCode { deprecated_builtin_code 0, custom_code 1, builtin_code 3 }
    SubGraph { tensors 0, inputs 1, outputs 2, operators 3 }
    Tensor { shape 0, kind 1, buffer 2, name 3, quantization 4, is_variable 5, sparsity 6 }
    QuantizationParameters { scale 2, zero_point 3, details_type 4, quantized_dimension 6 }
    Operator { opcode_index 0, inputs 1, outputs 2, builtin_options_type 3, builtin_options 4 }
    Buffer { data 0, offset 1 }
    Conv2DOptions { padding 0, stride_w 1, stride_h 2, activation 3, dilation_w 4, dilation_h 5 }
    DepthwiseConv2DOptions {
        padding 0, stride_w 1, stride_h 2, depth_multiplier 3, activation 4, dilation_w 5, dilation_h 6
    }
    Pool2DOptions { padding 0, stride_w 1, stride_h 2, filter_width 3, filter_height 4, activation 5 }
    FullyConnectedOptions { activation 0, weights_format 1, keep_num_dims 2 }
    SoftmaxOptions { beta 0 }
    AddOptions { activation 0 }
    SubOptions { activation 0 }
    MulOptions { activation 0 }
    ConcatenationOptions { axis 0, activation 1 }
    ReducerOptions { keep_dims 0 }
}

pub(crate) const IDENTIFIER: [u8; 4] = *b"TFL3";
pub(crate) const VERSION: u32 = 3;

/// What the schema says of an operator.
pub(crate) struct Builtin {
    pub(crate) code: i32,
    pub(crate) name: &'static str,
    /// The type of its options; 0 if nothing is read of them.
    pub(crate) options: u8,
    /// Fewest and most inputs; those beyond the fewest may be left out. All have one output.
    pub(crate) inputs: (usize, usize),
}

const fn builtin(code: i32, name: &'static str, options: u8, inputs: (usize, usize)) -> Builtin {
    Builtin { code, name, options, inputs }
}

/// The operators that are read, in the order of their codes.
pub(crate) const BUILTINS: [Builtin; 19] = [
    builtin(0, "ADD", 11, (2, 2)),
    builtin(1, "AVERAGE_POOL_2D", 5, (1, 1)),
    builtin(2, "CONCATENATION", 10, (1, usize::MAX)),
    builtin(3, "CONV_2D", 1, (2, 3)),
    builtin(4, "DEPTHWISE_CONV_2D", 2, (2, 3)),
    builtin(6, "DEQUANTIZE", 0, (1, 1)),
    builtin(9, "FULLY_CONNECTED", 8, (2, 3)),
    builtin(14, "LOGISTIC", 0, (1, 1)),
    builtin(17, "MAX_POOL_2D", 5, (1, 1)),
    builtin(18, "MUL", 21, (2, 2)),
    builtin(19, "RELU", 0, (1, 1)),
    builtin(21, "RELU6", 0, (1, 1)),
    builtin(22, "RESHAPE", 0, (1, 2)),
    builtin(25, "SOFTMAX", 9, (1, 1)),
    builtin(28, "TANH", 0, (1, 1)),
    builtin(34, "PAD", 0, (2, 2)),
    builtin(40, "MEAN", 27, (2, 2)),
    builtin(41, "SUB", 28, (2, 2)),
    builtin(114, "QUANTIZE", 0, (1, 1)),
];

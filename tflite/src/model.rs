//! What a file says, plain and owned.

use zeropoint::layers::{Activation, Padding};

/// A network: operators in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// All tensors, constant ones and activations.
    pub tensors: Vec<Tensor>,
    /// The operators, in the order in which they run.
    pub operators: Vec<Operator>,
    /// Indices of the tensors that the caller fills.
    pub inputs: Vec<usize>,
    /// Indices of the tensors that the caller reads.
    pub outputs: Vec<usize>,
}

/// A tensor and, if it is constant, its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// As the file has it.
    pub name: String,
    /// Extents, the outermost first.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub kind: Kind,
    /// Scales and zero points; `None` for plain numbers.
    pub quantization: Option<Quantization>,
    /// Little-endian elements; `None` for activations.
    pub data: Option<Vec<u8>>,
}

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    U8,
    I8,
    I16,
    I32,
    I64,
    F32,
    Bool,
}

impl Kind {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 => 8,
        }
    }

    /// The number that an 8-bit code stands for before scale and zero point.
    pub const fn code(self, byte: u8) -> i32 {
        match self {
            Self::I8 => byte as i8 as i32,
            _ => byte as i32,
        }
    }
}

/// `real = scale * (code - zero_point)`, with one pair or one pair an index of `axis`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Quantization {
    pub scales: Vec<f32>,
    pub zero_points: Vec<i32>,
    pub axis: usize,
}

/// One step of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// As the schema spells it: `CONV_2D`.
    pub name: &'static str,
    /// What it does.
    pub operation: Operation,
    /// Indices of tensors; `None` where an optional one is left out.
    pub inputs: Vec<Option<usize>>,
    /// Indices of tensors.
    pub outputs: Vec<usize>,
}

/// What an operator does. Pairs are down, then across.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the schema's names")]
pub enum Operation {
    Conv2d {
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
        activation: Activation,
    },
    DepthwiseConv2d {
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
        activation: Activation,
        multiplier: usize,
    },
    FullyConnected {
        activation: Activation,
        keep_dims: bool,
    },
    Add {
        activation: Activation,
    },
    Sub {
        activation: Activation,
    },
    Mul {
        activation: Activation,
    },
    AveragePool2d {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
        activation: Activation,
    },
    MaxPool2d {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
        activation: Activation,
    },
    Mean {
        keep_dims: bool,
    },
    Reshape,
    Softmax {
        beta: f32,
    },
    Quantize,
    Dequantize,
    Pad,
    Concatenation {
        axis: i32,
        activation: Activation,
    },
    Logistic,
    Tanh,
    Relu,
    Relu6,
}

impl Model {
    /// Multiplications of a convolution or a fully connected layer; 0 for operators of another kind.
    pub fn macs(&self, operator: &Operator) -> usize {
        let tensor = |index: Option<usize>| index.and_then(|index| self.tensors.get(index));
        let (Some(weights), Some(output)) =
            (tensor(operator.inputs.get(1).copied().flatten()), tensor(operator.outputs.first().copied()))
        else {
            return 0;
        };
        let each = match (&operator.operation, &weights.shape[..]) {
            (Operation::DepthwiseConv2d { .. }, [_, height, width, _]) => &[*height, *width][..],
            (Operation::Conv2d { .. } | Operation::FullyConnected { .. }, [_, each @ ..]) => each,
            _ => return 0,
        };
        output.shape.iter().chain(each).fold(1, |product, &extent| product.saturating_mul(extent))
    }
}

impl Tensor {
    /// Bytes of all elements; `None` if that is more than a computer can address.
    pub fn bytes(&self) -> Option<usize> {
        let bytes =
            self.shape.iter().try_fold(self.kind.bytes(), |product, &extent| product.checked_mul(extent))?;
        isize::try_from(bytes).is_ok().then_some(bytes)
    }
}

impl Operation {
    /// As the schema spells it: `CONV_2D`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "CONV_2D",
            Self::DepthwiseConv2d { .. } => "DEPTHWISE_CONV_2D",
            Self::FullyConnected { .. } => "FULLY_CONNECTED",
            Self::Add { .. } => "ADD",
            Self::Sub { .. } => "SUB",
            Self::Mul { .. } => "MUL",
            Self::AveragePool2d { .. } => "AVERAGE_POOL_2D",
            Self::MaxPool2d { .. } => "MAX_POOL_2D",
            Self::Mean { .. } => "MEAN",
            Self::Reshape => "RESHAPE",
            Self::Softmax { .. } => "SOFTMAX",
            Self::Quantize => "QUANTIZE",
            Self::Dequantize => "DEQUANTIZE",
            Self::Pad => "PAD",
            Self::Concatenation { .. } => "CONCATENATION",
            Self::Logistic => "LOGISTIC",
            Self::Tanh => "TANH",
            Self::Relu => "RELU",
            Self::Relu6 => "RELU6",
        }
    }
}

//! Models put together in memory, and written as files: the inverse of [`Model::read`].

use zeropoint::layers::{Activation, Padding};

use crate::{
    Error, Kind, Model, Operation, Operator, Quantization, Tensor,
    schema::{self, BUILTINS, Field},
};

impl Tensor {
    /// A tensor without values and without scales.
    pub fn new(name: &str, kind: Kind, shape: &[usize]) -> Self {
        Self { name: name.into(), shape: shape.into(), kind, quantization: None, data: None }
    }

    /// The same with one scale and one zero point.
    #[must_use]
    pub fn quantized(mut self, scale: f32, zero_point: i32) -> Self {
        self.quantization = Some(Quantization { scales: vec![scale], zero_points: vec![zero_point], axis: 0 });
        self
    }

    /// The same as a constant of these little-endian elements.
    #[must_use]
    pub fn holding(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = Some(data.into());
        self
    }
}

impl Model {
    /// Adds a tensor and returns its index.
    pub fn add(&mut self, tensor: Tensor) -> usize {
        self.tensors.push(tensor);
        self.tensors.len() - 1
    }

    /// Adds an operator behind all others; returns the index of its output.
    pub fn apply(&mut self, operation: Operation, inputs: &[Option<usize>], output: Tensor) -> usize {
        let output = self.add(output);
        let name = operation.name();
        self.operators.push(Operator { name, operation, inputs: inputs.into(), outputs: vec![output] });
        output
    }

    /// The model as a `.tflite` file.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for numbers beyond 31 bits and for explicit padding. Nothing else is checked:
    /// [`Model::read`] does that.
    pub fn write(&self) -> Result<Vec<u8>, Error> {
        // Buffer 0 is the empty one, by custom.
        let mut buffers = vec![Vec::new()];
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            let buffer = if let Some(data) = &tensor.data {
                buffers.push(vec![(schema::Buffer::data, Value::vector(data.len(), data, 16))]);
                buffers.len() - 1
            } else {
                0
            };
            tensors.push(tensor_fields(tensor, buffer)?);
        }
        let mut codes: Vec<&str> = Vec::new();
        let mut operators = Vec::with_capacity(self.operators.len());
        for operator in &self.operators {
            let name = operator.operation.name();
            let code = codes.iter().position(|&known| known == name).unwrap_or_else(|| {
                codes.push(name);
                codes.len() - 1
            });
            operators.push(operator_fields(operator, code)?);
        }
        let graph = vec![
            (schema::SubGraph::tensors, Value::Tables(tensors)),
            (schema::SubGraph::inputs, indices("inputs", self.inputs.iter().copied().map(Some))?),
            (schema::SubGraph::outputs, indices("outputs", self.outputs.iter().copied().map(Some))?),
            (schema::SubGraph::operators, Value::Tables(operators)),
        ];
        let codes = codes.into_iter().filter_map(|name| BUILTINS.iter().find(|builtin| builtin.name == name));
        let codes = codes.map(|builtin| {
            vec![
                (schema::OperatorCode::deprecated_builtin_code, Value::Byte(builtin.code.min(127) as u8)),
                (schema::OperatorCode::builtin_code, Value::Word(builtin.code.to_le_bytes())),
            ]
        });
        let root = vec![
            (schema::Model::version, Value::Word(schema::VERSION.to_le_bytes())),
            (schema::Model::operator_codes, Value::Tables(codes.collect())),
            (schema::Model::subgraphs, Value::Tables(vec![graph])),
            (schema::Model::buffers, Value::Tables(buffers)),
        ];

        let mut file = vec![0; 4];
        file.extend(schema::IDENTIFIER);
        let at = table(&mut file, &root);
        file[..4].copy_from_slice(&(at as u32).to_le_bytes());
        number("bytes of the file", file.len())?;
        Ok(file)
    }
}

fn number(what: &'static str, value: usize) -> Result<i32, Error> {
    i32::try_from(value).map_err(|_| Error::Unwritable { what, value })
}

fn tensor_fields(tensor: &Tensor, buffer: usize) -> Result<Fields, Error> {
    use schema::{QuantizationParameters as parameters, Tensor as fields};

    let code = Kind::CODES.iter().find(|(_, kind)| *kind == tensor.kind).map_or(-1, |&(code, _)| code);
    let mut written = vec![
        (fields::shape, indices("extent", tensor.shape.iter().copied().map(Some))?),
        (fields::kind, Value::Byte(code as u8)),
        (fields::buffer, Value::Word(number("buffers", buffer)?.to_le_bytes())),
        (fields::name, Value::Text(tensor.name.clone())),
    ];
    if let Some(Quantization { scales, zero_points, axis }) = &tensor.quantization {
        let scale: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let codes: Vec<u8> = zero_points.iter().flat_map(|&code| i64::from(code).to_le_bytes()).collect();
        let quantization = vec![
            (parameters::scale, Value::vector(scales.len(), &scale, 4)),
            (parameters::zero_point, Value::vector(zero_points.len(), &codes, 8)),
            (parameters::quantized_dimension, Value::Word(number("axis", *axis)?.to_le_bytes())),
        ];
        written.push((fields::quantization, Value::Table(quantization)));
    }
    Ok(written)
}

fn operator_fields(operator: &Operator, code: usize) -> Result<Fields, Error> {
    use schema::Operator as fields;

    let name = operator.operation.name();
    let mut written = vec![
        (fields::opcode_index, Value::Word(number("operators", code)?.to_le_bytes())),
        (fields::inputs, indices("inputs", operator.inputs.iter().copied())?),
        (fields::outputs, indices("outputs", operator.outputs.iter().copied().map(Some))?),
    ];
    let options = BUILTINS.iter().find(|builtin| builtin.name == name).map_or(0, |builtin| builtin.options);
    if options != 0 {
        written.push((fields::builtin_options_type, Value::Byte(options)));
        written.push((fields::builtin_options, Value::Table(option_fields(&operator.operation)?)));
    }
    Ok(written)
}

fn option_fields(operation: &Operation) -> Result<Fields, Error> {
    let word = |value: usize| Ok::<_, Error>(Value::Word(number("option", value)?.to_le_bytes()));
    let fused = |activation: Activation| {
        Value::Byte(match activation {
            Activation::None => 0,
            Activation::Relu => 1,
            Activation::ReluN1 => 2,
            Activation::Relu6 => 3,
        })
    };
    let border = |padding: Padding| match padding {
        Padding::Same => Ok(Value::Byte(0)),
        Padding::Valid => Ok(Value::Byte(1)),
        Padding::Explicit { top, .. } => Err(Error::Unwritable { what: "explicit padding", value: top }),
    };
    Ok(match *operation {
        Operation::Conv2d { stride, dilation, padding, activation } => {
            use schema::Conv2DOptions as fields;
            vec![
                (fields::padding, border(padding)?),
                (fields::stride_h, word(stride[0])?),
                (fields::stride_w, word(stride[1])?),
                (fields::dilation_h, word(dilation[0])?),
                (fields::dilation_w, word(dilation[1])?),
                (fields::activation, fused(activation)),
            ]
        }
        Operation::DepthwiseConv2d { stride, dilation, padding, activation, multiplier } => {
            use schema::DepthwiseConv2DOptions as fields;
            vec![
                (fields::padding, border(padding)?),
                (fields::stride_h, word(stride[0])?),
                (fields::stride_w, word(stride[1])?),
                (fields::dilation_h, word(dilation[0])?),
                (fields::dilation_w, word(dilation[1])?),
                (fields::activation, fused(activation)),
                (fields::depth_multiplier, word(multiplier)?),
            ]
        }
        Operation::AveragePool2d { kernel, stride, padding, activation }
        | Operation::MaxPool2d { kernel, stride, padding, activation } => {
            use schema::Pool2DOptions as fields;
            vec![
                (fields::padding, border(padding)?),
                (fields::stride_h, word(stride[0])?),
                (fields::stride_w, word(stride[1])?),
                (fields::filter_height, word(kernel[0])?),
                (fields::filter_width, word(kernel[1])?),
                (fields::activation, fused(activation)),
            ]
        }
        Operation::FullyConnected { activation, keep_dims } => {
            use schema::FullyConnectedOptions as fields;
            vec![(fields::activation, fused(activation)), (fields::keep_num_dims, Value::Byte(keep_dims.into()))]
        }
        Operation::Concatenation { axis, activation } => {
            use schema::ConcatenationOptions as fields;
            vec![(fields::axis, Value::Word(axis.to_le_bytes())), (fields::activation, fused(activation))]
        }
        Operation::Softmax { beta } => vec![(schema::SoftmaxOptions::beta, Value::Word(beta.to_le_bytes()))],
        Operation::Mean { keep_dims } => vec![(schema::ReducerOptions::keep_dims, Value::Byte(keep_dims.into()))],
        Operation::Add { activation } => vec![(schema::AddOptions::activation, fused(activation))],
        Operation::Sub { activation } => vec![(schema::SubOptions::activation, fused(activation))],
        Operation::Mul { activation } => vec![(schema::MulOptions::activation, fused(activation))],
        Operation::Reshape
        | Operation::Quantize
        | Operation::Dequantize
        | Operation::Pad
        | Operation::Logistic
        | Operation::Tanh
        | Operation::Relu
        | Operation::Relu6 => Vec::new(),
    })
}

type Fields = Vec<(Field, Value)>;

/// What a field holds: numbers lie in the table, the others behind it.
enum Value {
    Byte(u8),
    Word([u8; 4]),
    Table(Fields),
    Tables(Vec<Fields>),
    Vector { count: usize, bytes: Vec<u8>, align: usize },
    Text(String),
}

impl Value {
    fn vector(count: usize, bytes: &[u8], align: usize) -> Self {
        Self::Vector { count, bytes: bytes.into(), align }
    }
}

/// A vector of i32; what is left out is -1.
fn indices(what: &'static str, values: impl Iterator<Item = Option<usize>>) -> Result<Value, Error> {
    let numbers: Vec<i32> =
        values.map(|value| value.map_or(Ok(-1), |value| number(what, value))).collect::<Result<_, _>>()?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Ok(Value::vector(numbers.len(), &bytes, 4))
}

/// Makes what comes `ahead` bytes later begin at a multiple of `align`.
fn align(file: &mut Vec<u8>, align: usize, ahead: usize) {
    let end = (file.len() + ahead).next_multiple_of(align) - ahead;
    file.resize(end, 0);
}

/// Lets the distance at `from` lead to `to`. A file whose distances overflow is too long to be returned.
fn link(file: &mut [u8], from: usize, to: usize) {
    file[from..from + 4].copy_from_slice(&((to - from) as u32).to_le_bytes());
}

/// Appends a table and all that it refers to; returns where it begins.
fn table(file: &mut Vec<u8>, fields: &Fields) -> usize {
    let slots = fields.iter().map(|(field, _)| field.id + 1).max().unwrap_or(0);
    let mut list = vec![0u16; slots];
    let mut inline = vec![0u8; 4];
    // Words first: then none of them needs room to be aligned.
    let (bytes, words): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| matches!(value, Value::Byte(_)));
    for (field, value) in words.iter().chain(&bytes) {
        list[field.id] = inline.len() as u16;
        match value {
            Value::Byte(byte) => inline.push(*byte),
            Value::Word(word) => inline.extend(word),
            _ => inline.extend([0; 4]),
        }
    }
    align(file, 4, 4 + 2 * slots);
    let list_at = file.len();
    file.extend((4 + 2 * slots as u16).to_le_bytes());
    file.extend((inline.len() as u16).to_le_bytes());
    file.extend(list.iter().flat_map(|offset| offset.to_le_bytes()));
    let at = file.len();
    inline[..4].copy_from_slice(&((at - list_at) as i32).to_le_bytes());
    file.extend(inline);
    for (field, value) in words {
        let from = at + usize::from(list[field.id]);
        if let Some(to) = behind(file, value) {
            link(file, from, to);
        }
    }
    at
}

/// Appends what does not lie in the table itself.
fn behind(file: &mut Vec<u8>, value: &Value) -> Option<usize> {
    let mut vector = |count: usize, bytes: &[u8], multiple: usize| {
        align(file, multiple, 4);
        let at = file.len();
        file.extend((count as u32).to_le_bytes());
        file.extend(bytes);
        at
    };
    match value {
        Value::Byte(_) | Value::Word(_) => None,
        Value::Table(fields) => Some(table(file, fields)),
        Value::Vector { count, bytes, align } => Some(vector(*count, bytes, (*align).max(4))),
        Value::Text(text) => {
            let at = vector(text.len(), text.as_bytes(), 4);
            file.push(0);
            Some(at)
        }
        Value::Tables(tables) => {
            let at = vector(tables.len(), &vec![0; 4 * tables.len()], 4);
            for (index, fields) in tables.iter().enumerate() {
                let to = table(file, fields);
                link(file, at + 4 + 4 * index, to);
            }
            Some(at)
        }
    }
}

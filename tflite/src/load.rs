//! From a file's bytes to a [`Model`]: what is accepted here needs no second look.

use core::ops::RangeInclusive;

use zeropoint::layers::{Activation, Padding};

use crate::{
    Error, Kind, Model, Operation, Operator, Quantization, Tensor,
    flat::{Flat, Table},
    schema::{self, BUILTINS, Builtin, Field},
};

impl Model {
    /// Takes a `.tflite` file apart.
    ///
    /// Of the extents that a network leaves open (its batch, as a rule) the file also holds those it was made with:
    /// these are used.
    ///
    /// # Errors
    /// Whatever the file says and this crate cannot honour: see [`Error`]. No file makes it panic.
    pub fn read(file: &[u8]) -> Result<Self, Error> {
        let found = file.get(4..8).unwrap_or_default();
        if found != schema::IDENTIFIER {
            return Err(Error::Identifier { found: found.to_vec() });
        }
        let flat = Flat::new(file);
        let root = flat.root()?;
        let version = root.scalar(schema::Model::version, 0)?;
        if version != schema::VERSION {
            return Err(Error::Version { found: version });
        }
        let subgraphs = root.tables(schema::Model::subgraphs)?;
        let [graph] = subgraphs[..] else { return Err(Error::Subgraphs { found: subgraphs.len() }) };
        let buffers = root.tables(schema::Model::buffers)?;
        let codes = root.tables(schema::Model::operator_codes)?;

        let tensors = graph.tables(schema::SubGraph::tensors)?.into_iter().enumerate();
        let tensors =
            tensors.map(|(index, table)| tensor(index, table, &buffers)).collect::<Result<Vec<_>, _>>()?;
        let operators = graph.tables(schema::SubGraph::operators)?.into_iter().enumerate();
        let operators = operators.map(|(index, table)| operator(index, table, &codes, tensors.len()));
        let list = |field: Field| -> Result<Vec<usize>, Error> {
            let named = graph.numbers::<i32>(field)?.into_iter();
            named.map(|index| tensor_index(index, tensors.len(), || field.name.into())).collect()
        };
        let model = Self {
            operators: operators.collect::<Result<_, _>>()?,
            inputs: list(schema::SubGraph::inputs)?,
            outputs: list(schema::SubGraph::outputs)?,
            tensors,
        };
        model.check_order()?;
        Ok(model)
    }

    /// Every tensor exists, has one source, and has it before it is read.
    pub(crate) fn check_order(&self) -> Result<(), Error> {
        let count = self.tensors.len();
        let ends = [("inputs", &self.inputs), ("outputs", &self.outputs)];
        let ends = ends.into_iter().flat_map(|(list, named)| named.iter().map(move |&tensor| (list, tensor)));
        let between = self.operators.iter().flat_map(|operator| {
            let named = operator.inputs.iter().flatten().chain(&operator.outputs);
            named.map(|&tensor| (operator.name, tensor))
        });
        if let Some((list, tensor)) = ends.chain(between).find(|&(_, tensor)| tensor >= count) {
            return Err(Error::TensorIndex { list: list.into(), index: tensor as i64, count });
        }
        let name = |tensor: usize| self.tensors[tensor].name.clone();
        let mut written: Vec<bool> = self.tensors.iter().map(|tensor| tensor.data.is_some()).collect();
        for &tensor in &self.inputs {
            if core::mem::replace(&mut written[tensor], true) {
                return Err(Error::Rewritten { writer: "the caller".into(), tensor, name: name(tensor) });
            }
        }
        for (index, operator) in self.operators.iter().enumerate() {
            let label = || format!("operator {index} ({})", operator.name);
            if let Some(&tensor) = operator.inputs.iter().flatten().find(|&&tensor| !written[tensor]) {
                return Err(Error::Unwritten { reader: label(), tensor, name: name(tensor) });
            }
            for &tensor in &operator.outputs {
                if core::mem::replace(&mut written[tensor], true) {
                    return Err(Error::Rewritten { writer: label(), tensor, name: name(tensor) });
                }
            }
        }
        match self.outputs.iter().find(|&&tensor| !written[tensor]) {
            Some(&tensor) => Err(Error::Unwritten { reader: "the caller".into(), tensor, name: name(tensor) }),
            None => Ok(()),
        }
    }
}

fn tensor_index(index: i32, count: usize, list: impl Fn() -> String) -> Result<usize, Error> {
    let valid = usize::try_from(index).ok().filter(|&index| index < count);
    valid.ok_or_else(|| Error::TensorIndex { list: list(), index: i64::from(index), count })
}

fn tensor(tensor: usize, table: Table<'_>, buffers: &[Table<'_>]) -> Result<Tensor, Error> {
    use schema::{Buffer, Tensor as fields};

    let name = table.text(fields::name)?;
    let code = table.scalar(fields::kind, 0i8)?;
    let Some(kind) = Kind::of_code(code) else { return Err(Error::Kind { tensor, name, code }) };
    if table.has(fields::sparsity) {
        return Err(Error::Sparse { tensor, name });
    }
    if table.scalar(fields::is_variable, 0u8)? != 0 {
        return Err(Error::Variable { tensor, name });
    }
    let mut shape = Vec::new();
    for (axis, extent) in table.numbers::<i32>(fields::shape)?.into_iter().enumerate() {
        match usize::try_from(extent) {
            Ok(positive @ 1..) => shape.push(positive),
            _ => return Err(Error::Extent { tensor, name, axis, extent }),
        }
    }
    let mut read = Tensor { name, shape, kind, quantization: None, data: None };
    let Some(expected) = read.bytes() else { return Err(Error::TooLarge { tensor, name: read.name }) };

    let index = table.scalar(fields::buffer, 0u32)?;
    let Some(buffer) = buffers.get(index as usize) else {
        return Err(Error::BufferIndex { tensor, name: read.name, index, count: buffers.len() });
    };
    // 1 is written where an offset is still to be filled in.
    let offset = buffer.scalar(Buffer::offset, 0u64)?;
    if offset > 1 {
        return Err(Error::ExternalBuffer { tensor, name: read.name, offset });
    }
    let bytes = buffer.bytes(Buffer::data)?;
    if !bytes.is_empty() && bytes.len() != expected {
        return Err(Error::BufferLength { tensor, name: read.name, found: bytes.len(), expected });
    }
    read.data = (!bytes.is_empty()).then(|| bytes.to_vec());
    if let Some(table) = table.table(fields::quantization)? {
        read.quantization = quantization(tensor, &read, table)?;
    }
    Ok(read)
}

/// `None` where the table only records the range of real values.
fn quantization(tensor: usize, of: &Tensor, table: Table<'_>) -> Result<Option<Quantization>, Error> {
    use schema::QuantizationParameters as fields;

    let Tensor { shape, kind, .. } = of;
    let name = || of.name.clone();
    if table.scalar(fields::details_type, 0u8)? != 0 {
        return Err(Error::CustomQuantization { tensor, name: name() });
    }
    let scales = table.numbers::<f32>(fields::scale)?;
    let codes = table.numbers::<i64>(fields::zero_point)?;
    if scales.len() != codes.len() {
        return Err(Error::ZeroPoints { tensor, name: name(), scales: scales.len(), zero_points: codes.len() });
    }
    if scales.is_empty() {
        return Ok(None);
    }
    let along = table.scalar(fields::quantized_dimension, 0i32)?;
    let axis = usize::try_from(along).ok();
    if scales.len() > 1 && axis.and_then(|axis| shape.get(axis)) != Some(&scales.len()) {
        let shape = shape.clone();
        return Err(Error::Scales { tensor, name: name(), scales: scales.len(), axis: along, shape });
    }
    if let Some((index, &scale)) =
        scales.iter().enumerate().find(|(_, scale)| !(scale.is_finite() && **scale > 0.0))
    {
        return Err(Error::Scale { tensor, name: name(), index, scale });
    }
    let range = kind.codes();
    let mut zero_points = Vec::with_capacity(codes.len());
    for (index, zero_point) in codes.into_iter().enumerate() {
        match i32::try_from(zero_point).ok().filter(|code| range.contains(code)) {
            Some(code) => zero_points.push(code),
            None => return Err(Error::ZeroPoint { tensor, name: name(), index, zero_point, kind: *kind }),
        }
    }
    // One pair belongs to all axes.
    let axis = if scales.len() > 1 { axis.unwrap_or_default() } else { 0 };
    Ok(Some(Quantization { scales, zero_points, axis }))
}

impl Kind {
    /// The schema's number of each kind.
    pub(crate) const CODES: [(i8, Self); 7] = [
        (0, Self::F32),
        (2, Self::I32),
        (3, Self::U8),
        (4, Self::I64),
        (6, Self::Bool),
        (7, Self::I16),
        (9, Self::I8),
    ];

    fn of_code(code: i8) -> Option<Self> {
        Self::CODES.iter().find(|(known, _)| *known == code).map(|&(_, kind)| kind)
    }

    /// What a zero point may be.
    fn codes(self) -> RangeInclusive<i32> {
        match self {
            Self::U8 => 0..=255,
            Self::I8 => -128..=127,
            Self::I16 => i32::from(i16::MIN)..=i32::from(i16::MAX),
            Self::I32 | Self::I64 | Self::F32 | Self::Bool => i32::MIN..=i32::MAX,
        }
    }
}

fn operator(index: usize, table: Table<'_>, codes: &[Table<'_>], tensors: usize) -> Result<Operator, Error> {
    use schema::Operator as fields;

    let builtin = builtin(index, table, codes)?;
    let name = builtin.name;
    let (least, most) = builtin.inputs;
    let arity = |side, found, least, most| Error::Arity { operator: index, name, side, found, least, most };

    let named = table.numbers::<i32>(fields::inputs)?;
    if !(least..=most).contains(&named.len()) {
        return Err(arity("inputs", named.len(), least, most));
    }
    let mut inputs = Vec::with_capacity(named.len());
    for (input, &tensor) in named.iter().enumerate() {
        // -1 stands for an optional tensor that is not there.
        if tensor == -1 && (input < least || most == usize::MAX) {
            return Err(Error::NoTensor { operator: index, name, input });
        }
        let present = || tensor_index(tensor, tensors, || format!("inputs of operator {index} ({name})"));
        inputs.push(if tensor == -1 { None } else { Some(present()?) });
    }
    let named = table.numbers::<i32>(fields::outputs)?;
    let [output] = named[..] else { return Err(arity("outputs", named.len(), 1, 1)) };
    let outputs = vec![tensor_index(output, tensors, || format!("outputs of operator {index} ({name})"))?];

    let found = table.scalar(fields::builtin_options_type, 0u8)?;
    let options = match builtin.options {
        0 => None,
        expected if found != 0 && found != expected => {
            return Err(Error::OptionsOf { operator: index, name, found, expected });
        }
        _ => table.table(fields::builtin_options)?,
    };
    let operation = operation(&Options { operator: index, name, table: options })?;
    Ok(Operator { name, operation, inputs, outputs })
}

fn builtin(operator: usize, table: Table<'_>, codes: &[Table<'_>]) -> Result<&'static Builtin, Error> {
    use schema::OperatorCode as fields;
    /// The code of operators that are not of the schema.
    const CUSTOM: i32 = 32;

    let index = table.scalar(schema::Operator::opcode_index, 0u32)?;
    let Some(kind) = codes.get(index as usize) else {
        return Err(Error::OperatorCode { operator, index, count: codes.len() });
    };
    // Codes up to 127 were once an i8; both fields are there, and an old reader's field is a lower bound.
    let old = kind.scalar(fields::deprecated_builtin_code, 0i8)?;
    let code = kind.scalar(fields::builtin_code, 0i32)?.max(i32::from(old));
    if code == CUSTOM {
        return Err(Error::CustomOperator { operator, custom: kind.text(fields::custom_code)? });
    }
    BUILTINS.iter().find(|builtin| builtin.code == code).ok_or(Error::UnknownOperator { operator, code })
}

/// An operator's options, and whose they are.
struct Options<'a> {
    operator: usize,
    name: &'static str,
    table: Option<Table<'a>>,
}

impl Options<'_> {
    fn refuse(&self, option: Field, value: impl Into<i64>) -> Error {
        Error::Option { operator: self.operator, name: self.name, option: option.name, value: value.into() }
    }

    fn scalar<T: crate::flat::Scalar>(&self, option: Field, default: T) -> Result<T, Error> {
        self.table.map_or(Ok(default), |table| table.scalar(option, default))
    }

    fn flag(&self, option: Field) -> Result<bool, Error> {
        Ok(self.scalar(option, 0u8)? != 0)
    }

    fn positive(&self, option: Field, default: i32) -> Result<usize, Error> {
        let value = self.scalar(option, default)?;
        usize::try_from(value).ok().filter(|&value| value > 0).ok_or_else(|| self.refuse(option, value))
    }

    /// Down, then across; `default` 0 makes both obligatory.
    fn pair(&self, down: Field, across: Field, default: i32) -> Result<[usize; 2], Error> {
        Ok([self.positive(down, default)?, self.positive(across, default)?])
    }

    fn padding(&self, option: Field) -> Result<Padding, Error> {
        match self.scalar(option, 0i8)? {
            0 => Ok(Padding::Same),
            1 => Ok(Padding::Valid),
            other => Err(self.refuse(option, other)),
        }
    }

    fn activation(&self, option: Field) -> Result<Activation, Error> {
        match self.scalar(option, 0i8)? {
            0 => Ok(Activation::None),
            1 => Ok(Activation::Relu),
            2 => Ok(Activation::ReluN1),
            3 => Ok(Activation::Relu6),
            other => Err(self.refuse(option, other)),
        }
    }
}

fn operation(options: &Options<'_>) -> Result<Operation, Error> {
    Ok(match options.name {
        "CONV_2D" => {
            use schema::Conv2DOptions as fields;
            Operation::Conv2d {
                stride: options.pair(fields::stride_h, fields::stride_w, 0)?,
                dilation: options.pair(fields::dilation_h, fields::dilation_w, 1)?,
                padding: options.padding(fields::padding)?,
                activation: options.activation(fields::activation)?,
            }
        }
        "DEPTHWISE_CONV_2D" => {
            use schema::DepthwiseConv2DOptions as fields;
            Operation::DepthwiseConv2d {
                stride: options.pair(fields::stride_h, fields::stride_w, 0)?,
                dilation: options.pair(fields::dilation_h, fields::dilation_w, 1)?,
                padding: options.padding(fields::padding)?,
                activation: options.activation(fields::activation)?,
                multiplier: options.positive(fields::depth_multiplier, 0)?,
            }
        }
        name @ ("AVERAGE_POOL_2D" | "MAX_POOL_2D") => {
            use schema::Pool2DOptions as fields;
            let kernel = options.pair(fields::filter_height, fields::filter_width, 0)?;
            let stride = options.pair(fields::stride_h, fields::stride_w, 0)?;
            let padding = options.padding(fields::padding)?;
            let activation = options.activation(fields::activation)?;
            if name == "MAX_POOL_2D" {
                Operation::MaxPool2d { kernel, stride, padding, activation }
            } else {
                Operation::AveragePool2d { kernel, stride, padding, activation }
            }
        }
        "FULLY_CONNECTED" => {
            use schema::FullyConnectedOptions as fields;
            let format = options.scalar(fields::weights_format, 0i8)?;
            if format != 0 {
                return Err(options.refuse(fields::weights_format, format));
            }
            Operation::FullyConnected {
                activation: options.activation(fields::activation)?,
                keep_dims: options.flag(fields::keep_num_dims)?,
            }
        }
        "SOFTMAX" => {
            let beta = options.scalar(schema::SoftmaxOptions::beta, 0f32)?;
            if !beta.is_finite() {
                return Err(Error::Beta { operator: options.operator, beta });
            }
            Operation::Softmax { beta }
        }
        "CONCATENATION" => {
            use schema::ConcatenationOptions as fields;
            let axis = options.scalar(fields::axis, 0)?;
            Operation::Concatenation { axis, activation: options.activation(fields::activation)? }
        }
        "ADD" => Operation::Add { activation: options.activation(schema::AddOptions::activation)? },
        "SUB" => Operation::Sub { activation: options.activation(schema::SubOptions::activation)? },
        "MUL" => Operation::Mul { activation: options.activation(schema::MulOptions::activation)? },
        "MEAN" => Operation::Mean { keep_dims: options.flag(schema::ReducerOptions::keep_dims)? },
        "RESHAPE" => Operation::Reshape,
        "QUANTIZE" => Operation::Quantize,
        "DEQUANTIZE" => Operation::Dequantize,
        "PAD" => Operation::Pad,
        "LOGISTIC" => Operation::Logistic,
        "TANH" => Operation::Tanh,
        "RELU" => Operation::Relu,
        "RELU6" => Operation::Relu6,
        other => unreachable!("{other} is not in the list of operators"),
    })
}

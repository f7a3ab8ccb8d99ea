//! Quantized ONNX graphs, written as a file has them.

use prost::Message as _;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::*;
use tract_onnx::prelude::{Datum, Tensor};

/// Numbers that look random, the same every time.
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn tensor<T: Int>(&mut self, shape: &[usize]) -> Tensor {
        let codes: Vec<_> = (0..shape.iter().product()).map(|_| T::of(self.bits())).collect();
        Tensor::from_shape(shape, &codes).unwrap()
    }
}

/// A type of quantized tensors.
pub trait Int: Datum + Copy {
    const TYPE: DataType;
    /// A zero point.
    const ZERO: u64;
    fn of(bits: u64) -> Self;
    fn byte(self) -> u8;
}

impl Int for u8 {
    const TYPE: DataType = DataType::Uint8;
    const ZERO: u64 = 119;
    fn of(bits: u64) -> Self {
        bits as u8
    }
    fn byte(self) -> u8 {
        self
    }
}

impl Int for i8 {
    const TYPE: DataType = DataType::Int8;
    const ZERO: u64 = 5;
    fn of(bits: u64) -> Self {
        bits as i8
    }
    fn byte(self) -> u8 {
        self as u8
    }
}

impl Int for i32 {
    const TYPE: DataType = DataType::Int32;
    const ZERO: u64 = 0;
    fn of(bits: u64) -> Self {
        bits as i32
    }
    fn byte(self) -> u8 {
        self as u8
    }
}

/// A graph under construction; every node has the name of its output.
pub struct Graph(GraphProto);

impl Graph {
    pub fn new() -> Self {
        Self(GraphProto { name: "quantized".into(), ..GraphProto::default() })
    }

    /// The bytes of a file.
    pub fn encode(self) -> Vec<u8> {
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 13 }];
        ModelProto { ir_version: 7, opset_import, graph: Some(self.0), ..ModelProto::default() }.encode_to_vec()
    }

    fn value<T: Int>(name: &str, shape: &[usize]) -> ValueInfoProto {
        use tensor_shape_proto::{Dimension, dimension};
        let size = |size: &usize| dimension::Value::DimValue(*size as i64);
        let dim = shape.iter().map(|dim| Dimension { value: Some(size(dim)), ..Dimension::default() }).collect();
        let tensor = type_proto::Tensor { elem_type: T::TYPE as i32, shape: Some(TensorShapeProto { dim }) };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
        ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
    }

    pub fn input<T: Int>(&mut self, name: &str, shape: &[usize]) {
        self.0.input.push(Self::value::<T>(name, shape));
    }

    pub fn output<T: Int>(&mut self, name: &str, shape: &[usize]) {
        self.0.output.push(Self::value::<T>(name, shape));
    }

    fn constant(&mut self, name: String, shape: &[usize], data_type: DataType, raw_data: Vec<u8>) -> String {
        let dims = shape.iter().map(|dim| *dim as i64).collect();
        let data_type = data_type as i32;
        let tensor = TensorProto { name: name.clone(), dims, data_type, raw_data, ..TensorProto::default() };
        self.0.initializer.push(tensor);
        name
    }

    fn codes<T: Int>(&mut self, name: String, shape: &[usize], mut code: impl FnMut() -> u64) -> String {
        let bytes = (0..shape.iter().product()).map(|_| T::of(code()).byte()).collect();
        self.constant(name, shape, T::TYPE, bytes)
    }

    fn scale(&mut self, name: String, scales: &[f32]) -> String {
        let shape: &[usize] = if scales.len() == 1 { &[] } else { &[scales.len()] };
        let bytes = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        self.constant(name, shape, DataType::Float, bytes)
    }

    fn node(&mut self, kind: &str, name: &str, input: Vec<String>, attribute: Vec<AttributeProto>) {
        let output = vec![name.into()];
        let (op_type, name) = (kind.into(), name.into());
        self.0.node.push(NodeProto { op_type, name, input, output, attribute, ..NodeProto::default() });
    }

    /// Scale and zero point of a tensor.
    fn quantized<T: Int>(&mut self, name: &str, scale: f32) -> [String; 2] {
        [self.scale(format!("{name}.scale"), &[scale]), self.codes::<T>(format!("{name}.zero"), &[], || T::ZERO)]
    }

    /// `x` times weights, to codes of which few are at the ends.
    pub fn q_linear_mat_mul<A: Int, W: Int>(&mut self, name: &str, x: &str, [k, n]: [usize; 2], rng: &mut Rng) {
        let weights = self.codes::<W>(format!("{name}.w"), &[k, n], || rng.bits());
        let [a_scale, a_zero] = self.quantized::<A>(&format!("{name}.a"), 0.02);
        let [w_scale, w_zero] = self.quantized::<W>(&format!("{name}.b"), 0.003);
        // Products of uniform codes have a deviation of about 74 * 74 a term.
        let scale = 0.02 * 0.003 * 74.0 * 74.0 * (k as f32).sqrt() / 40.0;
        let [y_scale, y_zero] = self.quantized::<A>(&format!("{name}.y"), scale);
        let inputs = vec![x.into(), a_scale, a_zero, weights, w_scale, w_zero, y_scale, y_zero];
        self.node("QLinearMatMul", name, inputs, vec![]);
    }

    pub fn mat_mul_integer<A: Int, W: Int>(&mut self, name: &str, x: &str, [k, n]: [usize; 2], rng: &mut Rng) {
        let weights = self.codes::<W>(format!("{name}.w"), &[k, n], || rng.bits());
        let a_zero = self.codes::<A>(format!("{name}.a.zero"), &[], || A::ZERO);
        let w_zero = self.codes::<W>(format!("{name}.b.zero"), &[], || W::ZERO);
        self.node("MatMulInteger", name, vec![x.into(), weights, a_zero, w_zero], vec![]);
    }

    fn window([_, _, height, width]: [usize; 4], stride: usize) -> Vec<AttributeProto> {
        let ints = |name: &str, ints: [usize; 2]| AttributeProto {
            name: name.into(),
            r#type: attribute_proto::AttributeType::Ints as i32,
            ints: ints.map(|int| int as i64).to_vec(),
            ..AttributeProto::default()
        };
        let mut pads = ints("pads", [height / 2, width / 2]);
        pads.ints.extend(pads.ints.clone());
        vec![ints("kernel_shape", [height, width]), ints("strides", [stride, stride]), pads]
    }

    /// A convolution with a bias and weights of a scale a channel.
    pub fn q_linear_conv<A: Int, W: Int>(
        &mut self,
        name: &str,
        x: &str,
        shape: [usize; 4],
        stride: usize,
        rng: &mut Rng,
    ) {
        let weights = self.codes::<W>(format!("{name}.w"), &shape, || rng.bits());
        let [a_scale, a_zero] = self.quantized::<A>(&format!("{name}.a"), 0.02);
        let scales: Vec<_> = (0..shape[0]).map(|_| 0.002 + rng.bits() as f32 / 2e12).collect();
        let w_scale = self.scale(format!("{name}.b.scale"), &scales);
        let w_zero = self.codes::<W>(format!("{name}.b.zero"), &[], || W::ZERO);
        let k: usize = shape[1..].iter().product();
        let scale = 0.02 * 0.002 * 74.0 * 74.0 * (k as f32).sqrt() / 40.0;
        let [y_scale, y_zero] = self.quantized::<A>(&format!("{name}.y"), scale);
        let bias = (0..shape[0]).flat_map(|_| ((rng.bits() % 60_000) as i32 - 30_000).to_le_bytes()).collect();
        let bias = self.constant(format!("{name}.bias"), &[shape[0]], DataType::Int32, bias);
        let inputs = vec![x.into(), a_scale, a_zero, weights, w_scale, w_zero, y_scale, y_zero, bias];
        self.node("QLinearConv", name, inputs, Self::window(shape, stride));
    }

    pub fn conv_integer<A: Int, W: Int>(&mut self, name: &str, x: &str, shape: [usize; 4], rng: &mut Rng) {
        let weights = self.codes::<W>(format!("{name}.w"), &shape, || rng.bits());
        let a_zero = self.codes::<A>(format!("{name}.a.zero"), &[], || A::ZERO);
        let w_zero = self.codes::<W>(format!("{name}.b.zero"), &[], || W::ZERO);
        self.node("ConvInteger", name, vec![x.into(), weights, a_zero, w_zero], Self::window(shape, 1));
    }
}

//! A model of one FULLY_CONNECTED, written as a flatbuffer: the fields of a table have numbers, those of `schema.fbs`.

use flatbuffers::{FlatBufferBuilder, Push, TableFinishedWIPOffset, UnionWIPOffset, VOffsetT, Vector, WIPOffset};

use crate::shape::Shape;

/// Of `TensorType`.
const INT32: i8 = 2;
pub const UINT8: i8 = 3;
pub const INT8: i8 = 9;
/// Of `BuiltinOperator` and of `BuiltinOptions`.
const FULLY_CONNECTED: i8 = 9;
const FULLY_CONNECTED_OPTIONS: u8 = 8;
/// The version of the operator that has a scale a column.
const OPERATOR_VERSION: i32 = 12;
/// The version of the schema, and the name that files start with.
const VERSION: u32 = 3;
const NAME: &str = "TFL3";

type Table = WIPOffset<TableFinishedWIPOffset>;
type Builder = FlatBufferBuilder<'static>;

/// The operator: N x K weights, one bias a column, and one scale a column or one for all. Activations and outputs have scale 1.
pub struct FullyConnected<'a> {
    pub shape: Shape,
    /// Of activations, weights and outputs.
    pub element: i8,
    pub weights: &'a [u8],
    pub bias: &'a [i32],
    pub scales: &'a [f32],
    pub lhs_zero: i64,
    pub rhs_zero: i64,
    pub out_zero: i64,
}

impl FullyConnected<'_> {
    pub fn model(&self) -> Vec<u8> {
        let Shape { m, k, n } = self.shape;
        let mut to = Builder::new();
        let bias: Vec<u8> = self.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        // By convention the first is empty: it is of tensors that are not constant.
        let buffers = [&[], self.weights, &bias].map(|bytes| buffer(&mut to, bytes));
        let zeros = vec![self.rhs_zero; self.scales.len()];
        let tensors = [
            tensor(&mut to, &[m, k], self.element, 0, &[1.0], &[self.lhs_zero]),
            tensor(&mut to, &[n, k], self.element, 1, self.scales, &zeros),
            tensor(&mut to, &[n], INT32, 2, self.scales, &vec![0; zeros.len()]),
            tensor(&mut to, &[m, n], self.element, 0, &[1.0], &[self.out_zero]),
        ];
        let options = table(&mut to, |_| {});
        let (inputs, outputs) = (to.create_vector(&[0i32, 1, 2]), to.create_vector(&[3i32]));
        let operator = table(&mut to, |to| {
            put(to, 0, 0u32);
            put(to, 1, inputs);
            put(to, 2, outputs);
            put(to, 3, FULLY_CONNECTED_OPTIONS);
            put(to, 4, WIPOffset::<UnionWIPOffset>::new(options.value()));
        });
        let (tensors, operators) = (to.create_vector(&tensors), to.create_vector(&[operator]));
        let (inputs, outputs) = (to.create_vector(&[0i32]), to.create_vector(&[3i32]));
        let graph = table(&mut to, |to| {
            put(to, 0, tensors);
            put(to, 1, inputs);
            put(to, 2, outputs);
            put(to, 3, operators);
        });
        let code = table(&mut to, |to| {
            put(to, 0, FULLY_CONNECTED);
            put(to, 2, OPERATOR_VERSION);
            put(to, 3, i32::from(FULLY_CONNECTED));
        });
        let (codes, graphs, buffers) =
            (to.create_vector(&[code]), to.create_vector(&[graph]), to.create_vector(&buffers));
        let model = table(&mut to, |to| {
            put(to, 0, VERSION);
            put(to, 1, codes);
            put(to, 2, graphs);
            put(to, 4, buffers);
        });
        to.finish(model, Some(NAME));
        to.finished_data().to_vec()
    }
}

fn table(to: &mut Builder, fields: impl FnOnce(&mut Builder)) -> Table {
    let start = to.start_table();
    fields(to);
    WIPOffset::new(to.end_table(start).value())
}

/// The field of this number.
fn put(to: &mut Builder, number: VOffsetT, value: impl Push) {
    // Two sizes stand before the offsets of the fields.
    to.push_slot_always(4 + 2 * number, value);
}

fn tensor(to: &mut Builder, sizes: &[usize], element: i8, buffer: u32, scales: &[f32], zeros: &[i64]) -> Table {
    let sizes: Vec<i32> = sizes.iter().map(|size| *size as i32).collect();
    let (sizes, name) = (to.create_vector(&sizes), to.create_string(&buffer.to_string()));
    let (scales, zeros) = (to.create_vector(scales), to.create_vector(zeros));
    // Those of weights and bias are along their first dimension, which is what no number says.
    let quantization = table(to, |to| {
        put(to, 2, scales);
        put(to, 3, zeros);
    });
    table(to, |to| {
        put(to, 0, sizes);
        put(to, 1, element);
        put(to, 2, buffer);
        put(to, 3, name);
        put(to, 4, quantization);
    })
}

fn buffer(to: &mut Builder, bytes: &[u8]) -> Table {
    if bytes.is_empty() {
        return table(to, |_| {});
    }
    let bytes = words(to, bytes);
    table(to, |to| put(to, 0, bytes))
}

/// A vector of bytes that starts at a word of 8 bytes.
fn words(to: &mut Builder, bytes: &[u8]) -> WIPOffset<Vector<'static, u8>> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    to.start_vector::<u64>(bytes.len().div_ceil(8));
    // Written from the end.
    if !rest.is_empty() {
        to.push(u64::from_le_bytes(last));
    }
    for word in whole.iter().rev() {
        to.push(u64::from_le_bytes(*word));
    }
    to.end_vector(bytes.len())
}

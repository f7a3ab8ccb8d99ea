//! Networks to test with.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{env, fs, path::PathBuf};

use zeropoint::layers::{Activation, Padding};
use zeropoint_tflite::{Kind, Model, Operation, Quantization, Tensor};

pub const NETWORKS: [&str; 6] = [
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v2_1.0_224_quant",
    "tf2_mobilenet_v2_1.0_224_ptq",
    "pretrainedResnet_quant",
    "kws_ref_model",
    "vww_96_int8",
];

/// The file or folder that a variable of the environment names.
pub fn from_environment(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        println!("SKIPPED: {variable} is not set");
    }
    path
}

/// The file of a sample network, where they are to be had.
pub fn network(name: &str) -> Option<Vec<u8>> {
    let path = from_environment("ZEROPOINT_MODELS")?.join(format!("{name}.tflite"));
    Some(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// An archive of arrays of bytes: packed and as they are, in turns.
#[cfg(feature = "cli")]
pub fn npz(arrays: &[(&str, Kind, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    use rawzip::{CompressionMethod, ZipArchiveWriter};
    use std::io::Write;
    let mut file = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut file);
    for (index, (key, kind, shape, data)) in arrays.iter().enumerate() {
        let kind = if *kind == Kind::I8 { "|i1" } else { "|u1" };
        let shape: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
        let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let mut array = b"\x93NUMPY\x01\x00".to_vec();
        array.extend((text.len() as u16).to_le_bytes());
        array.extend(text.as_bytes());
        array.extend(data);
        let packed = index % 2 == 0;
        let method = if packed { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
        let path = format!("{key}.npy");
        let (mut entry, config) = archive.new_file(&path).compression_method(method).start().unwrap();
        let descriptor = if packed {
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
            let mut writer = config.wrap(encoder);
            writer.write_all(&array).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(&array).unwrap();
            writer.finish().unwrap().1
        };
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    file
}

/// All operations with options that differ from each other and from what is assumed of absent ones.
pub fn operations() -> Vec<Operation> {
    let (padding, activation) = (Padding::Valid, Activation::Relu6);
    vec![
        Operation::Conv2d { stride: [2, 3], dilation: [4, 5], padding, activation },
        Operation::DepthwiseConv2d { stride: [6, 7], dilation: [8, 9], padding, activation, multiplier: 10 },
        Operation::FullyConnected { activation: Activation::ReluN1, keep_dims: true },
        Operation::Add { activation: Activation::Relu },
        Operation::Sub { activation },
        Operation::Mul { activation: Activation::ReluN1 },
        Operation::AveragePool2d { kernel: [2, 3], stride: [4, 5], padding, activation },
        Operation::MaxPool2d { kernel: [5, 4], stride: [3, 2], padding: Padding::Same, activation },
        Operation::Mean { keep_dims: true },
        Operation::Reshape,
        Operation::Softmax { beta: 0.75 },
        Operation::Quantize,
        Operation::Dequantize,
        Operation::Pad,
        Operation::Concatenation { axis: -1, activation },
        Operation::Logistic,
        Operation::Tanh,
        Operation::Relu,
        Operation::Relu6,
    ]
}

/// A chain of all operations. Its shapes make no sense; a loader does not mind.
pub fn every_operation() -> Model {
    let mut model = Model::default();
    let mut last = model.add(Tensor::new("input", Kind::U8, &[1, 4, 4, 3]).quantized(0.5, 128));
    model.inputs.push(last);
    let mut weights = Tensor::new("weights", Kind::I8, &[3, 2]).holding([1, 2, 3, 4, 5, 6]);
    weights.quantization =
        Some(Quantization { scales: vec![0.25, 0.5, 0.125], zero_points: vec![0, -128, 127], axis: 0 });
    let weights = model.add(weights);
    for (index, operation) in operations().into_iter().enumerate() {
        let inputs: &[_] = match operation.name() {
            "CONV_2D" | "DEPTHWISE_CONV_2D" | "FULLY_CONNECTED" => &[Some(last), Some(weights), None],
            "ADD" | "SUB" | "MUL" | "MEAN" | "PAD" | "CONCATENATION" => &[Some(last), Some(weights)],
            _ => &[Some(last)],
        };
        let kinds = [Kind::U8, Kind::I8, Kind::I16, Kind::I32, Kind::I64, Kind::F32, Kind::Bool];
        let output = Tensor::new(operation.name(), kinds[index % kinds.len()], &[1, index + 1, 5]);
        last = model.apply(operation, inputs, output);
    }
    model.outputs.push(last);
    model
}

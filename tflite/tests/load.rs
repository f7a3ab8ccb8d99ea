//! The six networks of the reference load, and are what their README says.

use std::{env, fs, path::PathBuf};

use zeropoint_tflite::{Kind, Model};

/// A network's file, the operators in it, its input and its output.
struct Known {
    file: &'static str,
    operators: &'static [(&'static str, usize)],
    input: (Kind, &'static [usize], f32, i32),
    output: (Kind, &'static [usize], f32, i32),
    /// Multiplications of convolutions and fully connected layers, in units of 100,000.
    macs: usize,
}

const KNOWN: [Known; 6] = [
    Known {
        file: "mobilenet_v1_0.25_128_quant",
        operators: &[
            ("CONV_2D", 15),
            ("DEPTHWISE_CONV_2D", 13),
            ("AVERAGE_POOL_2D", 1),
            ("RESHAPE", 1),
            ("SOFTMAX", 1),
        ],
        input: (Kind::U8, &[1, 128, 128, 3], 0.007_812_5, 128),
        output: (Kind::U8, &[1, 1001], 1.0 / 256.0, 0),
        macs: 136,
    },
    Known {
        file: "mobilenet_v2_1.0_224_quant",
        operators: &[
            ("CONV_2D", 36),
            ("DEPTHWISE_CONV_2D", 17),
            ("ADD", 10),
            ("AVERAGE_POOL_2D", 1),
            ("RESHAPE", 1),
            ("SOFTMAX", 1),
        ],
        input: (Kind::U8, &[1, 224, 224, 3], 0.007_812_5, 128),
        output: (Kind::U8, &[1, 1001], 1.0 / 256.0, 0),
        macs: 3008,
    },
    Known {
        file: "tf2_mobilenet_v2_1.0_224_ptq",
        operators: &[
            ("QUANTIZE", 2),
            ("CONV_2D", 36),
            ("DEPTHWISE_CONV_2D", 17),
            ("ADD", 10),
            ("MEAN", 1),
            ("RESHAPE", 1),
            ("SOFTMAX", 1),
        ],
        input: (Kind::U8, &[1, 224, 224, 3], 0.007_843_14, 127),
        output: (Kind::U8, &[1, 1001], 1.0 / 256.0, 0),
        macs: 3008,
    },
    Known {
        file: "pretrainedResnet_quant",
        operators: &[
            ("CONV_2D", 9),
            ("ADD", 3),
            ("AVERAGE_POOL_2D", 1),
            ("RESHAPE", 1),
            ("FULLY_CONNECTED", 1),
            ("SOFTMAX", 1),
        ],
        input: (Kind::I8, &[1, 32, 32, 3], 1.0, -128),
        output: (Kind::I8, &[1, 10], 1.0 / 256.0, -128),
        macs: 125,
    },
    Known {
        file: "kws_ref_model",
        operators: &[
            ("CONV_2D", 5),
            ("DEPTHWISE_CONV_2D", 4),
            ("AVERAGE_POOL_2D", 1),
            ("RESHAPE", 1),
            ("FULLY_CONNECTED", 1),
            ("SOFTMAX", 1),
        ],
        input: (Kind::I8, &[1, 49, 10, 1], 0.584_703, 83),
        output: (Kind::I8, &[1, 12], 1.0 / 256.0, -128),
        macs: 27,
    },
    Known {
        file: "vww_96_int8",
        operators: &[
            ("CONV_2D", 14),
            ("DEPTHWISE_CONV_2D", 13),
            ("AVERAGE_POOL_2D", 1),
            ("RESHAPE", 1),
            ("FULLY_CONNECTED", 1),
            ("SOFTMAX", 1),
        ],
        input: (Kind::I8, &[1, 96, 96, 3], 0.003_921_57, -128),
        output: (Kind::I8, &[1, 2], 1.0 / 256.0, -128),
        macs: 75,
    },
];

fn file(name: &str) -> Option<Vec<u8>> {
    let Some(folder) = env::var_os("ZEROPOINT_MODELS") else {
        println!("skipped: {name}: ZEROPOINT_MODELS names no folder");
        return None;
    };
    let path = PathBuf::from(folder).join(format!("{name}.tflite"));
    Some(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn known_networks() {
    for known in &KNOWN {
        let Some(bytes) = file(known.file) else { continue };
        let model = Model::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", known.file));
        let count = |name| model.operators.iter().filter(|operator| operator.name == name).count();
        for &(name, expected) in known.operators {
            assert_eq!(count(name), expected, "{}: {name}", known.file);
        }
        let total: usize = known.operators.iter().map(|(_, count)| count).sum();
        assert_eq!(model.operators.len(), total, "{}", known.file);
        for (list, end) in [(&model.inputs, known.input), (&model.outputs, known.output)] {
            let [index] = list[..] else { panic!("{}: {list:?}", known.file) };
            let (kind, shape, scale, zero_point) = end;
            let tensor = &model.tensors[index];
            assert_eq!((tensor.kind, &tensor.shape[..]), (kind, shape), "{}: {}", known.file, tensor.name);
            let found = tensor.quantization.as_ref().expect("both ends are quantized");
            assert_eq!(found.zero_points, [zero_point], "{}: {}", known.file, tensor.name);
            // The README has six digits.
            assert!((found.scales[0] / scale - 1.0).abs() < 2e-6, "{}: {:?}", known.file, found.scales);
        }
        let macs: usize = model
            .operators
            .iter()
            .map(|operator| {
                let weights = || &model.tensors[operator.inputs[1].expect("weights are not optional")].shape;
                let outputs: usize = model.tensors[operator.outputs[0]].shape.iter().product();
                match operator.name {
                    "CONV_2D" | "FULLY_CONNECTED" => outputs * weights()[1..].iter().product::<usize>(),
                    "DEPTHWISE_CONV_2D" => outputs * weights()[1] * weights()[2],
                    _ => 0,
                }
            })
            .sum();
        assert_eq!((macs + 50_000) / 100_000, known.macs, "{}: {macs} MAC", known.file);
    }
}

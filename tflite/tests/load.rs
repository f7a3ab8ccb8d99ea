//! The six networks of the reference load, and are what their README says.

mod common;

use common::{NETWORKS, every_operation, network};
use proptest::prelude::*;
use zeropoint_tflite::{Error, Kind, Model, Plan, Tensor};

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

#[test]
fn known_networks() {
    for known in &KNOWN {
        let Some(bytes) = network(known.file) else { continue };
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
        let macs: usize = model.operators.iter().map(|operator| model.macs(operator)).sum();
        assert_eq!((macs + 50_000) / 100_000, known.macs, "{}: {macs} MAC", known.file);
    }
}

#[test]
fn written_is_read() {
    let model = every_operation();
    assert_eq!(Model::read(&model.write().expect("small numbers")).expect("a valid file"), model);
    for name in NETWORKS {
        let Some(bytes) = network(name) else { continue };
        let model = Model::read(&bytes).expect(name);
        assert_eq!(Model::read(&model.write().expect(name)).expect(name), model, "{name}");
    }
}

/// What reading the changed chain of all operations answers.
fn refusal(change: impl Fn(&mut Model)) -> Error {
    let mut model = every_operation();
    change(&mut model);
    let refused = Model::read(&model.write().expect("small numbers"));
    let error = refused.expect_err("the change is a fault");
    println!("{error}");
    error
}

#[test]
fn faults_have_names() {
    use zeropoint_tflite::Operation;
    assert!(matches!(Model::read(b"1234TFL2"), Err(Error::Identifier { .. })));
    assert!(matches!(Model::read(b"TFL3"), Err(Error::Identifier { .. })));
    assert!(matches!(Model::read(b"1234TFL3"), Err(Error::Outside { .. })));
    assert!(matches!(
        refusal(|model| model.tensors[1].shape = vec![3, 3]),
        Error::BufferLength { tensor: 1, found: 6, expected: 9, .. }
    ));
    assert!(matches!(
        refusal(|model| model.tensors[1].shape = vec![3, 1]),
        Error::BufferLength { tensor: 1, found: 6, expected: 3, .. }
    ));
    assert!(matches!(
        refusal(|model| model.tensors[1].shape = vec![2, 3]),
        Error::Scales { tensor: 1, scales: 3, axis: 0, .. }
    ));
    assert!(matches!(
        refusal(|model| model.tensors[0].shape[2] = 0),
        Error::Extent { tensor: 0, axis: 2, extent: 0, .. }
    ));
    let large = usize::try_from(i32::MAX).expect("a 32-bit machine at least");
    assert!(matches!(refusal(|model| model.tensors[0].shape = vec![large; 3]), Error::TooLarge { tensor: 0, .. }));
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let change =
            |model: &mut Model| model.tensors[1].quantization.as_mut().expect("quantized").scales[2] = scale;
        assert!(matches!(refusal(change), Error::Scale { tensor: 1, index: 2, .. }), "{scale}");
    }
    let change =
        |model: &mut Model| model.tensors[1].quantization.as_mut().expect("quantized").zero_points[1] = 128;
    assert!(matches!(refusal(change), Error::ZeroPoint { tensor: 1, index: 1, zero_point: 128, .. }));
    let change = |model: &mut Model| {
        model.tensors[1].quantization.as_mut().expect("quantized").zero_points.pop();
    };
    assert!(matches!(refusal(change), Error::ZeroPoints { tensor: 1, scales: 3, zero_points: 2, .. }));
    assert!(matches!(
        refusal(|model| model.operators[3].inputs.push(Some(0))),
        Error::Arity { operator: 3, name: "ADD", found: 3, least: 2, most: 2, .. }
    ));
    assert!(matches!(
        refusal(|model| model.operators[0].outputs.push(0)),
        Error::Arity { operator: 0, side: "outputs", found: 2, .. }
    ));
    assert!(matches!(
        refusal(|model| model.operators[0].inputs[1] = None),
        Error::NoTensor { operator: 0, name: "CONV_2D", input: 1 }
    ));
    assert!(matches!(
        refusal(|model| model.operators[0].inputs[2] = Some(99)),
        Error::TensorIndex { index: 99, count: 21, .. }
    ));
    assert!(matches!(refusal(|model| model.outputs[0] = 21), Error::TensorIndex { index: 21, count: 21, .. }));
    assert!(matches!(refusal(|model| model.operators.swap(3, 4)), Error::Unwritten { tensor: 5, .. }));
    assert!(matches!(refusal(|model| model.inputs.clear()), Error::Unwritten { tensor: 0, .. }));
    assert!(matches!(refusal(|model| model.inputs.push(1)), Error::Rewritten { tensor: 1, .. }));
    assert!(matches!(refusal(|model| model.operators[5].outputs[0] = 0), Error::Rewritten { tensor: 0, .. }));
    let change = |model: &mut Model| model.operators[10].operation = Operation::Softmax { beta: f32::NAN };
    assert!(matches!(refusal(change), Error::Beta { operator: 10, .. }));
    for side in [0, 1] {
        let change = |model: &mut Model| {
            if let Operation::Conv2d { stride, .. } = &mut model.operators[0].operation {
                stride[side] = 0;
            }
        };
        assert!(matches!(refusal(change), Error::Option { operator: 0, name: "CONV_2D", value: 0, .. }));
    }
    let mut model = every_operation();
    model.tensors[0].shape[0] = usize::MAX;
    assert!(matches!(model.write(), Err(Error::Unwritable { value: usize::MAX, .. })));
}

/// A few bytes that unfold to gigabytes are refused before they do.
#[test]
fn shared_bytes_are_counted() {
    let mut model = Model::default();
    model.add(Tensor::new("a", Kind::U8, &[4096]).holding(vec![7; 4096]));
    for index in 0..1000 {
        model.add(Tensor::new(&index.to_string(), Kind::U8, &[4096]));
    }
    let mut file = model.write().expect("small numbers");
    // The vector of tensors: as many distances as tensors. All are made to lead to the first.
    let count = 1001u32.to_le_bytes();
    let vector = file.windows(4).position(|bytes| bytes == count).expect("a count of 1001");
    let word = |file: &[u8], at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let first = vector as u32 + 4 + word(&file, vector + 4);
    for index in 0..1001 {
        let at = vector + 4 + 4 * index;
        file[at..at + 4].copy_from_slice(&first.wrapping_sub(at as u32).to_le_bytes());
    }
    assert_eq!(Model::read(&file), Err(Error::Folded { length: file.len() }));
}

fn must_not_panic(file: &[u8]) {
    match Model::read(file) {
        Ok(model) => drop(Plan::new(&model)),
        Err(error) => drop(error.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_refused(root in 0u32..600, noise in prop::collection::vec(any::<u8>(), 0..600)) {
        must_not_panic(&noise);
        let mut file = root.to_le_bytes().to_vec();
        file.extend(b"TFL3");
        file.extend(noise);
        must_not_panic(&file);
    }

    #[test]
    fn damaged_files_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        words in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(
            vec![0u32, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, 0xffff_ffff])), 0..2),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut file = every_operation().write().expect("small numbers");
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        for (at, word) in words {
            let at = at.index(file.len() / 4) * 4;
            file[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        if !whole {
            file.truncate(cut.index(file.len()));
        }
        must_not_panic(&file);
    }
}

/// Every byte of a small file with its lowest, its highest and all its bits turned, and every length.
#[test]
fn every_byte_turned() {
    let file = every_operation().write().expect("small numbers");
    for at in 0..file.len() {
        must_not_panic(&file[..at]);
        for mask in [0x01, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] ^= mask;
            must_not_panic(&changed);
        }
    }
}

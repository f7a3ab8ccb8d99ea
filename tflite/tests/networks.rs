//! Real networks, where they are to be had: `ZEROPOINT_MODELS` names the directory of the `.tflite` files, `ZEROPOINT_GOLDEN_LAYERS`
//! a file of recorded layers, as `tests/golden/layers_gen.py DIRECTORY --all` at the root writes it.

mod common;

use common::{NETWORKS, from_environment};
use serde_json::Value;
use zeropoint::layers::{Activation, Padding};
use zeropoint::{Backend, Rounding, Threads, available};
use zeropoint_tflite::{Kind, Model, Network, Operation, Options, Rules, Tensor};

/// One thread.
struct One;
impl Threads for One {
    fn threads(&self) -> usize {
        1
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Two threads, started anew each time.
struct Two;
impl Threads for Two {
    fn threads(&self) -> usize {
        2
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
    }
}

fn model(directory: &std::path::Path, name: &str) -> Model {
    let path = directory.join(format!("{name}.tflite"));
    Model::read(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

fn options(backend: Option<Backend>) -> Options {
    Options { backend, threads: 2, ..Options::default() }
}

#[test]
fn outputs_are_the_same_on_every_backend_and_any_number_of_threads() {
    let Some(directory) = from_environment("ZEROPOINT_MODELS") else { return };
    for name in NETWORKS {
        let model = model(&directory, name);
        let mut expected: Option<Vec<u8>> = None;
        for backend in [None].into_iter().chain(available().map(Some)) {
            let mut network = Network::new(&model, &options(backend)).unwrap();
            if backend.is_none() {
                println!("{name}: {:?}", network.memory());
            }
            for threads in [&One as &dyn Threads, &Two] {
                let input = network.inputs()[0];
                let mut state = 1u64;
                for byte in network.tensor_mut(input).unwrap() {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    *byte = (state >> 33) as u8;
                }
                network.run(threads).unwrap();
                let got = network.tensor(network.outputs()[0]).unwrap().to_vec();
                let expected = expected.get_or_insert_with(|| got.clone());
                assert!(got == *expected, "{name} on {backend:?}");
            }
        }
    }
}

/// The bytes of a recorded tensor.
fn recorded(layer: &Value, role: &str) -> Option<Vec<u8>> {
    let hex = layer["tensors"][role]["data"].as_str()?;
    hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok()).collect()
}

#[test]
fn whole_networks_give_the_recorded_bytes_at_every_layer() {
    let (Some(directory), Some(golden)) =
        (from_environment("ZEROPOINT_MODELS"), from_environment("ZEROPOINT_GOLDEN_LAYERS"))
    else {
        return;
    };
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let mut compared = 0;
    for name in NETWORKS {
        let layers: Vec<_> =
            golden["layers"].as_array().unwrap().iter().filter(|layer| layer["network"] == name).collect();
        let Some(first) = layers.first() else { continue };
        let mut network = Network::new(&model(&directory, name), &options(None)).unwrap();
        let input = network.inputs()[0];
        network.tensor_mut(input).unwrap().copy_from_slice(&recorded(first, "in").unwrap());
        for operator in 0..network.len() {
            network.step(operator, &One).unwrap();
            let Some(layer) = layers.iter().find(|layer| layer["index"] == operator) else { continue };
            let (_, output) = network.activations(operator).unwrap();
            let (got, expected) = (network.read(output).unwrap(), recorded(layer, "out").unwrap());
            let wrong = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert_eq!((got.len(), wrong), (expected.len(), 0), "{name}, operator {operator}, {}", layer["op"]);
            compared += 1;
        }
    }
    println!("{compared} layers");
    assert!(compared > 0);
}

/// A network of our own, through a file: a convolution that changes nothing, a sum with itself, an average.
#[test]
fn a_small_network_runs_on_every_backend() {
    let codes = |name: &str, shape: &[usize]| Tensor::new(name, Kind::U8, shape).quantized(1.0, 0);
    let mut model = Model { tensors: vec![], operators: vec![], inputs: vec![], outputs: vec![] };
    let image = model.add(codes("image", &[1, 2, 2, 1]));
    let weights = Tensor::new("weights", Kind::U8, &[1, 1, 1, 1]).quantized(0.5, 3).holding([5u8]);
    let weights = model.add(weights);
    let (stride, padding, activation) = ([1, 1], Padding::Valid, Activation::None);
    let convolution = Operation::Conv2d { stride, dilation: [1, 1], padding, activation };
    let same = model.apply(convolution, &[Some(image), Some(weights)], codes("same", &[1, 2, 2, 1]));
    let twice =
        model.apply(Operation::Add { activation }, &[Some(same), Some(same)], codes("twice", &[1, 2, 2, 1]));
    let average = Operation::AveragePool2d { kernel: [2, 2], stride, padding, activation };
    let average = model.apply(average, &[Some(twice)], codes("average", &[1, 1, 1, 1]));
    (model.inputs, model.outputs) = (vec![image], vec![average]);

    let model = Model::read(&model.write().unwrap()).unwrap();
    for backend in available() {
        let mut network = Network::new(&model, &options(Some(backend))).unwrap();
        network.tensor_mut(network.inputs()[0]).unwrap().copy_from_slice(&[10, 20, 30, 41]);
        network.run(&One).unwrap();
        assert_eq!(network.tensor(network.outputs()[0]), Some(&[51u8][..]), "on {}", backend.kernel()); // 50.5
    }
}

/// Between layers that take unsigned codes faster, signed ones are kept 128 higher; a mean of codes rounds away from their 0.
#[test]
fn signed_activations_are_kept_raised() {
    let codes = |name: &str, zero| Tensor::new(name, Kind::I8, &[1, 2, 2, 1]).quantized(1.0, zero);
    let mut model = Model::default();
    let image = model.add(codes("image", -100));
    let weights = model.add(Tensor::new("weights", Kind::I8, &[1, 1, 1, 1]).quantized(0.5, 0).holding([2u8]));
    let (stride, padding, activation) = ([1, 1], Padding::Valid, Activation::None);
    let convolution = Operation::Conv2d { stride, dilation: [1, 1], padding, activation };
    let same = model.apply(convolution, &[Some(image), Some(weights)], codes("same", -50));
    let twice = model.apply(Operation::Add { activation }, &[Some(same), Some(same)], codes("twice", -20));
    let largest = Operation::MaxPool2d { kernel: [1, 1], stride, padding, activation };
    let largest = model.apply(largest, &[Some(twice)], codes("largest", -20));
    let last = model.apply(convolution, &[Some(largest), Some(weights)], codes("last", -128));
    let average = Operation::AveragePool2d { kernel: [2, 2], stride, padding, activation };
    let one = |name: &str| Tensor::new(name, Kind::I8, &[1, 1, 1, 1]).quantized(1.0, -128);
    let average = model.apply(average, &[Some(last)], one("average"));
    let output = model.apply(convolution, &[Some(average), Some(weights)], one("output"));
    (model.inputs, model.outputs) = (vec![image], vec![output]);

    let reals = [10, 20, 30, 41];
    let bytes = |zero: i32, times: i32| reals.map(|real| (times * real + zero) as u8).to_vec();
    for backend in available() {
        let mut network = Network::new(&model, &options(Some(backend))).unwrap();
        network.tensor_mut(image).unwrap().copy_from_slice(&bytes(-100, 1));
        let steps = [(same, -50, 1), (twice, -20, 2), (largest, -20, 2), (last, -128, 2)];
        for (operator, (tensor, zero, times)) in steps.into_iter().enumerate() {
            network.step(operator, &One).unwrap();
            assert_eq!(network.read(tensor), Some(bytes(zero, times)), "on {}", backend.kernel());
            assert_eq!(network.tensor(tensor).is_none(), tensor != last);
            assert!(network.write(tensor, &bytes(zero, times)) && !network.write(tensor, &[1]));
        }
        network.step(4, &One).unwrap();
        network.step(5, &One).unwrap();
        // -77.5
        assert_eq!(network.tensor(output), Some(&[-78i8 as u8][..]), "on {}", backend.kernel());
    }
}

/// An activation, a constant of another scale and the activation again, side by side, as reals.
#[test]
fn activations_are_joined_and_dequantized() {
    // 20 and 1 by a scale of 1 are 43 and 5.
    for (axis, expected) in [(-1, [10, 43, 10, 20, 5, 20]), (1, [10, 20, 43, 5, 10, 20])] {
        let codes = |name, shape: &[usize]| Tensor::new(name, Kind::U8, shape).quantized(0.5, 3);
        let mut model = Model { tensors: vec![], operators: vec![], inputs: vec![], outputs: vec![] };
        let image = model.add(codes("image", &[1, 2, 1]));
        let constant = Tensor::new("constant", Kind::U8, &[1, 2, 1]).quantized(1.0, 0).holding([20u8, 1]);
        let constant = model.add(constant);
        let shape = if axis == 1 { [1, 6, 1] } else { [1, 2, 3] };
        let join = Operation::Concatenation { axis, activation: Activation::None };
        let joined = model.apply(join, &[Some(image), Some(constant), Some(image)], codes("joined", &shape));
        let reals = model.apply(Operation::Dequantize, &[Some(joined)], Tensor::new("reals", Kind::F32, &shape));
        (model.inputs, model.outputs) = (vec![image], vec![joined, reals]);
        let model = Model::read(&model.write().unwrap()).unwrap();
        let mut network = Network::new(&model, &options(None)).unwrap();
        network.tensor_mut(network.inputs()[0]).unwrap().copy_from_slice(&[10, 20]);
        network.run(&One).unwrap();
        assert_eq!(network.tensor(joined).unwrap(), expected.map(|code: i32| code as u8), "axis {axis}");
        let bytes: Vec<u8> = expected.iter().flat_map(|code| (0.5 * (*code - 3) as f32).to_le_bytes()).collect();
        assert_eq!(network.tensor(reals).unwrap(), bytes, "axis {axis}");
    }
}

/// A product of scales that f32 rounds up to 64 times less than the output's scale: 31 becomes 15.5 and 0.5, and 1. In f64 it is less.
#[test]
fn scales_are_multiplied_as_litert_does() {
    for (kind, zero, convolution, product) in [(Kind::U8, 128, 1, 1), (Kind::I8, 0, 0, 1)] {
        let (lhs, rhs) = (0.1f32, 0.01f32);
        assert!(f64::from(lhs * rhs) > f64::from(lhs) * f64::from(rhs));
        let codes = |scale| Tensor::new("codes", kind, &[1, 1, 1, 1]).quantized(scale, zero);
        let activation = Activation::None;
        let (stride, dilation, padding) = ([1, 1], [1, 1], Padding::Valid);
        let weights = [
            (Operation::Conv2d { stride, dilation, padding, activation }, convolution),
            (Operation::DepthwiseConv2d { stride, dilation, padding, activation, multiplier: 1 }, convolution),
            (Operation::Mul { activation }, product),
        ];
        for (operation, expected) in weights {
            let mut model = Model::default();
            let input = model.add(codes(lhs));
            let one = model.add(codes(rhs).holding([zero as u8 + 1]));
            let output = model.apply(operation, &[Some(input), Some(one)], codes(64.0 * (lhs * rhs)));
            (model.inputs, model.outputs) = (vec![input], vec![output]);
            let mut network = Network::new(&model, &options(None)).unwrap();
            network.tensor_mut(input).unwrap()[0] = zero as u8 + 31;
            network.run(&One).unwrap();
            assert_eq!(
                network.tensor(output).unwrap(),
                [zero as u8 + expected],
                "{:?}, {kind:?}",
                operation.name()
            );
        }
    }
}

#[test]
fn rules_have_names() {
    assert!(Rules::names().all(|name| Rules::named(name).is_some()));
    assert_eq!(Rules::named("litert-reference"), Some(Rules::LitertReference));
    assert_eq!(Rules::named("single_even"), Some(Rules::One(Rounding::SingleEven)));
    // No scale has a multiplier of this rule: neither the name nor the rule is taken.
    assert_eq!(Rules::named("int_mul_shift"), None);
    let mut model = Model::default();
    let codes = |shape: &[usize]| Tensor::new("codes", Kind::I8, shape).quantized(1.0, 0);
    let input = model.add(codes(&[1, 2]));
    let weights = model.add(codes(&[1, 2]).holding([1u8, 2]));
    let operation = Operation::FullyConnected { activation: Activation::None, keep_dims: false };
    let output = model.apply(operation, &[Some(input), Some(weights)], codes(&[1, 1]));
    (model.inputs, model.outputs) = (vec![input], vec![output]);
    let rules = |rules| Network::new(&model, &Options { rules, ..Options::default() }).map(|_| ());
    assert_eq!(rules(Rules::One(Rounding::DoubleUp)), Ok(()));
    let message = rules(Rules::One(Rounding::IntMulShift)).unwrap_err().to_string();
    assert!(message.contains("operator 0 (FULLY_CONNECTED)") && message.contains("int_mul_shift"), "{message}");
}

/// Constants in the place of activations, and sizes that do not fit, are refused before anything runs.
#[test]
fn wrong_networks_are_refused() {
    let codes = |shape: &[usize]| Tensor::new("codes", Kind::U8, shape).quantized(1.0, 0);
    let refused = |operation: Operation, input: Tensor, output: Tensor, constant: bool| {
        let mut model = Model { tensors: vec![], operators: vec![], inputs: vec![], outputs: vec![] };
        let input = model.add(input);
        let output = model.apply(operation, &[Some(input)], output);
        (model.inputs, model.outputs) = (if constant { vec![] } else { vec![input] }, vec![output]);
        Network::new(&model, &options(None)).map(|_| ()).unwrap_err().to_string()
    };
    let message = refused(Operation::Reshape, codes(&[2, 3]), codes(&[7]), false);
    assert!(message.contains("operator 0 (RESHAPE)") && message.contains("another size"), "{message}");
    let message = refused(Operation::Relu, codes(&[2]).holding([1u8, 2]), codes(&[2]), true);
    assert!(message.contains("constant in the place of an activation"), "{message}");
    // More than any computer has, in a few bytes of file.
    let vast = || codes(&[1 << 20, 1 << 20, 1 << 10]);
    let message = refused(Operation::Relu, vast(), vast(), false);
    assert_eq!(message, format!("{} bytes of memory for activations could not be allocated", 1u64 << 51));
    let mut network = Network::new(
        &Model { tensors: vec![], operators: vec![], inputs: vec![], outputs: vec![] },
        &Options::default(),
    )
    .unwrap();
    assert_eq!(network.step(0, &One).unwrap_err().to_string(), "operator 0: there are 0");
}

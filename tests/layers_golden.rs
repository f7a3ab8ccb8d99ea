//! Layers of real networks against what reference kernels recorded, byte by byte, on every backend and every twin.
#![cfg(not(miri))]

mod common;

use common::backends;
use serde_json::Value;
use zeropoint::kernels::Code;
use zeropoint::layers::*;
use zeropoint::{
    Backend, MatMut, MatRef, Multiplier, OutputCode, PackOptions, PerAxis, QuantParams, Rounding, Stages,
    TensorMut, TensorRef, ZeroPoint,
};

/// A code that tests can make of a byte.
trait Byte: TableCode + Code + PartialEq {
    fn of(byte: u8) -> Self;
}
impl Byte for u8 {
    fn of(byte: u8) -> Self {
        byte
    }
}
impl Byte for i8 {
    fn of(byte: u8) -> Self {
        byte as i8
    }
}

/// A recorded layer.
struct Layer<'a>(&'a Value);

impl Layer<'_> {
    fn tensor(&self, role: &str) -> &Value {
        &self.0["tensors"][role]
    }

    /// Four sizes; missing ones, before the others, are 1.
    fn shape(&self, role: &str) -> [usize; 4] {
        let sizes = self.tensor(role)["shape"].as_array().unwrap();
        let mut shape = [1; 4];
        for (size, to) in sizes.iter().rev().zip(shape.iter_mut().rev()) {
            *to = size.as_u64().unwrap() as usize;
        }
        shape
    }

    fn codes<C: Byte>(&self, role: &str) -> Vec<C> {
        let hex = self.tensor(role)["data"].as_str().unwrap();
        hex.as_bytes()
            .chunks(2)
            .map(|two| C::of(u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()))
            .collect()
    }

    fn ints(&self, value: &Value) -> Vec<i32> {
        value.as_array().unwrap().iter().map(|x| x.as_i64().unwrap() as i32).collect()
    }

    fn scales(&self, role: &str) -> Vec<f32> {
        let scales = self.tensor(role)["scales"].as_array().unwrap();
        scales
            .iter()
            .map(|bits| f32::from_bits(u32::from_str_radix(bits.as_str().unwrap(), 16).unwrap()))
            .collect()
    }

    fn zero(&self, role: &str) -> i32 {
        self.ints(&self.tensor(role)["zero_points"])[0]
    }

    fn params<C: OutputCode>(&self, role: &str) -> QuantParams<C> {
        QuantParams::new(self.scales(role)[0], self.zero(role)).unwrap()
    }

    fn option(&self, name: &str) -> usize {
        self.0["options"][name].as_u64().unwrap_or(1) as usize
    }

    fn window(&self) -> Window {
        Window {
            stride: [self.option("strideH"), self.option("strideW")],
            dilation: [self.option("dilationHFactor"), self.option("dilationWFactor")],
            padding: if self.0["options"]["padding"] == "SAME" { Padding::Same } else { Padding::Valid },
        }
    }

    fn activation(&self) -> Activation {
        match self.0["options"]["fusedActivationFunction"].as_str().unwrap() {
            "NONE" => Activation::None,
            "RELU" => Activation::Relu,
            "RELU6" => Activation::Relu6,
            other => panic!("{other}"),
        }
    }

    /// The output on a backend.
    fn run<C: Byte>(&self, backend: Backend) -> Vec<C> {
        let op = self.0["op"].as_str().unwrap();
        let out_shape = self.shape("out");
        let mut out = vec![C::of(0x55); out_shape.iter().product()];
        let to = TensorMut::nhwc(&mut out, out_shape).unwrap();
        match op {
            "ADD" => {
                let mut spec = BinarySpec::new(self.params("in0"), self.params("in1"), self.params("out"));
                (spec.activation, spec.backend) = (self.activation(), Some(backend));
                let (a, b) = (self.codes::<C>("in0"), self.codes::<C>("in1"));
                let [a, b] = [(&a, "in0"), (&b, "in1")]
                    .map(|(data, role)| TensorRef::nhwc(data, self.shape(role)).unwrap());
                Add::new(&spec).unwrap().run(a, b, to).unwrap();
                return out;
            }
            "AVERAGE_POOL_2D" => {
                let kernel = [self.option("filterHeight"), self.option("filterWidth")];
                let mut spec = AveragePool2dSpec::new(kernel, self.params::<C>("in"));
                (spec.window, spec.activation) = (self.window(), self.activation());
                let input = self.codes("in");
                let input = TensorRef::nhwc(&input, self.shape("in")).unwrap();
                AveragePool2d::new(&spec).unwrap().run(input, to).unwrap();
                return out;
            }
            "SOFTMAX" => {
                let beta = self.0["options"]["beta"].as_f64().unwrap() as f32;
                let layer = Softmax::new(&self.params::<C>("in"), beta).unwrap();
                layer.run(out_shape[3], &self.codes("in"), &mut out).unwrap();
                return out;
            }
            _ => {}
        }
        // Layers with weights, of the type of the activations in these networks.
        let (input, weights, bias) =
            (self.codes::<C>("in"), self.codes::<C>("weights"), self.ints(&self.tensor("bias")["data"]));
        let (input, input_zero_point) = (TensorRef::nhwc(&input, self.shape("in")).unwrap(), self.zero("in"));
        let weights = TensorRef::nhwc(&weights, self.shape("weights")).unwrap();
        let weight_zero_point = ZeroPoint::One(self.zero("weights"));
        let real =
            |scale: &f32| f64::from(self.scales("in")[0]) * f64::from(*scale) / f64::from(self.scales("out")[0]);
        let multipliers: Vec<_> =
            self.scales("weights").iter().map(|scale| Multiplier::from_real(real(scale)).unwrap()).collect();
        let axis =
            if multipliers.len() == 1 { PerAxis::One(multipliers[0]) } else { PerAxis::PerColumn(&multipliers) };
        let (low, high) = self.activation().bounds(&self.params::<C>("out"));
        assert_eq!(self.ints(&self.0["clamp"]), [low, high]);
        let rounding = if op == "FULLY_CONNECTED" { Rounding::SingleAway } else { Rounding::DoubleAway };
        let stages =
            Stages::<C>::fixed(axis).rounding(rounding).bias(&bias).zero_point(self.zero("out")).clamp(low, high);
        let pack = PackOptions { backend: Some(backend), ..PackOptions::default() };
        match op {
            "CONV_2D" => {
                let spec = Conv2dSpec {
                    weight_zero_point,
                    input_zero_point,
                    window: self.window(),
                    pack,
                    ..Conv2dSpec::new(weights)
                };
                let layer = Conv2d::<C, C>::new(&spec, &stages).unwrap();
                layer.run(input, to, &mut layer.workspace()).unwrap();
            }
            "DEPTHWISE_CONV_2D" => {
                let spec = DepthwiseConv2dSpec {
                    weight_zero_point,
                    input_zero_point,
                    window: self.window(),
                    multiplier: self.option("depthMultiplier"),
                    backend: Some(backend),
                    ..DepthwiseConv2dSpec::new(weights)
                };
                let layer = DepthwiseConv2d::<C, C>::new(&spec, &stages).unwrap();
                layer.run(input, to, &mut layer.workspace(input.shape()).unwrap()).unwrap();
            }
            "FULLY_CONNECTED" => {
                let (weights, input): (MatRef<C>, MatRef<C>) =
                    (weights.pixels().unwrap(), input.pixels().unwrap());
                let spec = FullyConnectedSpec {
                    weight_zero_point,
                    input_zero_point,
                    pack,
                    ..FullyConnectedSpec::new(weights)
                };
                let layer = FullyConnected::<C, C>::new(&spec, &stages).unwrap();
                let to: MatMut<C> = to.into_pixels().unwrap();
                layer.run(input, to, &mut layer.workspace()).unwrap();
            }
            other => panic!("{other}"),
        }
        out
    }

    fn check<C: Byte>(&self, backend: Backend) {
        let (got, expected) = (self.run::<C>(backend), self.codes::<C>("out"));
        let wrong = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(
            wrong,
            0,
            "{} {} {}: {wrong} of {} bytes differ on {}",
            self.0["network"],
            self.0["index"],
            self.0["op"],
            got.len(),
            backend.kernel()
        );
    }
}

/// `ZEROPOINT_GOLDEN_LAYERS` names another file of the same form: all layers, say.
#[test]
fn layers_of_real_networks_are_those_on_record() {
    let text = match std::env::var("ZEROPOINT_GOLDEN_LAYERS") {
        Ok(path) => std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")),
        Err(_) => include_str!("golden/layers.json").to_owned(),
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let layers = file["layers"].as_array().unwrap();
    assert!(layers.len() >= 27);
    for layer in layers.iter().map(Layer) {
        for backend in backends() {
            match layer.tensor("out")["type"].as_str().unwrap() {
                "uint8" => layer.check::<u8>(backend),
                "int8" => layer.check::<i8>(backend),
                other => panic!("{other}"),
            }
        }
    }
    println!("{} layers", layers.len());
}

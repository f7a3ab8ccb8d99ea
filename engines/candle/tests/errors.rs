//! What layers cannot do is an error that names the argument and the numbers.

mod common;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear};
use common::*;
use zeropoint::QuantParams;
use zeropoint::layers::Activation;
use zeropoint_candle::{Output, QuantizedConv2d, QuantizedLinear, dequantize, quantize};

fn refused<T>(result: Result<T>, parts: &[&str]) {
    let message = result.err().expect("an error").to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

fn input() -> QuantParams<u8> {
    QuantParams::new(0.02, 100).unwrap()
}

fn codes_out(scale: f32) -> Output {
    Output::Codes(QuantParams::new(scale, 0).unwrap(), Activation::None)
}

#[test]
fn linear_layers() {
    let random = Rng::new(1);
    let weights = reals(&random, &[5, 8], -1.0, 1.0);
    let layer =
        QuantizedLinear::from_float(&Linear::new(weights.clone(), None), &input(), codes_out(0.1)).unwrap();
    refused(layer.forward(&codes(&random, &[3, 7])), &["QuantizedLinear", "input", "[3, 7]", "8"]);
    refused(layer.forward(&codes(&random, &[])), &["QuantizedLinear", "input", "scalar", "8"]);
    refused(layer.forward(&reals(&random, &[3, 8], 0.0, 1.0)), &["QuantizedLinear", "input", "F32", "U8"]);
    refused(layer.forward(&Tensor::zeros((3, 8), DType::U32, &Device::Cpu).unwrap()), &["input", "U32", "U8"]);
    let uneven = codes(&random, &[4, 5, 8]).narrow(1, 0, 3).unwrap();
    refused(uneven.apply_op1_no_bwd(&layer), &["input", "[4, 3, 8]", "[40, 8, 1]", "distances"]);
    assert!(layer.forward(&uneven).is_ok());

    let make = |weights: &Tensor, bias: Option<Vec<f32>>, output| {
        let bias = bias.map(|bias| Tensor::new(bias, &Device::Cpu).unwrap());
        QuantizedLinear::from_float(&Linear::new(weights.clone(), bias), &input(), output)
    };
    refused(make(&weights, Some(vec![0.0; 4]), Output::Reals), &["bias", "4", "5"]);
    refused(make(&weights, Some(vec![0.0, 0.0, 1e9, 0.0, 0.0]), codes_out(0.1)), &["bias of channel 2"]);
    assert!(make(&weights, Some(vec![0.0, 0.0, 1e9, 0.0, 0.0]), Output::Reals).is_ok());
    refused(make(&weights, None, codes_out(1e-30)), &["QuantizedLinear", "multiplier of channel 0"]);
    for output in [Output::Reals, codes_out(0.1)] {
        refused(make(&weights, Some(vec![0.0, f32::NAN, 0.0, 0.0, 0.0]), output), &["bias", "NaN"]);
        let infinite = (&weights / 0.0).unwrap();
        refused(make(&infinite, None, output), &["QuantizedLinear", "inf"]);
        refused(make(&Tensor::zeros((0, 4), DType::F32, &Device::Cpu).unwrap(), None, output), &["channels", "0"]);
        refused(make(&Tensor::zeros((4, 0), DType::F32, &Device::Cpu).unwrap(), None, output), &["weights", "0"]);
        assert!(make(&weights.zeros_like().unwrap(), None, output).is_ok());
        assert!(make(&weights.to_dtype(DType::F16).unwrap(), None, output).is_ok());
    }
}

#[test]
fn convolutions() {
    let random = Rng::new(2);
    let layer = |kernel: [usize; 4], config| {
        QuantizedConv2d::from_float(&conv(&random, kernel, config), &input(), Output::Reals)
    };
    let config = Conv2dConfig::default();
    let conv = layer([5, 4, 3, 3], config).unwrap();
    refused(conv.forward(&codes(&random, &[1, 3, 6, 6])), &["QuantizedConv2d", "input", "[1, 3, 6, 6]", "4"]);
    refused(conv.forward(&codes(&random, &[4, 6, 6])), &["QuantizedConv2d", "input", "[4, 6, 6]"]);
    refused(conv.forward(&reals(&random, &[1, 4, 6, 6], 0.0, 1.0)), &["QuantizedConv2d", "input", "F32", "U8"]);
    refused(codes(&random, &[4, 6, 6]).apply_op1_no_bwd(&conv), &["QuantizedConv2d", "input", "[4, 6, 6]"]);
    refused(codes(&random, &[1, 4, 6, 6]).apply_op1_no_bwd(&conv), &["QuantizedConv2d", "input", "4", "6"]);
    // An image that is smaller than the kernel, and none.
    assert_eq!(conv.forward(&codes(&random, &[1, 4, 2, 6])).unwrap().dims(), [1, 5, 0, 4]);
    assert_eq!(conv.forward(&codes(&random, &[0, 4, 6, 6])).unwrap().dims(), [0, 5, 4, 4]);

    for channels in [1, 4] {
        refused(layer([5, channels, 3, 3], Conv2dConfig { groups: 3, ..config }), &["groups", "3", "5"]);
    }
    refused(layer([5, 4, 3, 3], Conv2dConfig { groups: 0, ..config }), &["groups", "0"]);
    refused(layer([5, 4, 3, 3], Conv2dConfig { groups: usize::MAX, ..config }), &["groups"]);
    refused(layer([5, 4, 3, 3], Conv2dConfig { stride: 0, ..config }), &["stride", "0"]);
    refused(layer([5, 4, 3, 3], Conv2dConfig { dilation: 0, ..config }), &["dilation", "0"]);
    refused(layer([5, 4, 3, 3], Conv2dConfig { padding: usize::MAX, ..config }), &["padding"]);
    let bias = reals(&random, &[4], 0.0, 1.0);
    let float = Conv2d::new(reals(&random, &[5, 4, 3, 3], 0.0, 1.0), Some(bias), config);
    refused(QuantizedConv2d::from_float(&float, &input(), Output::Reals), &["QuantizedConv2d", "bias", "4", "5"]);
}

#[test]
fn codes_and_reals() {
    let random = Rng::new(3);
    refused(quantize(&codes(&random, &[3]), &input()), &["quantize", "input", "U8", "F32"]);
    refused(dequantize(&reals(&random, &[3], 0.0, 1.0), &input()), &["dequantize", "input", "F32", "U8"]);
    let x = reals(&random, &[6, 5], -3.0, 4.0).t().unwrap().narrow(0, 1, 3).unwrap();
    let y = quantize(&x, &input()).unwrap();
    let expected: Vec<_> = vec(&x).iter().map(|x| f32::from(input().quantize(*x))).collect();
    assert_eq!((y.dims(), vec(&y)), (&[3, 6][..], expected));
    let ties = Tensor::new(&[0.5f32, 2.5, -0.5, -2.5, f32::NAN], &Device::Cpu).unwrap();
    let codes = quantize(&ties, &QuantParams::new(1.0, 7).unwrap()).unwrap();
    assert_eq!(codes.to_vec1::<u8>().unwrap(), [8, 10, 6, 4, 7]);
}

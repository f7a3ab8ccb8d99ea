//! Layers give the bits of the reference on every backend, whatever the strides and the threads.

mod common;

use candle_core::{DType, Module, Tensor};
use common::*;
use zeropoint::QuantParams;
use zeropoint_candle::{QuantizedConv2d, QuantizedLinear};

#[test]
fn linear_layers_are_the_reference() {
    let (random, backends) = (Rng::new(1), backends());
    for case in 0..60 {
        let (rows, inputs, outputs) = (1 + random.below(9), 1 + random.below(150), 1 + random.below(70));
        let float = linear(&random, outputs, inputs);
        let (input, output, rounding) = (params(&random, -3.0, 3.0), output(&random), rounding(&random));
        let x = codes(&random, &[rows, inputs]);
        let expected = Known::new(float.weight(), float.bias()).rows(&x, &input, output, rounding);
        for backend in &backends {
            let options = options(*backend, rounding);
            let layer = QuantizedLinear::from_float_with(&float, &input, output, &options).unwrap();
            let y = layer.forward(&x).unwrap();
            assert_eq!(y.dims(), [rows, outputs]);
            assert_eq!(vec(&y), expected, "case {case}, {}, {output:?}, {rounding:?}", backend.kernel());
        }
    }
}

#[test]
fn convolutions_are_the_reference() {
    let (random, backends) = (Rng::new(2), backends());
    for case in 0..80 {
        let (float, shape) = any_conv(&random);
        let (input, output, rounding) = (params(&random, -3.0, 3.0), output(&random), rounding(&random));
        let x = codes(&random, &shape);
        let known = Known::new(float.weight(), float.bias());
        let expected = known.image(&float, &x, &input, output, rounding);
        for backend in &backends {
            let options = options(*backend, rounding);
            let layer = QuantizedConv2d::from_float_with(&float, &input, output, &options).unwrap();
            let y = layer.forward(&x).unwrap();
            let floats = float.forward(&x.to_dtype(DType::F32).unwrap()).unwrap();
            assert_eq!(y.dims(), floats.dims());
            let got = vec(&y.permute([0, 2, 3, 1]).unwrap());
            let config = float.config();
            assert_eq!(got, expected, "case {case}, {}, {output:?}, {rounding:?}, {config:?}", backend.kernel());
        }
    }
}

#[test]
fn strides_change_no_bits() {
    let random = Rng::new(3);
    let input = QuantParams::new(0.02, 100).unwrap();
    for _ in 0..20 {
        let output = output(&random);
        let float = linear(&random, 7, 12);
        let layer = QuantizedLinear::from_float(&float, &input, output).unwrap();
        let large = codes(&random, &[5, 6, 14]);
        let square = codes(&random, &[12, 12]);
        let views = [
            large.narrow(2, 1, 12).unwrap(),                                 // rows with gaps
            large.narrow(1, 2, 3).unwrap().narrow(2, 2, 12).unwrap(),        // at several distances
            large.narrow(2, 1, 12).unwrap().transpose(0, 1).unwrap(),        // the same
            square.t().unwrap(),                                             // columns as rows
            square.narrow(0, 3, 1).unwrap().broadcast_as((4, 12)).unwrap(),  // a row again and again
            square.narrow(1, 3, 1).unwrap().broadcast_as((12, 12)).unwrap(), // an element again and again
            large.narrow(0, 0, 0).unwrap().narrow(2, 0, 12).unwrap(),        // none
            square.narrow(0, 1, 1).unwrap().squeeze(0).unwrap(),             // one vector
        ];
        for view in views {
            let dense = layer.forward(&view.force_contiguous().unwrap()).unwrap();
            let got = layer.forward(&view).unwrap();
            assert_eq!((got.dims(), vec(&got)), (dense.dims(), vec(&dense)), "{:?}", view.layout());
        }

        let (float, [batch, channels, height, width]) = any_conv(&random);
        let layer = QuantizedConv2d::from_float(&float, &input, output).unwrap();
        let large = codes(&random, &[batch + 1, height + 2, channels + 1, width + 3]);
        let part = |x: &Tensor| {
            let x = x.narrow(0, 1, batch).unwrap().narrow(1, 2, height).unwrap();
            x.narrow(2, 1, channels).unwrap().narrow(3, 0, width).unwrap()
        };
        let view = part(&large).transpose(1, 2).unwrap();
        let last = codes(&random, &[batch, height, width, channels]).permute([0, 3, 1, 2]).unwrap();
        let one = view.narrow(0, 0, 1).unwrap().broadcast_as((3, channels, height, width)).unwrap();
        for view in [view, last, one] {
            let dense = layer.forward(&view.force_contiguous().unwrap()).unwrap();
            let got = layer.forward(&view).unwrap();
            assert_eq!((got.dims(), vec(&got)), (dense.dims(), vec(&dense)), "{:?}", view.layout());
        }
    }
}

#[test]
fn channels_lie_together_from_layer_to_layer() {
    let random = Rng::new(4);
    let params = QuantParams::new(0.03, 90).unwrap();
    let codes_out = zeropoint_candle::Output::Codes(params, zeropoint::layers::Activation::Relu);
    let float = conv(&random, [6, 6, 3, 3], candle_nn::Conv2dConfig { padding: 1, ..Default::default() });
    let layer = QuantizedConv2d::from_float(&float, &params, codes_out).unwrap();
    let y = layer.forward(&codes(&random, &[2, 6, 5, 4])).unwrap();
    assert_eq!((y.dims(), y.stride()), (&[2, 6, 5, 4][..], &[120, 1, 24, 6][..]));
    // As an operation, the memory is what it takes and gives.
    let memory = y.permute([0, 2, 3, 1]).unwrap();
    assert!(memory.is_contiguous());
    let next = memory.apply_op1_no_bwd(&layer).unwrap();
    assert!(next.is_contiguous());
    assert_eq!(vec(&next.permute([0, 3, 1, 2]).unwrap()), vec(&layer.forward(&y).unwrap()));
}

#[test]
fn threads_and_runs_change_no_bits() {
    let random = Rng::new(5);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let input = QuantParams::new(0.02, 100).unwrap();
    for _ in 0..10 {
        let output = output(&random);
        let layer = QuantizedLinear::from_float(&linear(&random, 300, 200), &input, output).unwrap();
        let x = codes(&random, &[150, 200]);
        let once = vec(&layer.forward(&x).unwrap());
        assert_eq!(pool.install(|| vec(&layer.forward(&x).unwrap())), once);

        // A depthwise one: its workspace grows with the image.
        let kernel = random.pick(&[[32, 16, 3, 3], [16, 1, 3, 3]]);
        let config = candle_nn::Conv2dConfig { padding: 1, groups: 16 / kernel[1], ..Default::default() };
        let float = conv(&random, kernel, config);
        let layer = QuantizedConv2d::from_float(&float, &input, output).unwrap();
        let (small, large) = (codes(&random, &[1, 16, 3, 3]), codes(&random, &[1, 16, 40, 40]));
        // A workspace that was used before, for another size.
        let each = || [&small, &large, &small].map(|x| vec(&layer.forward(x).unwrap()));
        let serial = each();
        assert_eq!(pool.install(each), serial);
        assert_eq!(serial[0], serial[2]);
    }
}

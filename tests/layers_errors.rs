//! Views of images and layers refuse what does not fit, and name it; no argument makes them panic or allocate without bound.
#![cfg(not(miri))]

use zeropoint::layers::*;
use zeropoint::quant::Ties;
use zeropoint::{
    Error, MatMut, MatRef, Multiplier, QuantParams, Rounding, Stages, TensorMut, TensorRef, Workspace, ZeroPoint,
};

const HUGE: usize = usize::MAX / 2;

fn shape(argument: &'static str, expected: [usize; 4], got: [usize; 4]) -> Result<(), Error> {
    Err(Error::TensorShape { argument, expected, got })
}

#[test]
fn views() {
    let data = [1u8; 24];
    let span = TensorRef::nhwc(&data, [1, 5, 5, 1]).unwrap_err();
    assert_eq!(span, Error::TensorSpan { shape: [1, 5, 5, 1], strides: [25, 5, 1, 1], needed: 25, got: 24 });
    assert_eq!(
        span.to_string(),
        "data: [1, 5, 5, 1] with strides [25, 5, 1, 1] spans 25 elements, but there are 24"
    );
    assert!(matches!(TensorRef::nhwc(&data, [HUGE, HUGE, HUGE, HUGE]), Err(Error::Overflow { .. })));
    assert!(matches!(TensorRef::new(&data, [HUGE; 4], [HUGE; 4]), Err(Error::Overflow { .. })));
    // Strides of 0 span little, whatever the shape.
    let endless = TensorRef::new(&data, [HUGE; 4], [0; 4]).unwrap();
    assert_eq!(endless.get([HUGE - 1; 4]), Some(1));
    assert!(endless.pixels().is_none() && endless.run([0; 3], HUGE).is_none());
    assert!(endless.part([1; 4], [HUGE; 4]).is_err() && endless.part([HUGE; 4], [HUGE + 2; 4]).is_err());
    assert!(endless.reshape([1, 1, 1, 1]).is_err());

    let mut data = [0u8; 24];
    for strides in [[0; 4], [12, 4, 2, 2], [12, 4, 1, 1], [1, 6, 2, 1]] {
        let overlap = TensorMut::new(&mut data, [2, 2, 2, 2], strides).unwrap_err();
        assert_eq!(overlap, Error::TensorOverlap { shape: [2; 4], strides });
    }
    let mut view = TensorMut::new(&mut data, [2, 2, 2, 2], [12, 4, 2, 1]).unwrap();
    assert!(!view.set([0, 2, 0, 0], 1) && view.get([2, 0, 0, 0]).is_none() && view.run([0, 0, 1], 2).is_none());
    assert!(view.reborrow().every([0, 1]).is_err());
    assert_eq!(view.every([2, HUGE]).unwrap().shape(), [2, 1, 1, 2]);
}

#[test]
fn windows() {
    let limits = |window: Window, kernel| window.output(kernel, [9, 9]).unwrap_err();
    let window = Window::default();
    let limit = |argument, value, low| Error::Limit { argument, value, low, high: 32767 };
    assert_eq!(limits(window, [0, 1]), limit("kernel", 0, 1));
    assert_eq!(limits(Window { stride: [1, 0], ..window }, [1, 1]), limit("stride", 0, 1));
    assert_eq!(limits(Window { dilation: [40_000, 1], ..window }, [1, 1]), limit("dilation", 40_000, 1));
    let padding = Padding::Explicit { top: 0, bottom: 0, left: HUGE, right: 0 };
    assert_eq!(limits(Window { padding, ..window }, [1, 1]), limit("padding", HUGE, 0));
    assert!(matches!(window.output([1, 1], [usize::MAX, 1]), Err(Error::Limit { argument: "input", .. })));
    // A kernel larger than the image has no place.
    assert_eq!(window.output([3, 3], [2, 5]), Ok([0, 3]));
}

#[test]
fn convolutions() {
    let (data, stages) = ([1u8; 36], Stages::<i32>::raw());
    let weights = TensorRef::nhwc(&data, [2, 3, 3, 2]).unwrap();
    let spec = Conv2dSpec::new(weights);
    let new = |spec: &Conv2dSpec<'_, u8>| Conv2d::<u8, i32>::new(spec, &stages).map(|_| ()).unwrap_err();
    assert_eq!(
        new(&Conv2dSpec { groups: 0, ..spec }),
        Error::Limit { argument: "groups", value: 0, low: 1, high: 2 }
    );
    let three = Conv2dSpec { groups: 2, ..Conv2dSpec::new(TensorRef::nhwc(&data, [3, 2, 2, 3]).unwrap()) };
    assert_eq!(new(&three), Error::Divisor { argument: "groups", value: 2, of: 3 });
    assert_eq!(Error::Divisor { argument: "groups", value: 2, of: 3 }.to_string(), "groups: 2 does not divide 3");
    let outside = Error::ZeroPoint { argument: "input_zero_point", value: 256, low: 0, high: 255 };
    assert_eq!(new(&Conv2dSpec { input_zero_point: 256, ..spec }), outside);
    let zeros = Conv2dSpec { weight_zero_point: ZeroPoint::Each(&[1; 3]), ..spec };
    assert_eq!(new(&zeros), Error::Length { argument: "weight_zero_point", expected: 2, got: 3 });
    let rows = Stages::raw().row_bias(&[1]);
    let error = Conv2d::<u8, i32>::new(&spec, &rows).map(|_| ());
    assert_eq!(error, Err(Error::Length { argument: "row_bias", expected: 0, got: 1 }));
    // What no memory could hold.
    let endless = TensorRef::new(&data, [1, 32767, 32767, HUGE], [0; 4]).unwrap();
    assert!(matches!(new(&Conv2dSpec::new(endless)), Error::Overflow { argument: "weights", .. }));
    let endless = TensorRef::new(&data, [HUGE, 1, 1, 0], [0; 4]).unwrap();
    let groups = Conv2dSpec { groups: HUGE, ..Conv2dSpec::new(endless) };
    assert!(matches!(new(&groups), Error::Memory { argument: "weights", .. }));

    let layer = Conv2d::<u8, i32>::new(&spec, &stages).unwrap();
    let (image, mut sums) = ([1u8; 32], [0; 8]);
    let mut run = |from: [usize; 4], to: [usize; 4], workspace: &mut Workspace<'_>| {
        layer.run(TensorRef::nhwc(&image, from)?, TensorMut::nhwc(&mut sums, to)?, workspace)
    };
    let mut workspace = layer.workspace();
    assert_eq!(run([1, 4, 4, 1], [1, 2, 2, 2], &mut workspace), shape("input", [1, 4, 4, 2], [1, 4, 4, 1]));
    assert_eq!(run([1, 4, 4, 2], [1, 2, 1, 2], &mut workspace), shape("out", [1, 2, 2, 2], [1, 2, 1, 2]));
    let needed = layer.workspace_bytes(1).unwrap();
    let short = run([1, 4, 4, 2], [1, 2, 2, 2], &mut Workspace::borrow(&mut []));
    assert_eq!(short, Err(Error::Workspace { needed, got: 0 }));
    assert_eq!(run([1, 4, 4, 2], [1, 2, 2, 2], &mut workspace), Ok(()));
    assert!(matches!(layer.workspace_bytes(usize::MAX), Err(Error::Overflow { .. })));
}

#[test]
fn depthwise_convolutions() {
    let (data, stages) = ([1u8; 36], Stages::<i32>::raw());
    let new = |spec: &DepthwiseConv2dSpec<'_, u8>| {
        DepthwiseConv2d::<u8, i32>::new(spec, &stages).map(|_| ()).unwrap_err()
    };
    let two = DepthwiseConv2dSpec::new(TensorRef::nhwc(&data, [2, 3, 3, 2]).unwrap());
    assert_eq!(new(&two), shape("weights", [1, 3, 3, 2], [2, 3, 3, 2]).unwrap_err());
    let spec = DepthwiseConv2dSpec::new(TensorRef::nhwc(&data, [1, 3, 3, 4]).unwrap());
    assert_eq!(
        new(&DepthwiseConv2dSpec { multiplier: 3, ..spec }),
        Error::Divisor { argument: "multiplier", value: 3, of: 4 }
    );
    let endless = TensorRef::new(&data, [1, 1, 1, HUGE], [0; 4]).unwrap();
    assert!(matches!(new(&DepthwiseConv2dSpec::new(endless)), Error::Overflow { .. } | Error::Memory { .. }));
    let layer = DepthwiseConv2d::<u8, i32>::new(&spec, &stages).unwrap();
    assert!(layer.workspace_bytes([1, HUGE / 4, HUGE / 4, 4], 1).is_err());
    let (image, mut sums) = (TensorRef::nhwc(&data, [1, 3, 3, 4]).unwrap(), [0; 4]);
    let short =
        layer.run(image, TensorMut::nhwc(&mut sums, [1, 1, 1, 4]).unwrap(), &mut Workspace::borrow(&mut []));
    assert!(matches!(short, Err(Error::Workspace { got: 0, .. })));
}

#[test]
fn transposed_convolutions() {
    let (data, stages) = ([1u8; 36], Stages::<i32>::raw());
    let spec = TransposeConv2dSpec {
        weights: TensorRef::nhwc(&data, [1, 2, 2, 1]).unwrap(),
        weight_zero_point: ZeroPoint::One(0),
        input_zero_point: 0,
        window: Window { stride: [2, 2], ..Window::default() },
        output: [4, 4],
        pack: Default::default(),
    };
    let layer = TransposeConv2d::<u8, i32>::new(&spec, &stages).unwrap();
    let (image, mut sums) = (TensorRef::nhwc(&data, [1, 3, 2, 1]).unwrap(), [0; 16]);
    let out = TensorMut::nhwc(&mut sums, [1, 4, 4, 1]).unwrap();
    let error = layer.run(image, out, &mut layer.workspace());
    assert_eq!(error, shape("input", [1, 2, 2, 1], [1, 3, 2, 1]));
}

#[test]
fn layers_without_weights() {
    let params = QuantParams::<u8>::new(1.0, 0).unwrap();
    let tiny = QuantParams::<u8>::new(1e-20, 0).unwrap();
    // A factor of 2^30 and more, and a rule that no scale suits.
    let large = BinarySpec::new(params, params, tiny);
    assert!(
        matches!(Add::new(&large), Err(Error::Real { .. })) && matches!(Mul::new(&large), Err(Error::Real { .. }))
    );
    assert!(matches!(Requantize::new(&RequantizeSpec::new(params, tiny)), Err(Error::Real { .. })));
    assert!(matches!(Mean::new(&MeanSpec::new(params, tiny)), Err(Error::Real { .. })));
    let mut rule = BinarySpec::new(params, params, params);
    rule.rounding = Rounding::IntMulShift;
    assert!(matches!(Sub::new(&rule), Err(Error::FixedPoint { .. })));

    let data = [1u8; 12];
    let (a, b) = (TensorRef::nhwc(&data, [1, 2, 2, 3]).unwrap(), TensorRef::nhwc(&data, [1, 3, 2, 2]).unwrap());
    let mut out = [0u8; 12];
    let add = Add::new(&BinarySpec::new(params, params, params)).unwrap();
    let error = add.run(a, b, TensorMut::nhwc(&mut out, [1, 2, 2, 3]).unwrap());
    assert_eq!(error, shape("rhs", [1, 2, 2, 3], [1, 3, 2, 2]));
    let error = Relu::new(&params).run(a, TensorMut::nhwc(&mut out, [1, 2, 3, 2]).unwrap());
    assert_eq!(error, shape("out", [1, 2, 2, 3], [1, 2, 3, 2]));
    let error = Quantize::new(&params, Ties::Away)
        .run(TensorRef::nhwc(&[0f32; 2], [1, 1, 1, 2]).unwrap(), TensorMut::nhwc(&mut out, [1, 1, 2, 1]).unwrap());
    assert_eq!(error, shape("out", [1, 1, 1, 2], [1, 1, 2, 1]));
    let most = AveragePool2dSpec::new([32767, 32767], params);
    assert_eq!(
        AveragePool2d::new(&most).map(|_| ()),
        Err(Error::Limit { argument: "kernel", value: 32767 * 32767, low: 1, high: 1 << 23 })
    );
    let pad = Pad::new(&PadSpec { params, before: [usize::MAX; 4], after: [0; 4] });
    assert!(matches!(pad.output([1; 4]), Err(Error::Overflow { argument: "pad", .. })));
    let spec = ConcatSpec { dimension: Dimension::Width, inputs: &[params, tiny], output: params };
    assert!(matches!(Concat::new(&spec), Err(Error::Params { argument: "inputs", .. })));
    let concat = ConcatRequantize::new(&spec, Rounding::default());
    let error = concat.unwrap().run(&[a], TensorMut::nhwc(&mut out, [1, 2, 2, 3]).unwrap());
    assert_eq!(error, Err(Error::Length { argument: "inputs", expected: 2, got: 1 }));
}

#[test]
fn fully_connected() {
    let weights = MatRef::row_major(&[1i8; 6], 2, 3).unwrap();
    let stages = Stages::<u8>::fixed(Multiplier::ONE);
    let outside = FullyConnectedSpec { input_zero_point: -129, ..FullyConnectedSpec::new(weights) };
    let error = FullyConnected::<i8, u8>::new(&outside, &stages).map(|_| ());
    assert_eq!(error, Err(Error::ZeroPoint { argument: "input_zero_point", value: -129, low: -128, high: 127 }));
    let layer = FullyConnected::<i8, u8>::new(&FullyConnectedSpec::new(weights), &stages).unwrap();
    let mut out = [0; 2];
    let (input, out) = (MatRef::row_major(&[1i8; 2], 1, 2).unwrap(), MatMut::row_major(&mut out, 1, 2).unwrap());
    let error = layer.run(input, out, &mut layer.workspace());
    assert_eq!(error, Err(Error::Shape { argument: "lhs", expected: (1, 3), got: (1, 2) }));
}

//! Layers with weights.

use super::*;

/// A layer with weights and stages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Conv,
    Depthwise,
    Transpose,
}

pub fn conv<C: Byte>(case: &mut Case<'_>) {
    for form in [Form::POINT, case.rng.pick(&[Form::USUAL, Form::any(case)])] {
        // Channels of groups are few.
        let channels = if form.groups > 1 { case.channels.div_ceil(form.groups) } else { case.channels };
        convolution::<C>(case, Kind::Conv, form, [channels, 1 + case.rng.below(9)]);
    }
}

pub fn depthwise<C: Byte>(case: &mut Case<'_>) {
    let across = Window { stride: [1, 2], ..Form::USUAL.window };
    for form in [Form::USUAL, Form { window: across, ..Form::USUAL }, Form::any(case)] {
        let multiplier = if case.rng.one_in(4) { 2 } else { 1 };
        convolution::<C>(case, Kind::Depthwise, form, [case.channels, multiplier]);
    }
}

pub fn transpose<C: Byte>(case: &mut Case<'_>) {
    let form = if case.rng.one_in(3) { Form::USUAL } else { Form::any(case) };
    convolution::<C>(case, Kind::Transpose, form, [case.channels, 1 + case.rng.below(9)]);
}

/// Of one or the other type of weights and outputs; `sizes` are the channels of a group, in and out, or channels and
/// multiplier.
fn convolution<C: Byte>(case: &mut Case<'_>, kind: Kind, form: Form, sizes: [usize; 2]) {
    match case.rng.below(8) {
        0 => convolution_as::<C, u8, C>(case, kind, form, sizes),
        1 => convolution_as::<C, i8, i32>(case, kind, form, sizes),
        2 => convolution_as::<C, u8, f32>(case, kind, form, sizes),
        3 => convolution_as::<C, i8, i16>(case, kind, form, sizes),
        _ => convolution_as::<C, i8, C>(case, kind, form, sizes),
    }
}

/// Stages as networks have them, for sums of so many products in so many columns.
fn stages<O: Output>(case: &Case<'_>, k: usize, columns: usize) -> Values {
    let rng = case.rng;
    let stage = Stage {
        rounding: rng.pick(&[Some(Rounding::DoubleAway), Some(Rounding::DoubleUp), Some(case.rounding()), None]),
        axis: rng.pick(&[Axis::One, Axis::Columns]),
        bias: rng.pick(&[Size::None, Size::Usual]),
        zero_point: rng.one_in(2),
        clamp: rng.one_in(2),
        ..Stage::PLAIN
    };
    Values::new::<O>(stage, (0, k, columns), rng)
}

fn convolution_as<C: Byte, W: Code + Value, O: Output>(
    case: &mut Case<'_>,
    kind: Kind,
    form: Form,
    sizes: [usize; 2],
) {
    let (rng, Form { kernel, window, groups }, [a, b]) = (case.rng, form, sizes);
    let [batch, height, width, _] = case.shape();
    let size = window.output(kernel, [height, width]).unwrap();
    let (small, large) = ([batch, size[0], size[1]], [batch, height, width]);
    // Shapes of weights, input and output.
    let ([wo, wi], (input, inputs), (output, outputs)) = match kind {
        Kind::Conv => ([groups * b, a], (large, groups * a), (small, groups * b)),
        Kind::Depthwise => ([1, a * b], (large, a), (small, a * b)),
        Kind::Transpose => ([b, a], (small, a), (large, b)),
    };
    let with = |[n, h, w]: [usize; 3], c| [n, h, w, c];
    let weights = case.image::<W>([wo, kernel[0], kernel[1], wi]);
    let input = case.image::<C>(with(input, inputs));
    let old = case.image::<O>(with(output, outputs));
    let zero = case.zero::<C>();
    // Weights that are their own differences have shorter ways.
    let weight_zero = ZeroPoint::One(if rng.one_in(2) { 0 } else { case.zero::<W>() });
    let values = stages::<O>(case, kernel[0] * kernel[1] * wi, outputs);
    let stages = O::stages(&values);
    let threads = Turns(case.threads.0);

    let image = reference::Image { codes: input.view(), zero_point: zero };
    let moved = reference::Kernel { weights: weights.view(), zero_point: weight_zero, window };
    let what = format!("{form:?}, input {:?} strides {:?}", input.shape, input.strides);
    case.compare(
        &what,
        &old,
        |out| match kind {
            Kind::Conv => reference::conv2d(image, moved, groups, &stages, out),
            Kind::Depthwise => reference::depthwise_conv2d(image, moved, &stages, out),
            Kind::Transpose => reference::transpose_conv2d(image, moved, &stages, out),
        },
        |arena, backend, out| {
            let (weights, input) = (put(arena, &weights), put(arena, &input));
            let pack = PackOptions { backend: Some(backend), ..PackOptions::default() };
            let (weight_zero_point, input_zero_point) = (weight_zero, zero);
            match kind {
                Kind::Conv => {
                    let spec = Conv2dSpec { weights, weight_zero_point, input_zero_point, window, groups, pack };
                    let layer = Conv2d::new(&spec, &stages)?;
                    let workspace = &mut workspace(arena, layer.workspace_bytes(threads.0)?);
                    layer.run_on(&threads, input, out, workspace)
                }
                Kind::Depthwise => {
                    let (multiplier, backend) = (b, Some(backend));
                    let spec = DepthwiseConv2dSpec {
                        weights,
                        weight_zero_point,
                        input_zero_point,
                        multiplier,
                        window,
                        backend,
                    };
                    let layer = DepthwiseConv2d::new(&spec, &stages)?;
                    let workspace = &mut workspace(arena, layer.workspace_bytes(input.shape(), threads.0)?);
                    layer.run_on(&threads, input, out, workspace)
                }
                Kind::Transpose => {
                    let output = [height, width];
                    let spec =
                        TransposeConv2dSpec { weights, weight_zero_point, input_zero_point, window, output, pack };
                    let layer = TransposeConv2d::new(&spec, &stages)?;
                    let workspace = &mut workspace(arena, layer.workspace_bytes(threads.0)?);
                    layer.run_on(&threads, input, out, workspace)
                }
            }
        },
    );
}

/// Rows are as many as an image is wide.
pub fn connected<C: Byte>(case: &mut Case<'_>) {
    let (rng, m, k, n) = (case.rng, case.width, case.channels, case.rng.pick(&CHANNELS));
    let (weights, input) = (case.image::<i8>([n, 1, 1, k]), case.image::<C>([m, 1, 1, k]));
    let old = case.image::<C>([m, 1, 1, n]);
    let input_zero_point = case.zero::<C>();
    let weight_zero_point = ZeroPoint::One(if rng.one_in(2) { 0 } else { case.zero::<i8>() });
    let values = stages::<C>(case, k, n);
    let (stages, threads) = (C::stages(&values), Turns(case.threads.0));
    let image = reference::Image { codes: input.view(), zero_point: input_zero_point };
    let (weights_view, window) = (weights.view(), Window::default());
    let moved = reference::Kernel { weights: weights_view, zero_point: weight_zero_point, window };
    case.compare(
        &format!("input strides {:?}, weights strides {:?}", input.strides, weights.strides),
        &old,
        |out| reference::conv2d(image, moved, 1, &stages, out),
        |arena, backend, out| {
            let weights = put(arena, &weights).pixels().unwrap();
            let pack = PackOptions { backend: Some(backend), ..PackOptions::default() };
            let spec = FullyConnectedSpec { weights, weight_zero_point, input_zero_point, pack };
            let layer = FullyConnected::new(&spec, &stages)?;
            let workspace = &mut workspace(arena, layer.workspace_bytes(threads.0)?);
            layer.run_on(&threads, put(arena, &input).pixels().unwrap(), out.into_pixels().unwrap(), workspace)
        },
    );
}

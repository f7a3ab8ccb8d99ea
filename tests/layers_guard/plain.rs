//! Layers without weights.

use super::*;

/// Tests a layer of two operands, of which one may be repeated along some dimensions.
macro_rules! binary {
    ($($test:ident $layer:ident)*) => {$(
        pub fn $test<C: Byte>(case: &mut Case<'_>) {
            let full = case.shape();
            let spec = BinarySpec {
                activation: case.activation(),
                rounding: case.rounding(),
                ..BinarySpec::new(case.params(), case.params(), case.params::<C>())
            };
            let single = [0; 4].map(|_: i32| case.rng.one_in(3));
            let cut = core::array::from_fn(|i| if single[i] { 1 } else { full[i] });
            let shapes = case.rng.pick(&[[full, full], [full, cut], [cut, full], [full, [1; 4]]]);
            let [lhs, rhs] = shapes.map(|shape| case.image::<C>(shape));
            let (old, threads) = (case.image(full), Turns(case.threads.0));
            case.compare(
                &format!("{shapes:?}, strides {:?} and {:?}", lhs.strides, rhs.strides),
                &old,
                |out| reference::$test(&spec, lhs.view(), rhs.view(), out),
                |arena, backend, out| {
                    let layer = $layer::new(&BinarySpec { backend: Some(backend), ..spec })?;
                    layer.run_on(&threads, put(arena, &lhs), put(arena, &rhs), out)
                },
            );
        }
    )*};
}
binary!(add Add sub Sub mul Mul);

/// Tests a layer that takes one image to another.
fn unary<I: Value, O: Value>(
    case: &mut Case<'_>,
    input: &Image<I>,
    out: [usize; 4],
    define: impl Fn(TensorRef<'_, I>, &mut TensorMut<'_, O>),
    run: impl Fn(&Turns, TensorRef<'_, I>, TensorMut<'_, O>) -> Result<(), Error>,
) {
    let (old, threads) = (case.image(out), Turns(case.threads.0));
    case.compare(
        &format!("input {:?} strides {:?}", input.shape, input.strides),
        &old,
        |out| define(input.view(), out),
        |arena, _, out| run(&threads, put(arena, input), out),
    );
}

pub fn average_pool<C: Byte>(case: &mut Case<'_>) {
    let Form { kernel, window, .. } = Form::any(case);
    let ties = case.rng.pick(&[AverageTies::AwayFromCodeZero, AverageTies::AwayFromZeroPoint]);
    let spec =
        AveragePool2dSpec { kernel, window, params: case.params::<C>(), activation: case.activation(), ties };
    let (layer, input) = (AveragePool2d::new(&spec).unwrap(), case.image(case.shape()));
    let out = layer.output(input.shape).unwrap();
    unary(
        case,
        &input,
        out,
        |input, out| reference::average_pool_2d(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn max_pool<C: Byte>(case: &mut Case<'_>) {
    let Form { kernel, window, .. } = Form::any(case);
    let spec = MaxPool2dSpec { kernel, window, params: case.params::<C>(), activation: case.activation() };
    let (layer, input) = (MaxPool2d::new(&spec).unwrap(), case.image(case.shape()));
    let out = layer.output(input.shape).unwrap();
    unary(
        case,
        &input,
        out,
        |input, out| reference::max_pool_2d(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn mean<C: Byte>(case: &mut Case<'_>) {
    let [height, width] = [case.rng.one_in(2), case.rng.one_in(2)];
    let (input, output) = (case.params::<C>(), case.params());
    let (activation, rounding) = (case.activation(), case.rounding());
    let spec = MeanSpec { height, width, input, output, activation, rounding };
    let (layer, input) = (Mean::new(&spec).unwrap(), case.image(case.shape()));
    let out = layer.output(input.shape);
    unary(
        case,
        &input,
        out,
        |input, out| reference::mean(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn pad<C: Byte>(case: &mut Case<'_>) {
    let [before, after] = [[0; 4]; 2].map(|sizes| sizes.map(|_: i32| case.rng.below(4).saturating_sub(1)));
    let spec = PadSpec { params: case.params::<C>(), before, after };
    let (layer, input) = (Pad::new(&spec), case.image(case.shape()));
    let out = layer.output(input.shape).unwrap();
    unary(
        case,
        &input,
        out,
        |input, out| reference::pad(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn requantize<C: Byte>(case: &mut Case<'_>) {
    let (input, output) = (case.params::<C>(), case.params::<u8>());
    let spec = RequantizeSpec { input, output, activation: case.activation(), rounding: case.rounding() };
    let (layer, input) = (Requantize::new(&spec).unwrap(), case.image(case.shape()));
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::requantize(&spec, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn relu<C: Byte>(case: &mut Case<'_>) {
    let (params, input) = (case.params::<C>(), case.image(case.shape()));
    let layer = Relu::new(&params);
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::relu(&params, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn relu6<C: Byte>(case: &mut Case<'_>) {
    let (params, input) = (case.params::<C>(), case.image(case.shape()));
    let layer = Relu6::new(&params);
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::relu6(&params, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn quantize<C: Byte>(case: &mut Case<'_>) {
    let (params, ties) = (case.params::<C>(), case.rng.pick(&[Ties::Away, Ties::Even]));
    let (layer, mut input) = (Quantize::new(&params, ties), case.image::<f32>(case.shape()));
    for real in input.data.iter_mut().filter(|_| !case.rng.one_in(4)) {
        *real = params.scale() * case.rng.within(-600, 600) as f32 / 2.0;
    }
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::quantize(&params, ties, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn dequantize<C: Byte>(case: &mut Case<'_>) {
    let (params, input) = (case.params::<C>(), case.image(case.shape()));
    let layer = Dequantize::new(&params);
    unary(
        case,
        &input,
        input.shape,
        |input, out| reference::dequantize(&params, input, out),
        |threads, input, out| layer.run_on(threads, input, out),
    );
}

pub fn concat<C: Byte>(case: &mut Case<'_>) {
    let output = case.params::<C>();
    joined(case, [output; 3], output, None);
}

pub fn concat_requantize<C: Byte>(case: &mut Case<'_>) {
    let (a, b, rounding) = (case.params::<C>(), case.params(), case.rounding());
    joined(case, [a, b, a], a, Some(rounding));
}

/// Three images side by side, requantized by a rule or as they are.
fn joined<C: Byte>(
    case: &mut Case<'_>,
    inputs: [QuantParams<C>; 3],
    output: QuantParams<C>,
    rounding: Option<Rounding>,
) {
    let rng = case.rng;
    let dimension = rng.pick(&[Dimension::Batch, Dimension::Height, Dimension::Width, Dimension::Channels]);
    let spec = ConcatSpec { dimension, inputs: &inputs, output };
    let mut shape = case.shape();
    let images = [0; 3].map(|first| {
        let mut shape = shape;
        shape[dimension as usize] = rng.below(shape[dimension as usize] + 2) + first;
        case.image::<C>(shape)
    });
    shape[dimension as usize] = images.iter().map(|image| image.shape[dimension as usize]).sum();
    let (old, threads) = (case.image(shape), Turns(case.threads.0));
    case.compare(
        &format!("{dimension:?} of {:?}", images.each_ref().map(|image| image.shape)),
        &old,
        |out| reference::concat(&spec, rounding, &images.each_ref().map(Image::view), out),
        |arena, _, out| {
            let inputs = images.each_ref().map(|image| put(arena, image));
            match rounding {
                None => Concat::new(&spec)?.run_on(&threads, &inputs, out),
                Some(rounding) => ConcatRequantize::new(&spec, rounding)?.run_on(&threads, &inputs, out),
            }
        },
    );
}

/// Tests a function of codes, in rows of `case.channels`.
fn function<C: Byte>(
    case: &mut Case<'_>,
    define: impl Fn(&[C]) -> Vec<C>,
    run: impl Fn(&[C], &mut [C]) -> Result<(), Error>,
) {
    let shape = [1, 1, case.width, case.channels];
    let [input, old] = [0; 2].map(|_: i32| Image::<C>::random(shape, Gaps::default(), case.rng));
    let all = |out: &mut TensorMut<'_, C>| -> Vec<[usize; 4]> {
        let [_, _, width, channels] = out.shape();
        (0..width).flat_map(|x| (0..channels).map(move |c| [0, 0, x, c])).collect()
    };
    case.compare(
        "codes",
        &old,
        |out| {
            for (at, code) in all(out).into_iter().zip(input.data.chunks(shape[3]).flat_map(&define)) {
                out.set(at, code);
            }
        },
        |arena, _, mut out| {
            run(arena.slice(input.data.len(), |i| input.data[i]), out.run([0; 3], shape[2]).unwrap())
        },
    );
}

pub fn logistic<C: Byte>(case: &mut Case<'_>) {
    let params = case.params::<C>();
    let define = |row: &[C]| row.iter().map(|code| reference::logistic(*code, &params)).collect();
    function(case, define, |input, out| Logistic::new(&params).run(input, out));
}

pub fn tanh<C: Byte>(case: &mut Case<'_>) {
    let params = case.params::<C>();
    let define = |row: &[C]| row.iter().map(|code| reference::tanh(*code, &params)).collect();
    function(case, define, |input, out| Tanh::new(&params).run(input, out));
}

pub fn softmax<C: Byte>(case: &mut Case<'_>) {
    let (params, depth) = (case.params::<C>(), case.channels);
    let define = |row: &[C]| reference::softmax(row, &params, 1.0);
    function(case, define, |input, out| Softmax::new(&params, 1.0)?.run(depth, input, out));
}

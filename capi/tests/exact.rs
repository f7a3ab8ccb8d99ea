//! What the interface gives is what the library gives: products of every type and rule, layers of every kind.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use common::*;
use zeropoint::*;
use zp::layers::{self, *};
use zp::{FloatScale, MatMut, MatRef, Multiplier, PerAxis, QuantParams, Rounding, Stages, TensorMut, TensorRef};

/// Runs tasks on threads of its own.
unsafe extern "C" fn scoped(_: *mut c_void, tasks: usize, perform: zeropoint_task, task: *const c_void) {
    let task = task.addr();
    std::thread::scope(|scope| {
        for i in 0..tasks {
            scope.spawn(move || {
                // SAFETY: called while `scoped` runs, with the pointer it was given.
                unsafe { perform.unwrap()(std::ptr::with_exposed_provenance(task), i) }
            });
        }
    });
}

/// A random product through the interface, serial and on threads, saved and loaded, on every backend, against the
/// library.
fn agree<O: Elements + zp::Element + PartialEq + std::fmt::Debug>(
    random: &Rng,
    stages: &zeropoint_stages,
    expected: &Stages<'_, O>,
    n: usize,
) {
    let (m, k) = (1 + random.below(9), random.below(40));
    let (a, b) = (bytes(random, m * k), bytes(random, k * n));
    let mut wanted = vec![O::default(); m * n];
    let (lhs, rhs) = (MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap());
    let zeros = vec![100; m];
    let out = MatMut::row_major(&mut wanted, m, n).unwrap();
    zp::gemm(lhs.zero_point(&*zeros), rhs.zero_point(7), expected, out).unwrap();

    let weights = zeropoint_matrix { zero_point: 7, ..matrix(&b, k, n) };
    let input = zeropoint_matrix { zero_points: zeros.as_ptr(), zero_points_len: m, ..matrix(&a, m, k) };
    let threads = zeropoint_threads { threads: 2, run: Some(scoped), ..zeroed() };
    let run = zeropoint_run { threads: &threads, ..zeroed() };
    let mut count = 0;
    // SAFETY: memory is as long as it says.
    unsafe {
        let mut got = vec![O::default(); m * n];
        ok(zeropoint_gemm_once(&input, &weights, stages, &matrix_mut(&mut got, m, n)));
        assert_eq!(got, wanted, "{m} x {k} x {n}, once");
        ok(zeropoint_backend_count(&mut count));
        for index in 0..count {
            let mut name = [0; 64];
            ok(zeropoint_backend_name(index, name.as_mut_ptr(), 64, null_mut()));
            let pack = zeropoint_pack { backend: name.as_ptr(), ..zeroed() };
            let (mut gemm, mut loaded, mut workspace, mut bytes) = (null_mut(), null_mut(), null_mut(), 0);
            ok(zeropoint_gemm_new(&weights, &pack, stages, &mut gemm));
            let mut text = [0; 4096];
            ok(zeropoint_gemm_explain(gemm, text.as_mut_ptr(), text.len(), null_mut()));
            let said = [text.as_ptr(), name.as_ptr()].map(|text| std::ffi::CStr::from_ptr(text).to_str().unwrap());
            assert!(said[0].contains(said[1]), "forced {}, but {}", said[1], said[0]);
            ok(zeropoint_gemm_workspace_bytes(gemm, 2, &mut bytes));
            ok(zeropoint_workspace_new(bytes, &mut workspace));
            ok(zeropoint_gemm_save(gemm, null_mut(), 0, &mut bytes));
            let mut stored = vec![0; bytes];
            ok(zeropoint_gemm_save(gemm, stored.as_mut_ptr(), bytes, &mut bytes));
            ok(zeropoint_gemm_load(stored.as_ptr(), bytes, stages, &mut loaded));
            let stages_of_run = zeropoint_run { stages, ..run };
            for (gemm, run) in [(gemm, null()), (gemm, &raw const run), (loaded, &raw const stages_of_run)] {
                let mut got = vec![O::default(); m * n];
                ok(zeropoint_gemm_run(gemm, &input, &matrix_mut(&mut got, m, n), workspace, run));
                assert_eq!(got, wanted, "{m} x {k} x {n}, backend {index}");
            }
            ok(zeropoint_gemm_free(gemm));
            ok(zeropoint_gemm_free(loaded));
            ok(zeropoint_workspace_free(workspace));
        }
    }
}

fn codes<O: Elements + zp::OutputCode + PartialEq + std::fmt::Debug>(random: &Rng) {
    for rule in [
        (zeropoint_rounding::DoubleAway, Rounding::DoubleAway),
        (zeropoint_rounding::DoubleAwaySat, Rounding::DoubleAwaySat),
        (zeropoint_rounding::DoubleUp, Rounding::DoubleUp),
        (zeropoint_rounding::SingleUp, Rounding::SingleUp),
        (zeropoint_rounding::SingleAway, Rounding::SingleAway),
        (zeropoint_rounding::SingleEven, Rounding::SingleEven),
        (zeropoint_rounding::IntMulShift, Rounding::IntMulShift),
    ] {
        let (n, low, high) = (20 + random.below(20), O::RANGE.0 + 3, O::RANGE.1 - 5);
        // Powers of two make ties, which tell rules apart; a left shift overflows.
        let each = |random: &Rng| {
            let fraction = random.bits() as i32 & if random.below(2) == 0 { 0 } else { 0x3fff_ffff };
            let left = random.below(8) == 0 && rule.1 != Rounding::IntMulShift;
            let shift = if left { 20 } else { -(random.below(10) as i32) };
            zeropoint_multiplier { multiplier: 1 << 30 | fraction, shift }
        };
        let given: Vec<_> = (0..n).map(|_| each(random)).collect();
        let by: Vec<_> = given
            .iter()
            .map(|by| match rule.1 {
                Rounding::IntMulShift => {
                    Multiplier::int_mul_shift(by.multiplier, by.shift.unsigned_abs()).unwrap()
                }
                _ => Multiplier::new(by.multiplier, by.shift).unwrap(),
            })
            .collect();
        let bias: Vec<_> = (0..n).map(|_| random.bits() as i32 >> 16).collect();
        let stages = zeropoint_stages {
            output: O::TYPE,
            scaling: zeropoint_scaling::Fixed as i32,
            rounding: rule.0 as i32,
            zero_point: 5,
            clamp: 1,
            clamp_low: low,
            clamp_high: high,
            bias: bias.as_ptr(),
            bias_len: n,
            multipliers: given.as_ptr(),
            multipliers_len: n,
            multipliers_axis: zeropoint_axis::Columns as i32,
            ..zeroed()
        };
        let composed = |by| Stages::<O>::fixed(by).rounding(rule.1).zero_point(5).clamp(low, high);
        for _ in 0..4 {
            agree(random, &stages, &composed(PerAxis::PerColumn(&by)).bias(&bias), n);
        }
        let one =
            zeropoint_stages { multipliers_axis: 0, multipliers_len: 1, bias: null(), bias_len: 0, ..stages };
        agree(random, &one, &composed(PerAxis::One(by[0])), n);
    }
    let scales = [0.01, 0.003];
    let stages =
        zeropoint_stages { output: O::TYPE, scaling: 2, scales: scales.as_ptr(), scales_len: 2, ..zeroed() };
    agree(random, &stages, &Stages::<O>::float(FloatScale::PerColumn(&scales)), 2);
}

#[test]
fn products() {
    let random = &Rng::new(1);
    codes::<u8>(random);
    codes::<i8>(random);
    codes::<i16>(random);
    agree(random, &raw(), &Stages::<i32>::raw(), 9);
    let (scales, bias) = ([0.5, 0.25, 3.0], [1.0, -2.0, 0.125]);
    let stages = zeropoint_stages {
        output: zeropoint_type::F32 as i32,
        scaling: zeropoint_scaling::Float as i32,
        scales: scales.as_ptr(),
        scales_len: 3,
        float_bias: bias.as_ptr(),
        float_bias_len: 3,
        float_bias_axis: zeropoint_axis::Columns as i32,
        ..zeroed()
    };
    agree(random, &stages, &Stages::<f32>::dequantize(FloatScale::PerColumn(&scales)).float_bias(&bias), 3);
}

/// A packed lhs, transposed views, gaps, accumulation.
#[test]
fn views() {
    let small = Small::new();
    // 2 x 3, by columns with a gap of one.
    let lhs = [1i8, -2, 0, 3, 4, 0, -5, 6, 0];
    let input = zeropoint_matrix { row_stride: 1, col_stride: 3, len: 8, ..matrix(&lhs, 2, 3) };
    let mut sums = [100, 0, 0, 7, 100, 0, 0, 7];
    let out = zeropoint_matrix_mut { row_stride: 4, col_stride: 2, len: 7, ..matrix_mut(&mut sums, 2, 2) };
    let accumulate = zeropoint_stages { accumulate: 1, ..raw() };
    let run = zeropoint_run { stages: &accumulate, ..zeroed() };
    // SAFETY: memory is as long as it says.
    unsafe { ok(zeropoint_gemm_run(small.gemm, &input, &out, small.workspace, &run)) };
    assert_eq!(sums, [100 + 1 + 9 - 25, 0, 2 + 12 - 30, 7, 100 - 2 + 12 + 30, 0, -4 + 16 + 36, 7]);
    let (mut gemm, mut sums) = (null_mut(), [0; 2]);
    let pack = zeropoint_pack { side: zeropoint_side::Lhs as i32, ..zeroed() };
    let weights = matrix(&[1i8, 2, 3, 4], 2, 2);
    let (rhs, out) = (matrix(&[10u8, 20], 2, 1), matrix_mut(&mut sums, 2, 1));
    // SAFETY: as above.
    unsafe {
        ok(zeropoint_gemm_new(&weights, &pack, &raw(), &mut gemm));
        ok(zeropoint_gemm_run(gemm, &rhs, &out, small.workspace, null()));
        ok(zeropoint_gemm_free(gemm));
    }
    assert_eq!(sums, [50, 110]);
}

/// Runs a layer through the interface.
fn run_layer<I: Elements, O: Elements + Default>(
    layer: *mut zeropoint_layer,
    inputs: &[(&[I], [usize; 4])],
    shape: [usize; 4],
) -> Vec<O> {
    let tensors: Vec<_> = inputs.iter().map(|(data, shape)| tensor(data, *shape)).collect();
    let pointers: Vec<_> = tensors.iter().map(|tensor| &raw const *tensor).collect();
    let mut out = vec![O::default(); shape.iter().product()];
    let threads = zeropoint_threads { threads: 2, run: Some(scoped), ..zeroed() };
    let run = zeropoint_run { threads: &threads, ..zeroed() };
    let (mut bytes, mut workspace) = (0, null_mut());
    // SAFETY: memory is as long as it says.
    unsafe {
        if inputs.len() == 1 {
            let mut said = [0; 4];
            match zeropoint_layer_output(layer, inputs[0].1.as_ptr(), said.as_mut_ptr()) {
                zeropoint_status::Ok => assert_eq!(said, shape),
                status => fails(status, zeropoint_status::Value, "it was given"),
            }
        }
        ok(zeropoint_layer_workspace_bytes(layer, inputs[0].1.as_ptr(), 2, &mut bytes));
        ok(zeropoint_workspace_new(bytes, &mut workspace));
        let out = tensor_mut(&mut out, shape);
        ok(zeropoint_layer_run(layer, pointers.as_ptr(), pointers.len(), &out, workspace, &run));
        ok(zeropoint_layer_explain(layer, null_mut(), 0, null_mut()));
        ok(zeropoint_workspace_free(workspace));
        ok(zeropoint_layer_free(layer));
    }
    out
}

fn conv(conv: &zeropoint_conv, stages: &zeropoint_stages) -> *mut zeropoint_layer {
    let mut layer = null_mut();
    // SAFETY: memory is as long as it says.
    unsafe { ok(zeropoint_conv_new(conv, stages, &mut layer)) };
    layer
}

#[test]
fn layers_with_weights() {
    let random = &Rng::new(2);
    let window = Window { stride: [2, 1], padding: Padding::Same, ..Window::default() };
    let same = zeropoint_window { stride: [2, 1], padding: 1, ..zeropoint_op { ..zeroed() }.window };
    let shape = [2, 5, 6, 4];
    let image = bytes(random, 240);
    let weights: Vec<i8> = bytes(random, 3 * 3 * 4 * 4).into_iter().map(|w| w as i8).collect();
    let stages = Stages::<i32>::raw();
    let made = zeropoint_conv { input: 1, input_zero_point: 9, window: same, ..zeroed() };
    macro_rules! check {
        (
            $kind:ident, $weights:expr, $out:expr, {$($field:ident: $value:expr),*},
            $spec:ident, $($spec_field:ident: $spec_value:expr),*
        ) => {{
            let weights = &weights[..$weights.iter().product()];
            let view = TensorRef::nhwc(weights, $weights).unwrap();
            let spec = $spec { input_zero_point: 9, window, $($spec_field: $spec_value,)* ..$spec::new(view) };
            let layer = $kind::<u8, i32>::new(&spec, &stages).unwrap();
            let mut wanted = vec![0; $out.iter().product()];
            let mut workspace = zp::Workspace::new(1 << 20);
            let out = TensorMut::nhwc(&mut wanted, $out).unwrap();
            layer.run(TensorRef::nhwc(&image, shape).unwrap(), out, &mut workspace).unwrap();
            let (kind, weights) = (zeropoint_conv_kind::$kind as i32, tensor(weights, $weights));
            let layer = conv(&zeropoint_conv { kind, weights: &weights, $($field: $value,)* ..made }, &raw());
            assert_eq!(run_layer::<u8, i32>(layer, &[(&image, shape)], $out), wanted, stringify!($kind));
        }};
    }
    check!(Conv2d, [4, 3, 3, 2], [2, 3, 6, 4], {groups: 2}, Conv2dSpec, groups: 2);
    check!(DepthwiseConv2d, [1, 3, 3, 8], [2, 3, 6, 8], {multiplier: 2}, DepthwiseConv2dSpec, multiplier: 2);

    let (rows, mut wanted) = (MatRef::row_major(&image, 60, 4).unwrap(), vec![0; 180]);
    let spec = FullyConnectedSpec::new(MatRef::row_major(&weights[..12], 3, 4).unwrap());
    let layer = FullyConnected::<u8, i32>::new(&spec, &stages).unwrap();
    layer.run(rows, MatMut::row_major(&mut wanted, 60, 3).unwrap(), &mut layer.workspace()).unwrap();
    let view = tensor(&weights[..12], [3, 1, 1, 4]);
    let connected = zeropoint_conv { kind: 4, input: 1, weights: &view, ..zeroed() };
    assert_eq!(run_layer::<u8, i32>(conv(&connected, &raw()), &[(&image, shape)], [2, 5, 6, 3]), wanted);

    let view = TensorRef::nhwc(&weights[..72], [2, 3, 3, 4]).unwrap();
    let spec = TransposeConv2dSpec {
        weights: view,
        weight_zero_point: zp::ZeroPoint::One(0),
        input_zero_point: 9,
        window,
        output: [10, 6],
        pack: zp::PackOptions::default(),
    };
    let (layer, mut wanted) = (TransposeConv2d::<u8, i32>::new(&spec, &stages).unwrap(), vec![0; 240]);
    let out = TensorMut::nhwc(&mut wanted, [2, 10, 6, 2]).unwrap();
    layer.run(TensorRef::nhwc(&image, shape).unwrap(), out, &mut zp::Workspace::new(1 << 20)).unwrap();
    let view = tensor(&weights[..72], [2, 3, 3, 4]);
    let transposed = zeropoint_conv { kind: 3, weights: &view, output: [10, 6], ..made };
    assert_eq!(run_layer::<u8, i32>(conv(&transposed, &raw()), &[(&image, shape)], [2, 10, 6, 2]), wanted);
}

fn op(op: zeropoint_op) -> *mut zeropoint_layer {
    let mut layer = null_mut();
    // SAFETY: memory is as long as it says.
    unsafe { ok(zeropoint_op_new(&op, &mut layer)) };
    layer
}

#[test]
fn layers_without_weights() {
    let random = &Rng::new(3);
    let shape = [2, 4, 5, 3];
    let (a, b) = (bytes(random, 120), bytes(random, 120));
    let (x, y) = (TensorRef::nhwc(&a, shape).unwrap(), TensorRef::nhwc(&b, shape).unwrap());
    let params = |scale, zero_point| zeropoint_params { elements: 1, zero_point, scale };
    let given = [params(0.1, 10), params(0.25, 128)];
    let [p, q] = given.map(|p| QuantParams::<u8>::new(p.scale, p.zero_point).unwrap());
    let made = zeropoint_op { inputs: given.as_ptr(), inputs_len: 1, output: given[1], ..zeroed() };
    macro_rules! check {
        ($kind:ident, [$($input:expr),*], $to:ty, $out:expr, $op:expr, $run:expr) => {{
            let mut wanted = vec![<$to>::default(); $out.iter().product()];
            let out = TensorMut::nhwc(&mut wanted, $out).unwrap();
            #[allow(clippy::redundant_closure_call)]
            ($run)(out).unwrap();
            let layer = op(zeropoint_op { kind: zeropoint_op_kind::$kind as i32, ..$op });
            let got = run_layer::<_, $to>(layer, &[$((&$input, shape)),*], $out);
            assert_eq!(got, wanted, stringify!($kind));
        }};
    }
    let two = zeropoint_op { inputs_len: 2, activation: zeropoint_activation::Relu as i32, ..made };
    let spec = BinarySpec { activation: Activation::Relu, ..BinarySpec::new(p, q, q) };
    check!(Add, [a, b], u8, shape, two, |out| Add::new(&spec).unwrap().run(x, y, out));
    check!(Sub, [a, b], u8, shape, two, |out| Sub::new(&spec).unwrap().run(x, y, out));
    check!(Mul, [a, b], u8, shape, two, |out| Mul::new(&spec).unwrap().run(x, y, out));

    let window = Window {
        stride: [2, 2],
        padding: Padding::Explicit { top: 0, bottom: 1, left: 1, right: 0 },
        ..Window::default()
    };
    let moved =
        zeropoint_window { stride: [2, 2], padding: 2, bottom: 1, left: 1, ..zeropoint_op { ..zeroed() }.window };
    let pool = zeropoint_op { kernel: [2, 3], window: moved, ..made };
    let spec =
        AveragePool2dSpec { window, ties: AverageTies::AwayFromZeroPoint, ..AveragePool2dSpec::new([2, 3], q) };
    let ties = zeropoint_op { ties: 1, ..pool };
    check!(AveragePool2d, [a], u8, [2, 2, 2, 3], ties, |out| AveragePool2d::new(&spec).unwrap().run(x, out));
    let spec = MaxPool2dSpec { window, ..MaxPool2dSpec::new([2, 3], q) };
    check!(MaxPool2d, [a], u8, [2, 2, 2, 3], pool, |out| MaxPool2d::new(&spec).unwrap().run(x, out));
    let spec = MeanSpec { width: false, ..MeanSpec::new(p, q) };
    let mean = zeropoint_op { keep_width: 1, ..made };
    check!(Mean, [a], u8, [2, 1, 5, 3], mean, |out| Mean::new(&spec).unwrap().run(x, out));
    let spec = PadSpec { params: q, before: [0, 1, 0, 2], after: [1, 0, 1, 0] };
    let pad = zeropoint_op { before: [0, 1, 0, 2], after: [1, 0, 1, 0], ..made };
    check!(Pad, [a], u8, [3, 5, 6, 5], pad, |out| Pad::new(&spec).run(x, out));

    let joined = [given[1]; 2];
    let concat = zeropoint_op { inputs: joined.as_ptr(), inputs_len: 2, dimension: 1, ..made };
    let spec = ConcatSpec { dimension: layers::Dimension::Width, inputs: &[q, q], output: q };
    check!(Concat, [a, b], u8, [2, 4, 10, 3], concat, |out| Concat::new(&spec).unwrap().run(&[x, y], out));
    let spec = ConcatSpec { dimension: layers::Dimension::Batch, inputs: &[p, q], output: q };
    let concat = zeropoint_op { inputs_len: 2, dimension: 3, ..made };
    check!(ConcatRequantize, [a, b], u8, [4, 4, 5, 3], concat, |out| {
        ConcatRequantize::new(&spec, Rounding::DoubleAway).unwrap().run(&[x, y], out)
    });

    check!(Relu, [a], u8, shape, made, |out| Relu::new(&q).run(x, out));
    check!(Relu6, [a], u8, shape, made, |out| Relu6::new(&q).run(x, out));
    type Flat<'f> = &'f dyn Fn(&[u8], &mut [u8]) -> Result<(), zp::Error>;
    let flat =
        |out: TensorMut<'_, u8>, run: Flat<'_>| run(&a, out.reshape([1, 1, 1, 120])?.run([0; 3], 1).unwrap());
    check!(Logistic, [a], u8, shape, made, |out| flat(out, &|a, out| Logistic::new(&p).run(a, out)));
    check!(Tanh, [a], u8, shape, made, |out| flat(out, &|a, out| Tanh::new(&p).run(a, out)));
    let softmax = zeropoint_op { beta: 0.5, ..made };
    check!(Softmax, [a], u8, shape, softmax, |out| flat(out, &|a, out| {
        Softmax::new(&p, 0.5).unwrap().run(3, a, out)
    }));

    let signed = zeropoint_params { elements: 2, zero_point: -3, scale: 0.5 };
    let spec = RequantizeSpec::new(p, QuantParams::<i8>::new(0.5, -3).unwrap());
    let requantize = zeropoint_op { output: signed, ..made };
    check!(Requantize, [a], i8, shape, requantize, |out| Requantize::new(&spec).unwrap().run(x, out));
    check!(Dequantize, [a], f32, shape, made, |out| Dequantize::new(&p).run(x, out));
    let reals: Vec<f32> = (0..120).map(|i| i as f32 * 0.125 - 7.0).collect();
    let from = TensorRef::nhwc(&reals, shape).unwrap();
    let even = zeropoint_op { ties: 1, ..made };
    check!(Quantize, [reals], u8, shape, even, |out| Quantize::new(&q, zp::quant::Ties::Even).run(from, out));
}

//! A prepared run with a caller's workspace allocates nothing: serially, on lent threads, with stages of its own,
//! and when it fails. One test, so that nobody else allocates meanwhile.
#![cfg(not(miri))] // counts, proves nothing about memory

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::backends;
use common::pool::Started;
use zeropoint::layers::*;
use zeropoint::training::{Axis, FakeQuant, FakeQuantSpec, Gradients, Grid, Levels};
use zeropoint::{
    Backend, Element, Error, FloatScale, Gemm, MatMut, MatRef, Multiplier, PackOptions, Packed, PerAxis,
    QuantParams, Quantized, Rounding, Side, Stages, TensorMut, TensorRef, Threads, Workspace,
};

/// Counts the allocations of all threads.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Asserts that `run` allocates nothing.
fn without_allocating<T>(what: &dyn std::fmt::Debug, run: impl FnOnce() -> T) -> T {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let result = run();
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(count, 0, "{what:?} allocated");
    result
}

const SHAPE: (usize, usize, usize) = (13, 20, 35);

/// Runs a product in all ways, on both sides.
fn run_all<O: Element>(options: PackOptions, stages: Stages<'_, O>, others: Stages<'_, O>, pool: &dyn Threads) {
    let (m, k, n) = SHAPE;
    let data: Vec<u8> = (0..m * k + k * n).map(|i| (i * 37 % 251) as u8).collect();
    let each = vec![3; m.max(n)];
    let lhs = MatRef::row_major(&data[..m * k], m, k).unwrap().zero_point(&each[..m]);
    let rhs = MatRef::col_major(&data[m * k..], k, n).unwrap().zero_point(&each[..n]);
    let packed = [Packed::rhs_with(rhs, options).unwrap(), Packed::lhs_with(lhs, options).unwrap()];
    for packed in packed {
        let activations: Quantized<'_, u8> = if packed.side() == Side::Rhs { lhs } else { rhs };
        let gemm = Gemm::new(packed, &stages).unwrap();
        let mut out = vec![O::default(); m * n * 2];
        let mut bytes = vec![0; gemm.workspace_bytes(pool.threads()).unwrap() + 63];
        let mut owned = gemm.workspace_for(pool.threads());
        let case = (options.backend, gemm.packed().side(), O::DEST);
        for (strides, late, threads, lent) in (0..16).map(|i| (i & 1, i & 2 > 0, i & 4 > 0, i & 8 > 0)) {
            let what = (case, strides, late, threads, lent);
            let mut run = |workspace: &mut Workspace<'_>| {
                let (row_stride, col_stride) = [(n, 1), (2, 2 * m)][strides];
                let out = MatMut::new(&mut out, m, n, row_stride, col_stride)?;
                if !late && !threads {
                    return gemm.run(activations, out, workspace);
                }
                let run = if late { gemm.options().stages(&others) } else { gemm.options() };
                let run = if threads { run.threads(pool) } else { run };
                run.run(activations, out, workspace)
            };
            let result = without_allocating(&what, || match lent {
                true => run(&mut Workspace::borrow(&mut bytes)),
                false => run(&mut owned),
            });
            result.unwrap();
        }
        // Errors fit into themselves.
        let error = without_allocating(&"an error", || {
            gemm.run(activations, MatMut::row_major(&mut out, m, n)?, &mut Workspace::borrow(&mut []))
        });
        assert!(matches!(error, Err(Error::Workspace { .. })));
    }
}

/// Runs a layer of each kind that needs a backend, and those that need none.
fn run_layers(pack: PackOptions, pool: &dyn Threads) {
    const IN: [usize; 4] = [2, 7, 6, 4];
    let (input, weights) = ([7u8; 2 * 7 * 6 * 4], [3u8; 9 * 4 * 4]);
    let input = TensorRef::nhwc(&input, IN).unwrap();
    let window = Window { padding: Padding::Same, ..Window::default() };
    let stages = Stages::<u8>::fixed(Multiplier::from_real(0.01).unwrap());
    let kernel = TensorRef::nhwc(&weights, [4, 3, 3, 4]).unwrap();
    let conv = Conv2d::<u8, u8>::new(&Conv2dSpec { window, pack, ..Conv2dSpec::new(kernel) }, &stages).unwrap();
    let kernel = TensorRef::nhwc(&weights, [1, 3, 3, 4]).unwrap();
    let spec = DepthwiseConv2dSpec { window, backend: pack.backend, ..DepthwiseConv2dSpec::new(kernel) };
    let depthwise = DepthwiseConv2d::<u8, u8>::new(&spec, &stages).unwrap();
    let params = QuantParams::<u8>::new(0.1, 3).unwrap();
    let add = Add::new(&BinarySpec::new(params, params, params)).unwrap();
    let pool_spec = AveragePool2dSpec { window, ..AveragePool2dSpec::new([2, 2], params) };
    let average = AveragePool2d::new(&pool_spec).unwrap();
    let softmax = Softmax::new(&params, 1.0).unwrap();
    let mut out = [0u8; 2 * 7 * 6 * 4];
    let bytes =
        conv.workspace_bytes(pool.threads()).unwrap().max(depthwise.workspace_bytes(IN, pool.threads()).unwrap());
    let mut workspace = Workspace::new(bytes);
    macro_rules! view {
        () => {
            TensorMut::nhwc(&mut out, IN).unwrap()
        };
    }
    without_allocating(&"conv", || conv.run(input, view!(), &mut workspace)).unwrap();
    without_allocating(&"conv on threads", || conv.run_on(pool, input, view!(), &mut workspace)).unwrap();
    without_allocating(&"depthwise", || depthwise.run(input, view!(), &mut workspace)).unwrap();
    without_allocating(&"depthwise on threads", || depthwise.run_on(pool, input, view!(), &mut workspace))
        .unwrap();
    without_allocating(&"add", || add.run(input, input, view!())).unwrap();
    without_allocating(&"add on threads", || add.run_on(pool, input, input, view!())).unwrap();
    without_allocating(&"average", || average.run(input, view!())).unwrap();
    without_allocating(&"softmax", || softmax.run(4, &[9; 2 * 7 * 6 * 4], &mut out)).unwrap();
}

/// Fake quantization, forward and back, of a tensor and of channels.
fn run_training(backend: Backend) {
    let grids = [Grid::from_range(-1.0, 2.0, Levels::bits(8).unwrap()).unwrap(); 4];
    for (axis, count) in [(Axis::Tensor, 1), (Axis::Channels { channels: 4, inner: 1 }, 4)] {
        let spec = FakeQuantSpec { axis, backend: Some(backend), ..FakeQuantSpec::new(&grids[..count]) };
        let fake = FakeQuant::new(&spec).unwrap();
        let mut gradients = Gradients::new(&fake).unwrap();
        let (mut x, dy, mut y) = ([0.7; 80], [1.0; 80], [0.0; 80]);
        without_allocating(&"forward", || fake.forward(&x, &mut y)).unwrap();
        without_allocating(&"back", || fake.backward(&x, &dy, &mut y, &mut gradients)).unwrap();
        without_allocating(&"in place", || fake.forward_in_place(&mut x)).unwrap();
    }
}

#[test]
fn prepared_runs_allocate_nothing() {
    let (m, _, n) = SHAPE;
    let pool = Started::new(3);
    // The threads of the pool have started, and have set up what a first lock or wait may allocate.
    pool.run(64, &|_| std::thread::sleep(std::time::Duration::from_millis(1)));
    let counted = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), counted + 1, "the counter counts");

    let (bias, row_bias) = (vec![100; n], vec![-100; m]);
    let (by, scales) = (vec![Multiplier::from_real(0.001).unwrap(); m.max(n)], vec![0.001f32; m.max(n)]);
    let both = FloatScale::Both { rows: &scales[..m], columns: &scales[..n] };
    for backend in backends() {
        let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
        run_all(options, Stages::<i32>::raw().accumulate(), Stages::raw().bias(&bias).row_bias(&row_bias), &pool);
        let one = Stages::<u8>::fixed(by[0]).bias(&bias).zero_point(7);
        run_all(options, one, Stages::fixed(PerAxis::PerRow(&by[..m])).rounding(Rounding::SingleEven), &pool);
        let columns = Stages::<i8>::fixed(PerAxis::PerColumn(&by[..n]));
        run_all(options, columns, Stages::float(both).clamp(-5, 90), &pool);
        run_layers(options, &pool);
        run_training(backend);
        let reals = Stages::<f32>::dequantize(both);
        run_all(options, reals, Stages::dequantize(0.5).float_bias(&scales[..n]).row_bias(&row_bias), &pool);
    }
}

//! Wrong arguments give an error that names them, and no crash.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use common::*;
use zeropoint::zeropoint_status as S;
use zeropoint::*;

/// Every function with null where something is needed.
#[test]
fn null_pointers() {
    let small = Small::new();
    let weights = matrix(&[1u8, 2], 1, 2);
    let mut gemm = null_mut();
    let mut sums = [0i32; 2];
    let (lhs, out) = (matrix(&[1u8, 2, 3], 1, 3), matrix_mut(&mut sums, 1, 2));
    let tensors = [null(), null()];
    let mut layer = null_mut();
    // SAFETY: null is what the contract allows everywhere.
    unsafe {
        fails(zeropoint_gemm_new(null(), null(), &raw(), &mut gemm), S::Pointer, "weights");
        fails(zeropoint_gemm_new(&weights, null(), null(), &mut gemm), S::Pointer, "stages");
        fails(zeropoint_gemm_new(&weights, null(), &raw(), null_mut()), S::Pointer, "gemm");
        fails(
            zeropoint_gemm_new(&zeropoint_matrix { data: null(), ..weights }, null(), &raw(), &mut gemm),
            S::Pointer,
            "weights",
        );
        fails(zeropoint_gemm_load(null(), 5, &raw(), &mut gemm), S::Pointer, "bytes");
        fails(zeropoint_gemm_save(null(), null_mut(), 0, null_mut()), S::Pointer, "gemm");
        fails(zeropoint_gemm_save(small.gemm, null_mut(), 0, null_mut()), S::Pointer, "needed");
        fails(zeropoint_gemm_workspace_bytes(small.gemm, 1, null_mut()), S::Pointer, "bytes");
        fails(zeropoint_gemm_explain(small.gemm, null_mut(), 5, null_mut()), S::Pointer, "buffer");
        fails(zeropoint_workspace_new(5, null_mut()), S::Pointer, "workspace");
        fails(zeropoint_gemm_run(null(), &lhs, &out, small.workspace, null()), S::Pointer, "gemm");
        fails(zeropoint_gemm_run(small.gemm, null(), &out, small.workspace, null()), S::Pointer, "activations");
        fails(zeropoint_gemm_run(small.gemm, &lhs, null(), small.workspace, null()), S::Pointer, "out");
        fails(zeropoint_gemm_run(small.gemm, &lhs, &out, null_mut(), null()), S::Pointer, "workspace");
        fails(zeropoint_conv_new(null(), &raw(), &mut layer), S::Pointer, "conv");
        fails(zeropoint_conv_new(&zeroed::<zeropoint_conv>(), &raw(), &mut layer), S::Pointer, "conv.weights");
        fails(zeropoint_op_new(null(), &mut layer), S::Pointer, "op");
        fails(zeropoint_layer_run(null(), tensors.as_ptr(), 2, null(), null_mut(), null()), S::Pointer, "layer");
        fails(zeropoint_layer_output(null(), null(), null_mut()), S::Pointer, "layer");
        fails(zeropoint_layer_workspace_bytes(null(), null(), 1, null_mut()), S::Pointer, "layer");
        fails(zeropoint_layer_explain(null(), null_mut(), 0, null_mut()), S::Pointer, "layer");
        fails(zeropoint_backend_count(null_mut()), S::Pointer, "count");
        fails(zeropoint_multiplier_from_real(0.5, null_mut()), S::Pointer, "multiplier");
        fails(zeropoint_gemm_once(null(), &weights, &raw(), &out), S::Pointer, "lhs");
        fails(zeropoint_gemm_once(&lhs, null(), &raw(), &out), S::Pointer, "rhs");
        fails(zeropoint_gemm_once(&lhs, &weights, null(), &out), S::Pointer, "stages");
        fails(zeropoint_gemm_once(&lhs, &weights, &raw(), null()), S::Pointer, "out");
        let threads = zeropoint_threads { threads: 2, ..zeroed() };
        let run = zeropoint_run { threads: &threads, ..zeroed() };
        fails(zeropoint_gemm_run(small.gemm, &lhs, &out, small.workspace, &run), S::Pointer, "threads.run");
        ok(zeropoint_gemm_free(null_mut()));
        ok(zeropoint_workspace_free(null_mut()));
        ok(zeropoint_layer_free(null_mut()));
        // A layer that there is.
        let (view, shape) = (tensor(&[1i8; 4], [4, 1, 1, 1]), [1; 4]);
        let conv = zeropoint_conv { kind: 1, input: 1, weights: &view, ..zeroed() };
        let mut said = [0; 4];
        fails(zeropoint_conv_new(&conv, null(), &mut layer), S::Pointer, "stages");
        fails(zeropoint_conv_new(&conv, &raw(), null_mut()), S::Pointer, "layer");
        ok(zeropoint_conv_new(&conv, &raw(), &mut layer));
        fails(zeropoint_layer_output(layer, null(), said.as_mut_ptr()), S::Pointer, "input");
        fails(zeropoint_layer_output(layer, shape.as_ptr(), null_mut()), S::Pointer, "output");
        fails(zeropoint_layer_workspace_bytes(layer, shape.as_ptr(), 1, null_mut()), S::Pointer, "bytes");
        fails(zeropoint_layer_explain(layer, null_mut(), 5, null_mut()), S::Pointer, "buffer");
        fails(zeropoint_layer_run(layer, null(), 1, null(), null_mut(), null()), S::Pointer, "");
        ok(zeropoint_layer_free(layer));
        layer = null_mut();
        fails(zeropoint_op_new(&zeropoint_op { kind: 1, ..zeroed() }, null_mut()), S::Pointer, "layer");
        fails(zeropoint_gemm_load([0u8; 5].as_ptr(), 5, &raw(), null_mut()), S::Pointer, "gemm");
    }
    assert!(gemm.is_null() && layer.is_null());
}

/// Sizes of structs: too small, too large with something in it; larger with zeros is a newer header.
#[test]
fn sizes_of_structs() {
    #[repr(C)]
    struct Newer {
        stages: zeropoint_stages,
        more: [u64; 2],
    }
    let weights = matrix(&[1u8, 2], 1, 2);
    let mut gemm = null_mut();
    let known = size_of::<zeropoint_stages>();
    for size in [0, 1, 8, known - 1, usize::MAX, known + 4097] {
        let stages = zeropoint_stages { size, ..raw() };
        // SAFETY: sizes beyond the struct are refused before anything is read.
        let status = unsafe { zeropoint_gemm_new(&weights, null(), &stages, &mut gemm) };
        fails(status, S::StructSize, &format!("stages: size is {size}, but a zeropoint_stages has {known}"));
    }
    let mut newer = Newer { stages: zeropoint_stages { size: size_of::<Newer>(), ..raw() }, more: [0; 2] };
    // SAFETY: the struct is as large as it says.
    unsafe {
        ok(zeropoint_gemm_new(&weights, null(), (&raw const newer).cast(), &mut gemm));
        ok(zeropoint_gemm_free(gemm));
        newer.more[1] = 1;
        let status = zeropoint_gemm_new(&weights, null(), (&raw const newer).cast(), &mut gemm);
        fails(status, S::StructSize, "stages: size is");
        let weights = zeropoint_matrix { size: 7, ..weights };
        fails(zeropoint_gemm_new(&weights, null(), &raw(), &mut gemm), S::StructSize, "weights: size is 7");
    }
}

/// A handle of another kind, a pointer to something else, one that is not aligned.
#[test]
fn wrong_handles() {
    let small = Small::new();
    let zeros = [0u64; 4];
    let mut bytes = 0;
    // SAFETY: what is passed has at least the bytes of a tag.
    unsafe {
        let workspace = small.workspace.cast::<zeropoint_gemm>();
        let gemm = small.gemm.cast::<zeropoint_workspace>();
        fails(zeropoint_gemm_workspace_bytes(workspace, 1, &mut bytes), S::Handle, "no zeropoint_gemm");
        fails(zeropoint_gemm_free(workspace), S::Handle, "no zeropoint_gemm");
        fails(zeropoint_workspace_free(gemm), S::Handle, "no zeropoint_workspace");
        fails(zeropoint_layer_free(gemm.cast()), S::Handle, "no zeropoint_layer");
        fails(
            zeropoint_gemm_workspace_bytes(zeros.as_ptr().cast(), 1, &mut bytes),
            S::Handle,
            "no zeropoint_gemm",
        );
        let odd = small.gemm.byte_add(1);
        fails(zeropoint_gemm_workspace_bytes(odd, 1, &mut bytes), S::Pointer, "not aligned");
        let mut sums = [0i32; 2];
        let (lhs, out) = (matrix(&[1u8, 2, 3], 1, 3), matrix_mut(&mut sums, 1, 2));
        fails(zeropoint_gemm_run(small.gemm, &lhs, &out, gemm, null()), S::Handle, "workspace");
        fails(zeropoint_gemm_run(workspace, &lhs, &out, small.workspace, null()), S::Handle, "no zeropoint_gemm");
        fails(zeropoint_gemm_save(workspace, null_mut(), 0, &mut bytes), S::Handle, "no zeropoint_gemm");
        fails(zeropoint_gemm_explain(workspace, null_mut(), 0, &mut bytes), S::Handle, "no zeropoint_gemm");
        for handle in [small.gemm.cast::<zeropoint_layer>(), small.workspace.cast()] {
            let (shape, mut said) = ([1; 4], [0; 4]);
            let layer = "no zeropoint_layer";
            fails(zeropoint_layer_output(handle, shape.as_ptr(), said.as_mut_ptr()), S::Handle, layer);
            fails(zeropoint_layer_workspace_bytes(handle, shape.as_ptr(), 1, &mut bytes), S::Handle, layer);
            fails(zeropoint_layer_explain(handle, null_mut(), 0, &mut bytes), S::Handle, layer);
            fails(zeropoint_layer_run(handle, null(), 0, null(), null_mut(), null()), S::Handle, layer);
        }
        // Too few bytes are an error, and are left alone.
        ok(zeropoint_gemm_save(small.gemm, null_mut(), 0, &mut bytes));
        let mut short = vec![7u8; bytes - 1];
        fails(zeropoint_gemm_save(small.gemm, short.as_mut_ptr(), bytes - 1, &mut bytes), S::Shape, "capacity");
        assert!(short.iter().all(|byte| *byte == 7));
    }
}

/// Shapes and strides that lead beyond the memory, overflow, or overlap.
#[test]
fn shapes_and_strides() {
    let small = Small::new();
    let (codes, mut sums) = ([1u8; 6], [7i32; 4]);
    let (lhs, out) = (matrix(&codes, 2, 3), matrix_mut(&mut sums, 2, 2));
    let run = |lhs: zeropoint_matrix, out: zeropoint_matrix_mut| {
        // SAFETY: the memory is as long as `len` says, or `len` is refused.
        unsafe { zeropoint_gemm_run(small.gemm, &lhs, &out, small.workspace, null()) }
    };
    let max = usize::MAX;
    fails(run(zeropoint_matrix { rows: 3, ..lhs }, out), S::Span, "3 x 3");
    fails(run(zeropoint_matrix { row_stride: 4, ..lhs }, out), S::Span, "spans 7 elements");
    fails(run(zeropoint_matrix { row_stride: max, ..lhs }, out), S::Overflow, "data");
    fails(run(zeropoint_matrix { rows: max, cols: max, ..lhs }, out), S::Overflow, "data");
    fails(run(zeropoint_matrix { len: max, ..lhs }, out), S::Overflow, "activations");
    fails(run(zeropoint_matrix { len: max / 2 + 1, ..lhs }, out), S::Overflow, "activations");
    fails(run(lhs, zeropoint_matrix_mut { len: max, ..out }), S::Overflow, "out");
    fails(run(lhs, zeropoint_matrix_mut { row_stride: 1, ..out }), S::Overlap, "share memory");
    fails(run(lhs, zeropoint_matrix_mut { row_stride: max, ..out }), S::Overflow, "data");
    fails(run(zeropoint_matrix { rows: 1, ..lhs }, out), S::Shape, "out: expected 1 x 2, got 2 x 2");
    fails(run(zeropoint_matrix { cols: 2, ..lhs }, out), S::Shape, "lhs: expected 2 x 3, got 2 x 2");
    fails(run(zeropoint_matrix { zero_point: 256, ..lhs }, out), S::Range, "256");
    let zeros = [0i32; 3];
    let each = zeropoint_matrix { zero_points: zeros.as_ptr(), zero_points_len: 3, ..lhs };
    fails(run(each, out), S::Shape, "expected 2 elements, got 3");
    // An output whose memory is that of the input.
    let mut memory = [1i32; 8];
    let out = matrix_mut(&mut memory, 2, 2);
    let inside = zeropoint_matrix { data: out.data.wrapping_byte_add(8), ..lhs };
    fails(run(inside, out), S::Overlap, "shares memory with activations");
    // One that is not aligned.
    let odd = zeropoint_matrix_mut { data: out.data.wrapping_byte_add(1), len: 4, ..out };
    fails(run(lhs, odd), S::Pointer, "not aligned to 4");
    assert_eq!(memory, [1; 8]);
    // Nothing may be null.
    let none = zeropoint_matrix { data: null(), len: 0, rows: 0, ..lhs };
    ok(run(none, zeropoint_matrix_mut { data: null_mut(), len: 0, rows: 0, ..out }));
}

/// Numbers that stand for nothing, in every field that has one.
#[test]
fn constants_out_of_range() {
    let weights = matrix(&[1u8, 2], 1, 2);
    let codes = zeropoint_stages { output: 1, scaling: 2, scale: 0.5, ..zeroed() };
    let by = [zeropoint_multiplier { multiplier: 1, shift: 0 }];
    let fixed = zeropoint_stages { scaling: 1, multipliers: by.as_ptr(), multipliers_len: 1, ..codes };
    let new = |weights: zeropoint_matrix, pack: zeropoint_pack, stages: zeropoint_stages| {
        let mut gemm = null_mut();
        // SAFETY: memory is as long as it says.
        unsafe {
            let status = zeropoint_gemm_new(&weights, &pack, &stages, &mut gemm);
            ok(zeropoint_gemm_free(gemm));
            status
        }
    };
    let pack = zeroed::<zeropoint_pack>();
    ok(new(weights, pack, codes));
    for wrong in [-1, 99, i32::MIN, i32::MAX] {
        fails(new(zeropoint_matrix { elements: wrong, ..weights }, pack, codes), S::Value, "weights.elements");
        fails(new(weights, zeropoint_pack { side: wrong, ..pack }, codes), S::Value, "pack.side");
        fails(new(weights, zeropoint_pack { effort: wrong, ..pack }, codes), S::Value, "pack.effort");
        fails(new(weights, pack, zeropoint_stages { output: wrong, ..codes }), S::Value, "stages.output");
        fails(new(weights, pack, zeropoint_stages { scaling: wrong, ..codes }), S::Value, "stages.scaling");
        fails(new(weights, pack, zeropoint_stages { rounding: wrong, ..codes }), S::Value, "stages.rounding");
        fails(
            new(weights, pack, zeropoint_stages { multipliers_axis: wrong, ..codes }),
            S::Value,
            "multipliers_axis",
        );
        fails(new(weights, pack, zeropoint_stages { reserved: wrong, ..codes }), S::Value, "stages.reserved");
        fails(op_status(zeropoint_op { kind: wrong, ..zeroed() }), S::Value, "op.kind");
        fails(op_status(zeropoint_op { kind: 10, activation: wrong, ..zeroed() }), S::Value, "op.activation");
        fails(op_status(zeropoint_op { kind: 10, rounding: wrong, ..zeroed() }), S::Value, "op.rounding");
        let output = zeropoint_params { elements: 1, zero_point: 0, scale: 1.0 };
        fails(op_status(zeropoint_op { kind: 8, dimension: wrong, output, ..zeroed() }), S::Value, "op.dimension");
        fails(op_status(zeropoint_op { kind: 16, ties: wrong, output, ..zeroed() }), S::Value, "op.ties");
        let window = zeropoint_window { padding: wrong, ..zeropoint_op { ..zeroed() }.window };
        fails(op_status(zeropoint_op { kind: 5, window, output, ..zeroed() }), S::Value, "window.padding");
    }
    fails(new(matrix(&[1i32], 1, 1), pack, codes), S::Value, "weights.elements: 4 is not one of");
    fails(new(weights, pack, fixed), S::Range, "multiplier: 1 with shift 0");
    let shift = [zeropoint_multiplier { multiplier: 1, shift: i32::MIN }];
    let shifted = zeropoint_stages { rounding: 6, multipliers: shift.as_ptr(), ..fixed };
    fails(new(weights, pack, shifted), S::Range, "multiplier: 1");
    fails(
        new(weights, pack, zeropoint_stages { multipliers_len: 0, multipliers: null(), ..fixed }),
        S::Shape,
        "expected 1",
    );
    fails(new(weights, pack, zeropoint_stages { output: 4, ..codes }), S::Value, "ZEROPOINT_SCALING_RAW");
    fails(new(weights, pack, zeropoint_stages { accumulate: 1, ..codes }), S::Value, "stages.accumulate");
    fails(new(weights, pack, zeropoint_stages { zero_point: 3, ..raw() }), S::Value, "stages.zero_point");
    fails(new(weights, pack, zeropoint_stages { scale: f32::NAN, ..codes }), S::Range, "scale");
    fails(new(weights, pack, zeropoint_stages { clamp: 1, clamp_low: 5, ..codes }), S::Range, "clamp");
    let name = c"abacus";
    fails(new(weights, zeropoint_pack { backend: name.as_ptr(), ..pack }, codes), S::Backend, "abacus");
    let name = c"\xff\xff";
    fails(new(weights, zeropoint_pack { backend: name.as_ptr(), ..pack }, codes), S::Value, "UTF-8");
}

fn op_status(op: zeropoint_op) -> S {
    let mut layer = null_mut();
    // SAFETY: memory is as long as it says.
    unsafe {
        let status = zeropoint_op_new(&op, &mut layer);
        ok(zeropoint_layer_free(layer));
        status
    }
}

/// Memory that is not to be had, and a workspace that is too small or in use.
#[test]
fn workspaces() {
    let small = Small::new();
    let mut workspace = null_mut();
    let mut sums = [0i32; 2];
    let (lhs, out) = (matrix(&[1u8, 2, 3], 1, 3), matrix_mut(&mut sums, 1, 2));
    // SAFETY: memory is as long as it says.
    unsafe {
        for bytes in [usize::MAX, usize::MAX / 2, 1 << 62] {
            fails(zeropoint_workspace_new(bytes, &mut workspace), S::Memory, "workspace");
        }
        ok(zeropoint_workspace_new(0, &mut workspace));
        fails(zeropoint_gemm_run(small.gemm, &lhs, &out, workspace, null()), S::Workspace, "bytes are needed");
        ok(zeropoint_workspace_free(workspace));
    }
    // A run from inside a run, by lent threads.
    struct Nested {
        small: Small,
        status: S,
    }
    unsafe extern "C" fn nested(context: *mut c_void, tasks: usize, perform: zeropoint_task, task: *const c_void) {
        // SAFETY: the context of `run` below.
        let nested = unsafe { &mut *context.cast::<Nested>() };
        let mut sums = [0i32; 2];
        let (lhs, out) = (matrix(&[1u8, 2, 3], 1, 3), matrix_mut(&mut sums, 1, 2));
        // SAFETY: memory is as long as it says; every task is called.
        unsafe {
            nested.status = zeropoint_gemm_run(nested.small.gemm, &lhs, &out, nested.small.workspace, null());
            (0..tasks).for_each(|i| perform.unwrap()(task, i));
        }
    }
    let mut nested_run = Nested { small, status: S::Ok };
    let (gemm, workspace) = (nested_run.small.gemm, nested_run.small.workspace);
    let context = (&raw mut nested_run).cast();
    let threads = zeropoint_threads { threads: 2, context, run: Some(nested), ..zeroed() };
    let run = zeropoint_run { threads: &threads, ..zeroed() };
    let (codes, mut sums) = ([1u8; 192], [0i32; 128]);
    let (lhs, out) = (matrix(&codes, 64, 3), matrix_mut(&mut sums, 64, 2));
    // SAFETY: memory is as long as it says.
    unsafe { ok(zeropoint_gemm_run(gemm, &lhs, &out, workspace, &run)) };
    assert_eq!((nested_run.status, sums[0], sums[127]), (S::Workspace, 9, 12));
}

/// Threads that leave tasks out, call them twice, or call more than there are.
#[test]
fn wrong_threads() {
    unsafe extern "C" fn none(_: *mut c_void, _: usize, _: zeropoint_task, _: *const c_void) {}
    unsafe extern "C" fn many(_: *mut c_void, tasks: usize, perform: zeropoint_task, task: *const c_void) {
        for i in (0..tasks + 5).chain(0..tasks).chain([usize::MAX]) {
            // SAFETY: `perform` runs any index.
            unsafe { perform.unwrap()(task, i) };
        }
    }
    let small = Small::new();
    let (codes, mut sums) = ([1u8; 192], [0i32; 128]);
    let (lhs, out) = (matrix(&codes, 64, 3), matrix_mut(&mut sums, 64, 2));
    for (threads, expected) in [
        (zeropoint_threads { threads: 4, run: Some(none), ..zeroed() }, S::Threads),
        (zeropoint_threads { threads: usize::MAX, run: Some(many), ..zeroed() }, S::Ok),
    ] {
        let run = zeropoint_run { threads: &threads, ..zeroed() };
        // SAFETY: memory is as long as it says.
        let status = unsafe { zeropoint_gemm_run(small.gemm, &lhs, &out, small.workspace, &run) };
        assert_eq!(status, expected, "{}", last_error());
    }
    assert_eq!(sums[..2], [9, 12]);
    // A layer lends its tasks, too.
    let (image, view) = (vec![1u8; 64 * 64 * 16], tensor(&[1i8; 16 * 16], [16, 1, 1, 16]));
    let (mut out, mut layer, mut workspace, mut bytes) = (vec![0i32; 64 * 64 * 16], null_mut(), null_mut(), 0);
    let conv = zeropoint_conv { kind: 1, input: 1, weights: &view, ..zeroed() };
    let threads = zeropoint_threads { threads: 4, run: Some(none), ..zeroed() };
    let run = zeropoint_run { threads: &threads, ..zeroed() };
    let (shape, input) = ([1, 64, 64, 16], tensor(&image, [1, 64, 64, 16]));
    let (inputs, out) = ([&raw const input], tensor_mut(&mut out, shape));
    // SAFETY: memory is as long as it says.
    unsafe {
        ok(zeropoint_conv_new(&conv, &raw(), &mut layer));
        ok(zeropoint_layer_workspace_bytes(layer, shape.as_ptr(), 4, &mut bytes));
        ok(zeropoint_workspace_new(bytes, &mut workspace));
        fails(zeropoint_layer_run(layer, inputs.as_ptr(), 1, &out, workspace, &run), S::Threads, "");
        ok(zeropoint_layer_run(layer, inputs.as_ptr(), 1, &out, workspace, null()));
        ok(zeropoint_layer_free(layer));
        ok(zeropoint_workspace_free(workspace));
    }
}

/// As documented: a product is run by many threads at once, each with a workspace; a workspace by one.
#[test]
fn callers_on_several_threads() {
    let small = Small::new();
    let handles = [small.gemm.expose_provenance(), small.workspace.expose_provenance()];
    let run = |workspace: *mut zeropoint_workspace| {
        let (codes, mut sums) = ([1u8; 192], [0i32; 128]);
        let (lhs, out) = (matrix(&codes, 64, 3), matrix_mut(&mut sums, 64, 2));
        let gemm = std::ptr::with_exposed_provenance_mut::<zeropoint_gemm>(handles[0]);
        // SAFETY: memory is as long as it says.
        let status = unsafe { zeropoint_gemm_run(gemm, &lhs, &out, workspace, null()) };
        if status == S::Ok {
            assert!(sums.chunks_exact(2).all(|row| row == [9, 12]));
        }
        status
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = Small::new();
                (0..500).for_each(|_| assert_eq!(run(own.workspace), S::Ok));
                // One for all: whoever comes second is told.
                for _ in 0..500 {
                    let status = run(std::ptr::with_exposed_provenance_mut(handles[1]));
                    assert!(matches!(status, S::Ok | S::Workspace), "{status:?}");
                }
            });
        }
    });
}

/// Messages are of the thread, and a success leaves them.
#[test]
fn messages() {
    let mut gemm = null_mut();
    // SAFETY: null is allowed.
    unsafe {
        fails(zeropoint_gemm_new(null(), null(), null(), &mut gemm), S::Pointer, "weights: a null pointer");
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(last_error(), ""));
        });
        ok(zeropoint_gemm_free(null_mut()));
    }
    assert_eq!(last_error(), "weights: a null pointer");
    // Texts are cut to the buffer.
    let (mut buffer, mut needed) = ([b'x' as i8; 8], 0);
    // SAFETY: the buffer is as long as it says.
    unsafe {
        ok(zeropoint_explain(buffer.as_mut_ptr().cast(), 4, &mut needed));
        assert_eq!(buffer.map(|c| c as u8), *b"CPU\0xxxx");
        assert!(needed > 100);
        ok(zeropoint_explain(null_mut(), 0, &mut needed));
        fails(zeropoint_backend_name(usize::MAX, null_mut(), 0, null_mut()), S::Range, "index");
    }
}

/// Layers: weights, inputs and outputs that do not fit, and what only products have.
#[test]
fn layers() {
    let codes = [1u8; 4 * 4 * 2];
    let weights = tensor(&[1i8; 18], [1, 3, 3, 2]);
    let conv = zeropoint_conv { kind: 1, input: 1, weights: &weights, ..zeroed() };
    let make = |conv: zeropoint_conv, stages: zeropoint_stages| {
        let mut layer = null_mut();
        // SAFETY: memory is as long as it says.
        (unsafe { zeropoint_conv_new(&conv, &stages, &mut layer) }, layer)
    };
    let max = usize::MAX;
    let window = zeropoint_window { stride: [40000, 1], ..conv.window };
    let huge = zeropoint_tensor { shape: [max; 4], ..weights };
    let short = zeropoint_tensor { len: 17, ..weights };
    let strides = zeropoint_tensor { strides: [max, 1, 1, 1], shape: [2, 1, 1, 1], ..weights };
    let floats = zeropoint_tensor { elements: 5, ..weights };
    let pack = zeropoint_pack { side: 1, ..zeroed() };
    for (conv, expected, words) in [
        (zeropoint_conv { kind: 0, ..conv }, S::Value, "conv.kind"),
        (zeropoint_conv { input: 4, ..conv }, S::Value, "conv.input"),
        (zeropoint_conv { weights: &huge, ..conv }, S::Overflow, "tensor"),
        (zeropoint_conv { weights: &short, ..conv }, S::Span, "spans 18 elements, but there are 17"),
        (zeropoint_conv { weights: &strides, ..conv }, S::Overflow, "tensor"),
        (zeropoint_conv { weights: &floats, ..conv }, S::Value, "conv.weights.elements"),
        (zeropoint_conv { window, ..conv }, S::Range, "stride: 40000"),
        (zeropoint_conv { groups: 3, ..conv }, S::Range, "groups: 3"),
        (zeropoint_conv { input_zero_point: -1, ..conv }, S::Range, "input_zero_point"),
        (zeropoint_conv { pack: &pack, ..conv }, S::Value, "conv.pack.side"),
        (zeropoint_conv { kind: 2, multiplier: 4, ..conv }, S::Range, "multiplier: 4"),
        (zeropoint_conv { kind: 4, ..conv }, S::Shape, "weights"),
    ] {
        let (status, layer) = make(conv, raw());
        fails(status, expected, words);
        assert!(layer.is_null());
    }
    let (status, layer) = make(conv, raw());
    ok(status);
    let input = tensor(&codes, [1, 4, 4, 2]);
    let mut sums = [0i32; 4];
    let out = tensor_mut(&mut sums, [1, 2, 2, 1]);
    let (mut bytes, mut workspace) = (0, null_mut());
    let stages = raw();
    // SAFETY: memory is as long as it says.
    unsafe {
        ok(zeropoint_layer_workspace_bytes(layer, input.shape.as_ptr(), 1, &mut bytes));
        fails(
            zeropoint_layer_workspace_bytes(layer, input.shape.as_ptr(), max, &mut bytes),
            S::Overflow,
            "workspace",
        );
        ok(zeropoint_workspace_new(bytes, &mut workspace));
        let run = |inputs: &[*const zeropoint_tensor], out: zeropoint_tensor_mut| {
            zeropoint_layer_run(layer, inputs.as_ptr(), inputs.len(), &out, workspace, null())
        };
        fails(run(&[], out), S::Shape, "inputs: expected 1 elements, got 0");
        fails(run(&[&input, &input], out), S::Shape, "inputs: expected 1 elements, got 2");
        fails(run(&[null()], out), S::Pointer, "inputs");
        fails(run(&[&zeropoint_tensor { elements: 2, ..input }], out), S::Value, "inputs");
        fails(run(&[&zeropoint_tensor { shape: [1, 4, 4, 3], ..input }], out), S::Span, "spans 48");
        fails(run(&[&zeropoint_tensor { shape: [1, 4, 2, 4], ..input }], out), S::Shape, "input");
        fails(run(&[&input], zeropoint_tensor_mut { shape: [1, 2, 1, 2], ..out }), S::Shape, "out");
        fails(run(&[&input], zeropoint_tensor_mut { elements: 1, ..out }), S::Value, "out.elements");
        fails(run(&[&input], zeropoint_tensor_mut { strides: [1; 4], ..out }), S::Overlap, "share memory");
        fails(run(&[&input], zeropoint_tensor_mut { data: null_mut(), ..out }), S::Pointer, "out");
        let shared = zeropoint_tensor { data: out.data, len: 16, shape: [1, 4, 2, 2], ..input };
        fails(run(&[&shared], out), S::Overlap, "shares memory with inputs");
        ok(run(&[&input], out));
        let pointers = [&raw const input];
        let run = zeropoint_run { stages: &stages, ..zeroed() };
        let status = zeropoint_layer_run(layer, pointers.as_ptr(), 1, &out, workspace, &run);
        fails(status, S::Value, "run.stages");
        let status = zeropoint_layer_run(layer, pointers.as_ptr(), max, &out, workspace, null());
        fails(status, S::Overflow, "inputs");
        let status = zeropoint_layer_run(layer, pointers.as_ptr(), 1, &out, null_mut(), null());
        fails(status, S::Pointer, "workspace");
        ok(zeropoint_layer_free(layer));
        ok(zeropoint_workspace_free(workspace));
    }
    assert_eq!(sums, [18; 4]);
}

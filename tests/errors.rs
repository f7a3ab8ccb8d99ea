//! Every error there is: what provokes it, and that its message names the argument and the numbers.
#![cfg(not(miri))] // nothing here is unsafe

mod common;

use std::mem::MaybeUninit;
use std::process::Command;

use common::pool::Scoped;
use common::{AlignedBytes, backends, twins};
use zeropoint::kernels::names;
use zeropoint::quant::QuantParams;
use zeropoint::{
    BACKEND_VARIABLE, Backend, Code, Element, Error, FloatScale, Gemm, MatMut, MatRef, Multiplier, OutputCode,
    PackOptions, Packed, PerAxis, Quantized, Rounding, Stages, Workspace, available, gemm,
};

const CODES: [u8; 64] = [1; 64];
const NAN: f32 = f32::NAN;
const INFINITY: f32 = f32::INFINITY;

/// Asserts that something failed, and that the message starts with the first of `words` and has the others.
#[track_caller]
fn refused<T>(result: Result<T, Error>, words: &[&str]) -> Error {
    let Err(error) = result else { panic!("no error that says {words:?}") };
    let message = error.to_string();
    assert!(message.starts_with(words[0]), "{message:?} does not name {:?}", words[0]);
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    error
}

fn ones(rows: usize, cols: usize) -> MatRef<'static, u8> {
    MatRef::row_major(&CODES, rows, cols).unwrap()
}

/// An output with memory of its own.
fn out<O: Element>(rows: usize, cols: usize) -> MatMut<'static, O> {
    MatMut::row_major(vec![O::default(); rows * cols].leak(), rows, cols).unwrap()
}

/// A product of 2 x 3 by 3 x 4, in one call, prepared on both sides, and with stages that come late.
#[track_caller]
fn stages_refused<O: Element>(stages: Stages<'_, O>, others: Stages<'_, O>, words: &[&str]) {
    let error = refused(gemm(ones(2, 3), ones(3, 4), &stages, out(2, 4)), words);

    let packed = Packed::rhs(ones(3, 4)).unwrap();
    let mut memory = Workspace::new(1 << 16);
    let prepared =
        Gemm::new(packed.clone(), &stages).and_then(|gemm| gemm.run(ones(2, 3), out(2, 4), &mut memory));
    assert_eq!(format!("{:?}", refused(prepared, words)), format!("{error:?}"));
    let late = Gemm::new(packed, &others).unwrap();
    let late = late.options().stages(&stages).run(ones(2, 3), out(2, 4), &mut memory);
    assert_eq!(format!("{:?}", refused(late, words)), format!("{error:?}"));

    let packed = Packed::lhs(ones(2, 3)).unwrap();
    let turned = Gemm::new(packed, &stages).and_then(|gemm| gemm.run(ones(3, 4), out(2, 4), &mut memory));
    assert_eq!(format!("{:?}", refused(turned, words)), format!("{error:?}"));
}

#[track_caller]
fn sums_refused(stages: Stages<'_, i32>, words: &[&str]) {
    stages_refused(stages, Stages::raw(), words);
}

#[track_caller]
fn reals_refused(stages: Stages<'_, f32>, words: &[&str]) {
    stages_refused(stages, Stages::dequantize(1.0), words);
}

#[track_caller]
fn codes_refused<O: OutputCode>(stages: Stages<'_, O>, words: &[&str]) {
    stages_refused(stages, Stages::fixed(Multiplier::ONE), words);
}

#[test]
fn errors_are_errors() {
    fn is_error<E: core::error::Error + Send + Sync + Copy + 'static>() {}
    is_error::<Error>();
    let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(Error::Uninitialized);
    assert!(boxed.downcast_ref::<Error>().is_some());
}

#[test]
fn views_beyond_their_data() {
    let mut sums = [0i32; 5];
    refused(MatRef::row_major(&CODES[..5], 2, 3), &["data", "2 x 3", "strides (3, 1)", "spans 6", "there are 5"]);
    refused(MatRef::col_major(&CODES[..5], 2, 3), &["data", "strides (1, 2)", "spans 6", "there are 5"]);
    refused(MatRef::new(&CODES[..10], 3, 3, 4, 1), &["data", "spans 11", "there are 10"]);
    refused(MatRef::new(&CODES[..0], 1, 1, 0, 0), &["data", "spans 1", "there are 0"]);
    refused(MatMut::row_major(&mut sums, 2, 3), &["data", "spans 6", "there are 5"]);
    let mut memory = [MaybeUninit::<u8>::uninit(); 5];
    refused(MatMut::uninit(&mut memory, 1, 6, 1, 1), &["data", "spans 6", "there are 5"]);
}

#[test]
fn sizes_that_overflow() {
    const MAX: usize = usize::MAX;
    let (max, half) = (&MAX.to_string()[..], &(MAX / 2 + 1).to_string()[..]);
    let mut sums = [0i32; 1];
    refused(MatRef::new(&CODES, 2, 2, MAX, 1), &["data", max, "1", "overflow"]);
    refused(MatRef::new(&CODES, 3, 1, MAX / 2 + 1, 1), &["data", "2", half, "overflow"]);
    refused(MatRef::new(&CODES, 1, MAX, 1, 2), &["data", "overflow"]);
    refused(MatMut::new(&mut sums, 2, 2, MAX, 1), &["data", max, "overflow"]);
    // A matrix whose elements are one byte of memory, and whose panels do not fit into any.
    let wide = MatRef::new(&CODES, MAX / 4, MAX / 4, 0, 0).unwrap();
    refused(Packed::rhs(wide), &["packed", "overflow", &(MAX / 4).to_string()]);
    refused(Packed::lhs(wide), &["packed", "overflow", &(MAX / 4).to_string()]);
    let gemm = Gemm::new(Packed::rhs(ones(3, 4)).unwrap(), &Stages::<i32>::raw()).unwrap();
    refused(gemm.workspace_bytes(MAX), &["workspace", "3", "4", "overflow"]);
}

#[test]
#[cfg(target_pointer_width = "64")]
fn memory_that_is_not_to_be_had() {
    // 2^47 bytes are more than an address space, and need not be allocated to be refused.
    let column = MatRef::new(&CODES, 1 << 46, 1, 0, 0).unwrap();
    refused(Packed::rhs(column), &["packed", "bytes", "could not be allocated"]);
    for bytes in [1 << 48, isize::MAX as usize, usize::MAX] {
        let gemm = Gemm::new(Packed::rhs(ones(3, 4)).unwrap(), &Stages::<i32>::raw()).unwrap();
        refused(gemm.run(ones(2, 3), out(2, 4), &mut Workspace::new(bytes)), &["workspace", "there are 0"]);
    }
}

#[test]
fn outputs_that_overlap() {
    let mut sums = [0i32; 64];
    for (shape, strides) in
        [((2, 3), (1, 1)), ((2, 1), (0, 1)), ((1, 2), (1, 0)), ((3, 5), (4, 2)), ((4, 4), (6, 4))]
    {
        let view = MatMut::new(&mut sums, shape.0, shape.1, strides.0, strides.1);
        refused(view, &["data", &format!("{} x {}", shape.0, shape.1), &format!("strides {strides:?}"), "share"]);
    }
}

#[test]
fn parts_beyond_a_view() {
    let view = ones(3, 4);
    refused(view.part(1, 0, 3, 1), &["rows", "ends at 4", "has 3"]);
    refused(view.part(0, 2, 1, 3), &["cols", "ends at 5", "has 4"]);
    refused(view.part(usize::MAX, 0, 2, 1), &["rows", &usize::MAX.to_string(), "2", "overflow"]);
    refused(view.split_rows(4), &["rows", "ends at 4", "has 3"]);
    let out = || out::<i32>(3, 4);
    refused(out().part(0, 4, 1, 1), &["cols", "ends at 5", "has 4"]);
    refused(out().split_rows(7), &["rows", "ends at 7", "has 3"]);
    assert!(out().split_cols(5).is_err() && view.split_cols(5).is_err());
}

#[test]
fn shapes_that_do_not_fit() {
    let raw = Stages::<i32>::raw();
    refused(gemm(ones(2, 5), ones(3, 4), &raw, out(2, 4)), &["lhs", "expected 2 x 3", "got 2 x 5"]);
    refused(gemm(ones(2, 3), ones(3, 4), &raw, out(2, 5)), &["out", "expected 2 x 4", "got 2 x 5"]);
    refused(gemm(ones(2, 3), ones(3, 4), &raw, out(3, 4)), &["out", "expected 2 x 4", "got 3 x 4"]);
    let mut memory = Workspace::new(1 << 16);
    let rhs = Gemm::new(Packed::rhs(ones(3, 4)).unwrap(), &raw).unwrap();
    refused(rhs.run(ones(2, 4), out(2, 4), &mut memory), &["lhs", "expected 2 x 3", "got 2 x 4"]);
    refused(rhs.run(ones(2, 3), out(4, 2), &mut memory), &["out", "expected 2 x 4", "got 4 x 2"]);
    let lhs = Gemm::new(Packed::lhs(ones(2, 3)).unwrap(), &raw).unwrap();
    refused(lhs.run(ones(4, 4), out(2, 4), &mut memory), &["rhs", "expected 3 x 4", "got 4 x 4"]);
    refused(lhs.run(ones(3, 4), out(3, 4), &mut memory), &["out", "expected 2 x 4", "got 3 x 4"]);
}

#[test]
fn vectors_of_another_length() {
    let (ints, floats, by) = ([1; 9], [1.0; 9], [Multiplier::ONE; 9]);
    for (len, got) in [(3, "got 3"), (5, "got 5"), (0, "got 0")] {
        let words = |name| [name, "expected 4 elements", got];
        sums_refused(Stages::raw().bias(&ints[..len]), &words("bias"));
        codes_refused(Stages::<u8>::fixed(PerAxis::PerColumn(&by[..len])), &words("multipliers"));
        codes_refused(Stages::<i16>::float(FloatScale::PerColumn(&floats[..len])), &words("column scales"));
        let both = FloatScale::Both { rows: &floats[..2], columns: &floats[..len] };
        reals_refused(Stages::dequantize(both), &words("column scales"));
        reals_refused(Stages::dequantize(1.0).float_bias(&floats[..len]), &words("float_bias"));
    }
    for (len, got) in [(1, "got 1"), (3, "got 3"), (0, "got 0")] {
        let words = |name| [name, "expected 2 elements", got];
        sums_refused(Stages::raw().row_bias(&ints[..len]), &words("row_bias"));
        codes_refused(Stages::<i8>::fixed(PerAxis::PerRow(&by[..len])), &words("row multipliers"));
        codes_refused(Stages::<u8>::float(FloatScale::PerRow(&floats[..len])), &words("row scales"));
        let both = FloatScale::Both { rows: &floats[..len], columns: &floats[..4] };
        reals_refused(Stages::dequantize(both), &words("row scales"));
        reals_refused(Stages::dequantize(1.0).float_row_bias(&floats[..len]), &words("float_row_bias"));
    }
    let params = QuantParams::<u8>::new(1.0, 0).unwrap();
    refused(params.quantize_slice(&[0.0; 3], &mut [0; 2]), &["codes", "expected 3", "got 2"]);
}

#[test]
fn zero_points_outside_their_type() {
    fn check<C: Code + Default>(wrong: &[i32]) {
        let data = [C::default(); 12];
        let codes = |rows, cols| MatRef::row_major(&data, rows, cols).unwrap();
        let raw = Stages::<i32>::raw();
        let product = |lhs: Quantized<'_, C>, rhs: Quantized<'_, C>| gemm(lhs, rhs, &raw, out(2, 4));
        for &zero in wrong {
            let (value, range) = (format!("zero point {zero} "), format!("{}..={}", C::RANGE.0, C::RANGE.1));
            for each in [[zero, 0, 0, 0], [0, zero, 0, 0]] {
                let lhs = codes(2, 3).zero_point(&each[..2]);
                let rhs = codes(3, 4).zero_point(&each);
                refused(product(lhs, codes(3, 4).into()), &["lhs", &value, &range]);
                refused(product(codes(2, 3).into(), rhs), &["rhs", &value, &range]);
                refused(Packed::lhs(lhs), &["lhs", &value, &range]);
            }
            refused(product(codes(2, 3).zero_point(zero), codes(3, 4).into()), &["lhs", &value, &range]);
            refused(product(codes(2, 3).into(), codes(3, 4).zero_point(zero)), &["rhs", &value, &range]);
        }
        for len in [0, 1, 3, 5] {
            let got = format!("got {len}");
            let each = vec![0; len];
            let (lhs, rhs) = (codes(2, 3).zero_point(&each[..]), codes(3, 4).zero_point(&each[..]));
            refused(product(lhs, codes(3, 4).into()), &["lhs", "expected 2", &got]);
            refused(product(codes(2, 3).into(), rhs), &["rhs", "expected 4", &got]);
        }
    }
    check::<u8>(&[-1, 256, i32::MIN, i32::MAX]);
    check::<i8>(&[-129, 128, i32::MIN, i32::MAX]);

    let codes = Stages::<u8>::fixed(Multiplier::ONE);
    codes_refused(codes.zero_point(-1), &["zero_point", "-1", "0..=255"]);
    codes_refused(codes.zero_point(256), &["zero_point", "256", "0..=255"]);
    codes_refused(Stages::<i8>::float(1.0).zero_point(128), &["zero_point", "128", "-128..=127"]);
    codes_refused(Stages::<i16>::float(1.0).zero_point(-32769), &["zero_point", "-32769", "-32768..=32767"]);
    refused(QuantParams::<u8>::new(1.0, 256), &["zero_point", "256", "0..=255"]);
    refused(QuantParams::<i8>::new(1.0, i32::MIN), &["zero_point", "-2147483648", "-128..=127"]);
}

#[test]
fn clamps_that_are_none() {
    let codes = Stages::<u8>::fixed(Multiplier::ONE);
    codes_refused(codes.clamp(8, 7), &["clamp", "8..=7", "0..=255"]);
    codes_refused(codes.clamp(-1, 7), &["clamp", "-1..=7", "0..=255"]);
    codes_refused(codes.clamp(0, 256), &["clamp", "0..=256", "0..=255"]);
    codes_refused(Stages::<i8>::float(1.0).clamp(i32::MAX, i32::MIN), &["clamp", "2147483647..=-2147483648"]);
    codes_refused(Stages::<i16>::float(1.0).clamp(-32769, 0), &["clamp", "-32769..=0", "-32768..=32767"]);
}

#[test]
fn factors_that_are_none() {
    for (real, text) in [(-0.5, "-0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-1e-300, "-0.000")] {
        refused(Multiplier::from_real(real), &["multiplier", text]);
    }
    for real in [1073741824.0, 1073741823.9999999, f64::MAX] {
        refused(Multiplier::from_real(real), &["multiplier", &real.to_string()]);
    }
    refused(Multiplier::from_scales(1.0, -2.0, 1.0), &["multiplier", "-2"]);
    refused(Multiplier::from_scales(0.0, 1.0, 0.0), &["multiplier", "NaN"]);
    refused(Multiplier::from_scales(1.0, 1.0, 0.0), &["multiplier", "inf"]);
    refused(Multiplier::new(5, 0), &["multiplier", "5", "shift 0"]);
    refused(Multiplier::new(-1, 0), &["multiplier", "-1", "shift 0"]);
    refused(Multiplier::new(1 << 30, 31), &["multiplier", "1073741824", "shift 31"]);
    refused(Multiplier::new(1 << 30, -32), &["multiplier", "shift -32"]);
    refused(Multiplier::int_mul_shift(7, 32), &["multiplier", "7", "shift -32"]);
    assert!(Multiplier::int_mul_shift(7, u32::MAX).is_err());

    // Multipliers are made without their rule, so stages check that they suit it.
    let integer = Multiplier::int_mul_shift(77, 3).unwrap();
    let left = Multiplier::from_real(8.0).unwrap();
    let words = ["multiplier", "77", "shift -3"];
    for rounding in Rounding::ALL {
        if rounding == Rounding::IntMulShift {
            let stages = Stages::<u8>::fixed(left).rounding(rounding);
            codes_refused(stages, &["multiplier", "1073741824", "shift 4"]);
        } else {
            codes_refused(Stages::<u8>::fixed(integer).rounding(rounding), &words);
            let several = [Multiplier::ONE, Multiplier::ONE, Multiplier::ONE, integer];
            codes_refused(Stages::<i8>::fixed(PerAxis::PerColumn(&several)).rounding(rounding), &words);
            codes_refused(Stages::<i16>::fixed(PerAxis::PerRow(&several[2..])).rounding(rounding), &words);
        }
    }

    for (scale, text) in [(-0.25, "-0.25"), (NAN, "NaN"), (INFINITY, "inf")] {
        codes_refused(Stages::<u8>::float(scale), &["scale", text]);
        reals_refused(Stages::dequantize(scale), &["scale", text]);
        let vector = [1.0, 1.0, 1.0, scale];
        codes_refused(Stages::<i8>::float(FloatScale::PerColumn(&vector)), &["column scales", text]);
        codes_refused(Stages::<i16>::float(FloatScale::PerRow(&vector[2..])), &["row scales", text]);
        let both = FloatScale::Both { rows: &vector[2..], columns: &[1.0; 4] };
        reals_refused(Stages::dequantize(both), &["row scales", text]);
    }
    let both = FloatScale::Both { rows: &[1.0, 1e30], columns: &[1.0, 1e20, 1.0, 1.0] };
    reals_refused(Stages::dequantize(both), &["row scale times column scale"]);
    for (bias, text) in [(NAN, "NaN"), (-INFINITY, "-inf")] {
        reals_refused(Stages::dequantize(1.0).float_bias(&[0.0, 0.0, 0.0, bias]), &["float_bias", text]);
        reals_refused(Stages::dequantize(1.0).float_row_bias(&[0.0, bias]), &["float_bias", text]);
    }
}

#[test]
fn ranges_without_a_scale() {
    for (min, max) in [(1.0, -1.0), (NAN, 1.0), (0.0, NAN), (-INFINITY, 0.0), (0.0, INFINITY)] {
        refused(QuantParams::<u8>::from_range(min, max), &["range", &min.to_string(), &max.to_string()]);
    }
    for largest in [-1.0, NAN, INFINITY] {
        refused(QuantParams::<i8>::symmetric(largest), &["range", &largest.to_string()]);
    }
    for value in [NAN, INFINITY, -INFINITY] {
        refused(QuantParams::dynamic(&[1.0, value]), &["range", &value.to_string()]);
    }
    for scale in [0.0, -1.0, NAN, INFINITY] {
        refused(QuantParams::<u8>::new(scale, 0), &["scale", &scale.to_string()]);
    }
}

#[test]
fn sums_into_uninitialized_memory() {
    let more = Stages::<i32>::raw().accumulate();
    let out = || MatMut::uninit(vec![MaybeUninit::<i32>::uninit(); 8].leak(), 2, 4, 4, 1).unwrap();
    let words = ["out", "uninitialized"];
    refused(gemm(ones(2, 3), ones(3, 4), &more, out()), &words);
    for backend in backends() {
        let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
        let gemm = Gemm::new(Packed::rhs_with(ones(3, 4), options).unwrap(), &more).unwrap();
        let mut memory = gemm.workspace_for(2);
        refused(gemm.run(ones(2, 3), out(), &mut memory), &words);
        refused(gemm.options().threads(&Scoped(2)).run(ones(2, 3), out(), &mut memory), &words);
        refused(gemm.options().stages(&more).run(ones(2, 3), out(), &mut memory), &words);
    }
}

#[test]
fn workspaces_that_are_too_small() {
    for backend in backends() {
        let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
        let gemm = Gemm::new(Packed::rhs_with(ones(3, 4), options).unwrap(), &Stages::<i32>::raw()).unwrap();
        let bytes = gemm.workspace_bytes(1).unwrap();
        assert_eq!(gemm.workspace_bytes(0).unwrap(), bytes);
        let mut memory = AlignedBytes::new(&vec![0; bytes]);
        for threads in [1, 4] {
            let mut sums = [0; 8];
            let mut run = |workspace: &mut Workspace<'_>| {
                let out = MatMut::row_major(&mut sums, 2, 4).unwrap();
                gemm.options().threads(&Scoped(threads)).run(ones(2, 3), out, workspace)
            };
            for short in [0, 1, 63] {
                let error = refused(run(&mut Workspace::borrow(&mut memory.get_mut()[..short])), &["workspace"]);
                let Error::Workspace { needed, got } = error else { panic!("{error}") };
                assert_eq!(got, short);
                // Two rows need no more than any number of rows, and exactly what the error says.
                assert!(needed <= bytes);
                let less = run(&mut Workspace::borrow(&mut memory.get_mut()[..needed - 1]));
                refused(less, &["workspace", &format!("{needed} bytes"), &format!("there are {}", needed - 1)]);
                run(&mut Workspace::borrow(&mut memory.get_mut()[..needed])).unwrap();
            }
            assert_eq!(sums, [3; 8]);
        }
    }
}

#[test]
fn backends_of_other_names() {
    let valid: Vec<_> = available().map(Backend::name).collect();
    for name in ["abacus", "", "AVX2", "twin", "a name that is much longer than what an error keeps of it"] {
        let kept = &name[..name.len().min(40)];
        refused(Backend::named(name), &[&["backend", kept, "unknown", "available"], &valid[..]].concat());
    }
    // Twins are for tests: what they packed is refused by name.
    for twin in twins() {
        let options = PackOptions { backend: Some(twin), ..PackOptions::default() };
        let packed = Packed::rhs_with(ones(3, 4), options).unwrap();
        let first = available().next().unwrap().kernel();
        refused(Packed::from_bytes(packed.as_bytes()), &["packed", "kernel", first, twin.kernel()]);
    }
}

const CHILD: &str = "ZEROPOINT_TEST_CHILD";

/// What this test prints in a process of its own, in which a variable names the backend.
fn says_with_backend(name: &str) -> String {
    let program = std::env::current_exe().unwrap();
    // Under an emulator, cargo's variable says how programs start.
    let target = format!("CARGO_TARGET_{}", std::env::consts::ARCH.to_uppercase());
    let runner = std::env::vars().find(|(key, _)| key.starts_with(&target) && key.ends_with("_RUNNER"));
    let mut words: Vec<_> = runner.iter().flat_map(|(_, words)| words.split_whitespace()).collect();
    words.push(program.to_str().unwrap());
    let mut child = Command::new(words[0]);
    child.args(&words[1..]).args(["--exact", "the_variable_that_names_a_backend", "--nocapture"]);
    let output = child.env(CHILD, "1").env(BACKEND_VARIABLE, name).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_variable_that_names_a_backend() {
    if std::env::var_os(CHILD).is_some() {
        let mut sum = [0];
        let result = gemm(ones(1, 3), ones(3, 1), &Stages::raw(), MatMut::row_major(&mut sum, 1, 1).unwrap());
        println!("[selected {:?}]", zeropoint::selected().map(Backend::name));
        println!("[result {result:?} {sum:?}]");
        println!("[message {}]", result.err().map_or(String::new(), |error| error.to_string()));
        println!("[packing fails: {}]", Packed::lhs(ones(1, 1)).is_err());
        println!("{}", zeropoint::explain());
        return;
    }
    let valid: Vec<_> = names(available()).collect();
    for name in &valid {
        let text = says_with_backend(name);
        assert!(text.contains(&format!("[selected Ok({name:?})]")), "{text}");
        assert!(text.contains("[result Ok(()) [3]]") && text.contains("[packing fails: false]"), "{text}");
        assert!(text.contains(&format!("selected: {name}, by {BACKEND_VARIABLE}")), "{text}");
    }
    let text = says_with_backend("abacus");
    let list = format!("backend: \"abacus\" is unknown; available: {}", valid.join(" "));
    assert!(text.contains(&format!("[message {list}]")), "{text}");
    assert!(text.contains("[packing fails: true]") && text.contains(&format!("none ({list})")), "{text}");
    // An empty variable is none.
    let text = says_with_backend("");
    assert!(text.contains(&format!("[selected Ok({:?})]", valid[0])), "{text}");
}

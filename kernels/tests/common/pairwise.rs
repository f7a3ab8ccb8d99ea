//! Two operands, element by element, against the definition.

use zeropoint_kernels::{Multiplier, Operation, Pairwise, Rounding};

use super::{Arena, Rng, Run};

/// Every rule that the layers have.
pub const RULES: [Rounding; 6] = [
    Rounding::DoubleAway,
    Rounding::DoubleAwaySat,
    Rounding::DoubleUp,
    Rounding::SingleUp,
    Rounding::SingleAway,
    Rounding::SingleEven,
];

/// What the kernel computes of two bytes.
fn define(spec: &Pairwise, bytes: [u8; 2]) -> u8 {
    let code = |i: usize| if spec.signed { i32::from(bytes[i] as i8) } else { i32::from(bytes[i]) };
    let [a, b] = [0, 1].map(|i| code(i) - spec.zero_points[i]);
    let x = match spec.operation {
        Operation::Sum { by, negative } => {
            let half = Multiplier::from_real(0.5).unwrap();
            let signs = negative.map(|negative| if negative { -1 } else { 1 });
            signs[0] * spec.rounding.apply(a << 20, half) + signs[1] * spec.rounding.apply(b << 20, by)
        }
        Operation::Product => i64::from(a * b),
        Operation::Affine(_) => unreachable!("made from a sum, and compared with it"),
    };
    let y = spec.rounding.apply(x.try_into().unwrap(), spec.scale) + i64::from(spec.zero_point);
    y.clamp(spec.low.into(), spec.high.into()) as u8
}

/// Any numbers, most of them such that not all results are clamped.
pub fn spec(rng: &Rng, rounding: Rounding, signed: bool, product: bool) -> Pairwise {
    let (min, max) = if signed { (-128, 127) } else { (0, 255) };
    let zero_points = [rng.extreme(min, max), rng.extreme(min, max)];
    // Powers of two make ties.
    let real =
        |low, high| f64::from(if rng.one_in(3) { 2f32.powi(rng.within(low, high)) } else { rng.real(low, high) });
    let by = match rng.below(8) {
        0 => 0.5,
        1 => 0.0,
        2 => real(-33, -10),
        _ => real(-4, -1),
    };
    let typical = if product { real(-9, -2) } else { real(-23, -17) };
    let scale = match rng.below(6) {
        0 => real(-33, 29),
        1 => 0.0,
        _ => typical,
    };
    let (low, high) = if rng.one_in(3) {
        let (a, b) = (rng.extreme(min, max), rng.extreme(min, max));
        (a.min(b), a.max(b))
    } else {
        (min, max)
    };
    let by = Multiplier::from_real(by).unwrap();
    let negative = [rng.one_in(3), rng.one_in(3)];
    Pairwise {
        operation: if product { Operation::Product } else { Operation::Sum { by, negative } },
        zero_points,
        signed,
        rounding,
        scale: Multiplier::from_real(scale).unwrap(),
        zero_point: rng.extreme(min, max),
        low,
        high,
    }
}

/// Takes bytes of both operands to `len` codes; fewer bytes of either are repeated.
pub fn check(run: &Run, spec: &Pairwise, len: usize, operands: [&[u8]; 2]) {
    let counts = operands.map(<[u8]>::len);
    run.case(format_args!("{spec:?}, {len} codes of {counts:?}"));
    let arena = Arena::new(run.place);
    let [a, b] = operands.map(|bytes| &*arena.slice(bytes.len(), |i| bytes[i]));
    let out = arena.slice(len, |i| i as u8);
    if let Err(error) = spec.run(run.backend, [a, b], out) {
        run.fail(format_args!("{error}"));
    }
    run.check_margins(&arena);
    let compare = |out: &[u8], way: &str| {
        for (i, got) in out.iter().enumerate() {
            let bytes = operands.map(|bytes| bytes[i % bytes.len()]);
            let expected = define(spec, bytes);
            if *got != expected {
                run.fail(format_args!("code {i}, of bytes {bytes:?}, {way} is {got}, should be {expected}"));
            }
        }
    };
    compare(out, "");
    if run.rng.one_in(4) {
        out.fill(0xa5);
        spec.shortened().run(run.backend, [a, b], out).unwrap();
        run.check_margins(&arena);
        compare(out, "shortened");
    }
}

/// Few codes and many, at random, of both operands or of some that are repeated.
pub fn ends(run: &Run) {
    let rng = &run.rng;
    for len in 0..=65 {
        for repeated in [[false; 2], [true, false], [false, true], [true; 2]] {
            let spec = spec(rng, rng.pick(&RULES), rng.one_in(2), rng.one_in(3));
            let bytes = |repeated| -> Vec<u8> {
                (0..if repeated { 1 } else { len }).map(|_| rng.extreme(0, 255) as u8).collect()
            };
            let [a, b] = repeated.map(bytes);
            check(run, &spec, len, [&a, &b]);
        }
    }
    for period in [1, 2, 3, 24, 255, 256, 257, 511, 512, 513] {
        for times in [1, 2, 3, 43] {
            let spec = spec(rng, rng.pick(&RULES), rng.one_in(2), rng.one_in(3));
            let len = period * times;
            let lens = rng.pick(&[[period, len], [len, period], [1, period], [period, 1], [period; 2]]);
            let [a, b] = lens.map(|len| (0..len).map(|_| rng.extreme(0, 255) as u8).collect::<Vec<_>>());
            check(run, &spec, len, [&a, &b]);
        }
    }
}

//! Fixed-point functions against f64, everywhere or at a dense choice of arguments, and layers of codes that are made from them, for
//! every code of many scales.
#![cfg(not(miri))]

mod common;

use common::{Rng, seed};
use zeropoint::fixedpoint::wide::{exp_of_minus, product};
use zeropoint::fixedpoint::{
    Fixed, Raw, exp_of_negative, logistic, one_minus_over_one_plus, one_over_one_plus, tanh,
};
use zeropoint::layers::{Logistic, Softmax, Tanh};
use zeropoint::{Error, QuantParams, reference};

/// The largest error, in steps, of what `f` gives for some steps.
fn largest<R: Raw>(steps: impl Iterator<Item = i64>, f: impl Fn(R) -> (Fixed<R, 0>, f64)) -> f64 {
    steps
        .map(|steps| {
            let (got, expected) = f(R::saturated(steps));
            let one = (1u64 << R::BITS) as f64;
            let raw: i64 = got.raw().into();
            // 1 is not to be had: its neighbour is right.
            (raw as f64 - (expected * one).min(one - 1.0)).abs()
        })
        .fold(0.0, f64::max)
}

fn all16(low: i64, high: i64) -> impl Iterator<Item = i64> {
    low.max(i64::from(i16::MIN))..=high.min(i64::from(i16::MAX))
}

/// Ends, powers of two and their neighbours, a lattice, random ones.
fn many32(low: i64, high: i64) -> impl Iterator<Item = i64> {
    let rng = Rng::new(seed());
    let ends =
        (0..32).flat_map(|k| [-1i64, 0, 1].map(|d| (1 << k) + d)).flat_map(move |x| [x, -x, low + x, high - x]);
    let lattice = (0..300_000).map(move |i| low + (high - low) / 300_000 * i);
    let random = (0..300_000).map(move |_| low + (rng.bits() % (high - low + 1) as u64) as i64);
    ends.chain(lattice).chain(random).filter(move |x| (low..=high).contains(x))
}

macro_rules! bound {
    ($steps:expr, $type:ty, $bits:literal, $limit:literal, $f:expr, $real:expr) => {
        let error = largest::<$type>($steps, |raw| {
            let x = Fixed::<$type, $bits>::from_raw(raw);
            ($f(x), $real(x.to_real()))
        });
        println!("{} with {} integer bits, {}: {error}", stringify!($f), $bits, stringify!($type));
        assert!(error <= $limit as f64, "{} in {}: {error} steps", stringify!($f), stringify!($type));
    };
}

const ALL16: (i64, i64) = (i16::MIN as i64, i16::MAX as i64);
const ALL32: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);

#[test]
fn errors_in_16_bits_are_within_their_bounds_for_every_argument() {
    let (low, high) = ALL16;
    bound!(all16(low, 0), i16, 0, 2, exp_of_negative, f64::exp);
    bound!(all16(low, 0), i16, 2, 2, exp_of_negative, f64::exp);
    bound!(all16(low, 0), i16, 5, 2, exp_of_negative, f64::exp);
    bound!(all16(0, high), i16, 0, 6, one_over_one_plus, |x: f64| 1.0 / (1.0 + x));
    bound!(all16(0, high), i16, 0, 12, one_minus_over_one_plus, |x: f64| (1.0 - x) / (1.0 + x));
    bound!(all16(low, high), i16, 1, 13, tanh::<i16, 1, 2>, f64::tanh);
    bound!(all16(low, high), i16, 3, 13, tanh::<i16, 3, 4>, f64::tanh);
    bound!(all16(low, high), i16, 5, 13, tanh::<i16, 5, 6>, f64::tanh);
    bound!(all16(low, high), i16, 1, 7, logistic, |x: f64| 1.0 / (1.0 + (-x).exp()));
    bound!(all16(low, high), i16, 4, 7, logistic, |x: f64| 1.0 / (1.0 + (-x).exp()));
    bound!(all16(low, high), i16, 5, 7, logistic, |x: f64| 1.0 / (1.0 + (-x).exp()));
}

#[test]
fn errors_in_32_bits_are_within_their_bounds() {
    let (low, high) = ALL32;
    bound!(many32(low, 0), i32, 0, 500, exp_of_negative, f64::exp);
    bound!(many32(low, 0), i32, 5, 500, exp_of_negative, f64::exp);
    bound!(many32(0, high), i32, 0, 7, one_over_one_plus, |x: f64| 1.0 / (1.0 + x));
    bound!(many32(0, high), i32, 0, 14, one_minus_over_one_plus, |x: f64| (1.0 - x) / (1.0 + x));
    bound!(many32(low, high), i32, 4, 310, tanh::<i32, 4, 5>, f64::tanh);
    bound!(many32(low, high), i32, 4, 155, logistic, |x: f64| 1.0 / (1.0 + (-x).exp()));
    bound!(many32(low, high), i32, 5, 155, logistic, |x: f64| 1.0 / (1.0 + (-x).exp()));
}

/// What an implementation in integers of any size says; bounds would let small faults pass.
#[test]
fn steps_are_those_of_semantics_9() {
    fn steps<const I: u32>(f: impl Fn(Fixed<i32, I>) -> Fixed<i32, 0>, pairs: &[(i32, i32)]) {
        for (x, expected) in pairs {
            assert_eq!(f(Fixed::from_raw(*x)).raw(), *expected, "of {x} with {I} integer bits");
        }
    }
    let pairs =
        [(-1_000_000_007, 725), (-67_108_864, 790_015_308), (-12_345_678, 1_786_631_188), (-1, 2_147_483_124)];
    steps::<5>(exp_of_negative, &pairs);
    let pairs = [(-1_000_000_007, 1_348_018_216), (-67_108_864, 2_081_412_406), (-12_345_678, 2_135_173_001)];
    steps::<0>(exp_of_negative, &pairs);
    steps::<0>(one_over_one_plus, &[(123_456_789, 2_030_738_432), (i32::MAX, 1_073_741_820)]);
    steps::<0>(one_minus_over_one_plus, &[(123_456_789, 1_913_993_216), (2_000_000_011, 76_364_056)]);
    let pairs = [(-300_000_001, -2_098_890_980), (1, 260), (98_765_432, 1_345_693_172)];
    steps(tanh::<i32, 4, 5>, &pairs);
    let pairs = [(i32::MIN, 241), (-300_000_001, 207_524_267), (-1, 1_073_741_699), (98_765_432, 1_451_891_820)];
    steps::<4>(logistic, &pairs);
    assert_eq!(Fixed::<i32, 0>::from_real(0.499_999_999_999_999_94 / 2f64.powi(31)).raw(), 0);
}

#[test]
fn odd_functions_are_odd_and_ends_are_exact() {
    for raw in i16::MIN + 1..=i16::MAX {
        let (x, minus) = (Fixed::<i16, 3>::from_raw(raw), Fixed::<i16, 3>::from_raw(-raw));
        assert_eq!(tanh::<_, 3, 4>(x).raw(), -tanh::<_, 3, 4>(minus).raw());
        if raw != 0 {
            assert_eq!(logistic(x), Fixed::one().minus(logistic(minus)));
        }
    }
    assert_eq!(exp_of_negative(Fixed::<i32, 5>::from_raw(0)), Fixed::one());
    assert_eq!(exp_of_negative(Fixed::<i32, 6>::from_raw(i32::MIN)).raw(), 0);
    // No argument is refused, whatever comes out.
    for raw in [i32::MIN, -1, 0, 1, i32::MAX] {
        let x = Fixed::<i32, 0>::from_raw(raw);
        let _ = (one_over_one_plus(x), one_minus_over_one_plus(x), exp_of_negative(x));
        let _ = (tanh::<i32, 30, 31>(x.relabel()), logistic(x.relabel::<31>()), x.relabel::<31>().rescale::<0>());
    }
    assert_eq!(Fixed::<i32, 3>::from_real(f64::NAN).raw(), 0);
    assert_eq!(Fixed::<i16, 3>::from_real(f64::INFINITY).raw(), i16::MAX);
}

#[test]
fn wide_exponentials_are_those_of_reals() {
    let rng = Rng::new(seed());
    for _ in 0..200_000 {
        let (count, scale) = (rng.below(256) as u32, f64::from(rng.fraction()) * 2f64.powi(rng.within(-30, 4)));
        let got = exp_of_minus(product(count, scale)) as f64 / (1u64 << 63) as f64;
        let expected = (-f64::from(count) * scale).exp();
        assert!(
            (got - expected).abs() <= 1e-16 + 4e-16 * expected * (1.0 + f64::from(count) * scale),
            "{count} * {scale}: {got}, {expected}"
        );
    }
    assert_eq!(exp_of_minus(0), 1 << 63);
    assert_eq!(exp_of_minus(u64::MAX), 0);
    for (scale, expected) in [
        (f64::INFINITY, u64::MAX),
        (f64::NAN, 0),
        (0.0, 0),
        (1e-320, 0),
        (1e300, u64::MAX),
        (1.0, 1 << 57),
        (0.5, 1 << 56),
    ] {
        assert_eq!(product(1, scale), expected, "{scale}");
    }
}

/// Scales as networks have them, and far beyond.
fn scales() -> impl Iterator<Item = f32> {
    (0..69).map(|i| 2f32.powf(i as f32 / 4.0 - 11.0)).chain([1e-30, 1e30, f32::MIN_POSITIVE, f32::MAX])
}

#[test]
fn logistic_and_tanh_are_nearest_for_every_code() {
    for scale in scales() {
        for zero in [0, 1, 100, 128, 255] {
            let unsigned = QuantParams::<u8>::new(scale, zero).unwrap();
            let signed = QuantParams::<i8>::new(scale, zero - 128).unwrap();
            let codes: Vec<u8> = (0..=255).collect();
            let flipped: Vec<i8> = codes.iter().map(|code| (code ^ 0x80) as i8).collect();
            let (mut out, mut out_flipped) = ([0u8; 256], [0i8; 256]);
            let same = |a: &[u8], b: &[i8]| a.iter().zip(b).all(|(a, b)| (a ^ 0x80) as i8 == *b);

            Logistic::new(&unsigned).run(&codes, &mut out).unwrap();
            Logistic::new(&signed).run(&flipped, &mut out_flipped).unwrap();
            let expected: Vec<u8> = codes.iter().map(|code| reference::logistic(*code, &unsigned)).collect();
            assert_eq!(out[..], expected, "logistic, scale {scale}, zero point {zero}");
            assert!(same(&out, &out_flipped));

            Tanh::new(&unsigned).run(&codes, &mut out).unwrap();
            Tanh::new(&signed).run(&flipped, &mut out_flipped).unwrap();
            let expected: Vec<u8> = codes.iter().map(|code| reference::tanh(*code, &unsigned)).collect();
            assert_eq!(out[..], expected, "tanh, scale {scale}, zero point {zero}");
            assert!(same(&out, &out_flipped));
        }
    }
}

#[test]
fn softmax_is_nearest_at_any_length() {
    let rng = Rng::new(seed());
    for depth in [1, 2, 3, 10, 100, 400, 512, 600, 1001, 5000, 70_000] {
        for (i, scale) in scales().enumerate() {
            if depth > 1001 && i % 16 != 0 {
                continue;
            }
            let params = QuantParams::<u8>::new(scale, rng.below(256) as i32).unwrap();
            let beta = rng.pick(&[1.0, 1.0, 0.5, 3.0]);
            let layer = Softmax::new(&params, beta).unwrap();
            let fill = rng.below(5);
            let input: Vec<u8> = (0..depth)
                .map(|k| match fill {
                    0 => 77,
                    1 => {
                        if k == depth / 2 {
                            255
                        } else {
                            0
                        }
                    }
                    2 => 200 + rng.below(2) as u8,
                    3 => (rng.below(256) * rng.below(256) / 255) as u8,
                    _ => rng.below(256) as u8,
                })
                .collect();
            let mut out = vec![0; depth];
            layer.run(depth, &input, &mut out).unwrap();
            assert_eq!(
                out,
                reference::softmax(&input, &params, beta),
                "depth {depth}, scale {scale}, beta {beta}, fill {fill}"
            );
            let flipped: Vec<i8> = input.iter().map(|code| (code ^ 0x80) as i8).collect();
            let mut signed = vec![0; depth];
            Softmax::new(&QuantParams::<i8>::new(scale, 0).unwrap(), beta)
                .unwrap()
                .run(depth, &flipped, &mut signed)
                .unwrap();
            assert!(out.iter().zip(&signed).all(|(a, b)| (a ^ 0x80) as i8 == *b));
        }
    }
    // A lower code, however far, breaks the tie.
    for (scale, lower) in [(0.5, 1), (0.1, 488), (f32::MAX, 70_000)] {
        let input = [vec![255; 512], vec![0; lower]].concat();
        let mut out = vec![9; input.len()];
        Softmax::new(&QuantParams::<u8>::new(scale, 0).unwrap(), 1.0)
            .unwrap()
            .run(input.len(), &input, &mut out)
            .unwrap();
        assert!(out.iter().all(|got| *got == 0), "{scale}, {lower}");
    }
    // All the same: half a step, away from zero, up to 512; nothing beyond.
    for (depth, code) in [(511, 1), (512, 1), (513, 0), (1 << 20, 0)] {
        let mut out = vec![9; depth];
        Softmax::new(&QuantParams::<u8>::new(1.0, 0).unwrap(), 1.0)
            .unwrap()
            .run(depth, &vec![3; depth], &mut out)
            .unwrap();
        assert!(out.iter().all(|got| *got == code), "{depth}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    let params = QuantParams::<u8>::new(1.0, 0).unwrap();
    let layer = Softmax::new(&params, 1.0).unwrap();
    assert_eq!(layer.run(3, &[1; 4], &mut [0; 4]), Err(Error::Divisor { argument: "depth", value: 3, of: 4 }));
    assert_eq!(layer.run(2, &[1; 4], &mut [0; 3]), Err(Error::Length { argument: "out", expected: 4, got: 3 }));
    assert!(matches!(layer.run(0, &[1; 4], &mut [0; 4]), Err(Error::Limit { argument: "depth", .. })));
    assert!(matches!(Softmax::new(&params, f32::NAN), Err(Error::Real { argument: "beta", .. })));
    assert!(matches!(Softmax::new(&params, -1.0), Err(Error::Real { argument: "beta", .. })));
    let expected = Err(Error::Length { argument: "out", expected: 2, got: 1 });
    assert_eq!(Logistic::new(&params).run(&[1, 2], &mut [0]), expected);
    assert_eq!(Tanh::new(&params).run(&[1, 2], &mut [0]), expected);
}

/// Appendix B: saturating rounding doubling high multiplication.
#[test]
fn products_are_those_of_appendix_b() {
    let product = |a, b| Fixed::<i32, 0>::from_raw(a).times::<0, 0>(Fixed::from_raw(b)).raw();
    let cases = [
        (i32::MIN, i32::MIN, i32::MAX),
        (-(1 << 30), 1, 0),
        (1 << 30, 1, 1),
        (i32::MIN, i32::MAX, -i32::MAX),
        (i32::MIN, 1, -1),
        (i32::MAX, i32::MAX, i32::MAX - 1),
        (-(1 << 30) - 1, 1, -1),
        ((1 << 30) - 1, 1, 0),
        (0, i32::MIN, 0),
    ];
    for (a, b, expected) in cases {
        assert_eq!([product(a, b), product(b, a)], [expected; 2], "{a} * {b}");
    }
    let short = |a, b| Fixed::<i16, 0>::from_raw(a).times::<0, 0>(Fixed::from_raw(b)).raw();
    for (a, b, expected) in [(i16::MIN, i16::MIN, i16::MAX), (-(1 << 14), 1, 0), (1 << 14, 1, 1)] {
        assert_eq!(short(a, b), expected, "{a} * {b}");
    }
}

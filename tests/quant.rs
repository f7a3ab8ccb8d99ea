//! Codes from reals and back, and the choice of parameters: the tables of semantics.md, sections 7 and 8.
#![cfg(not(miri))] // nothing here is unsafe

mod common;

use common::{Rng, seed};
use zeropoint::quant::{QuantParams, Ties, quantize, quantize_bias};
use zeropoint::{Error, OutputCode};

/// What parameters say, in numbers.
fn parts<C: OutputCode>(params: QuantParams<C>) -> (f32, i32, (i32, i32), bool) {
    (params.scale(), params.zero_point(), params.codes(), params.is_degenerate())
}

fn chosen<C: OutputCode>(min: f32, max: f32) -> (f32, i32) {
    let params = QuantParams::<C>::from_range(min, max).unwrap();
    assert_eq!(params.codes(), C::RANGE);
    assert!(!params.is_degenerate());
    (params.scale(), params.zero_point())
}

#[test]
fn ranges() {
    let eighth = |span: f64| (span / 255.0) as f32;
    // One rule in u8 space: 127.5 goes to 128, and i8 is 128 below.
    assert_eq!(chosen::<u8>(-1.0, 1.0), (eighth(2.0), 128));
    assert_eq!(chosen::<i8>(-1.0, 1.0), (eighth(2.0), 0));
    assert_eq!(chosen::<i16>(-1.0, 1.0), ((2.0 / 65535.0) as f32, 0));
    // A range without 0 is extended to it, min = max among them.
    assert_eq!(chosen::<u8>(2.0, 3.0), (eighth(3.0), 0));
    assert_eq!(chosen::<i8>(2.0, 3.0), (eighth(3.0), -128));
    assert_eq!(chosen::<u8>(-3.0, -2.0), (eighth(3.0), 255));
    assert_eq!(chosen::<u8>(2.0, 2.0), (eighth(2.0), 0));
    assert_eq!(chosen::<i8>(-2.0, -2.0), (eighth(2.0), 127));
    // Half a step from either end.
    assert_eq!(chosen::<u8>(-0.5, 254.5), (1.0, 1));
    assert_eq!(chosen::<u8>(-0.49, 254.51), (1.0, 0));
    assert_eq!(chosen::<u8>(-254.5, 0.5), (1.0, 255));
    assert_eq!(chosen::<u8>(-254.49, 0.51), (1.0, 254));
    // As wide as there is, and as narrow: one over the scale stays finite.
    assert_eq!(chosen::<u8>(f32::MIN, f32::MAX), (eighth(2.0 * f64::from(f32::MAX)), 128));
    let (scale, zero) = chosen::<u8>(0.0, f32::from_bits(1));
    assert!(scale >= f32::MIN_POSITIVE && (1.0 / scale).is_finite() && zero == 0, "{scale} {zero}");
    assert_eq!(chosen::<i8>(-1e-40, 0.0).1, 127);
    // No range at all.
    for zero in [0.0, -0.0] {
        assert_eq!(parts(QuantParams::<u8>::from_range(zero, 0.0).unwrap()), (1.0, 0, (0, 255), true));
        assert_eq!(parts(QuantParams::<i8>::from_range(zero, 0.0).unwrap()), (1.0, -128, (-128, 127), true));
    }
}

#[test]
fn ranges_of_any_size() {
    let rng = Rng::new(seed());
    let real = || (rng.fraction() - 1.5) * f32::powi(2.0, rng.within(-100, 100));
    for _ in 0..20_000 {
        let (a, b) = (real(), real());
        let (min, max) = (a.min(b), a.max(b));
        let ((scale, zero), signed) = (chosen::<u8>(min, max), chosen::<i8>(min, max));
        assert_eq!((scale, zero - 128), signed, "{min}..{max}");
        let (low, high) = (f64::from(min.min(0.0)), f64::from(max.max(0.0)));
        let exact = (high - low) / 255.0;
        assert_eq!(scale, exact as f32, "{min}..{max}");
        // The nudged range is off by half a step at each end, give or take the rounding of the zero point's real.
        let nudged = (exact * f64::from(-zero), exact * f64::from(255 - zero));
        let off = (nudged.0 - low).abs().max((nudged.1 - high).abs()) / exact;
        assert!(off <= 0.5 + 1e-9, "{min}..{max}: {off} steps");
        let params = QuantParams::<u8>::from_range(min, max).unwrap();
        assert_eq!(params.dequantize(params.quantize(0.0)).to_bits(), 0, "{min}..{max}");
    }
}

#[test]
fn weights_without_their_smallest_code() {
    let largest = 2.54;
    let scale = largest / 127.0;
    assert_eq!(parts(QuantParams::<i8>::symmetric(largest).unwrap()), (scale, 0, (-127, 127), false));
    assert_eq!(parts(QuantParams::<u8>::symmetric(largest).unwrap()), (scale, 128, (1, 255), false));
    let long = QuantParams::<i16>::symmetric(largest).unwrap();
    assert_eq!(parts(long), (largest / 32767.0, 0, (-32767, 32767), false));
    let params = QuantParams::<i8>::symmetric(largest).unwrap();
    for (real, code) in [(largest, 127), (-largest, -127), (-99.0, -127), (99.0, 127), (0.0, 0), (f32::NAN, 0)] {
        assert_eq!(params.quantize(real), code);
    }
    assert_eq!(parts(QuantParams::<i8>::symmetric(0.0).unwrap()), (1.0, 0, (-127, 127), true));
    let tiny = QuantParams::<i8>::symmetric(f32::from_bits(1)).unwrap();
    assert!((1.0 / tiny.scale()).is_finite());
}

#[test]
fn codes_survive_a_round_trip() {
    let rng = Rng::new(seed());
    let ends = [f32::MIN_POSITIVE, 1.0, 0.1, 1.0 / 3.0, f32::MAX / 65536.0];
    let scales = (0..60).map(|_| rng.fraction() * f32::powi(2.0, rng.within(-126, 110)));
    for scale in ends.into_iter().chain(scales) {
        for zero in [0, 1, 77, 128, 254, 255] {
            let (params, signed) =
                (QuantParams::<u8>::new(scale, zero), QuantParams::<i8>::new(scale, zero - 128));
            let (params, signed) = (params.unwrap(), signed.unwrap());
            for code in 0..=255u8 {
                let real = params.dequantize(code);
                assert_eq!(real.to_bits(), (scale * (i32::from(code) - zero) as f32).to_bits());
                assert_eq!(signed.dequantize((code ^ 0x80) as i8).to_bits(), real.to_bits());
                assert_eq!(
                    (params.quantize(real), signed.quantize(real)),
                    (code, (code ^ 0x80) as i8),
                    "{scale} {zero}"
                );
                assert_eq!(quantize(real, scale, zero, 0..=255, Ties::Even), i32::from(code));
            }
        }
        for zero in [-32768, -3, 32767] {
            let params = QuantParams::<i16>::new(scale, zero).unwrap();
            for code in (i16::MIN..=i16::MAX).step_by(257).chain([i16::MAX]) {
                assert_eq!(params.quantize(params.dequantize(code)), code, "{scale} {zero}");
            }
        }
    }
}

#[test]
fn reals_become_the_nearest_codes() {
    let rng = Rng::new(seed());
    for _ in 0..20_000 {
        let scale = rng.fraction() * f32::powi(2.0, rng.within(-20, 20));
        let zero = rng.extreme(-128, 255);
        // Ties, their neighbours, and anything.
        let tie = (rng.within(-600, 600) as f32 + 0.5) * scale;
        let x = rng.pick(&[tie, f32::from_bits(tie.to_bits() ^ 1), f32::from_bits(rng.bits() as u32), 0.0, -0.0]);
        if x.is_nan() {
            continue;
        }
        let steps = f64::from(x / scale);
        for (ties, steps) in [(Ties::Away, steps.round()), (Ties::Even, steps.round_ties_even())] {
            for (low, high) in [(0, 255), (-128, 127), (-127, 127), (3, 4)] {
                let expected = (steps + f64::from(zero)).clamp(f64::from(low), f64::from(high));
                let got = quantize(x, scale, zero, low..=high, ties);
                assert_eq!(f64::from(got), expected, "{x} / {scale} + {zero} in {low}..={high}, {ties:?}");
            }
        }
    }
}

#[test]
fn reals_that_are_no_numbers() {
    let (unsigned, signed) = (QuantParams::<u8>::new(0.5, 7).unwrap(), QuantParams::<i8>::new(0.5, -121).unwrap());
    for (real, code) in
        [(f32::NAN, 7), (-f32::NAN, 7), (f32::INFINITY, 255), (f32::NEG_INFINITY, 0), (f32::MAX, 255)]
    {
        assert_eq!((unsigned.quantize(real), signed.quantize(real)), (code, (code ^ 0x80) as i8), "{real}");
        assert_eq!(quantize(real, 0.5, 7, 0..=255, Ties::Even), i32::from(code));
    }
    // A zero point outside the range that is asked for.
    assert_eq!(quantize(f32::NAN, 0.5, 7, 10..=20, Ties::Away), 10);
    let mut codes = [9; 3];
    unsigned.quantize_slice(&[f32::NAN, 0.75, -f32::INFINITY], &mut codes).unwrap();
    assert_eq!(codes, [7, 9, 0]);
}

#[test]
fn parameters_at_run_time() {
    let rng = Rng::new(seed());
    for _ in 0..2000 {
        let span = f32::powi(2.0, rng.within(-60, 60));
        let lift = rng.pick(&[-2.0, -1.0, -0.3, 0.0, 0.5]);
        let reals: Vec<f32> = (0..rng.below(20)).map(|_| (rng.fraction() - 1.5 + lift) * span).collect();
        let params = QuantParams::dynamic(&reals).unwrap();
        let low = reals.iter().copied().fold(0.0, f32::min);
        let high = reals.iter().copied().fold(0.0, f32::max);
        if low == high {
            assert_eq!(parts(params), (1.0, 0, (0, 255), true));
            continue;
        }
        let scale = (high - low) / 255.0;
        let zero = (0.0 - low / scale).clamp(0.0, 255.0).round_ties_even() as i32;
        assert_eq!(parts(params), (scale, zero, (0, 255), false), "{low}..{high}");
    }
    assert!(QuantParams::dynamic(&[]).unwrap().is_degenerate());
    assert!(QuantParams::dynamic(&[0.0, -0.0]).unwrap().is_degenerate());
}

/// Of the scale of sums, ties away from zero, saturated (eq. 11).
#[test]
fn biases_are_rounded_and_saturated() {
    let bias = |real, input, weight| quantize_bias(real, input, weight);
    for (real, input, weight, expected) in [
        (0.0, 0.5, 0.25, 0),
        (0.0625, 0.5, 0.25, 1),
        (-0.0625, 0.5, 0.25, -1),
        (0.062, 0.5, 0.25, 0),
        (2_147_483_520.0, 1.0, 1.0, 2_147_483_520),
        (2_147_483_648.0, 1.0, 1.0, i32::MAX),
        (-2_147_483_648.0, 1.0, 1.0, i32::MIN),
        (-2_147_483_904.0, 1.0, 1.0, i32::MIN),
        (1.0, 1e-30, 1e-30, i32::MAX),
        (-1.0, 1e-30, 1e-30, i32::MIN),
        (f32::INFINITY, 1.0, 1.0, i32::MAX),
        (1.0, f32::INFINITY, 1.0, 0),
    ] {
        assert_eq!(bias(real, input, weight), Ok(expected), "{real} of {input} and {weight}");
    }
    for (real, input, weight) in [(f32::NAN, 1.0, 1.0), (0.0, 0.0, 1.0), (f32::INFINITY, f32::INFINITY, 1.0)] {
        assert!(matches!(bias(real, input, weight), Err(Error::Real { argument: "bias", .. })), "{real}");
    }
}

//! Layers of a few codes, all there are, against reals and against a table of ties: what they should be, not what a definition says.
//!
//! `ZEROPOINT_SEED=number` changes all that is random.
#![cfg(not(miri))]

mod common;

use common::matrix::Value;
use common::{RULES, Rng, seed};
use zeropoint::layers::{
    Add, AveragePool2d, AveragePool2dSpec, AverageTies, BinarySpec, MaxPool2d, MaxPool2dSpec, Mean, MeanSpec, Mul,
    Sub,
};
use zeropoint::{Code, OutputCode, QuantParams, Rounding, TensorMut, TensorRef};

/// Both of each pair of codes there is.
fn pairs<C: Value>() -> [Vec<C>; 2] {
    [8, 0].map(|shift| (0..1 << 16).map(|i: u32| C::of(i >> shift & 255)).collect())
}

/// The codes that some layer makes of as many, in a line.
fn line<C: Code + OutputCode>(count: usize, run: impl FnOnce(TensorMut<'_, C>)) -> Vec<i32> {
    let mut codes = vec![C::default(); count];
    run(TensorMut::nhwc(&mut codes, [1, 1, 1, count]).unwrap());
    codes.into_iter().map(Into::into).collect()
}

fn random<C: OutputCode>(rng: &Rng) -> QuantParams<C> {
    let (low, high) = C::RANGE;
    QuantParams::new(rng.fraction() * f32::powi(2.0, rng.within(-9, -2)), rng.within(low, high)).unwrap()
}

/// All pairs of codes: a sum, a difference, a product is a code next to the real one, no farther from it than half a step and what
/// operands lose when they are rescaled, which is little. Rules that round twice are farther from a product: first they round to
/// 2^-s of a step, s being the shift.
fn all_pairs<C: Code + OutputCode + Value>(rng: &Rng) {
    let [lhs, rhs] = pairs::<C>();
    let count = lhs.len();
    let real = |code: C, params: &QuantParams<C>| {
        f64::from(params.scale()) * f64::from(Into::<i32>::into(code) - params.zero_point())
    };
    for i in 0..24 {
        let spec = BinarySpec {
            rounding: RULES[i % RULES.len()],
            ..BinarySpec::new(random::<C>(rng), random(rng), random(rng))
        };
        let [lhs_view, rhs_view] = [&lhs, &rhs].map(|codes| TensorRef::nhwc(codes, [1, 1, 1, count]).unwrap());
        let (add, sub, mul) = (Add::new(&spec).unwrap(), Sub::new(&spec).unwrap(), Mul::new(&spec).unwrap());
        let got = [
            line::<C>(count, |out| add.run(lhs_view, rhs_view, out).unwrap()),
            line::<C>(count, |out| sub.run(lhs_view, rhs_view, out).unwrap()),
            line::<C>(count, |out| mul.run(lhs_view, rhs_view, out).unwrap()),
        ];
        let (low, high) = C::RANGE;
        let twice = matches!(spec.rounding, Rounding::DoubleAway | Rounding::DoubleAwaySat | Rounding::DoubleUp);
        let by = f64::from(spec.lhs.scale()) * f64::from(spec.rhs.scale()) / f64::from(spec.output.scale());
        let more = if twice && by < 0.5 { by } else { 0.0 };
        for (i, (a, b)) in lhs.iter().zip(&rhs).enumerate() {
            let (a, b) = (real(*a, &spec.lhs), real(*b, &spec.rhs));
            for ((got, real), more) in got.iter().zip([a + b, a - b, a * b]).zip([0.0, 0.0, more]) {
                let steps = real / f64::from(spec.output.scale()) + f64::from(spec.output.zero_point());
                let far = (f64::from(got[i]) - steps.clamp(low.into(), high.into())).abs();
                assert!(
                    far <= 0.5 + more + 1e-4,
                    "ZEROPOINT_SEED={}: {spec:?}: {} of {a} and {b}, not {steps}",
                    seed(),
                    got[i]
                );
            }
        }
    }
}

#[test]
fn sums_and_products_of_all_codes_are_next_to_the_real_ones() {
    let rng = Rng::new(seed());
    all_pairs::<u8>(&rng);
    all_pairs::<i8>(&rng);
}

/// The nearest integer of a fraction, ties away from zero.
fn nearest(sum: i32, count: i32) -> i32 {
    (2 * sum.abs() + count) / (2 * count) * sum.signum()
}

/// Pools of one window, which is the whole image, of a channel.
fn pooled<C: Code + OutputCode>(codes: &[C], kernel: [usize; 2], zero: i32, ties: AverageTies) -> [i32; 3] {
    let params = QuantParams::<C>::new(0.5, zero).unwrap();
    let image = TensorRef::nhwc(codes, [1, kernel[0], kernel[1], 1]).unwrap();
    let average =
        AveragePool2d::new(&AveragePool2dSpec { ties, ..AveragePool2dSpec::new(kernel, params) }).unwrap();
    let max = MaxPool2d::new(&MaxPool2dSpec::new(kernel, params)).unwrap();
    let mean = Mean::new(&MeanSpec { rounding: Rounding::SingleAway, ..MeanSpec::new(params, params) }).unwrap();
    let one = |run: &dyn Fn(TensorMut<'_, C>)| line::<C>(1, run)[0];
    [
        one(&|out| average.run(image, out).unwrap()),
        one(&|out| max.run(image, out).unwrap()),
        one(&|out| mean.run(image, out).unwrap()),
    ]
}

/// Windows of one and two cells of all codes, and of up to twelve with every sum that there is.
fn all_windows<C: Code + OutputCode + Value>() {
    let (low, high) = C::RANGE;
    let check = |codes: &[C], kernel: [usize; 2], zero: i32, ties| {
        let values: Vec<i32> = codes.iter().map(|code| (*code).into()).collect();
        let (sum, count) = (values.iter().sum::<i32>(), values.len() as i32);
        let about = nearest(sum - count * zero, count) + zero;
        let average = if ties == AverageTies::AwayFromCodeZero { nearest(sum, count) } else { about };
        let [got_average, got_max, got_mean] = pooled(codes, kernel, zero, ties);
        let expected = (average, values.iter().copied().max().unwrap());
        assert_eq!((got_average, got_max), expected, "{values:?} about {zero}, {ties:?}");
        // A mean multiplies by a rounded 1 / count; where that is not exact, a tie may be on either side of it.
        let far = 2 * (count * got_mean - sum).abs();
        assert!(far <= count, "{values:?} about {zero}: {got_mean}");
        assert!(!(count as u32).is_power_of_two() || got_mean == about, "{values:?} about {zero}: {got_mean}");
    };
    for ties in [AverageTies::AwayFromCodeZero, AverageTies::AwayFromZeroPoint] {
        for zero in [low, low + 77, 0, high] {
            let [lhs, rhs] = pairs::<C>();
            // Not all about each zero point: pools are not what takes the time here.
            let step = if zero == 0 { 1 } else { 17 };
            for (a, b) in lhs.iter().zip(&rhs).step_by(step) {
                check(&[*a, *b], [1, 2], zero, ties);
            }
            for code in &rhs[..256] {
                check(&[*code], [1, 1], zero, ties);
            }
            for kernel in [[2, 1], [1, 3], [2, 2], [1, 5], [2, 3], [7, 1], [2, 4], [3, 3], [2, 5], [11, 1], [3, 4]]
            {
                let count = (kernel[0] * kernel[1]) as i32;
                for sum in (low * count..=high * count).step_by(if zero == 0 { 1 } else { 7 }) {
                    // Codes that differ by one at most; then the first as far from the last as the sum allows.
                    let part = sum.div_euclid(count);
                    let more = sum.rem_euclid(count);
                    let mut values: Vec<i32> = (0..count).map(|i| part + i32::from(i < more)).collect();
                    let far = (high - values[0]).min(values[count as usize - 1] - low);
                    if sum % 2 == 0 {
                        values[0] += far;
                        values[count as usize - 1] -= far;
                    }
                    let codes: Vec<C> = values.iter().map(|value| C::of(*value as u32)).collect();
                    check(&codes, kernel, zero, ties);
                }
            }
        }
    }
}

#[test]
fn windows_of_all_sums_are_pooled_exactly() {
    all_windows::<u8>();
    all_windows::<i8>();
}

/// Where an average lies between two codes: (codes, zero point, away from code 0, away from the zero point).
#[test]
fn averages_between_two_codes_are_those_of_the_table() {
    let of = |codes: &[i32], zero, ties| {
        let codes: Vec<i8> = codes.iter().map(|code| *code as i8).collect();
        pooled(&codes, [1, codes.len()], zero, ties)[0]
    };
    for (codes, zero, from_code, from_zero_point) in [
        (&[0, 1][..], 0, 1, 1),
        (&[0, -1], 0, -1, -1),
        (&[1, 2], 0, 2, 2),
        (&[-1, -2], 0, -2, -2),
        (&[1, 2], 10, 2, 1),
        (&[-1, -2], -10, -2, -1),
        (&[126, 127], -128, 127, 127),
        (&[-128, -127], -128, -128, -127),
        (&[-128, -127], 127, -128, -128),
        (&[3, 3, 4, 4], 5, 4, 3),
        (&[-3, -3, -4, -4], -5, -4, -3),
        (&[1, 2, 3, 4, 5, 6], 3, 4, 4),
    ] {
        assert_eq!(of(codes, zero, AverageTies::AwayFromCodeZero), from_code, "{codes:?}");
        assert_eq!(of(codes, zero, AverageTies::AwayFromZeroPoint), from_zero_point, "{codes:?} about {zero}");
    }
}

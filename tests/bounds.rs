//! Sums at the bounds of what is proven about them: the longest K that cannot wrap, and the largest sums for which
//! the default rule has a shorter form.
#![cfg(not(miri))] // long

mod common;

use common::backends;
use common::matrix::{Layout, Matrix, Value};
use common::problem::product;
use zeropoint::{
    Code, Gemm, MatMut, MatRef, Multiplier, PackOptions, Packed, PerAxis, Rounding, Side, Stages, Workspace, gemm,
};

/// The largest K whose sums no operands can wrap.
const LONGEST: usize = 33_025;

/// A product of one code by one code, all along K, on every backend and in one call; rows and columns are alike.
fn constant<L: Code + Value, R: Code + Value>(k: usize, (a, za): (i32, i32), (b, zb): (i32, i32)) {
    let (m, n) = (1, 2);
    let lhs = Matrix::<L>::new(m, k, Layout::ROWS, || L::of(a as u32));
    let rhs = Matrix::<R>::new(k, n, Layout::COLUMNS, || R::of(b as u32));
    let (lhs, rhs) = (lhs.view().zero_point(za), rhs.view().zero_point(zb));
    let exact = i64::from(a - za) * i64::from(b - zb) * k as i64;
    let sum = exact as i32;
    assert_eq!(i64::from(sum) == exact, exact.unsigned_abs() < 1 << 31);
    // Steep enough to tell neighbours, and flat enough for the short form of the default rule.
    let by = Multiplier::from_real(30_000.0 / 2f64.powi(31)).unwrap();
    let code = Rounding::DoubleAway.apply(sum, by) as i16;
    let mut once = [0i32; 2];
    gemm(lhs, rhs, &Stages::raw(), MatMut::row_major(&mut once, m, n).unwrap()).unwrap();
    assert_eq!(once, [sum; 2], "in one call");
    for backend in backends() {
        let case = format!("K {k}, ({a} - {za}) * ({b} - {zb}) on {backend:?}");
        assert_eq!(product((backend, Side::Rhs), lhs, rhs, &Stages::<i32>::raw()), Ok(vec![sum; 2]), "{case}");
        if L::SIGNED == R::SIGNED {
            assert_eq!(
                product((backend, Side::Rhs), lhs, rhs, &Stages::<i16>::fixed(by)),
                Ok(vec![code; 2]),
                "{case}"
            );
        }
    }
}

#[test]
fn the_longest_k_without_a_wrap() {
    assert!(LONGEST as i64 * 255 * 255 < 1 << 31 && (LONGEST as i64 + 1) * 255 * 255 >= 1 << 31);
    constant::<u8, u8>(LONGEST, (255, 0), (255, 0));
    constant::<u8, u8>(LONGEST, (0, 255), (255, 0));
    constant::<u8, u8>(LONGEST, (255, 0), (0, 255));
    constant::<u8, u8>(LONGEST, (0, 255), (0, 255));
    constant::<i8, i8>(LONGEST, (-128, 127), (-128, 127));
    constant::<u8, i8>(LONGEST, (255, 0), (-128, 127));
    constant::<i8, u8>(LONGEST, (127, -128), (0, 255));
    // At these, pairs of 16 bits would saturate.
    constant::<u8, i8>(LONGEST, (255, 128), (-128, 0));
}

#[test]
fn sums_wrap_beyond_it() {
    constant::<u8, u8>(LONGEST + 1, (255, 0), (255, 0));
    constant::<i8, i8>(LONGEST + 1, (-128, 127), (127, -128));
    // Weights in -127..=127 with zero point 0 go further (semantics.md 3).
    constant::<u8, i8>(66_311, (255, 0), (127, 0));
    constant::<u8, i8>(66_312, (255, 0), (-127, 0));
}

/// Biases such that sums lie where `|x| + 2^(e-1)` reaches 2^31, and at both ends of int32; only as far as the short
/// form holds for every product of one code by one, or further.
fn biases(e: i32, short: bool) -> Vec<i32> {
    let bound = (1i64 << 31) - (1 << (e - 1));
    let last = if short { bound - 1 - 255 * 255 } else { bound };
    let around = (-2..=2).flat_map(|step| [last + step, -last + step]);
    let ends = [i64::from(i32::MAX), i64::from(i32::MIN), 0].into_iter();
    let allowed = |x: &i64| if short { x.abs() <= last } else { i32::try_from(*x).is_ok() };
    around.chain(ends).filter(allowed).map(|x| x as i32).collect()
}

#[test]
fn the_short_form_ends_where_it_must() {
    for (e, m) in
        [1, 2, 3, 8, 15, 16, 24, 30, 31].into_iter().flat_map(|e| [1 << 30, 0x5555_5555, i32::MAX].map(|m| (e, m)))
    {
        let by = Multiplier::new(m, -e).unwrap();
        for bias in [biases(e, true), biases(e, false)] {
            let n = bias.len();
            let (zeros, ones) = (vec![0u8; n], [0u8]);
            let row = MatRef::row_major(&zeros, 1, n).unwrap();
            let one = MatRef::row_major(&ones, 1, 1).unwrap();
            let expected: Vec<_> = bias.iter().map(|x| Rounding::DoubleAway.apply(*x, by)).collect();
            let expected: Vec<_> = expected.iter().map(|y| (*y).clamp(-32768, 32767) as i16).collect();
            let several = vec![by; n];
            for backend in backends() {
                for by in [PerAxis::One(by), PerAxis::PerColumn(&several)] {
                    let stages = Stages::<i16>::fixed(by).bias(&bias);
                    let got = product((backend, Side::Rhs), one.into(), row.into(), &stages);
                    assert_eq!(got.as_ref(), Ok(&expected), "m {m}, e {e}, {bias:?} on {backend:?}");
                }
                // Over rows, with either side packed; and stages that prepared others have nothing to do with.
                let stages = Stages::<i16>::fixed(by).row_bias(&bias);
                for side in [Side::Rhs, Side::Lhs] {
                    let got = product((backend, side), row.transposed().into(), one.into(), &stages);
                    assert_eq!(got.as_ref(), Ok(&expected), "m {m}, e {e}, {bias:?} on {backend:?}, {side:?}");
                }
                let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
                let small = Stages::<i16>::fixed(by);
                let gemm = Gemm::new(Packed::rhs_with(row, options).unwrap(), &small).unwrap();
                let mut got = vec![0; n];
                let out = MatMut::row_major(&mut got, 1, n).unwrap();
                let late = small.bias(&bias);
                let mut memory = vec![0; gemm.workspace_bytes(1).unwrap() + 63];
                let mut workspace = Workspace::borrow(&mut memory);
                gemm.options().stages(&late).run(one, out, &mut workspace).unwrap();
                assert_eq!(got, expected, "m {m}, e {e}, {bias:?} on {backend:?}, late");
            }
        }
    }
}

//! Problems that have to agree with one another: u8 and i8, every backend and twin, the longest K.
#![cfg(not(miri))] // tests/miri.rs has small cases

mod common;

use common::matrix::{Layout, Matrix, Order, Value};
use common::stage::Output;
use common::{Rng, backends, seed};
use zeropoint::{
    Backend, Code, Error, FloatScale, Gemm, MatMut, Multiplier, PackOptions, Packed, PerAxis, Quantized, Rounding,
    Stages, gemm,
};

/// The largest K whose sums no operands can wrap.
const LONGEST: usize = 33_025;

fn run<L: Code, R: Code, O: Output>(
    backend: Backend,
    lhs: Quantized<'_, L>,
    rhs: Quantized<'_, R>,
    stages: &Stages<'_, O>,
) -> Result<Vec<O>, Error> {
    let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
    let gemm = Gemm::new(Packed::rhs_with(rhs, options)?, stages)?;
    let (m, n) = (lhs.codes.rows(), rhs.codes.cols());
    let mut out = vec![O::default(); m * n];
    gemm.run(lhs, MatMut::row_major(&mut out, m, n)?, &mut gemm.workspace())?;
    Ok(out)
}

/// A matrix of u8 codes, the same as i8 codes, and a zero point of each row or column.
struct Side {
    unsigned: Matrix<u8>,
    signed: Matrix<i8>,
    zeros: Vec<i32>,
    signed_zeros: Vec<i32>,
}

impl Side {
    fn new(rows: usize, cols: usize, count: usize, layout: Layout, rng: &Rng) -> Self {
        let unsigned = Matrix::<u8>::codes(rows, cols, layout, rng);
        let mut flipped = unsigned.data.iter().map(|code| (code ^ 0x80) as i8);
        let signed = Matrix::new(rows, cols, layout, || flipped.next().unwrap());
        let zeros: Vec<_> = (0..count).map(|_| rng.extreme(0, 255)).collect();
        let signed_zeros = zeros.iter().map(|zero| zero - 128).collect();
        Self { unsigned, signed, zeros, signed_zeros }
    }

    fn u8(&self) -> Quantized<'_, u8> {
        self.unsigned.view().zero_point(&self.zeros[..])
    }

    fn i8(&self) -> Quantized<'_, i8> {
        self.signed.view().zero_point(&self.signed_zeros[..])
    }
}

fn bits<O: Value>(out: Result<Vec<O>, Error>) -> Vec<u32> {
    out.unwrap().into_iter().map(O::bits).collect()
}

/// All four combinations of operand types on every backend give these bits.
fn agree<O: Output>(what: &str, lhs: &Side, rhs: &Side, stages: &Stages<'_, O>, expected: &[u32]) {
    for backend in backends() {
        let runs = [
            run(backend, lhs.u8(), rhs.u8(), stages),
            run(backend, lhs.u8(), rhs.i8(), stages),
            run(backend, lhs.i8(), rhs.u8(), stages),
            run(backend, lhs.i8(), rhs.i8(), stages),
        ];
        for (types, got) in ["u8 x u8", "u8 x i8", "i8 x u8", "i8 x i8"].iter().zip(runs) {
            assert!(bits(got) == expected, "ZEROPOINT_SEED={} {what}, {types} on {backend:?}", seed());
        }
    }
}

#[test]
fn signs_and_backends_change_no_bits() {
    let rng = Rng::new(seed());
    let (m, k, n) = (11, 67, 70);
    let spread = Layout { pad: 3, margin: [1, 2, 0, 1], ..Layout::of(Order::SpreadColumns(2)) };
    for (lhs, rhs) in [(Layout::ROWS, Layout::ROWS), (Layout::COLUMNS, spread), (spread, Layout::COLUMNS)] {
        let (lhs, rhs) = (Side::new(m, k, m, lhs, &rng), Side::new(k, n, n, rhs, &rng));
        let bias: Vec<_> = (0..n).map(|_| rng.within(-300_000, 300_000)).collect();
        let scalar = Backend::named("scalar").unwrap();
        let sums = Stages::<i32>::raw().bias(&bias);
        agree("sums", &lhs, &rhs, &sums, &bits(run(scalar, lhs.u8(), rhs.u8(), &sums)));
        let scales: Vec<_> = (0..n).map(|_| rng.fraction() * 1e-4).collect();
        let reals = Stages::<f32>::dequantize(FloatScale::PerColumn(&scales)).bias(&bias);
        agree("reals", &lhs, &rhs, &reals, &bits(run(scalar, lhs.u8(), rhs.u8(), &reals)));

        // Codes of either sign: the rounding is done before the zero point is added.
        let by: Vec<_> =
            (0..n).map(|_| Multiplier::from_real(f64::from(rng.fraction()) * 1e-4).unwrap()).collect();
        let rounding = rng.pick(&Rounding::ALL[..6]);
        let unsigned = Stages::<u8>::fixed(PerAxis::PerColumn(&by)).rounding(rounding).bias(&bias);
        let unsigned = unsigned.zero_point(131).clamp(9, 250);
        let signed = Stages::<i8>::fixed(PerAxis::PerColumn(&by)).rounding(rounding).bias(&bias);
        let signed = signed.zero_point(131 - 128).clamp(9 - 128, 250 - 128);
        let expected = bits(run(scalar, lhs.u8(), rhs.u8(), &unsigned));
        agree(rounding.name(), &lhs, &rhs, &unsigned, &expected);
        let flipped: Vec<_> = expected.iter().map(|code| ((*code as u8) ^ 0x80) as i8 as u32).collect();
        agree(rounding.name(), &lhs, &rhs, &signed, &flipped);
        assert!(expected.contains(&9) && expected.contains(&250), "both ends are met");
    }
}

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
        assert_eq!(run(backend, lhs, rhs, &Stages::<i32>::raw()), Ok(vec![sum; 2]), "{case}");
        if L::SIGNED == R::SIGNED {
            assert_eq!(run(backend, lhs, rhs, &Stages::<i16>::fixed(by)), Ok(vec![code; 2]), "{case}");
        }
    }
}

#[test]
fn the_longest_k_without_a_wrap() {
    assert!(LONGEST as i64 * 255 * 255 < 1 << 31 && (LONGEST as i64 + 1) * 255 * 255 >= 1 << 31);
    constant::<u8, u8>(LONGEST, (255, 0), (255, 0));
    constant::<u8, u8>(LONGEST, (0, 255), (255, 0));
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

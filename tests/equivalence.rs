//! Problems that have to agree with one another: u8 and i8, every backend and every twin.
#![cfg(not(miri))] // tests/miri.rs has small cases

mod common;

use common::matrix::{Layout, Matrix, Order, Value};
use common::problem::product;
use common::stage::Output;
use common::{Rng, backends, seed};
use zeropoint::{
    Backend, Error, FloatScale, Gemm, MatMut, Multiplier, PackOptions, PerAxis, Quantized, Rounding,
    Side as Packed, Stages,
};

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
    for (i, backend) in backends().into_iter().enumerate() {
        let packed = if i % 2 == 0 { Packed::Rhs } else { Packed::Lhs };
        let runs = [
            product((backend, packed), lhs.u8(), rhs.u8(), stages),
            product((backend, packed), lhs.u8(), rhs.i8(), stages),
            product((backend, packed), lhs.i8(), rhs.u8(), stages),
            product((backend, packed), lhs.i8(), rhs.i8(), stages),
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
        let scalar = (Backend::named("scalar").unwrap(), Packed::Rhs);
        let sums = Stages::<i32>::raw().bias(&bias);
        agree("sums", &lhs, &rhs, &sums, &bits(product(scalar, lhs.u8(), rhs.u8(), &sums)));
        let scales: Vec<_> = (0..n).map(|_| rng.fraction() * 1e-4).collect();
        let reals = Stages::<f32>::dequantize(FloatScale::PerColumn(&scales)).bias(&bias);
        agree("reals", &lhs, &rhs, &reals, &bits(product(scalar, lhs.u8(), rhs.u8(), &reals)));

        // Codes of either sign: the rounding is done before the zero point is added.
        let by: Vec<_> =
            (0..n).map(|_| Multiplier::from_real(f64::from(rng.fraction()) * 1e-4).unwrap()).collect();
        let rounding = rng.pick(&Rounding::ALL[..6]);
        let unsigned = Stages::<u8>::fixed(PerAxis::PerColumn(&by)).rounding(rounding).bias(&bias);
        let unsigned = unsigned.zero_point(131).clamp(9, 250);
        let signed = Stages::<i8>::fixed(PerAxis::PerColumn(&by)).rounding(rounding).bias(&bias);
        let signed = signed.zero_point(131 - 128).clamp(9 - 128, 250 - 128);
        let expected = bits(product(scalar, lhs.u8(), rhs.u8(), &unsigned));
        agree(rounding.name(), &lhs, &rhs, &unsigned, &expected);
        let flipped: Vec<_> = expected.iter().map(|code| ((*code as u8) ^ 0x80) as i8 as u32).collect();
        agree(rounding.name(), &lhs, &rhs, &signed, &flipped);
        assert!(expected.contains(&9) && expected.contains(&250), "both ends are met");
    }
}

#[test]
fn more_rows_than_expected_change_no_bits_and_fewer_need_less() {
    let rng = Rng::new(seed());
    let (m, k, n) = (301, 700, 33);
    let side = |rows, cols| Matrix::<u8>::codes(rows, cols, Layout::ROWS, &rng);
    let (lhs, rhs) = (side(m, k), side(k, n));
    for backend in backends() {
        let run = |expected_rows| {
            let options = PackOptions { backend: Some(backend), expected_rows, ..PackOptions::default() };
            let packed = zeropoint::Packed::rhs_with(rhs.view().zero_point(3), options).unwrap();
            let gemm = Gemm::new(packed, &Stages::raw()).unwrap();
            let mut sums = vec![0i32; m * n];
            let out = MatMut::row_major(&mut sums, m, n).unwrap();
            gemm.run(lhs.view().zero_point(7), out, &mut gemm.workspace()).unwrap();
            (sums, gemm.workspace_bytes(1).unwrap())
        };
        let (sums, bytes) = run(None);
        for expected in [0, 1, 40, m, usize::MAX] {
            let (got, less) = run(Some(expected));
            assert!(got == sums, "ZEROPOINT_SEED={} {expected} rows expected on {backend:?}", seed());
            assert!(less <= bytes && (expected > 1 || less < bytes), "{less} of {bytes} bytes on {backend:?}");
        }
    }
}

/// Stored weights run on the kernel that suits the output, of those that read their panels: the bits are those of the kernel
/// that packed them.
#[test]
fn kernels_that_read_the_same_panels_give_the_same_bits() {
    let rng = Rng::new(seed());
    let mut shared = 0;
    for (m, k, n) in [(1, 70, 128), (23, 40, 64), (23, 131, 60), (70, 700, 33), (29, 300, 256)] {
        let side = |rows, cols| Matrix::<u8>::codes(rows, cols, Layout::ROWS, &rng);
        let (lhs, rhs) = (side(m, k), side(k, n));
        let scales: Vec<_> = (0..n).map(|_| rng.fraction() * 1e-4).collect();
        for backend in zeropoint::available() {
            let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
            let forced = zeropoint::Packed::rhs_with(rhs.view().zero_point(3), options).unwrap();
            let free = zeropoint::Packed::from_bytes(forced.as_bytes()).unwrap();
            let kernels = [&forced, &free].map(|packed| {
                let gemm = Gemm::<i32>::new(packed.clone(), &Stages::raw()).unwrap();
                gemm.explain().to_string().lines().next().unwrap_or_default().to_string()
            });
            assert!(kernels[0].contains(backend.kernel()), "{} on {backend:?}", kernels[0]);
            shared += usize::from(kernels[0] != kernels[1]);
            let alike = |stages: &Stages<'_, f32>| {
                let [forced, free] = [&forced, &free].map(|packed| outputs(packed, &lhs, m, n, stages));
                assert!(forced == free, "ZEROPOINT_SEED={} {m}x{k}x{n} on {backend:?}", seed());
            };
            alike(&Stages::dequantize(FloatScale::PerColumn(&scales)));
            let [forced, free] = [&forced, &free].map(|packed| outputs(packed, &lhs, m, n, &Stages::<i32>::raw()));
            assert!(forced == free, "ZEROPOINT_SEED={} {m}x{k}x{n} on {backend:?}", seed());
        }
    }
    // AVX-512 VNNI has two tiles of one layout.
    assert!(shared > 0 || Backend::named("avx512-vnni").is_err());
}

/// A product with packed weights.
fn outputs<O: Output>(
    packed: &zeropoint::Packed<'_>,
    lhs: &Matrix<u8>,
    m: usize,
    n: usize,
    stages: &Stages<'_, O>,
) -> Vec<u32> {
    let gemm = Gemm::new(packed.clone(), stages).unwrap();
    let mut out = vec![O::default(); m * n];
    let view = MatMut::row_major(&mut out, m, n).unwrap();
    gemm.run(lhs.view().zero_point(7), view, &mut gemm.workspace()).unwrap();
    bits(Ok(out))
}

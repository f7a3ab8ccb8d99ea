//! Weights whose zero point is absorbed while they are packed, with and without outliers: the bits are those of the
//! reference, and the sums of rows are needed by nobody.
#![cfg(not(miri))] // the kernels' tests have outliers of their own

mod common;

use common::matrix::{Layout, Matrix};
use common::pool::Scoped;
use common::{Rng, backends};
use zeropoint::kernels::Elem;
use zeropoint::{Error, Gemm, MatMut, Multiplier, PackOptions, Packed, Quantized, Stages, Workspace, reference};

const SHAPE: (usize, usize, usize) = (19, 70, 150);
const ZERO: i32 = 137;

/// Weights within 90 of their zero point, but for the given ones.
fn weights(rng: &Rng, far: &[(usize, u8)]) -> Matrix<u8> {
    let (_, k, n) = SHAPE;
    let mut i = 0;
    Matrix::new(k, n, Layout::ROWS, || {
        let code = far.iter().find(|(at, _)| *at == i).map_or(0, |(_, code)| *code);
        i += 1;
        if code > 0 { code } else { rng.within(ZERO - 90, ZERO + 90) as u8 }
    })
}

#[test]
fn products_have_the_bits_of_the_reference() -> Result<(), Error> {
    let (m, k, n) = SHAPE;
    let rng = Rng::new(7);
    let lhs = Matrix::<u8>::codes(m, k, Layout::ROWS, &rng);
    let lhs: Quantized<'_, u8> = lhs.view().zero_point(3);
    // No outlier; three, two of one column, the last in the last column; more than the plan allows.
    let few = [(5, 1), (5 + 9 * n, 8), (k * n - 1, 2)];
    let many: Vec<_> = (0..20).map(|i| (i * 97, 1)).collect();
    for far in [&[][..], &few, &many] {
        let weights = weights(&rng, far);
        let rhs = weights.view().zero_point(ZERO);
        let bias: Vec<_> = (0..n).map(|_| rng.within(-9999, 9999)).collect();
        let stages = Stages::<u8>::fixed(Multiplier::from_real(1e-4)?).bias(&bias).zero_point(100);
        let sums = Stages::<i32>::raw().bias(&bias);
        let mut expected = (vec![0u8; m * n], vec![0i32; m * n]);
        reference::gemm(lhs, rhs, &stages, MatMut::row_major(&mut expected.0, m, n)?)?;
        reference::gemm(lhs, rhs, &sums, MatMut::row_major(&mut expected.1, m, n)?)?;
        for backend in backends() {
            let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
            let packed = Packed::rhs_with(rhs, options)?;
            // Twins cannot be stored.
            let packed = Packed::from_bytes(packed.as_bytes()).unwrap_or(packed);
            let mut got = (vec![0u8; m * n], vec![0i32; m * n]);
            let gemm = Gemm::new(packed.clone(), &stages)?;
            gemm.run(lhs, MatMut::row_major(&mut got.0, m, n)?, &mut gemm.workspace())?;
            let text = gemm.explain().to_string();
            let gemm = Gemm::new(packed, &sums)?;
            let mut workspace = Workspace::new(gemm.workspace_bytes(3)?);
            let out = MatMut::col_major(&mut got.1, m, n)?;
            gemm.options().threads(&Scoped(3)).run(lhs, out, &mut workspace)?;
            let sum = |i: usize, j: usize| got.1[j * m + i];
            assert_eq!(got.0, expected.0, "{backend:?}, {} outliers", far.len());
            assert!((0..m * n).all(|at| sum(at / n, at % n) == expected.1[at]), "{backend:?}, {}", far.len());
            if backend.rhs().elem == Elem::I16 {
                assert!(text.contains("costs nothing"), "{text}");
            }
            if backend.rhs().elem == Elem::I8 {
                let says = ["costs nothing", "3 outliers", "sums of rows"][far.len().min(4).div_ceil(3)];
                assert!(text.contains(says), "{text}");
            }
        }
    }
    Ok(())
}

/// A zero point a column, at both ends of the codes and between, meets weights of any size.
#[test]
fn zero_points_of_columns_are_absorbed_where_weights_are_wide() -> Result<(), Error> {
    let (m, k, n) = SHAPE;
    let rng = Rng::new(8);
    let lhs = Matrix::<u8>::codes(m, k, Layout::ROWS, &rng);
    let lhs: Quantized<'_, u8> = lhs.view().zero_point(250);
    let rhs = Matrix::<u8>::codes(k, n, Layout::ROWS, &rng);
    let zeros: Vec<_> = (0..n).map(|j| [0, 255, rng.within(0, 255)][j % 3]).collect();
    let rhs = rhs.view().zero_point(&zeros[..]);
    let stages = Stages::<i32>::raw();
    let mut expected = vec![0; m * n];
    reference::gemm(lhs, rhs, &stages, MatMut::row_major(&mut expected, m, n)?)?;
    for backend in backends() {
        let packed = Packed::rhs_with(rhs, PackOptions { backend: Some(backend), ..PackOptions::default() })?;
        let gemm = Gemm::new(packed, &stages)?;
        let mut got = vec![0; m * n];
        gemm.run(lhs, MatMut::row_major(&mut got, m, n)?, &mut gemm.workspace())?;
        assert_eq!(got, expected, "{backend:?}");
        let nothing = gemm.explain().to_string().contains("costs nothing");
        assert_eq!(nothing, backend.rhs().elem == Elem::I16, "{backend:?}");
    }
    Ok(())
}

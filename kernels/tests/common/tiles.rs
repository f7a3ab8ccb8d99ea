//! The documented way to go by tiles: both sides packed whole, panel by panel multiplied, sums begun with the terms of
//! zero points.

use zeropoint_kernels::Side;

use super::matrix::{Fill, Layout, Matrix, TestCode};
use super::{Arena, Run, oracle};

/// A product to go through tile by tile.
#[derive(Clone, Copy, Debug)]
pub struct Tiled {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub fills: [Fill; 2],
}

/// Multiplies, and compares every sum with its definition.
pub fn tiled<L: TestCode, R: TestCode>(run: &Run, case: Tiled) {
    let Run { backend, ref rng, .. } = *run;
    let Tiled { m, k, n, fills } = case;
    let arena = Arena::new(run.place);
    let lhs = Matrix::<L>::new(&arena, rng, (m, k), rng.pick(&Layout::ALL), fills[0]);
    let rhs = Matrix::<R>::new(&arena, rng, (k, n), rng.pick(&Layout::ALL), fills[1]);
    let zeros = [rng.within(L::RANGE.0, L::RANGE.1), rng.within(R::RANGE.0, R::RANGE.1)];
    run.case(format_args!("{case:?} of {lhs:?} and {rhs:?}, zero points {zeros:?}"));

    let left = arena.lines(backend.packed_bytes(Side::Lhs, m, k).unwrap(), |_| rng.bits() as u8);
    let right = arena.lines(backend.packed_bytes(Side::Rhs, n, k).unwrap(), |_| rng.bits() as u8);
    let (row_sums, col_sums) = (arena.slice(m, |_| 0), arena.slice(n, |_| 0));
    backend.pack(Side::Lhs, lhs.view(), left, Some(row_sums)).unwrap();
    backend.pack(Side::Rhs, rhs.view(), right, Some(col_sums)).unwrap();

    let (mr, nr) = (backend.members(Side::Lhs), backend.members(Side::Rhs));
    let steps = [Side::Lhs, Side::Rhs].map(|side| backend.panel_bytes(side, k).unwrap());
    assert_eq!([left.len(), right.len()], [m.div_ceil(mr) * steps[0], n.div_ceil(nr) * steps[1]]);
    let padded_k = backend.padded_k(k).unwrap();
    let acc = arena.lines(backend.tile_len(padded_k).unwrap(), |_| rng.extreme(i32::MIN, i32::MAX));
    let (za, zb) = (zeros[0] + backend.offset::<L>(Side::Lhs), zeros[1] + backend.offset::<R>(Side::Rhs));
    for p in 0..m.div_ceil(mr) {
        for q in 0..n.div_ceil(nr) {
            let (rows, cols) = (mr.min(m - p * mr), nr.min(n - q * nr));
            for i in 0..rows {
                for j in 0..cols {
                    let (row, col) = (row_sums[p * mr + i], col_sums[q * nr + j]);
                    let terms = (k as i32).wrapping_mul(za * zb).wrapping_sub(za.wrapping_mul(col));
                    acc[i * nr + j] = terms.wrapping_sub(zb.wrapping_mul(row));
                }
            }
            let (left, right) = (&left[p * steps[0]..][..steps[0]], &right[q * steps[1]..][..steps[1]]);
            backend.tile(rows, padded_k, left, right, acc, true).unwrap();
            run.check_margins(&arena);
            for i in 0..rows {
                for j in 0..cols {
                    let at = (p * mr + i, q * nr + j);
                    let expected = oracle::product(&lhs, &rhs, at, zeros[0], zeros[1]) as i32;
                    let got = acc[i * nr + j];
                    if got != expected {
                        run.fail(format_args!("at {at:?} got {got}, expected {expected}"));
                    }
                }
            }
        }
    }
}

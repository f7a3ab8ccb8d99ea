//! Instructions counted under valgrind: the four benches on small shapes. The counts hardly depend on the machine.
//!
//! Valgrind's CPU has AVX2 at most, so these are the backends `scalar` and `avx2`; a backend that is not available
//! counts nothing but the call. `cargo bench --bench callgrind` needs valgrind and `iai-callgrind-runner` of the
//! version in `Cargo.lock`. (iai-callgrind lives on under the name gungraun.)

#![allow(missing_docs)] // items that macros write

mod common;

use std::hint::black_box;

use common::product::{Data, Order, Shape, run};
use common::{Aligned, Rng, aligned};
use iai_callgrind::{library_benchmark, library_benchmark_group, main};
use zeropoint::kernels::bytes::numbers_mut;
use zeropoint::reference::Output;
use zeropoint::{Backend, Gemm, MatRef, Multiplier, PackOptions, Packed, Rounding, Side, Stages, Workspace};

/// What one tile needs.
struct Tile {
    backend: Backend,
    k: usize,
    lhs: Aligned,
    rhs: Aligned,
    acc: Aligned,
}

fn tile(backend: &str, k: usize) -> Option<Tile> {
    let backend = Backend::named(backend).ok()?;
    let (mr, nr) = (backend.mr(), backend.nr());
    let mut rng = Rng::new(1);
    let (a, b) = (rng.codes(mr * k), rng.codes(k * nr));
    let mut lhs = aligned(backend.packed_bytes(Side::Lhs, mr, k).ok()?);
    let mut rhs = aligned(backend.packed_bytes(Side::Rhs, nr, k).ok()?);
    backend.pack(Side::Lhs, MatRef::row_major(&a, mr, k).ok()?, &mut lhs, None).ok()?;
    backend.pack(Side::Rhs, MatRef::row_major(&b, k, nr).ok()?, &mut rhs, None).ok()?;
    let k = backend.padded_k(k).ok()?;
    Some(Tile { backend, k, lhs, rhs, acc: aligned(4 * backend.tile_len(k).ok()?) })
}

#[library_benchmark(setup = tile)]
#[bench::scalar_64("scalar", 64)]
#[bench::scalar_256("scalar", 256)]
#[bench::avx2_64("avx2", 64)]
#[bench::avx2_256("avx2", 256)]
fn kernel_tile(tile: Option<Tile>) -> Option<Tile> {
    let mut tile = tile?;
    let Tile { backend, k, lhs, rhs, acc } = &mut tile;
    let acc = numbers_mut::<i32>("acc", acc, backend.tile_len(*k).ok()?).ok()?;
    backend.tile(backend.mr(), *k, lhs, rhs, black_box(acc), false).ok()?;
    Some(tile)
}

/// A prepared product and all that it needs.
struct Product<O> {
    data: Data,
    gemm: Gemm<'static, O>,
    workspace: Workspace<'static>,
    out: Vec<O>,
}

fn product<O: Output>(backend: &str, shape: Shape, stages: fn(&Data) -> Stages<'_, O>) -> Option<Product<O>> {
    let backend = Backend::named(backend).ok()?;
    let data = Data::new(shape);
    let gemm = data.prepare(backend, &stages(&data));
    let (workspace, out) = (gemm.workspace(), vec![O::default(); shape.m * shape.n]);
    Some(Product { data, gemm, workspace, out })
}

fn sums(backend: &str, m: usize, k: usize, n: usize) -> Option<Product<i32>> {
    product(backend, Shape::new(m, k, n), Data::sums)
}

fn codes(backend: &str, m: usize, k: usize, n: usize) -> Option<Product<u8>> {
    product(backend, Shape::new(m, k, n), Data::codes)
}

fn multiply<O: Output>(product: Option<Product<O>>) -> Option<Product<O>> {
    let mut product = product?;
    let Product { data, gemm, workspace, out } = &mut product;
    run(gemm, data, black_box(out), Order::RowMajor, workspace);
    Some(product)
}

#[library_benchmark(setup = sums)]
#[bench::scalar_8("scalar", 8, 8, 8)]
#[bench::scalar_64("scalar", 64, 64, 64)]
#[bench::avx2_8("avx2", 8, 8, 8)]
#[bench::avx2_64("avx2", 64, 64, 64)]
#[bench::avx2_edges("avx2", 61, 63, 59)]
fn gemm_i32(product: Option<Product<i32>>) -> Option<Product<i32>> {
    multiply(product)
}

#[library_benchmark(setup = codes)]
#[bench::scalar_64("scalar", 64, 64, 64)]
#[bench::avx2_8("avx2", 8, 8, 8)]
#[bench::avx2_64("avx2", 64, 64, 64)]
#[bench::avx2_edges("avx2", 61, 63, 59)]
fn gemm_u8(product: Option<Product<u8>>) -> Option<Product<u8>> {
    multiply(product)
}

/// A matrix to pack.
struct Matrix {
    backend: Backend,
    side: Side,
    row_major: bool,
    codes: Vec<u8>,
    out: Aligned,
    sums: Vec<i32>,
}

const SIZE: usize = 96;

fn matrix(backend: &str, side: Side, row_major: bool) -> Option<Matrix> {
    let backend = Backend::named(backend).ok()?;
    let out = aligned(backend.packed_bytes(side, SIZE, SIZE).ok()?);
    Some(Matrix { backend, side, row_major, codes: Rng::new(2).codes(SIZE * SIZE), out, sums: vec![0; SIZE] })
}

#[library_benchmark(setup = matrix)]
#[bench::scalar_rhs_rows("scalar", Side::Rhs, true)]
#[bench::scalar_lhs_rows("scalar", Side::Lhs, true)]
#[bench::avx2_rhs_rows("avx2", Side::Rhs, true)]
#[bench::avx2_rhs_cols("avx2", Side::Rhs, false)]
#[bench::avx2_lhs_rows("avx2", Side::Lhs, true)]
#[bench::avx2_lhs_cols("avx2", Side::Lhs, false)]
fn pack_96(matrix: Option<Matrix>) -> Option<Matrix> {
    let mut matrix = matrix?;
    let Matrix { backend, side, row_major, codes, out, sums } = &mut matrix;
    let view = if *row_major { MatRef::row_major } else { MatRef::col_major };
    backend.pack(*side, view(codes, SIZE, SIZE).ok()?, black_box(out), Some(sums)).ok()?;
    Some(matrix)
}

/// A product with K = 1: little but its output stage.
fn stage(backend: &str, rounding: Rounding, shift: i32) -> Option<Product<u8>> {
    let backend = Backend::named(backend).ok()?;
    let data = Data::new(Shape::new(48, 1, 64));
    let by = match rounding {
        Rounding::IntMulShift => Multiplier::int_mul_shift(777, 17),
        _ => Multiplier::new(0x5a82_799a, shift),
    };
    let stages = Stages::<u8>::fixed(by.ok()?).rounding(rounding).zero_point(3);
    let packed =
        Packed::rhs_with(data.rhs(), PackOptions { backend: Some(backend), ..PackOptions::default() }).ok()?;
    let gemm = Gemm::new(packed, &stages).ok()?;
    let (workspace, out) = (gemm.workspace(), vec![0; 48 * 64]);
    Some(Product { data, gemm, workspace, out })
}

#[library_benchmark(setup = stage)]
#[bench::scalar_default("scalar", Rounding::DoubleAway, -7)]
#[bench::scalar_even("scalar", Rounding::SingleEven, -7)]
#[bench::avx2_default("avx2", Rounding::DoubleAway, -7)]
#[bench::avx2_left("avx2", Rounding::DoubleAway, 3)]
#[bench::avx2_saturating("avx2", Rounding::DoubleAwaySat, 3)]
#[bench::avx2_double_up("avx2", Rounding::DoubleUp, -7)]
#[bench::avx2_single_up("avx2", Rounding::SingleUp, -7)]
#[bench::avx2_single_away("avx2", Rounding::SingleAway, -7)]
#[bench::avx2_even("avx2", Rounding::SingleEven, -7)]
#[bench::avx2_int_mul_shift("avx2", Rounding::IntMulShift, -7)]
fn finish_u8(product: Option<Product<u8>>) -> Option<Product<u8>> {
    multiply(product)
}

library_benchmark_group!(name = kernel; benchmarks = kernel_tile);
library_benchmark_group!(name = gemm; benchmarks = gemm_i32, gemm_u8);
library_benchmark_group!(name = pack; benchmarks = pack_96);
library_benchmark_group!(name = finish; benchmarks = finish_u8);
main!(library_benchmark_groups = kernel, gemm, pack, finish);

//! Instructions counted under valgrind: the four benches on small shapes. The counts hardly depend on the machine.
//!
//! Valgrind's CPU has AVX2 at most, so these are the backends `scalar` and `avx2`; a backend that is not available
//! counts nothing but the call. `cargo bench --bench callgrind` needs valgrind and `iai-callgrind-runner` of the
//! version in `Cargo.lock`. (iai-callgrind lives on under the name gungraun.)

#![allow(missing_docs)] // items that macros write

mod common;

use common::counted::{self, Matrix, Product, Tile};
use common::product::{Data, Shape};
use iai_callgrind::{library_benchmark, library_benchmark_group, main};
use zeropoint::reference::Output;
use zeropoint::{Backend, Rounding, Side};

fn tile(backend: &str, k: usize) -> Option<Tile> {
    Tile::new(Backend::named(backend).ok()?, k)
}

#[library_benchmark(setup = tile)]
#[bench::scalar_64("scalar", 64)]
#[bench::scalar_256("scalar", 256)]
#[bench::avx2_64("avx2", 64)]
#[bench::avx2_256("avx2", 256)]
fn kernel_tile(tile: Option<Tile>) -> Option<Tile> {
    let mut tile = tile?;
    tile.multiply()?;
    Some(tile)
}

fn sums(backend: &str, m: usize, k: usize, n: usize) -> Option<Product<i32>> {
    Some(Product::new(Backend::named(backend).ok()?, Data::new(Shape::new(m, k, n)), Data::sums))
}

fn codes(backend: &str, m: usize, k: usize, n: usize) -> Option<Product<u8>> {
    Some(Product::new(Backend::named(backend).ok()?, Data::new(Shape::new(m, k, n)), Data::codes))
}

fn multiply<O: Output>(product: Option<Product<O>>) -> Option<Product<O>> {
    let mut product = product?;
    product.multiply();
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

fn matrix(backend: &str, side: Side, row_major: bool) -> Option<Matrix> {
    Matrix::new(Backend::named(backend).ok()?, side, row_major)
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
    matrix.pack()?;
    Some(matrix)
}

fn stage(backend: &str, rounding: Rounding, shift: i32) -> Option<Product<u8>> {
    counted::stage(Backend::named(backend).ok()?, rounding, shift)
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

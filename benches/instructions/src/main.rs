//! Runs small calls of every kernel but scalar for an emulator that counts their instructions: `count.c`, which counts
//! from one yield to the next and ends the line that the call's name begins. See `ci/arm.sh`.
//!
//! `calls` are those of the bench `callgrind`; `loops` are products whose time is spent in the loop of one kernel, of
//! which the number of multiplications is printed, too. Without an argument nothing is run.

use std::io::{Write, stdout};
use std::thread::yield_now;

use common::counted::{self, Matrix, Product, Tile};
use common::product::{Data, Shape};
use zeropoint::{Backend, Rounding, Side, available};

#[path = "../../common"]
#[allow(dead_code)] // this is a part of what the benches share
mod common {
    pub mod counted;
    pub mod data;
    pub mod product;
    pub mod shape;
}

fn main() {
    let kernels: Vec<_> = available().filter(|backend| backend.name() != "scalar").collect();
    match std::env::args().nth(1).as_deref() {
        Some("calls") => {
            kernels.iter().copied().for_each(calls);
            // The output stages are the same code in all rows of the table.
            kernels.first().copied().into_iter().for_each(stages);
        }
        Some("loops") => kernels.into_iter().for_each(loops),
        _ => {}
    }
}

/// Counts a call, the second of its kind: what happens once is not counted.
fn count<T>(name: &str, subject: T, call: impl Fn(&mut T)) {
    let mut subject = subject;
    call(&mut subject);
    print!("{name} ");
    stdout().flush().expect("standard output");
    yield_now();
    call(&mut subject);
    yield_now();
}

fn calls(backend: Backend) {
    let kernel = backend.kernel();
    for k in [64, 256] {
        let tile = Tile::new(backend, k).expect("a tile");
        count(&format!("{kernel}/tile_{k}"), tile, |tile| tile.multiply().expect("multiplies"));
    }
    let products = [(8, 8, 8), (64, 64, 64), (61, 63, 59), (1, 64, 64)].map(|(m, k, n)| Shape::new(m, k, n));
    for shape in products {
        let sums = Product::new(backend, Data::new(shape), Data::sums);
        count(&format!("{kernel}/i32_{shape}"), sums, Product::multiply);
        let codes = Product::new(backend, Data::new(shape), Data::codes);
        count(&format!("{kernel}/u8_{shape}"), codes, Product::multiply);
    }
    for (name, side, row_major) in [
        ("rhs_rows", Side::Rhs, true),
        ("rhs_cols", Side::Rhs, false),
        ("lhs_rows", Side::Lhs, true),
        ("lhs_cols", Side::Lhs, false),
    ] {
        let matrix = Matrix::new(backend, side, row_major).expect("a matrix");
        count(&format!("{kernel}/pack_{name}"), matrix, |matrix| matrix.pack().expect("packs"));
    }
}

fn stages(backend: Backend) {
    for (name, rounding, shift) in [
        ("default", Rounding::DoubleAway, -7),
        ("left", Rounding::DoubleAway, 3),
        ("saturating", Rounding::DoubleAwaySat, 3),
        ("double_up", Rounding::DoubleUp, -7),
        ("single_up", Rounding::SingleUp, -7),
        ("single_away", Rounding::SingleAway, -7),
        ("even", Rounding::SingleEven, -7),
        ("int_mul_shift", Rounding::IntMulShift, -7),
    ] {
        let product = counted::stage(backend, rounding, shift).expect("a product");
        count(&format!("{}/finish_{name}", backend.kernel()), product, Product::multiply);
    }
}

/// Whole tiles and single rows; weights small, then -128 throughout, for which no proof holds. Each way to finish has a
/// copy of the loop.
fn loops(backend: Backend) {
    for (weights, low, high) in [("", 100, 160), ("_unproven", 0, 0)] {
        for rows in [backend.mr(), 1] {
            let shape = Shape::new(rows, 2048, 64 * backend.nr());
            let data = || Data::new(shape).weights(low, high);
            let name = format!("{}/rows_{rows}{weights} {}", backend.kernel(), shape.operations() / 2.0);
            count(&name, Product::new(backend, data(), Data::sums), Product::multiply);
            count(&name, Product::new(backend, data(), Data::codes), Product::multiply);
        }
    }
}

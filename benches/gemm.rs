//! Whole products: the 30 shapes of the project's comparison with its peers, prepacked, on every backend.
//!
//! i32: sums with a bias a column. u8: fused, the default rule, one multiplier a column. Both zero points are
//! non-zero in both. `cargo bench --bench gemm`; see `benches/README.md`.

mod common;

use common::product::{Data, Order, prepared};
use common::shape::{SHAPES, Shape};
use common::{Bench, Table, number, peak::Peak, percent, target};
use zeropoint::{Backend, MatMut, available};

/// The least share of the peak that the project asks of i32 on AVX2.
const TARGETS: [(Shape, f64); 5] = [
    (Shape::new(256, 256, 256), 0.90),
    (Shape::new(512, 512, 512), 0.90),
    (Shape::new(196, 512, 512), 0.90),
    (Shape::new(3136, 128, 128), 0.85),
    (Shape::new(12544, 32, 64), 0.70),
];
/// The least ratio of fused u8 to i32, from this K on.
const FUSED: (usize, f64) = (128, 0.80);

fn main() {
    let mut bench = Bench::new();
    let tables: Vec<Table> = available().flat_map(|b| [shapes(&mut bench, b), ratios(&mut bench, b)]).collect();
    let one_shot = one_shot(&mut bench);
    for table in tables.iter().chain([&one_shot]) {
        table.print();
    }
    bench.finish();
}

/// All shapes, i32 and u8.
fn shapes(bench: &mut Bench, backend: Backend) -> Table {
    let mut peak = Peak::of(backend.name());
    let mut measured = vec![];
    for shape in SHAPES {
        // A test run is short: the largest shape takes the scalar backend seconds.
        if !bench.is_timed() && shape.operations() > 1e10 {
            continue;
        }
        if bench.is_timed() {
            peak.refresh();
        }
        let data = Data::new(shape);
        let name = |out| format!("gemm/{}/{out}/{shape}", backend.name());
        let sums = bench.ns(&name("i32"), || prepared(&data, backend, Data::sums, Order::RowMajor));
        let codes = bench.ns(&name("u8"), || prepared(&data, backend, Data::codes, Order::RowMajor));
        let gops = |ns: Option<f64>| Some(shape.operations() / ns?);
        measured.push((shape, gops(sums), gops(codes)));
    }
    if bench.is_timed() {
        peak.refresh();
    }
    let title = format!("{} ({}), peak {} GOP/s", backend.name(), backend.kernel(), number(peak.gops(), 1));
    let mut table = Table::new(title, &["M x K x N", "i32 GOP/s", "of peak", "u8 GOP/s", "of i32", "targets"]);
    for (shape, sums, codes) in measured.into_iter().filter(|(_, sums, codes)| sums.is_some() || codes.is_some()) {
        let (share, fused) = (peak.share(sums), sums.zip(codes).map(|(sums, codes)| codes / sums));
        let mut targets = String::new();
        if backend.name() == "avx2" {
            if let Some((_, least)) = TARGETS.iter().find(|(at, _)| *at == shape) {
                targets = target("of peak", share, *least) + "  ";
            }
            if shape.k >= FUSED.0 {
                targets += &target("u8 of i32", fused, FUSED.1);
            }
        }
        let cells = [number(sums, 1), percent(share), number(codes, 1), percent(fused), targets];
        table.row([shape.to_string()].into_iter().chain(cells));
    }
    table
}

/// The order of the output, the smallest product, and the distance from the reference.
fn ratios(bench: &mut Bench, backend: Backend) -> Table {
    let mut table =
        Table::new(format!("{}, other", backend.name()), &["what", "ns", "base ns", "speed", "target"]);
    let data = Data::new(Shape::new(512, 512, 512));
    let mut order = |out: &str, rows: Option<f64>, cols: Option<f64>| {
        let Some(speed) = rows.zip(cols).map(|(rows, cols)| rows / cols) else { return };
        let cells =
            [number(cols, 0), number(rows, 0), percent(Some(speed)), target("of row-major", Some(speed), 0.8)];
        table.row([format!("512x512x512, {out}, column-major out")].into_iter().chain(cells));
    };
    let name = |what: &str| format!("gemm/{}/{what}", backend.name());
    let rows = bench.ns(&name("i32/row_major"), || prepared(&data, backend, Data::sums, Order::RowMajor));
    let cols = bench.ns(&name("i32/col_major"), || prepared(&data, backend, Data::sums, Order::ColMajor));
    order("i32", rows, cols);
    let rows = bench.ns(&name("u8/row_major"), || prepared(&data, backend, Data::codes, Order::RowMajor));
    let cols = bench.ns(&name("u8/col_major"), || prepared(&data, backend, Data::codes, Order::ColMajor));
    order("u8", rows, cols);

    let tiny = Data::new(Shape::new(8, 8, 8));
    let mut call = |out: &str, ns: Option<f64>| {
        let Some(ns) = ns else { return };
        let mark = if backend.name() == "scalar" {
            String::new()
        } else {
            format!("{} < 150 ns", if ns < 150.0 { "ok  " } else { "MISS" })
        };
        table.row([format!("8x8x8, {out}, one call"), number(Some(ns), 1), "-".into(), "-".into(), mark]);
    };
    call("i32", bench.ns(&name("i32/8x8x8"), || prepared(&tiny, backend, Data::sums, Order::RowMajor)));
    call("u8", bench.ns(&name("u8/8x8x8"), || prepared(&tiny, backend, Data::codes, Order::RowMajor)));

    if backend.name() == "scalar" {
        let small = Data::new(Shape::new(64, 64, 64));
        let scalar = bench.ns(&name("i32/64"), || prepared(&small, backend, Data::sums, Order::RowMajor));
        let reference = bench.ns(&name("i32/64/reference"), || by_reference(&small));
        if let Some(speed) = scalar.zip(reference).map(|(scalar, reference)| reference / scalar) {
            let mark = target("of the reference", Some(speed), 5.0);
            let cells = [number(scalar, 0), number(reference, 0), percent(Some(speed)), mark];
            table.row(["64x64x64, i32, base: the reference".into()].into_iter().chain(cells));
        }
    }
    table
}

/// The plain triple loop, as a call to time.
fn by_reference(data: &Data) -> impl FnMut() {
    let Shape { m, n, .. } = data.shape;
    let mut out = vec![0i32; m * n];
    move || {
        let view = MatMut::row_major(&mut out, m, n).expect("out");
        zeropoint::reference::gemm(data.lhs(), data.rhs(), &data.sums(), view).expect("runs");
    }
}

/// Packing at every call, by the backend that is selected.
fn one_shot(bench: &mut Bench) -> Table {
    let backend = zeropoint::selected().expect("a backend");
    let shape = Shape::new(512, 512, 512);
    let data = Data::new(shape);
    let title = format!("{}, one-shot {shape}", backend.name());
    let mut table = Table::new(title, &["what", "ns", "prepacked ns", "speed", "target"]);
    let once = bench.ns("gemm/one_shot/once", || {
        let mut out = vec![0i32; shape.m * shape.n];
        let mut checked = false;
        let data = &data;
        move || {
            let view = MatMut::row_major(&mut out, shape.m, shape.n).expect("out");
            zeropoint::gemm(data.lhs(), data.rhs(), &data.sums(), view).expect("runs");
            if !checked {
                data.check(backend, Data::sums, &out, Order::RowMajor);
                checked = true;
            }
        }
    });
    let packed = bench.ns("gemm/one_shot/prepacked", || prepared(&data, backend, Data::sums, Order::RowMajor));
    if let Some(speed) = once.zip(packed).map(|(once, packed)| packed / once) {
        let mark = target("of prepacked", Some(speed), 0.85);
        table.row(["i32".into(), number(once, 0), number(packed, 0), percent(Some(speed)), mark]);
    }
    table
}

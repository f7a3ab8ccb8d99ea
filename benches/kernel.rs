//! The microkernel alone: one tile after another from operands that lie in L1, on every backend.
//!
//! `cargo bench --bench kernel`; see `benches/README.md`.

mod common;

use common::{Aligned, Bench, Rng, Table, aligned, number, peak::Peak, percent};
use zeropoint::kernels::bytes::numbers_mut;
use zeropoint::{Backend, MatRef, Side, available};

/// Depths whose panels fit L1 on both sides, on every backend.
const DEPTHS: [usize; 4] = [32, 64, 128, 512];

fn main() {
    let mut bench = Bench::new();
    let tables: Vec<Table> = available().map(|backend| tiles(&mut bench, backend)).collect();
    tables.iter().for_each(Table::print);
    bench.finish();
}

/// Whole tiles at every depth, then every height at the largest.
fn tiles(bench: &mut Bench, backend: Backend) -> Table {
    let mut peak = Peak::of(backend.name());
    let mr = backend.mr();
    let whole = DEPTHS.map(|k| (mr, k));
    let lower = (1..mr).rev().map(|rows| (rows, DEPTHS[DEPTHS.len() - 1]));
    let mut measured = vec![];
    for (rows, k) in whole.into_iter().chain(lower) {
        if bench.is_timed() {
            peak.refresh();
        }
        let name = format!("{rows}x{k}x{}", backend.nr());
        let ns = bench.ns(&format!("kernel/{}/{name}", backend.name()), || tile(backend, rows, k));
        let operations = 2.0 * (rows * k * backend.nr()) as f64;
        measured.push((name, ns, ns.map(|ns| operations / ns)));
    }
    let title = format!("{} ({}), peak {} GOP/s", backend.name(), backend.kernel(), number(peak.gops(), 1));
    let mut table = Table::new(title, &["rows x K x columns", "ns", "GOP/s", "of peak"]);
    for (name, ns, gops) in measured.into_iter().filter(|(_, ns, _)| ns.is_some()) {
        table.row([name, number(ns, 1), number(gops, 1), percent(peak.share(gops))]);
    }
    table
}

/// One tile, checked once, as a call to time.
fn tile(backend: Backend, rows: usize, k: usize) -> impl FnMut() {
    let nr = backend.nr();
    let mut rng = Rng::new(7);
    let (a, b) = (rng.codes(rows * k), rng.codes(k * nr));
    let pack = |side, codes, members| -> Aligned {
        let mut packed = aligned(backend.packed_bytes(side, members, k).expect("small"));
        backend.pack(side, codes, &mut packed, None).expect("packs");
        packed
    };
    let lhs = pack(Side::Lhs, MatRef::row_major(&a, rows, k).expect("lhs"), rows);
    let rhs = pack(Side::Rhs, MatRef::row_major(&b, k, nr).expect("rhs"), nr);
    let depth = backend.padded_k(k).expect("small");
    let len = backend.tile_len(depth).expect("small");
    let mut memory = aligned(4 * len);
    let mut call = move |add: bool, check: &dyn Fn(&[i32])| {
        let acc = numbers_mut::<i32>("acc", &mut memory, len).expect("aligned");
        backend.tile(rows, depth, &lhs, &rhs, acc, add).expect("multiplies");
        check(acc);
    };
    call(false, &|acc| {
        let (at_lhs, at_rhs) = (backend.lhs().elem.offset(false), backend.rhs().elem.offset(false));
        for (i, j) in (0..rows).flat_map(|i| (0..nr).map(move |j| (i, j))) {
            let product = |p| (i32::from(a[i * k + p]) + at_lhs) * (i32::from(b[p * nr + j]) + at_rhs);
            let sum: i32 = (0..k).map(product).sum();
            assert_eq!(acc[i * nr + j], sum, "{}, {rows} rows, K = {k}, ({i}, {j})", backend.kernel());
        }
    });
    move || call(false, &|_| {})
}

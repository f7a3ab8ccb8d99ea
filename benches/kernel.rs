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
    let mut cycles = vec![];
    let tables: Vec<Table> = available().map(|backend| tiles(&mut bench, backend, &mut cycles)).collect();
    tables.iter().for_each(Table::print);
    if !cycles.is_empty() {
        println!("\nMACs per cycle and share of the peak, measured:\n\n| kernel, rows | this core |\n|---|--:|");
        cycles.iter().for_each(|row| println!("{row}"));
    }
    bench.finish();
}

/// Whole tiles at every depth, then every height at the largest. To `cycles` go lines of a table in the form of
/// `ci/arm-model.sh`.
fn tiles(bench: &mut Bench, backend: Backend, cycles: &mut Vec<String>) -> Table {
    let proven = if backend.is_proven() { "-proven" } else { "" };
    let mut peak = Peak::of(&format!("{}{proven}", backend.name()));
    let mr = backend.mr();
    let deepest = DEPTHS[DEPTHS.len() - 1];
    let whole = DEPTHS.map(|k| (mr, k));
    let lower = (1..mr).rev().map(|rows| (rows, deepest));
    let mut measured = vec![];
    for (rows, k) in whole.into_iter().chain(lower) {
        if bench.is_timed() {
            peak.refresh();
        }
        let name = format!("{rows}x{k}x{}", backend.nr());
        let ns = bench.ns(&format!("kernel/{}/{name}", backend.name()), || tile(backend, rows, k));
        let operations = 2.0 * (rows * k * backend.nr()) as f64;
        measured.push(((rows, k), name, ns, ns.map(|ns| operations / ns)));
    }
    let (kernel, gops, clock) = (backend.kernel(), number(peak.gops(), 1), number(peak.clock(), 2));
    let title = format!("{} ({kernel}), peak {gops} GOP/s, {clock} GHz", backend.name());
    let mut table = Table::new(title, &["rows x K x columns", "ns", "GOP/s", "of peak", "MACs/cycle"]);
    for ((rows, k), name, ns, gops) in measured.into_iter().filter(|(_, _, ns, _)| ns.is_some()) {
        let macs = gops.zip(peak.clock()).map(|(gops, clock)| gops / 2.0 / clock);
        let (share, macs) = (percent(peak.share(gops)), number(macs, 1));
        if k == deepest && (rows == mr || rows == 1) {
            cycles.push(format!("| `{kernel}`, {rows} | {macs} ({share}) |"));
        }
        table.row([name, number(ns, 1), number(gops, 1), share, macs]);
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

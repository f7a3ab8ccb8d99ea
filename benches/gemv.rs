//! Few rows: weights that L2 does not hold are read once, so a product is as fast as memory is read.
//!
//! K = N = 4096, i32 sums. Each product takes turns with a plain read of as many bytes; the share is the median of 30 ratios of
//! one turn. `cargo bench --bench gemv`; see `benches/README.md`.

mod common;

use std::hint::black_box;
use std::time::Instant;

use common::product::{Data, Order, prepared};
use common::shape::Shape;
use common::{Bench, Table, number, target};
use zeropoint::available;

const ROWS: [usize; 5] = [1, 2, 4, 8, 16];
const SIZE: usize = 4096;
const TURNS: usize = 30;
/// The least share that the project asks of M = 1 and 4 on the fastest backend, whose widest tile is chosen for them.
const LEAST: f64 = 0.97;

fn main() {
    let bench = Bench::new();
    if !bench.is_timed() {
        return bench.finish();
    }
    let memory: Vec<u64> = (0..(SIZE * SIZE / 8) as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let heads = ["kernel", "M", "read GB/s", "weights GB/s", "of a read", "target"];
    let mut table = Table::new(format!("M x {SIZE} x {SIZE}"), &heads);
    let rows = available().filter(|row| row.rhs().elem.size() == 1 && !row.is_proven());
    let first = rows.clone().next().map(|row| row.name());
    let chosen = rows.clone().filter(|row| Some(row.name()) == first).max_by_key(|row| row.nr());
    for row in rows {
        for m in ROWS {
            let data = Data::new(Shape::new(m, SIZE, SIZE));
            let mut product = prepared(&data, row, Data::sums, Order::RowMajor);
            product();
            let mut turns: Vec<[f64; 2]> =
                (0..TURNS).map(|_| [ns(|| black_box(read(black_box(&memory)))), ns(&mut product)]).collect();
            turns.sort_by(|[a, b], [c, d]| (a / b).total_cmp(&(c / d)));
            let [read, took] = turns[TURNS / 2];
            let rate = |which: usize| {
                let least = turns.iter().map(|turn| turn[which]).fold(f64::INFINITY, f64::min);
                number(Some((SIZE * SIZE) as f64 / least), 1)
            };
            let asked = Some(row) == chosen && matches!(m, 1 | 4);
            let mark = if asked { target("of a read", Some(read / took), LEAST) } else { String::new() };
            let share = number(Some(read / took), 2);
            table.row([row.kernel().to_string(), m.to_string(), rate(0), rate(1), share, mark]);
        }
    }
    table.print();
    bench.finish();
}

/// How long a call takes.
fn ns<T>(mut call: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_nanos() as f64
}

/// Reads everything once.
fn read(memory: &[u64]) -> u64 {
    let mut sums = [0; 32];
    for chunk in memory.as_chunks::<32>().0 {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum ^= x;
        }
    }
    sums.iter().fold(0, |a, b| a ^ b)
}

//! What two threads gain: each product on one, then on two, in turns.
//!
//! `cargo bench --features rayon --bench threads`; see `benches/README.md`.

mod common;

use std::time::{Duration, Instant};

use common::shape::{SHAPES, Shape};
use common::{Rng, Table};
use zeropoint::{Gemm, MatMut, MatRef, PackOptions, Packed, RayonAwake, Stages, Threads};

/// Long beside what lies between two products.
const AWAKE: RayonAwake = RayonAwake(Duration::from_millis(1));
/// Turns, each the least of some runs, and how long those of a turn take.
const TURNS: usize = 60;
const TURN: Duration = Duration::from_millis(1);

fn main() {
    let timed = !std::env::args().any(|argument| argument == "--test");
    // This thread is one of them.
    rayon::ThreadPoolBuilder::new().num_threads(2).use_current_thread().build_global().expect("the first pool");
    let turns = if timed { TURNS } else { 1 };
    let empty = (0..50 * turns).map(|_| once(&mut || AWAKE.run(2, &|_| {}))).min().unwrap_or_default();
    let title = format!("i32 sums, full range; handing over two empty tasks takes {} ns", empty.as_nanos());
    let mut table = Table::new(title, &["M x K x N", "multiplications", "one, us", "two, us", "gain"]);
    for shape in SHAPES.iter().filter(|shape| timed || shape.operations() < 1e8) {
        table.row(gain(*shape, turns));
    }
    table.print();
}

fn once(call: &mut dyn FnMut()) -> Duration {
    let start = Instant::now();
    call();
    start.elapsed()
}

/// The median of the gains of all turns, beside the least times.
fn gain(shape: Shape, turns: usize) -> [String; 5] {
    let Shape { m, k, n } = shape;
    let mut rng = Rng::new(7);
    let (lhs, rhs) = (rng.codes(m * k), rng.codes(k * n));
    let lhs = MatRef::row_major(&lhs, m, k).expect("lhs");
    let options = PackOptions { expected_rows: Some(m), ..PackOptions::default() };
    let packed = Packed::rhs_with(MatRef::row_major(&rhs, k, n).expect("rhs"), options).expect("packs");
    let gemm = Gemm::new(packed, &Stages::<i32>::raw()).expect("a product");
    let (mut out, mut workspace) = (vec![0; m * n], gemm.workspace_for(2));
    let mut least = |threads: Option<&dyn Threads>, out: &mut [i32]| {
        let mut call = || {
            let out = MatMut::row_major(out, m, n).expect("out");
            let options = gemm.options();
            let options = threads.map_or(options, |threads| options.threads(threads));
            options.run(lhs, out, &mut workspace).expect("runs");
        };
        let (start, mut least) = (Instant::now(), Duration::MAX);
        while least == Duration::MAX || start.elapsed() < TURN {
            least = least.min(once(&mut call));
        }
        least
    };
    let mut times = vec![];
    for _ in 0..turns {
        let one = least(None, &mut out);
        let sums = out.clone();
        times.push((one, least(Some(&AWAKE), &mut out)));
        assert!(sums == out, "{shape} on two threads");
    }
    let micros = |time: Option<Duration>| format!("{:.1}", time.unwrap_or_default().as_secs_f64() * 1e6);
    let mut gains: Vec<f64> = times.iter().map(|(one, two)| one.as_secs_f64() / two.as_secs_f64()).collect();
    gains.sort_by(f64::total_cmp);
    [
        shape.to_string(),
        format!("{:.1} M", shape.operations() / 2e6),
        micros(times.iter().map(|(one, _)| *one).min()),
        micros(times.iter().map(|(_, two)| *two).min()),
        format!("{:.2}", gains[gains.len() / 2]),
    ]
}

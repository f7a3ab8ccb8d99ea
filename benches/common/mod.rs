//! What the benches share: seeded data, the clock, the peak, tables.
#![allow(dead_code, unused_imports)] // every bench uses a part of this

pub mod counted;
pub mod data;
pub mod peak;
pub mod product;
pub mod shape;

use std::cell::Cell;
use std::fmt::Display;
use std::time::{Duration, Instant};

use criterion::Criterion;

pub use data::{Aligned, Rng, aligned};

/// One quantum of measurement: short enough that some fall between two visits of a neighbour on the core.
const QUANTUM: Duration = Duration::from_micros(100);
/// Quanta below this say more about the clock than about the code.
const SHORTEST: Duration = Duration::from_micros(20);

/// Runs every benchmark through criterion and keeps, beside its statistics, the minimum over short quanta.
pub struct Bench {
    criterion: Criterion,
    timed: bool,
}

impl Bench {
    /// Reads criterion's flags. `ZP_QUICK` shortens every measurement.
    pub fn new() -> Self {
        let quick = std::env::var_os("ZP_QUICK").is_some();
        let (warm_up, measure) = if quick { (5, 20) } else { (20, 120) };
        let criterion = Criterion::default()
            .sample_size(10)
            .nresamples(1000)
            .warm_up_time(Duration::from_millis(warm_up))
            .measurement_time(Duration::from_millis(measure))
            .configure_from_args();
        let has = |flag| std::env::args().any(|arg| arg == flag);
        // Without `--bench` criterion tests, too.
        let timed = has("--bench") && !has("--test") && !has("--list");
        Self { criterion, timed }
    }

    /// Whether this run measures: `--test` runs everything once and `--list` nothing.
    pub fn is_timed(&self) -> bool {
        self.timed
    }

    /// The fewest nanoseconds that one call took; `None` if a filter left it out or nothing is timed.
    ///
    /// `setup` prepares and checks, and returns the call; it runs only if the call will.
    pub fn ns<F: FnMut()>(&mut self, name: &str, setup: impl FnOnce() -> F) -> Option<f64> {
        let best = Cell::new(f64::INFINITY);
        let (mut setup, mut call) = (Some(setup), None);
        let mut calls = 1;
        self.criterion.bench_function(name, |bencher| {
            let call = call.get_or_insert_with(|| setup.take().map(|setup| setup()));
            let Some(call) = call else { return };
            bencher.iter_custom(|count| {
                let mut total = Duration::ZERO;
                let mut left = count;
                while left > 0 {
                    let now = left.min(calls);
                    let start = Instant::now();
                    for _ in 0..now {
                        call();
                    }
                    let took = start.elapsed();
                    total += took;
                    left -= now;
                    if took >= SHORTEST {
                        best.set(best.get().min(took.as_nanos() as f64 / now as f64));
                    }
                    if now == calls && took < QUANTUM / 2 {
                        calls *= 2;
                    }
                }
                total
            });
        });
        (self.timed && best.get().is_finite()).then_some(best.get())
    }

    /// Ends the run; call it last.
    pub fn finish(self) {
        self.criterion.final_summary();
    }
}

/// A table, printed when all is measured; rows that a filter left out do not appear.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: impl Display, head: &[&str]) -> Self {
        Self { title: title.to_string(), rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    /// With another title: one that tells what came out.
    pub fn titled(self, title: impl Display) -> Self {
        Self { title: title.to_string(), ..self }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it, the first column to the left and numbers to the right, unless it is empty.
    pub fn print(&self) {
        if self.rows.len() < 2 {
            return;
        }
        println!("\n{}", self.title);
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| self.rows.iter().filter_map(|row| row.get(c)).map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (c, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match c {
                    0 => print!("{cell:width$}"),
                    _ if c + 1 == columns => print!("  {cell}"),
                    _ => print!("  {cell:>width$}"),
                }
            }
            println!();
        }
    }
}

/// A number of a table, or a dash.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.digits$}"))
}

/// A share in percent, or a dash.
pub fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{:.1}%", 100.0 * value))
}

/// A target of the project beside what was reached: printed, never asserted.
pub fn target(what: &str, got: Option<f64>, least: f64) -> String {
    match got {
        None => String::new(),
        Some(got) => format!("{} {what} >= {:.0}%", if got >= least { "ok  " } else { "MISS" }, 100.0 * least),
    }
}

//! Output stages alone, as nearly as can be: whole products with K = 1, on every backend.
//!
//! Every rounding rule x type of codes x {one multiplier, per column, per row} x both signs of the exponent, the
//! float rule, f32 and i32. None may take over 3 times the default (double_away, u8, per column, right shift).
//! `cargo bench --bench finish`; see `benches/README.md`.

mod common;

use common::{Bench, Rng, Table};
use zeropoint::reference::{self, Output};
use zeropoint::{
    Backend, FloatScale, Gemm, MatMut, MatRef, Multiplier, OutputCode, PackOptions, Packed, PerAxis, Rounding,
    Stages, available,
};

/// Outputs that lie in L1 if they are bytes, and in L2 anyway.
const ROWS: usize = 96;
const COLS: usize = 128;
/// Times the default.
const LIMIT: f64 = 3.0;

const AXES: [&str; 3] = ["one", "col", "row"];
/// An exponent of each sign.
const SHIFTS: [(&str, i32); 2] = [("right", -7), ("left", 3)];

fn main() {
    let mut bench = Bench::new();
    let vectors = Vectors::new();
    let finish = |backend| Finish { backend, vectors: &vectors, default: None, over: 0 };
    let tables: Vec<Table> = available().map(|backend| finish(backend).all(&mut bench)).collect();
    tables.iter().for_each(Table::print);
    bench.finish();
}

/// What stages borrow.
struct Vectors {
    bias: Vec<i32>,
    /// So large that no bound can be proven.
    large: Vec<i32>,
    /// Fractions of multipliers.
    fractions: Vec<i32>,
    scales: Vec<f32>,
    float_bias: Vec<f32>,
}

impl Vectors {
    fn new() -> Self {
        let mut rng = Rng::new(11);
        let longest = COLS.max(ROWS);
        Self {
            bias: (0..COLS).map(|_| rng.within(-60_000, 60_000)).collect(),
            large: (0..COLS).map(|_| rng.within(i32::MIN, -i32::MAX / 2)).collect(),
            fractions: (0..longest).map(|_| rng.within(1 << 30, i32::MAX)).collect(),
            scales: (0..longest).map(|_| rng.real(1e-4, 1e-2) as f32).collect(),
            float_bias: (0..COLS).map(|_| rng.real(-1.0, 1.0) as f32).collect(),
        }
    }

    /// Multipliers with an exponent of one sign.
    fn multipliers(&self, rounding: Rounding, shift: i32) -> Vec<Multiplier> {
        let multiplier = |m: &i32| match rounding {
            // An integer of ten bits, then the shift that leaves about the same factor.
            Rounding::IntMulShift => Multiplier::int_mul_shift(m >> 21, (10 - shift) as u32),
            _ => Multiplier::new(*m, shift),
        };
        self.fractions.iter().map(|m| multiplier(m).expect("a multiplier")).collect()
    }
}

/// The stages of one backend.
struct Finish<'v> {
    backend: Backend,
    vectors: &'v Vectors,
    /// Nanoseconds of an element of the default.
    default: Option<f64>,
    /// How many took too long.
    over: usize,
}

impl Finish<'_> {
    fn all(mut self, bench: &mut Bench) -> Table {
        let multipliers = self.vectors.multipliers(Rounding::DoubleAway, SHIFTS[0].1);
        let stages = Stages::<u8>::fixed(PerAxis::PerColumn(&multipliers[..COLS]));
        let stages = stages.bias(&self.vectors.bias).zero_point(3);
        self.default = self.time(bench, "default", &stages);

        let head =
            ["ns an element (times the default)", "one >>", "col >>", "row >>", "one <<", "col <<", "row <<"];
        let mut table = Table::new("", &head);
        self.rules::<u8>(bench, &mut table, "u8");
        self.rules::<i8>(bench, &mut table, "i8");
        self.rules::<i16>(bench, &mut table, "i16");
        let bias = &self.vectors.float_bias;
        self.float(bench, &mut table, "f32", |scale| Stages::<f32>::dequantize(scale).float_bias(bias));
        let raw = Stages::<i32>::raw().bias(&self.vectors.bias);
        for (name, stages) in [("stored", raw), ("added", raw.accumulate())] {
            let cell = self.cell(bench, &format!("i32/{name}"), &stages);
            table.row([format!("i32, {name}"), cell]);
        }
        let verdict = match (self.default, self.over) {
            (None, _) => String::new(),
            (_, 0) => format!("; ok: none over {LIMIT} times"),
            (_, over) => format!("; MISS: {over} over {LIMIT} times, marked !"),
        };
        let (name, kernel) = (self.backend.name(), self.backend.kernel());
        let default = format!("{}, u8, per column, right shift", Rounding::DoubleAway.name());
        table.titled(format!("{name} ({kernel}); the default is {default}{verdict}"))
    }

    /// Every rule, then the float rule, for one type of codes.
    fn rules<O: OutputCode + Output + PartialEq>(&mut self, bench: &mut Bench, table: &mut Table, out: &str) {
        let vectors = self.vectors;
        for rounding in Rounding::ALL {
            let mut cells = vec![format!("{out}, {}", rounding.name())];
            for (direction, shift) in SHIFTS {
                if rounding == Rounding::IntMulShift && shift > 0 {
                    // It shifts right only.
                    continue;
                }
                let multipliers = vectors.multipliers(rounding, shift);
                for axis in AXES {
                    let by = match axis {
                        "one" => PerAxis::One(multipliers[0]),
                        "col" => PerAxis::PerColumn(&multipliers[..COLS]),
                        _ => PerAxis::PerRow(&multipliers[..ROWS]),
                    };
                    let stages = Stages::<O>::fixed(by).rounding(rounding).bias(&vectors.bias).zero_point(3);
                    let name = format!("{}/{out}/{direction}/{axis}", rounding.name());
                    cells.push(self.cell(bench, &name, &stages));
                }
            }
            table.row(cells);
        }
        let multipliers = vectors.multipliers(Rounding::DoubleAway, SHIFTS[0].1);
        let stages =
            Stages::<O>::fixed(PerAxis::PerColumn(&multipliers[..COLS])).bias(&vectors.large).zero_point(3);
        let cell = self.cell(bench, &format!("double_away_far/{out}/right/col"), &stages);
        table.row([format!("{out}, double_away, any sums"), "-".into(), cell]);
        self.float(bench, table, out, |scale| Stages::<O>::float(scale).zero_point(3));
    }

    /// Float scales along every axis.
    fn float<'s, O: Output + PartialEq>(
        &mut self,
        bench: &mut Bench,
        table: &mut Table,
        out: &str,
        stages: impl Fn(FloatScale<'s>) -> Stages<'s, O>,
    ) where
        Self: 's,
    {
        let (rows, columns) = (&self.vectors.scales[..ROWS], &self.vectors.scales[..COLS]);
        let ways = [
            ("one", FloatScale::One(rows[0])),
            ("col", FloatScale::PerColumn(columns)),
            ("row", FloatScale::PerRow(rows)),
            ("both", FloatScale::Both { rows, columns }),
        ];
        let cells = ways.map(|(axis, by)| self.cell(bench, &format!("float/{out}/{axis}"), &stages(by)));
        let [one, col, row, both] = cells;
        table.row([format!("{out}, float"), one, col, row]);
        table.row([format!("{out}, float, row and col"), "-".into(), both]);
    }

    /// A cell of the table.
    fn cell<O: Output + PartialEq>(&mut self, bench: &mut Bench, name: &str, stages: &Stages<'_, O>) -> String {
        let Some(ns) = self.time(bench, name, stages) else { return "-".into() };
        let Some(ratio) = self.default.map(|default| ns / default) else { return format!("{ns:.3}") };
        let over = self.backend.name() != "scalar" && ratio > LIMIT;
        self.over += usize::from(over);
        format!("{ns:.3} ({ratio:.1}){}", if over { "!" } else { "" })
    }

    /// Nanoseconds of an element.
    fn time<O: Output + PartialEq>(&self, bench: &mut Bench, name: &str, stages: &Stages<'_, O>) -> Option<f64> {
        let name = format!("finish/{}/{name}", self.backend.name());
        let ns = bench.ns(&name, || product(self.backend, stages))?;
        Some(ns / (ROWS * COLS) as f64)
    }
}

/// A product with K = 1, checked once, as a call to time.
fn product<O: Output + PartialEq>(backend: Backend, stages: &Stages<'_, O>) -> impl FnMut() + use<O> {
    let mut rng = Rng::new(5);
    let (a, b) = (rng.codes(ROWS), rng.codes(COLS));
    let options = PackOptions { backend: Some(backend), expected_rows: Some(ROWS), ..PackOptions::default() };
    let rhs = MatRef::row_major(&b, 1, COLS).expect("rhs").zero_point(131);
    let gemm = Gemm::new(Packed::rhs_with(rhs, options).expect("packs"), stages).expect("prepares");
    let mut workspace = gemm.workspace();

    let mut expected = vec![O::default(); ROWS * COLS];
    let lhs = MatRef::row_major(&a, ROWS, 1).expect("lhs").zero_point(117);
    let view = MatMut::row_major(&mut expected, ROWS, COLS).expect("out");
    reference::gemm(lhs, rhs, stages, view).expect("the reference runs");

    let mut out = vec![O::default(); ROWS * COLS];
    let mut call = move |check: &dyn Fn(&[O])| {
        let lhs = MatRef::row_major(&a, ROWS, 1).expect("lhs").zero_point(117);
        gemm.run(lhs, MatMut::row_major(&mut out, ROWS, COLS).expect("out"), &mut workspace).expect("runs");
        check(&out);
    };
    call(&|out| {
        let wrong = (0..out.len()).find(|&i| out[i] != expected[i]);
        assert!(wrong.is_none(), "{}, {:?}: element {wrong:?} is wrong", backend.kernel(), O::DEST);
    });
    move || call(&|_| {})
}

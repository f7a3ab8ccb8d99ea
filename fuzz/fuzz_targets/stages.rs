//! Output stages, valid and invalid, on every backend against the reference: equal bits, or an error everywhere.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::kernels::bytes::numbers_mut;
use zeropoint::kernels::{Finish, FloatBias, PerRow, Scale};
use zeropoint::{Code, MatMut, Multiplier, Rounding};
use zeropoint_fuzz::matrix::{Fill, Layout, Zero};
use zeropoint_fuzz::product::{Case, Mode, Problem, Types};
use zeropoint_fuzz::stage::{Int, Output, Stage};
use zeropoint_fuzz::{Value, aligned, backends, cycle, with_types};

#[derive(Arbitrary, Debug)]
enum Input {
    /// Through products with a small K, whose sums are mostly bias.
    Product(Product),
    /// Through the kernels, which take numbers that no multiplier has.
    Finish(Direct),
}

#[derive(Arbitrary, Debug)]
struct Product {
    types: Types,
    m: u8,
    n: u8,
    k: u8,
    lhs: (Fill, Zero),
    rhs: (Fill, Zero),
    layout: Layout,
    out: Layout,
    mode: Mode,
    tame: bool,
    stage: Stage,
}

fuzz_target!(|input: Input| match &input {
    Input::Product(product) => with_types!(product.types, stages(product)),
    Input::Finish(direct) => with_types!(direct.types, finish(direct)),
});

fn stages<L: Code + Value, R: Code + Value, O: Output>(input: &Product) {
    Case::<L, R, O>::new(Problem {
        shape: (usize::from(input.m) % 14, usize::from(input.k) % 4, usize::from(input.n) % 140),
        lhs: (input.layout, &input.lhs.0, &input.lhs.1),
        rhs: (input.layout, &input.rhs.0, &input.rhs.1),
        out: input.out,
        stage: &input.stage,
        tame: input.tame,
        mode: input.mode,
    })
    .check();
}

#[derive(Arbitrary, Debug)]
struct Direct {
    types: Types,
    rows: u8,
    cols: u8,
    sums: Vec<Int>,
    bias: Vec<Int>,
    rounding: u8,
    scale: Kind,
    multipliers: Vec<(Int, Int)>,
    floats: Vec<f32>,
    /// Zero point and clamp; everything if there is none.
    clamp: Option<(Int, Int, Int)>,
    accumulate: bool,
    /// Vectors over columns lack their last element.
    short: bool,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    None,
    Columns { near: bool },
    Rows { each: bool },
    Float { each: bool },
}

/// One tile by `Backend::finish`: whatever it is given, it returns, and it refuses the same everywhere.
fn finish<L: Code + Value, R: Code + Value, O: Output>(input: &Direct) {
    let ints = |values: &[Int], len| -> Vec<i32> {
        cycle(values, len, Int::Small(1)).into_iter().map(Int::value).collect()
    };
    let mut refused = None;
    for backend in backends() {
        let (mr, nr) = (backend.mr(), backend.nr());
        let (rows, cols) = (usize::from(input.rows) % (mr + 1), usize::from(input.cols) % (nr + 1));
        let len = nr - usize::from(input.short);
        let pairs: Vec<(i32, i32)> = cycle(&input.multipliers, nr.max(mr), (Int::Any(1 << 30), Int::Small(0)))
            .into_iter()
            .map(|(m, s)| (m.value(), s.value()))
            .collect();
        let multipliers: Vec<i32> = pairs.iter().map(|(m, _)| *m).collect();
        let shifts: Vec<i32> = pairs.iter().map(|(_, s)| *s).collect();
        let by = |(m, s): &(i32, i32)| {
            let int = Multiplier::int_mul_shift(*m, s.unsigned_abs() % 32);
            Multiplier::new(*m, *s).or(int).expect("shifts below 32")
        };
        let each: Vec<Multiplier> = pairs.iter().take(rows).map(by).collect();
        let floats = cycle(&input.floats, nr.max(mr), 0.1);
        let rounding = Rounding::ALL[usize::from(input.rounding) % Rounding::ALL.len()];
        let per_row = |each| if each { PerRow::Each(&floats[..rows]) } else { PerRow::One(floats[0]) };
        let bias = ints(&input.bias, nr);
        let (zero_point, low, high) = match input.clamp {
            Some((zero, low, high)) => (zero.value(), low.value(), high.value()),
            None => (0, O::RANGE.0, O::RANGE.1),
        };
        let finish = Finish {
            bias: &bias[..len],
            row_bias: PerRow::One(bias[0]),
            scale: match input.scale {
                Kind::None => Scale::None,
                Kind::Columns { near } => {
                    Scale::Columns { rounding, multipliers: &multipliers[..len], shifts: &shifts[..len], near }
                }
                Kind::Rows { each: true } => Scale::Rows { rounding, multipliers: PerRow::Each(&each) },
                Kind::Rows { each: false } => Scale::Rows { rounding, multipliers: PerRow::One(by(&pairs[0])) },
                Kind::Float { each } => {
                    Scale::Float { columns: &floats[..len], rows: per_row(each), small: false }
                }
            },
            float_bias: FloatBias::Rows(per_row(false)),
            zero_point,
            low,
            high,
            accumulate: input.accumulate,
        };
        let mut memory = aligned(4 * mr * nr, 0);
        let acc = numbers_mut::<i32>("acc", &mut memory, mr * nr).expect("aligned");
        acc.copy_from_slice(&ints(&input.sums, mr * nr));
        let mut out = vec![O::default(); rows * cols];
        let view = MatMut::row_major(&mut out, rows, cols).expect("out");
        let refuses = backend.finish(&finish, acc, &mut aligned(4 * mr * nr, 0), view).is_err();
        let first = *refused.get_or_insert(refuses);
        assert_eq!(first, refuses, "{} and the first backend disagree", backend.kernel());
    }
}

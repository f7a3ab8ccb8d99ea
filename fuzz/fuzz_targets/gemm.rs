//! Products on every backend against the reference: shapes past two tiles and two pieces of K, any strides, extreme
//! codes; as planned, or cut into the smallest blocks.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::kernels::{Blocking, Finish, Job, Outliers, PerRow, Weights};
use zeropoint::{Backend, Code, Side, Stages, ZeroPoint};
use zeropoint_fuzz::matrix::{Fill, Layout, Zero};
use zeropoint_fuzz::product::{Case, Mode, Out, Problem, Types};
use zeropoint_fuzz::stage::{Int, Output, Stage};
use zeropoint_fuzz::{Value, aligned, backends, cycle, with_types};

#[derive(Arbitrary, Debug)]
struct Input {
    types: Types,
    m: u8,
    n: u8,
    k: u8,
    lhs: (Layout, Fill, Zero),
    rhs: (Layout, Fill, Zero),
    out: Layout,
    mode: Mode,
    stage: Stage,
    /// Instead of a run as planned.
    blocks: Option<Blocks>,
}

/// A run through the kernels themselves.
#[derive(Arbitrary, Debug)]
struct Blocks {
    rows: u8,
    depth: u8,
    bias: Vec<Int>,
    row_bias: Vec<Int>,
    accumulate: bool,
}

/// Products of one input at most.
const LARGEST: usize = 40_000;

impl Input {
    fn problem(&self) -> Problem<'_> {
        let (m, n) = (usize::from(self.m) % 73, usize::from(self.n) % 145);
        let k = usize::from(self.k).min(LARGEST / (m * n).max(1));
        Problem {
            shape: (m, k, n),
            lhs: (self.lhs.0, &self.lhs.1, &self.lhs.2),
            rhs: (self.rhs.0, &self.rhs.1, &self.rhs.2),
            out: self.out,
            stage: &self.stage,
            tame: true,
            mode: self.mode,
        }
    }
}

fuzz_target!(|input: Input| {
    if let Some(blocks) = &input.blocks {
        let sums = Types { out: Out::I32, ..input.types };
        with_types!(sums, cut((&input, blocks)));
    } else {
        with_types!(input.types, planned(&input));
    }
});

fn planned<L: Code + Value, R: Code + Value, O: Output>(input: &Input) {
    Case::<L, R, O>::new(input.problem()).check();
}

/// Sums by [`Job`], which forces the size of blocks.
fn cut<L: Code + Value, R: Code + Value, O: Output>((input, blocks): (&Input, &Blocks)) {
    let case = Case::<L, R, i32>::new(input.problem());
    let (m, _, n) = input.problem().shape;
    let Blocks { bias, row_bias, accumulate, .. } = blocks;
    let ints = |values: &[Int], len| -> Vec<i32> {
        cycle(values, len, Int::Small(0)).into_iter().map(Int::value).collect()
    };
    let (bias, row_bias) = (ints(bias, n), ints(row_bias, m));
    let stages = Stages::raw().bias(&bias).row_bias(&row_bias);
    let expected = case.expected(&if *accumulate { stages.accumulate() } else { stages });
    for backend in backends() {
        let (got, result) = case.write(|out| {
            let packed = PackedColumns::new(backend, &case, &bias);
            let finish =
                Finish { row_bias: PerRow::Each(&row_bias), accumulate: *accumulate, ..Finish::raw(&packed.bias) };
            let (rows, depth) = (blocks.rows.into(), blocks.depth.into());
            let packed_strides = 1 + (depth & 1) * 63;
            let blocking = Blocking {
                rows,
                depth,
                packed_strides,
                rows_before_tail: rows,
                panels: depth,
                cached: rows,
                fetched: rows,
                far: depth,
                ahead: packed_strides,
            };
            let plan = backend.plan(m, packed.k, blocking)?;
            let weights = packed.weights();
            Job { lhs: case.lhs(), weights, finish, out }.run(&plan, &mut aligned(plan.workspace_bytes(), 0xa5))
        });
        result.expect(backend.kernel());
        got.assert_same(&expected, &format!("{}, {:?}", backend.kernel(), blocks));
    }
}

/// A packed rhs, and what belongs to its columns, in whole panels.
struct PackedColumns {
    k: usize,
    n: usize,
    panels: aligned_vec::AVec<u8, aligned_vec::ConstAlign<64>>,
    sums: Vec<i32>,
    /// One, or one a column.
    zeros: Result<Vec<i32>, i32>,
    bias: Vec<i32>,
}

impl PackedColumns {
    fn new<L: Code + Value, R: Code + Value>(backend: Backend, case: &Case<'_, L, R, i32>, bias: &[i32]) -> Self {
        let rhs = case.rhs();
        let (k, n) = (rhs.codes.rows(), rhs.codes.cols());
        let columns = backend.columns(n).expect("small");
        let mut panels = aligned(backend.packed_bytes(Side::Rhs, n, k).expect("small"), 0xa5);
        let mut sums = vec![7; columns];
        backend.pack(Side::Rhs, rhs.codes, &mut panels, Some(&mut sums[..n])).expect("packs");
        let offset = backend.rhs().elem.offset(R::SIGNED);
        let zeros = match rhs.zero_point {
            ZeroPoint::One(zero) => Err(zero + offset),
            ZeroPoint::Each(zeros) => {
                Ok((0..columns).map(|j| zeros.get(j).map_or(9, |zero| zero + offset)).collect())
            }
        };
        let bias = (0..columns).map(|j| bias.get(j).copied().unwrap_or(5)).collect();
        Self { k, n, panels, sums, zeros, bias }
    }

    fn weights(&self) -> Weights<'_> {
        let zero_point = match &self.zeros {
            Ok(zeros) => ZeroPoint::Each(zeros),
            Err(zero) => ZeroPoint::One(*zero),
        };
        Weights {
            k: self.k,
            n: self.n,
            panels: &self.panels,
            sums: &self.sums,
            zero_point,
            outliers: Outliers::default(),
        }
    }
}

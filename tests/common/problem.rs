//! A whole problem: types, shapes, layouts, zero points, stages; and the check of one against the reference.

use std::any::type_name;
use std::fmt;

use zeropoint::kernels::Dest;
use zeropoint::{
    Backend, Code, Effort, Error, Gemm, MatMut, PackOptions, Packed, Quantized, Side, Stages, Workspace,
    ZeroPoint, available, gemm, reference,
};

use super::matrix::{Layout, Matrix, Value};
use super::pool::Scoped;
use super::stage::{Output, Stage, Values};
use super::{AlignedBytes, Rng};

/// Zero points of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    None,
    One,
    /// One a row of lhs, or a column of rhs.
    Each,
}

/// A description of a problem; its numbers derive from `seed`.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Whether codes of lhs and rhs are `i8`.
    pub signed: (bool, bool),
    pub dest: Dest,
    /// M, K and N.
    pub shape: (usize, usize, usize),
    pub lhs: Layout,
    pub rhs: Layout,
    pub out: Layout,
    pub zeros: (Zero, Zero),
    pub stage: Stage,
    pub seed: u64,
}

impl Problem {
    /// Unsigned codes without anything special.
    pub const fn plain(dest: Dest, shape: (usize, usize, usize)) -> Self {
        Self {
            signed: (false, false),
            dest,
            shape,
            lhs: Layout::ROWS,
            rhs: Layout::ROWS,
            out: Layout::ROWS,
            zeros: (Zero::One, Zero::One),
            stage: Stage::PLAIN,
            seed: 1,
        }
    }

    /// Runs the problem on every one of `backends`, in some mode each, and once by [`gemm`].
    ///
    /// # Errors
    /// What reproduces the first difference from the reference, and where it is.
    pub fn check(&self, backends: &[Backend]) -> Result<(), String> {
        macro_rules! dispatch {
            ($($dest:ident $out:ty),*) => {
                match (self.signed, self.dest) {$(
                    ((false, false), Dest::$dest) => Case::<u8, u8, $out>::new(self).check(backends),
                    ((false, true), Dest::$dest) => Case::<u8, i8, $out>::new(self).check(backends),
                    ((true, false), Dest::$dest) => Case::<i8, u8, $out>::new(self).check(backends),
                    ((true, true), Dest::$dest) => Case::<i8, i8, $out>::new(self).check(backends),
                )*}
            };
        }
        dispatch!(U8 u8, I8 i8, I16 i16, I32 i32, F32 f32)
    }
}

/// A way to run a product.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Which side is packed.
    pub side: Side,
    /// Threads that are lent, and threads that the workspace has room for.
    pub threads: (usize, usize),
    /// Stages are given to the run, not to the preparation.
    pub late_stages: bool,
    /// The output is uninitialized before, if it may be.
    pub uninit: bool,
    /// Weights go through bytes, if the backend is in the table: 1 copied, 2 borrowed.
    pub stored: u8,
    /// The workspace is borrowed.
    pub lent_memory: bool,
}

impl Mode {
    pub fn random(rng: &Rng) -> Self {
        Self {
            side: if rng.one_in(3) { Side::Lhs } else { Side::Rhs },
            threads: (rng.below(5), 1 + rng.below(4)),
            late_stages: rng.one_in(3),
            uninit: rng.one_in(2),
            stored: rng.below(4) as u8,
            // What the library allocates it clears byte by byte, which takes Miri long.
            lent_memory: !rng.one_in(4) || cfg!(miri),
        }
    }
}

/// A problem with its numbers, and what the reference says.
pub struct Case<'p, L, R, O> {
    problem: &'p Problem,
    lhs: Matrix<L>,
    rhs: Matrix<R>,
    lhs_zeros: Vec<i32>,
    rhs_zeros: Vec<i32>,
    values: Values,
    /// The output before.
    old: Matrix<O>,
    /// And afterwards.
    expected: Vec<O>,
    rng: Rng,
}

impl<'p, L: Code + Value, R: Code + Value, O: Output> Case<'p, L, R, O> {
    pub fn new(problem: &'p Problem) -> Self {
        let rng = Rng::new(problem.seed);
        let (m, k, n) = problem.shape;
        let zeros = |zero, count, (low, high)| match zero {
            Zero::None => vec![0],
            Zero::One => vec![rng.extreme(low, high)],
            Zero::Each => (0..count).map(|_| rng.extreme(low, high)).collect(),
        };
        let mut case = Self {
            problem,
            lhs: Matrix::codes(m, k, problem.lhs, &rng),
            rhs: Matrix::codes(k, n, problem.rhs, &rng),
            lhs_zeros: zeros(problem.zeros.0, m, L::RANGE),
            rhs_zeros: zeros(problem.zeros.1, n, R::RANGE),
            values: Values::new::<O>(problem.stage, problem.shape, &rng),
            old: Matrix::random(m, n, problem.out, &rng),
            expected: vec![],
            rng,
        };
        let mut out = case.old.clone();
        reference::gemm(case.lhs(), case.rhs(), &case.stages(), out.view_mut()).unwrap();
        case.expected = out.data;
        case
    }

    fn lhs(&self) -> Quantized<'_, L> {
        self.lhs.view().zero_point(zero_point(self.problem.zeros.0, &self.lhs_zeros))
    }

    fn rhs(&self) -> Quantized<'_, R> {
        self.rhs.view().zero_point(zero_point(self.problem.zeros.1, &self.rhs_zeros))
    }

    fn stages(&self) -> Stages<'_, O> {
        O::stages(&self.values)
    }

    pub fn check(&self, backends: &[Backend]) -> Result<(), String> {
        let once = self.write(self.rng.one_in(2), |out| gemm(self.lhs(), self.rhs(), &self.stages(), out));
        self.compare("in one call", once)?;
        for backend in backends {
            let mode = Mode::random(&self.rng);
            self.compare(&format!("on {} {mode:?}", backend.kernel()), self.run(*backend, mode))?;
        }
        Ok(())
    }

    /// The output after a prepared run.
    fn run(&self, backend: Backend, mode: Mode) -> Result<Vec<O>, Error> {
        let (m, _, n) = self.problem.shape;
        let columns = if mode.side == Side::Rhs { m } else { n };
        let expected_rows = Some(columns).filter(|_| mode.late_stages);
        let effort = self.rng.pick(&[Effort::Fast, Effort::Fast, Effort::Normal]);
        let options = PackOptions { backend: Some(backend), expected_rows, effort };
        let packed = match mode.side {
            Side::Rhs => Packed::rhs_with(self.rhs(), options)?,
            Side::Lhs => Packed::lhs_with(self.lhs(), options)?,
        };
        let blob = AlignedBytes::new(packed.as_bytes());
        let packed = match mode.stored {
            1 if available().any(|row| row == backend) => Packed::from_bytes(blob.get())?,
            2 if available().any(|row| row == backend) => Packed::borrow(blob.get())?,
            _ => packed,
        };
        let stages = self.stages();
        let gemm = Gemm::new(packed, &if mode.late_stages { O::others() } else { stages })?;
        let (lent, room) = mode.threads;
        let mut memory = vec![0xa5; gemm.workspace_bytes(room)? + 63];
        let mut workspace = match mode.lent_memory {
            true => Workspace::borrow(&mut memory),
            false => gemm.workspace_for(room),
        };
        let pool = Scoped(lent);
        self.write(mode.uninit, |out| {
            let options = if lent > 0 { gemm.options().threads(&pool) } else { gemm.options() };
            let options = if mode.late_stages { options.stages(&stages) } else { options };
            match mode.side {
                Side::Rhs => options.run(self.lhs(), out, &mut workspace),
                Side::Lhs => options.run(self.rhs(), out, &mut workspace),
            }
        })
    }

    /// The memory of the output after `write`.
    fn write(
        &self,
        uninit: bool,
        write: impl FnOnce(MatMut<'_, O>) -> Result<(), Error>,
    ) -> Result<Vec<O>, Error> {
        let mut out = self.old.clone();
        if uninit && !self.problem.stage.accumulate {
            out.rewrite(write)?;
        } else {
            write(out.view_mut())?;
        }
        Ok(out.data)
    }

    fn compare(&self, how: &str, got: Result<Vec<O>, Error>) -> Result<(), String> {
        let got = got.map_err(|error| format!("{self} {how}: {error}"))?;
        let differs = |(got, expected): (&O, &O)| got.bits() != expected.bits();
        let Some(at) = got.iter().zip(&self.expected).position(differs) else { return Ok(()) };
        let place = match self.old.element_at(at) {
            Some((i, j)) => format!("out({i}, {j})"),
            None => format!("the gap at offset {at}"),
        };
        Err(format!("{self} {how}: {place} is {:?}, should be {:?}", got[at], self.expected[at]))
    }
}

fn zero_point(zero: Zero, zeros: &[i32]) -> ZeroPoint<'_> {
    if zero == Zero::Each { ZeroPoint::Each(zeros) } else { ZeroPoint::One(zeros[0]) }
}

impl<L: Value, R: Value, O: Value> fmt::Display for Case<'_, L, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { shape: (m, k, n), zeros, seed, .. } = self.problem;
        let (l, r, o) = (type_name::<L>(), type_name::<R>(), type_name::<O>());
        let strides = (self.lhs.strides(), self.rhs.strides(), self.old.strides());
        write!(f, "seed {seed}: {l} x {r} -> {o}, M {m} K {k} N {n}, strides {strides:?}, zero points {zeros:?}")
    }
}

/// A prepared product on `backend`, with one side packed: its output, row by row.
///
/// # Errors
/// Whatever packing, preparing or running says.
pub fn product<L: Code, R: Code, O: Output>(
    (backend, side): (Backend, Side),
    lhs: Quantized<'_, L>,
    rhs: Quantized<'_, R>,
    stages: &Stages<'_, O>,
) -> Result<Vec<O>, Error> {
    let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
    let packed = match side {
        Side::Rhs => Packed::rhs_with(rhs, options)?,
        Side::Lhs => Packed::lhs_with(lhs, options)?,
    };
    let gemm = Gemm::new(packed, stages)?;
    // Cleared faster than what the library allocates, in debug builds.
    let mut memory = vec![0; gemm.workspace_bytes(1)? + 63];
    let mut workspace = Workspace::borrow(&mut memory);
    let (m, n) = (lhs.codes.rows(), rhs.codes.cols());
    let mut data = vec![O::default(); m * n];
    let out = MatMut::row_major(&mut data, m, n)?;
    match side {
        Side::Rhs => gemm.run(lhs, out, &mut workspace)?,
        Side::Lhs => gemm.run(rhs, out, &mut workspace)?,
    }
    Ok(data)
}

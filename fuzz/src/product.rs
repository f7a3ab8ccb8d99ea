//! One product on every backend, against the reference.

use arbitrary::Arbitrary;
use zeropoint::{
    Backend, Code, Error, Gemm, MatMut, PackOptions, Packed, Quantized, Side, Stages, Threads, Workspace,
    available, gemm, reference,
};

use crate::matrix::{Fill, Layout, Matrix, Zero};
use crate::stage::{Output, Stage, Values, assert_same_error};
use crate::{Value, aligned, backends};

/// Types of operands and output.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Types {
    pub lhs_signed: bool,
    pub rhs_signed: bool,
    pub out: Out,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Out {
    U8,
    I8,
    I16,
    I32,
    F32,
}

/// Calls `$f::<L, R, O>($input)` for the types of a product.
#[macro_export]
macro_rules! with_types {
    ($types:expr, $f:ident($input:expr)) => {
        $crate::with_types!(@lhs $types, $f, $input, U8 u8, I8 i8, I16 i16, I32 i32, F32 f32)
    };
    (@lhs $types:expr, $f:ident, $input:expr, $($out:ident $o:ty),*) => {
        match ($types.lhs_signed, $types.rhs_signed, $types.out) {$(
            (false, false, $crate::product::Out::$out) => $f::<u8, u8, $o>($input),
            (false, true, $crate::product::Out::$out) => $f::<u8, i8, $o>($input),
            (true, false, $crate::product::Out::$out) => $f::<i8, u8, $o>($input),
            (true, true, $crate::product::Out::$out) => $f::<i8, i8, $o>($input),
        )*}
    };
}

/// How a prepared product is run.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Mode {
    /// The constant side is lhs.
    lhs_packed: bool,
    /// Weights go through bytes, where their backend is in the table: 1 copied, 2 borrowed.
    stored: u8,
    /// Threads that are lent, and how the library's tasks are called.
    threads: u8,
    calls: u8,
    /// Stages are given to the run.
    late: bool,
    /// The workspace is the caller's, and not aligned.
    borrowed: Option<u8>,
}

/// Threads of which there is one: tasks are called one after another, in some order, some of them twice.
struct Lent(usize, u8);

impl Threads for Lent {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        for i in 0..tasks {
            let i = if self.1 & 1 == 0 { i } else { tasks - 1 - i };
            task(i);
            if self.1 >> (1 + i % 7) & 1 != 0 {
                task(i);
            }
        }
    }
}

/// A product.
pub struct Problem<'i> {
    /// M, K, N.
    pub shape: (usize, usize, usize),
    pub lhs: (Layout, &'i Fill, &'i Zero),
    pub rhs: (Layout, &'i Fill, &'i Zero),
    pub out: Layout,
    pub stage: &'i Stage,
    /// The stages are valid.
    pub tame: bool,
    pub mode: Mode,
}

/// A product with its numbers.
pub struct Case<'i, L, R, O> {
    problem: Problem<'i>,
    lhs: Matrix<L>,
    rhs: Matrix<R>,
    zeros: (Vec<i32>, Vec<i32>),
    values: Values,
    old: Matrix<O>,
}

impl<'i, L: Code + Value, R: Code + Value, O: Output> Case<'i, L, R, O> {
    pub fn new(problem: Problem<'i>) -> Self {
        let (m, k, n) = problem.shape;
        Self {
            lhs: Matrix::codes((m, k), problem.lhs.0, problem.lhs.1),
            rhs: Matrix::codes((k, n), problem.rhs.0, problem.rhs.1),
            zeros: (problem.lhs.2.values(m, L::SIGNED), problem.rhs.2.values(n, R::SIGNED)),
            values: problem.stage.values::<O>(m, n, problem.tame),
            old: Matrix::output((m, n), problem.out),
            problem,
        }
    }

    pub fn lhs(&self) -> Quantized<'_, L> {
        self.lhs.view().zero_point(self.problem.lhs.2.of(&self.zeros.0))
    }

    pub fn rhs(&self) -> Quantized<'_, R> {
        self.rhs.view().zero_point(self.problem.rhs.2.of(&self.zeros.1))
    }

    /// What was there before, after `write`.
    pub fn write(&self, write: impl FnOnce(MatMut<'_, O>) -> Result<(), Error>) -> (Matrix<O>, Result<(), Error>) {
        let mut out = self.old.clone();
        let result = write(out.view_mut());
        (out, result)
    }

    /// What the reference says.
    pub fn expected(&self, stages: &Stages<'_, O>) -> Matrix<O> {
        let (out, result) = self.write(|out| reference::gemm(self.lhs(), self.rhs(), stages, out));
        result.expect("the reference runs");
        out
    }

    /// Runs everywhere; panics unless all bits are those of the reference, or all refuse.
    pub fn check(&self) {
        let stages = O::stages(&self.values);
        let first = self.write(|out| gemm(self.lhs(), self.rhs(), &stages, out));
        if self.problem.tame {
            first.1.expect("valid stages are accepted");
        }
        let expected = first.1.is_ok().then(|| self.expected(&stages));
        let compare = |got: &Matrix<O>, result: &Result<(), Error>, how: &str| match &expected {
            Some(expected) => {
                result.expect(how);
                got.assert_same(expected, &how);
            }
            None => assert!(result.is_err(), "{how} takes what one call refuses: {:?}", first.1),
        };
        compare(&first.0, &first.1, "one call");
        let mut refused = None;
        for backend in backends() {
            let (got, result) = self.write(|out| self.run(backend, &stages, out));
            compare(&got, &result, backend.kernel());
            assert_same_error(refused.get_or_insert(result), &result, &backend.kernel());
        }
    }

    /// A prepared run.
    fn run(&self, backend: Backend, stages: &Stages<'_, O>, out: MatMut<'_, O>) -> Result<(), Error> {
        let Mode { lhs_packed, stored, threads, calls, late, borrowed } = self.problem.mode;
        let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
        let packed = match lhs_packed {
            true => Packed::lhs_with(self.lhs(), options)?,
            false => Packed::rhs_with(self.rhs(), options)?,
        };
        let mut blob = aligned(packed.as_bytes().len(), 0);
        blob.copy_from_slice(packed.as_bytes());
        let packed = match stored % 3 {
            1 if available().any(|row| row == backend) => Packed::from_bytes(&blob)?,
            2 if available().any(|row| row == backend) => Packed::borrow(&blob)?,
            _ => packed,
        };
        let side = packed.side();
        let late = late && self.problem.tame;
        let gemm = match late {
            true => Gemm::new(packed, &O::plain())?,
            false => Gemm::new(packed, stages)?,
        };
        let threads = usize::from(threads % 4);
        let mut memory = vec![0xa5; gemm.workspace_bytes(threads)? + 63 + 64];
        let mut workspace = match borrowed {
            Some(skip) => Workspace::borrow(&mut memory[usize::from(skip % 64)..]),
            None => gemm.workspace_for(threads),
        };
        let lent = Lent(threads, calls);
        let options = if threads > 0 { gemm.options().threads(&lent) } else { gemm.options() };
        let options = if late { options.stages(stages) } else { options };
        match side {
            Side::Rhs => options.run(self.lhs(), out, &mut workspace),
            Side::Lhs => options.run(self.rhs(), out, &mut workspace),
        }
    }
}

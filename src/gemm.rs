//! The product: validate, plan, pack, run blocks.

use core::fmt;

use zeropoint_kernels::{
    Backend, Block, Blocks, Code, Element, Error, Finish, Job, MatMut, MatRef, Plan, Quantized, Rows, Side,
    Weights, ZeroPoint,
};

use crate::lower::{self, OwnedStages};
use crate::packed::{self, Aligned, Packed, aligned};
use crate::parallel::{self, Few, Threads};
use crate::plan;
use crate::stages::Stages;

/// `out = stages(sum over k of (lhs - za) * (rhs - zb))`, in one call; packs rhs each time.
///
/// lhs is M x K, rhs K x N, out M x N. Sums are int32 and wrap mod 2^32; no operands make them wrap up to
/// K = 33,025, bias aside (semantics.md 3). Any of the three may be 0; with K = 0 the stages see the bias.
///
/// # Errors
/// Whatever does not fit: [`Error::Shape`], [`Error::Length`], [`Error::ZeroPoint`], [`Error::Clamp`],
/// [`Error::FixedPoint`], [`Error::Real`], [`Error::Overflow`], [`Error::Memory`], [`Error::Backend`],
/// [`Error::Uninitialized`].
///
/// ```
/// use zeropoint::{MatMut, MatRef, Stages, gemm};
/// let (a, b) = ([1u8, 2, 3, 4], [-1i8, 0, 1, 2]);
/// let mut sums = [0i32; 4];
/// let lhs = MatRef::row_major(&a, 2, 2)?.zero_point(1);
/// let rhs = MatRef::row_major(&b, 2, 2)?;
/// gemm(lhs, rhs, &Stages::raw(), MatMut::row_major(&mut sums, 2, 2)?)?;
/// assert_eq!(sums, [1, 2, 1, 6]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn gemm<'a, 'b, L: Code, R: Code, O: Element>(
    lhs: impl Into<Quantized<'a, L>>,
    rhs: impl Into<Quantized<'b, R>>,
    stages: &Stages<'_, O>,
    out: MatMut<'_, O>,
) -> Result<(), Error> {
    let packed = packed::once(rhs.into(), out.rows())?;
    stages.check(Some(out.rows()), Some(packed.columns()))?;
    let call = Call::new(&packed, lhs.into(), out)?;
    let plan = plan_for(&packed, stages, call.codes.rows())?;
    let columns = packed.padded_columns();
    let column_bytes = lower::column_bytes(columns).ok_or(too_large(&packed))?;
    let bytes = column_bytes.checked_add(plan.workspace_bytes()).ok_or(too_large(&packed))?;
    let mut bytes = aligned("workspace", bytes)?;
    let (vectors, workspace) = bytes.split_at_mut(column_bytes);
    lower::write_columns(stages, columns, vectors)?;
    call.run(stages, lower::near(stages, packed.k()), vectors, &plan, workspace, None)
}

/// Memory that runs use and do not keep. One may serve any number of products, one run at a time.
#[derive(Debug)]
pub struct Workspace<'a>(Memory<'a>);

#[derive(Debug)]
enum Memory<'a> {
    Owned(Aligned<u8>),
    Borrowed(&'a mut [u8]),
}

impl Workspace<'static> {
    /// Allocates; [`Gemm::workspace_bytes`] says how much a product needs.
    ///
    /// Memory that is not to be had leaves the workspace empty, and runs say [`Error::Workspace`].
    pub fn new(bytes: usize) -> Self {
        Self(aligned("workspace", bytes).map_or(Memory::Borrowed(&mut []), Memory::Owned))
    }
}

impl<'a> Workspace<'a> {
    /// Uses memory of the caller, of which up to 63 bytes at the start are left alone to align the rest.
    pub fn borrow(bytes: &'a mut [u8]) -> Self {
        Self(Memory::Borrowed(bytes))
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Owned(bytes) => bytes,
            Memory::Borrowed(bytes) => {
                let start = bytes.as_ptr().align_offset(64).min(bytes.len());
                &mut bytes[start..]
            }
        }
    }
}

/// A prepared product: weights, output stages, plan. `Send + Sync`; run it many times with new activations.
///
/// ```
/// use zeropoint::{Gemm, MatMut, MatRef, Multiplier, Packed, Stages};
/// let weights = [2u8, 130, 128, 255, 0, 127]; // 3 x 2, zero point 128
/// let packed = Packed::rhs(MatRef::row_major(&weights, 3, 2)?.zero_point(128))?;
/// let stages = Stages::<u8>::fixed(Multiplier::from_real(0.125)?).bias(&[100, -100]).zero_point(10);
/// let gemm = Gemm::new(packed, &stages)?;
/// let mut workspace = gemm.workspace();
///
/// let activations = [0u8, 1, 2, 3, 4, 5]; // 2 x 3, zero point 1
/// let mut codes = [0u8; 4];
/// let lhs = MatRef::row_major(&activations, 2, 3)?.zero_point(1);
/// gemm.run(lhs, MatMut::row_major(&mut codes, 2, 2)?, &mut workspace)?; // allocates nothing
/// assert_eq!(codes, [22, 0, 0, 45]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct Gemm<'a, O> {
    packed: Packed<'a>,
    stages: OwnedStages<O>,
    near: bool,
    columns: Aligned<u8>,
    plan: Plan,
}

impl<'a, O: Element> Gemm<'a, O> {
    /// Prepares products with `packed` weights; copies the vectors of `stages`.
    ///
    /// Vectors over the rows of the activations are checked against their number in each run.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Clamp`], [`Error::ZeroPoint`], [`Error::FixedPoint`], [`Error::Real`] for
    /// stages that do not fit, [`Error::Overflow`], [`Error::Memory`].
    pub fn new(packed: Packed<'a>, stages: &Stages<'_, O>) -> Result<Self, Error> {
        let known = Some(packed.columns());
        let (rows, cols) = if packed.side() == Side::Rhs { (None, known) } else { (known, None) };
        stages.check(rows, cols)?;
        let oriented = if packed.side() == Side::Rhs { *stages } else { stages.transposed() };
        let count = packed.padded_columns();
        let mut columns = aligned("stages", lower::column_bytes(count).ok_or(too_large(&packed))?)?;
        lower::write_columns(&oriented, count, &mut columns)?;
        let near = lower::near(&oriented, packed.k());
        let plan = plan_for(&packed, stages, packed.planned_rows())?;
        Ok(Self { stages: OwnedStages::repeated(stages, 1), near, columns, plan, packed })
    }

    /// The weights.
    pub fn packed(&self) -> &Packed<'a> {
        &self.packed
    }

    /// Bytes of workspace that runs on up to `threads` threads need, whatever M is.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn workspace_bytes(&self, threads: usize) -> Result<usize, Error> {
        let slot = self.plan.workspace_bytes();
        let slots = slot.checked_mul(threads.max(1)).and_then(|b| b.checked_add(self.columns.len()));
        slots.ok_or(too_large(&self.packed))
    }

    /// A workspace for serial runs.
    pub fn workspace(&self) -> Workspace<'static> {
        self.workspace_for(1)
    }

    /// A workspace for runs on up to `threads` threads.
    pub fn workspace_for(&self, threads: usize) -> Workspace<'static> {
        // `new` has checked one slot; a number of threads that overflows gets what one thread needs.
        let bytes = self.workspace_bytes(threads).or_else(|_| self.workspace_bytes(1)).unwrap_or(0);
        Workspace::new(bytes)
    }

    /// Runs serially: lhs M x K, out M x N. With a packed lhs, `activations` is rhs, K x N.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Length`], [`Error::ZeroPoint`] for what does not fit the weights,
    /// [`Error::Workspace`] if the workspace is too small, [`Error::Uninitialized`].
    pub fn run<'l, L: Code>(
        &self,
        activations: impl Into<Quantized<'l, L>>,
        out: MatMut<'_, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        self.options().run(activations, out, workspace)
    }

    /// What blocks of rows are computed from, by the stages that were prepared.
    pub(crate) fn parts(&self) -> Result<Parts<'_>, Error> {
        let stages = self.stages.borrow();
        Ok(Parts {
            backend: self.plan.backend(),
            weights: self.packed.weights()?,
            finish: lower::finish(&stages, self.near, self.packed.padded_columns(), &self.columns)?,
            plan: &self.plan,
        })
    }

    /// Runs with more than the usual arguments.
    pub fn options(&self) -> Options<'_, 'a, O> {
        Options { gemm: self, stages: None, threads: None }
    }

    /// What was chosen, and why.
    pub fn explain(&self) -> impl fmt::Display + '_ {
        struct Explanation<'e, 'a, O>(&'e Gemm<'a, O>);
        impl<O: Element> fmt::Display for Explanation<'_, '_, O> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Gemm { packed, near, plan, .. } = self.0;
                let (backend, side) = (plan.backend(), packed.side());
                writeln!(f, "kernel: {} (packed {side:?}, K = {})", backend.kernel(), packed.k())?;
                if let Some(shares) = packed.shares() {
                    writeln!(f, "weights: {shares}")?;
                }
                writeln!(f, "blocks: {} rows of activations at a time", plan.rows())?;
                match plan.depth() {
                    None => writeln!(f, "K: whole")?,
                    Some(depth) => writeln!(f, "K: pieces of {depth}, so that activations stay in L2")?,
                }
                match packed.outliers() {
                    Some(0) => writeln!(f, "rhs zero point: costs nothing")?,
                    Some(n) => writeln!(f, "rhs zero point: absorbed, but for {n} outliers")?,
                    None => writeln!(f, "rhs zero point: needs the sums of rows")?,
                }
                let form = if *near { "short form, its bound proven" } else { "general form" };
                write!(f, "output: {:?} by {:?}, {form}", O::DEST, self.0.stages.borrow().rounding)
            }
        }
        Explanation(self)
    }
}

/// A run with more than the usual arguments.
///
/// ```
/// # use zeropoint::{FloatScale, Gemm, MatMut, MatRef, Packed, Stages};
/// # let gemm = Gemm::new(Packed::rhs(MatRef::row_major(&[1i8, 2], 1, 2)?)?, &Stages::<f32>::dequantize(1.0))?;
/// # let mut workspace = gemm.workspace();
/// # let mut reals = [0f32; 4];
/// # let out = MatMut::row_major(&mut reals, 2, 2)?;
/// // dynamic quantization: the scales of this run's rows, beside those of the columns
/// let scale = FloatScale::Both { rows: &[0.5, 0.25], columns: &[0.1, 0.2] };
/// let lhs = MatRef::row_major(&[3u8, 4], 2, 1)?.zero_point(&[1, 2]);
/// gemm.options().stages(&Stages::dequantize(scale)).run(lhs, out, &mut workspace)?;
/// # assert_eq!(reals, [0.1, 0.4, 0.05, 0.2]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Options<'g, 'a, O> {
    gemm: &'g Gemm<'a, O>,
    stages: Option<Stages<'g, O>>,
    threads: Option<&'g dyn Threads>,
}

impl<'g, O: Element> Options<'g, '_, O> {
    /// Other output stages for this run: new scales, for one.
    pub fn stages(mut self, stages: &Stages<'g, O>) -> Self {
        self.stages = Some(*stages);
        self
    }

    /// Threads to split the run over. The bits do not depend on them.
    pub fn threads(mut self, threads: &'g dyn Threads) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Runs. See [`Gemm::run`].
    ///
    /// # Errors
    /// As [`Gemm::run`]; [`Error::Threads`] if the threads did not do what their trait says; those of
    /// [`Gemm::new`] for stages of this run.
    pub fn run<'l, L: Code>(
        self,
        activations: impl Into<Quantized<'l, L>>,
        out: MatMut<'_, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        let gemm = self.gemm;
        let stages = self.stages.unwrap_or_else(|| gemm.stages.borrow());
        let (m, n) = (out.rows(), out.cols());
        stages.check_lengths(Some(m), Some(n))?;
        if self.stages.is_some() {
            stages.check_values()?;
        }
        let call = Call::new(&gemm.packed, activations.into(), out)?;
        let stages = if gemm.packed.side() == Side::Rhs { stages } else { stages.transposed() };
        let (bytes, own, plan) = (workspace.bytes(), gemm.columns.len(), &gemm.plan);
        let needed = own.saturating_add(plan.workspace_bytes());
        if bytes.len() < needed {
            return Err(Error::Workspace { needed, got: bytes.len() });
        }
        let (vectors, slots) = bytes.split_at_mut(own);
        let (near, vectors) = if self.stages.is_none() {
            (gemm.near, &*gemm.columns)
        } else {
            lower::write_columns(&stages, gemm.packed.padded_columns(), vectors)?;
            (lower::near(&stages, gemm.packed.k()), &*vectors)
        };
        call.run(&stages, near, vectors, plan, slots, self.threads)
    }
}

impl<O> fmt::Debug for Options<'_, '_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.threads.map(Threads::threads);
        f.debug_struct("Options").field("threads", &threads).finish_non_exhaustive()
    }
}

fn too_large(packed: &Packed<'_>) -> Error {
    Error::Overflow { argument: "workspace", a: packed.k(), b: packed.columns() }
}

/// The plan of calls with up to `m` rows of activations; where nothing is to be computed, K does not matter.
fn plan_for<O: Element>(packed: &Packed<'_>, stages: &Stages<'_, O>, m: usize) -> Result<Plan, Error> {
    let (backend, n) = (packed.kernel_for(stages), packed.columns());
    let k = if m == 0 || n == 0 { 0 } else { packed.k() };
    backend.plan(m, k, plan::blocking(backend, n, k))
}

/// One call, turned so that the weights are rhs.
struct Call<'c, L, O> {
    weights: Weights<'c>,
    packed: &'c Packed<'c>,
    codes: MatRef<'c, L>,
    zero_point: ZeroPoint<'c>,
    out: MatMut<'c, O>,
}

impl<'c, L: Code, O: Element> Call<'c, L, O> {
    #[inline] // like the others on this road: small products spend a third of their time in copies of arguments
    fn new(packed: &'c Packed<'_>, activations: Quantized<'c, L>, out: MatMut<'c, O>) -> Result<Self, Error> {
        let Quantized { codes, zero_point } = activations;
        let (argument, codes, out) = match packed.side() {
            Side::Rhs => ("lhs", codes, out),
            Side::Lhs => ("rhs", codes.transposed(), out.transposed()),
        };
        // Errors speak of the shapes as the caller sees them.
        let seen = |(rows, cols)| if packed.side() == Side::Rhs { (rows, cols) } else { (cols, rows) };
        let shape = |argument, expected, got| {
            let (expected, got) = (seen(expected), seen(got));
            if expected == got { Ok(()) } else { Err(Error::Shape { argument, expected, got }) }
        };
        let (m, n) = (codes.rows(), packed.columns());
        shape(argument, (m, packed.k()), (m, codes.cols()))?;
        shape("out", (m, n), (out.rows(), out.cols()))?;
        zero_point.check(argument, m, L::RANGE.0, L::RANGE.1)?;
        Ok(Self { weights: packed.weights()?, packed, codes, zero_point, out })
    }

    /// Runs on one thread or many; `workspace` has at least one slot.
    #[inline]
    fn run(
        self,
        stages: &Stages<'_, O>,
        near: bool,
        vectors: &[u8],
        plan: &Plan,
        workspace: &mut [u8],
        threads: Option<&dyn Threads>,
    ) -> Result<(), Error> {
        let Self { weights, packed, codes, zero_point, out } = self;
        if stages.accumulate && !out.is_initialized() {
            return Err(Error::Uninitialized);
        }
        let backend = plan.backend();
        let finish = lower::finish(stages, near, packed.padded_columns(), vectors)?;
        let shape = [out.rows(), packed.k(), out.cols()];
        let threads = threads.map(|threads| Few::new(threads, plan::product_ns(backend, shape)));
        let Some(threads) = threads.filter(|threads| threads.threads() > 1) else {
            let lhs = Quantized { codes, zero_point };
            return Job { lhs, weights, finish, out }.run(plan, workspace);
        };
        let parts = Parts { backend, weights, finish, plan };
        let (rows, cols) = plan::shares(backend, shape, threads.threads(), [plan.rows(), 1]);
        let blocks = Blocks::new(out, rows, cols);
        parallel::run(&threads, &blocks, workspace, plan.workspace_bytes(), |block, slot| {
            let m = block.out.rows();
            let zero_point = match zero_point {
                ZeroPoint::One(zero) => ZeroPoint::One(zero),
                ZeroPoint::Each(zeros) => ZeroPoint::Each(&zeros[block.row..block.row + m]),
            };
            let lhs = Quantized { codes: codes.part(block.row, 0, m, codes.cols())?, zero_point };
            parts.run(lhs, block, slot)
        })
    }
}

/// What the blocks of one run have in common.
pub(crate) struct Parts<'c> {
    pub backend: Backend,
    pub weights: Weights<'c>,
    pub finish: Finish<'c>,
    pub plan: &'c Plan,
}

impl Parts<'_> {
    /// Computes a block from its rows of lhs, in a slot of [`Plan::workspace_bytes`].
    pub fn run<O: Element>(&self, lhs: impl Rows, block: Block<'_, O>, slot: &mut [u8]) -> Result<(), Error> {
        let (m, n) = (block.out.rows(), block.out.cols());
        let weights = self.weights.part(self.backend, block.col, n)?;
        let finish = self.finish.part(block.row, m, block.col);
        Job { lhs, weights, finish, out: block.out }.run(self.plan, slot)
    }
}

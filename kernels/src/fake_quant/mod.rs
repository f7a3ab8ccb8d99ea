//! Fake quantization, element by element: reals to the nearest reals that codes stand for, and gradients back.
//!
//! The loops are plain Rust, compiled once with the features of each row, so that vectors are the compiler's; those with sums,
//! or with steps of each element, take blocks of sixteen elements. Lanes store past the caches what these could not keep. Every
//! element takes the same float operations on every backend, fused only where the product is exact; sums of gradients have an
//! order of their own, so bits do not depend on the backend.
//!
//! ```text
//! Nearest    y = scale * half_away(clamp(x / scale, first, last))
//! Divide     y = floor((clamp(x, low, high) - low) / scale   - first + 1/2) * scale
//! Multiply   y = floor((clamp(x, low, high) - low) * inverse - first + 1/2) * scale
//! ```
//!
//! Sums of a run of elements are those of TensorFlow's CPU kernels (Eigen's, of up to 8,192 elements, one thread, vectors of eight):
//! element i gains row i % 32, as long as there are 32 more. Row by row, 8 to 31 are added to the eight first; whole eights of the
//! other elements likewise. Of those eight, each of the first four gains the one four behind it; then two behind; and so on.
//! The last elements, fewer than eight, are summed in order, and what there is is added. Where a run is a single element, lines of
//! all channels are summed so.

mod gradients;

use core::marker::PhantomData;

use gradients::{Backward, Bounds, Index, Learned, Products};

use crate::Error;
use crate::backend::Backend;
use crate::lanes::Lanes;

/// Elements of a block.
const BLOCK: usize = 16;
/// Sums of each kind that take turns at elements, or lines.
const ROWS: usize = 32;
/// Lines of channels that come at once: the sums of some channels, out of all, stay in L1 for them.
const LINES: usize = 8 * ROWS;
/// Elements from where floats are read, of gradients or to be rounded past the caches, to where they are fetched; and so where gradients
/// are stored through the caches. Zen 3: rounding from memory, a step a tensor, 31 to 34 GB/s; gradients from L3, 64 channels, then of 64-bit sums, 25 to 31.
const AHEAD: usize = 512;
/// 1.5 * 2^23: beside it floats are integers, so that adding it rounds to the nearest, for |x| < 2^22.
const MAGIC: f32 = 12_582_912.0;
/// The largest float below 1/2. Adding 1/2 itself would round 0.49999997 up.
const BELOW_HALF: f32 = 0.499_999_97;

/// Where an element is rounded to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FakeForm {
    /// To the nearest multiple of the scale, ties away from zero.
    Nearest,
    /// TensorFlow's form for a tensor: half up, counted from the lower end, by division.
    Divide,
    /// TensorFlow's form for channels: the same by multiplication.
    Multiply,
}

/// Which gradients of the parameters are summed, and which elements pass theirs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FakeGradient {
    /// `low <= x <= high` passes; the sums are of dy below, and above.
    Bounds,
    /// The same, but dy is multiplied by 1 or 0, as TensorFlow does: what does not pass is -0 if dy is negative, and NaN if it is infinite.
    Products,
    /// `half_away(x / scale)` in `first..=last` passes; the sums are of dy below, and above.
    Index,
    /// The same passes; the sums are the gradient of the scale, and that of the zero point divided by the scale.
    Learned,
}

/// Steps of one or several channels; a vector has an element a channel. Channels take turns, each for a run of elements.
///
/// ```
/// use zeropoint_kernels::{FakeForm, FakeGradient, FakeQuant, available};
/// // Codes 0..=4 of scale 0.5, and 1 stands for 0.
/// let (low, high) = (&[-0.5], &[1.5]);
/// let steps =
///     FakeQuant { form: FakeForm::Nearest, run: 4, cached: 9, scale: &[0.5], inverse: &[2.0], low, high, first: &[-1.0], last: &[3.0] };
/// let backend = available().next().unwrap();
/// let (x, mut y, mut dx, mut sums) = ([-9.0, 0.2, 0.25, 1.6], [0.0; 4], [0.0; 4], [[0.0]; 2]);
/// steps.forward(backend, &x, &mut y)?;
/// assert_eq!(y, [-0.5, 0.0, 0.5, 1.5]);
/// let [below, above] = &mut sums;
/// steps.backward(backend, FakeGradient::Bounds, [&x, &[1.0, 2.0, 3.0, 4.0]], &mut dx, [below, above])?;
/// assert_eq!((dx, sums), ([0.0, 2.0, 3.0, 0.0], [[1.0], [4.0]]));
/// # Ok::<(), zeropoint_kernels::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FakeQuant<'a> {
    /// Where elements are rounded to.
    pub form: FakeForm,
    /// Elements before it is the next channel's turn.
    pub run: usize,
    /// Elements of an output that the caches keep; of more, what is not in place goes past them, where the CPU has stores that do. Channels
    /// side by side are rounded past them only if there are whole lines of them, and the output begins with a line.
    pub cached: usize,
    /// The real difference between neighbours.
    pub scale: &'a [f32],
    /// What [`FakeForm::Multiply`] multiplies by.
    pub inverse: &'a [f32],
    /// The smallest real.
    pub low: &'a [f32],
    /// The largest.
    pub high: &'a [f32],
    /// Of [`FakeForm::Nearest`], the smallest multiple of the scale, at most 0; else the steps from the lower end to 0.
    pub first: &'a [f32],
    /// Of [`FakeForm::Nearest`], the largest multiple, at least 0. Both are integers within 2^17 of zero.
    pub last: &'a [f32],
}

/// Work on elements, everything checked. Made by [`FakeQuant`].
#[derive(Clone, Copy, Debug)]
pub struct FakeQuantRun<'a> {
    steps: &'a FakeQuant<'a>,
    len: usize,
    x: *const f32,
    /// y, or dx; may be `x`.
    out: *mut f32,
    back: Option<Back>,
}

#[derive(Clone, Copy, Debug)]
struct Back {
    gradient: FakeGradient,
    dy: *const f32,
    sums: [*mut f32; 2],
}

impl FakeQuantRun<'_> {
    /// Whether whole lines go past the caches. Channels side by side have to begin with one.
    #[inline(always)]
    fn streams<L: Lanes>(&self) -> bool {
        let FakeQuant { run, cached, scale, .. } = *self.steps;
        let whole = run != 1 || scale.len().is_multiple_of(BLOCK) && before_line(self.out) == 0;
        L::STREAMS && self.len > cached && self.out.cast_const() != self.x && whole
    }
}

impl FakeQuant<'_> {
    /// Rounds as many elements as there are. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Length`] if slices differ in length; [`Error::Limit`] for a run of 0, [`Error::Real`] for steps of
    /// [`FakeForm::Nearest`] beyond 2^17.
    pub fn forward(&self, backend: Backend, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.check(self.form == FakeForm::Nearest)?;
        length("y", x.len(), y.len())?;
        self.go(backend, x.as_ptr(), y.as_mut_ptr(), x.len(), None);
        Ok(())
    }

    /// [`FakeQuant::forward`] where the elements are.
    ///
    /// # Errors
    /// As there.
    pub fn forward_in_place(&self, backend: Backend, x: &mut [f32]) -> Result<(), Error> {
        self.check(self.form == FakeForm::Nearest)?;
        let out = x.as_mut_ptr();
        self.go(backend, out, out, x.len(), None);
        Ok(())
    }

    /// Gradients of as many elements, x and dy, to dx, and sums of those of parameters: of each run its own; if a run is a single element, of each
    /// channel, in the first of the rows of [`FakeQuant::sums`], which are written over.
    ///
    /// # Errors
    /// As [`FakeQuant::forward`], where [`FakeGradient::Learned`] takes no steps beyond 2^17 either; the sums have the length of
    /// [`FakeQuant::sums`]. [`Error::Divisor`] for runs of single elements that are not whole lines of all channels.
    pub fn backward(
        &self,
        backend: Backend,
        gradient: FakeGradient,
        [x, dy]: [&[f32]; 2],
        dx: &mut [f32],
        [first, second]: [&mut [f32]; 2],
    ) -> Result<(), Error> {
        self.check(gradient == FakeGradient::Learned)?;
        length("dy", x.len(), dy.len())?;
        length("dx", x.len(), dx.len())?;
        if self.run == 1 && !x.len().is_multiple_of(self.scale.len()) {
            return Err(Error::Divisor { argument: "channels", value: self.scale.len(), of: x.len() });
        }
        length("sums", self.sums(x.len()), first.len())?;
        length("sums", self.sums(x.len()), second.len())?;
        let back = Back { gradient, dy: dy.as_ptr(), sums: [first.as_mut_ptr(), second.as_mut_ptr()] };
        self.go(backend, x.as_ptr(), dx.as_mut_ptr(), x.len(), Some(back));
        Ok(())
    }

    /// How many sums of each kind so many elements need: one a run; if a run is a single element, a row of all channels for each line of them, 32 at
    /// most.
    pub fn sums(&self, len: usize) -> usize {
        match (self.run, self.scale.len()) {
            (0, _) | (_, 0) => 0,
            (1, channels) => channels.saturating_mul((len / channels).min(ROWS)),
            (run, _) => len.div_ceil(run),
        }
    }

    /// `rounds` if steps become integers.
    fn check(&self, rounds: bool) -> Result<(), Error> {
        let Self { run, scale, inverse, low, high, first, last, .. } = *self;
        if run == 0 || scale.is_empty() {
            return Err(Error::Limit { argument: "run", value: 0, low: 1, high: usize::MAX });
        }
        for vector in [inverse, low, high, first, last] {
            length("steps", scale.len(), vector.len())?;
        }
        let far = |step: &&f32| step.is_nan() || step.abs() > 131_072.0;
        match rounds.then(|| first.iter().chain(last).find(far)).flatten() {
            Some(step) => Err(Error::Real { argument: "steps", value: f64::from(*step) }),
            None => Ok(()),
        }
    }

    fn go(&self, backend: Backend, x: *const f32, out: *mut f32, len: usize, back: Option<Back>) {
        let run = FakeQuantRun { steps: self, len, x, out, back };
        // SAFETY: Features: the backend exists, so the CPU has them. FakeQuant: lengths are checked, and all is borrowed until the
        // call returns.
        unsafe { (backend.row().fake_quant)(&run) };
    }
}

fn length(argument: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Length { argument, expected, got }) }
}

/// Runs.
///
/// # Safety
/// * **Features** of the kernel whose entry calls this.
/// * **FakeQuant**: `run` was made by [`FakeQuant`], which checked lengths, and that steps which are rounded are within 2^17; the
///   memory it points to is still borrowed.
#[inline(always)]
pub(crate) unsafe fn run<L: Lanes>(run: &FakeQuantRun<'_>) {
    // SAFETY: our caller's clauses.
    unsafe {
        match (run.back, run.steps.form) {
            (None, FakeForm::Nearest) => pieces(run, Forward::<L, Nearest>(PhantomData)),
            (None, FakeForm::Divide) => pieces(run, Forward::<L, TensorFlow<true>>(PhantomData)),
            (None, FakeForm::Multiply) => pieces(run, Forward::<L, TensorFlow<false>>(PhantomData)),
            (Some(back), _) => match back.gradient {
                FakeGradient::Bounds => pieces(run, Backward::<L, Bounds>::new(back)),
                FakeGradient::Products => pieces(run, Backward::<L, Products>::new(back)),
                FakeGradient::Index => pieces(run, Backward::<L, Index>::new(back)),
                FakeGradient::Learned => pieces(run, Backward::<L, Learned>::new(back)),
            },
        }
        if run.streams::<L>() {
            L::fence();
        }
    }
}

/// The steps of one element.
#[derive(Clone, Copy)]
struct Step {
    scale: f32,
    inverse: f32,
    low: f32,
    high: f32,
    first: f32,
    last: f32,
}

/// Steps of the elements of a run.
trait Steps: Copy {
    /// Whether they differ.
    const EACH: bool;
    /// Those from element `i` on.
    fn from(self, i: usize) -> Self;
    /// Those of element `i` of the run.
    unsafe fn at(self, i: usize) -> Step;
}

/// The same for all.
impl Steps for Step {
    const EACH: bool = false;

    #[inline(always)]
    fn from(self, _: usize) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn at(self, _: usize) -> Step {
        self
    }
}

/// One channel an element, from this one on: where scale, inverse, low, high, first and last are. Behind a reference, they would be read again
/// after every store.
#[derive(Clone, Copy)]
struct Each([*const f32; 6]);

impl Each {
    /// Those from channel `first` on.
    #[inline(always)]
    fn of(steps: &FakeQuant<'_>, first: usize) -> Self {
        let FakeQuant { scale, inverse, low, high, first: lowest, last, .. } = *steps;
        Self([scale, inverse, low, high, lowest, last].map(<[f32]>::as_ptr)).from(first)
    }
}

impl Steps for Each {
    const EACH: bool = true;

    #[inline(always)]
    fn from(self, i: usize) -> Self {
        Self(self.0.map(|steps| steps.wrapping_add(i)))
    }

    #[inline(always)]
    unsafe fn at(self, i: usize) -> Step {
        // SAFETY: FakeQuant: there are as many channels.
        let [scale, inverse, low, high, first, last] = self.0.map(|steps| unsafe { *steps.add(i) });
        Step { scale, inverse, low, high, first, last }
    }
}

/// A form, as a type.
trait Form {
    fn real(x: f32, step: Step) -> f32;
}

/// `x / scale`, clamped to the steps there are, and that rounded; of a NaN the first.
#[inline(always)]
fn nearest(ratio: f32, step: Step) -> f32 {
    let clamped = if ratio > step.first { ratio } else { step.first };
    let clamped = if clamped < step.last { clamped } else { step.last };
    let away = f32::from_bits(clamped.to_bits() & 0x8000_0000 | BELOW_HALF.to_bits());
    // SAFETY: FakeQuant: steps are within 2^17 where this is called, so it is no NaN, and far from the ends of an i32.
    let whole: i32 = unsafe { (clamped + away).to_int_unchecked() };
    whole as f32
}

struct Nearest;
impl Form for Nearest {
    #[inline(always)]
    fn real(x: f32, step: Step) -> f32 {
        let y = step.scale * nearest(x / step.scale, step);
        if x.is_nan() { x } else { y }
    }
}

struct TensorFlow<const DIVIDE: bool>;
impl<const DIVIDE: bool> Form for TensorFlow<DIVIDE> {
    #[inline(always)]
    fn real(x: f32, step: Step) -> f32 {
        let clamped = if x > step.high { step.high } else { x };
        let clamped = if clamped < step.low { step.low } else { clamped };
        let above = clamped - step.low;
        let steps = if DIVIDE { above / step.scale } else { above * step.inverse };
        let steps = steps - step.first + 0.5;
        // The floor; of what is infinite or NaN, itself.
        let whole = steps + MAGIC - MAGIC;
        let whole = if whole > steps { whole - 1.0 } else { whole };
        whole * step.scale
    }
}

/// What is done to pieces. No closure: on its own, that would be compiled without the kernel's features.
trait Work {
    /// Takes `len` elements from `start` on.
    unsafe fn piece(&self, run: &FakeQuantRun<'_>, start: usize, len: usize, piece: Piece);
}

/// Rounds by a form.
struct Forward<L, F>(PhantomData<(L, F)>);

impl<L: Lanes, F: Form> Work for Forward<L, F> {
    #[inline(always)]
    unsafe fn piece(&self, run: &FakeQuantRun<'_>, start: usize, len: usize, piece: Piece) {
        let stream = run.streams::<L>();
        // SAFETY: our caller's clauses: pieces are parts of both slices.
        unsafe {
            let (x, out) = (run.x.add(start), run.out.add(start));
            match piece {
                Piece::One(step) => reals::<L, F, _>(x, out, len, step, stream),
                Piece::Each { width } => {
                    let steps = Each::of(run.steps, 0);
                    for at in (0..len).step_by(width) {
                        reals::<L, F, _>(x.add(at), out.add(at), width, steps, stream);
                    }
                }
            }
        }
    }
}

/// Whose steps a piece of the elements takes.
enum Piece {
    /// These.
    One(Step),
    /// Those of so many channels, an element each: some lines of them.
    Each { width: usize },
}

/// Does the work of all pieces.
#[inline(always)]
unsafe fn pieces<W: Work>(run: &FakeQuantRun<'_>, work: W) {
    let channels = run.steps.scale.len();
    let each = run.steps.run == 1;
    let (mut start, mut channel) = (0, 0);
    while start < run.len {
        let left = run.len - start;
        // SAFETY: a channel there is; our caller's clauses.
        let (len, piece) = unsafe {
            if each {
                let width = channels.min(left);
                (width * (left / width).min(LINES), Piece::Each { width })
            } else {
                (run.steps.run.min(left), Piece::One(Each::of(run.steps, channel).at(0)))
            }
        };
        // SAFETY: as many as are left, or fewer; our caller's clauses.
        unsafe { work.piece(run, start, len, piece) };
        channel = if channel + 1 == channels { 0 } else { channel + 1 };
        start += len;
    }
}

/// Elements, past the caches if `stream`, where x is not y; with the steps of each in blocks, else one by one, which the compiler
/// makes vectors of: of blocks it would make vectors across them. It asks at run time whether slices overlap, but not of so many as
/// there are with the steps of each.
#[inline(always)]
unsafe fn reals<L: Lanes, F: Form, S: Steps>(x: *const f32, out: *mut f32, len: usize, steps: S, stream: bool) {
    // SAFETY: so many elements; a block is read before it is written, since it may be the same.
    unsafe {
        let one = |i: usize| *out.add(i) = F::real(*x.add(i), steps.at(i));
        if stream || S::EACH {
            let head = if stream { before_line(out).min(len) } else { 0 };
            let (end, step) = (len - (len - head) % BLOCK, BLOCK as isize);
            let backward = stream && !S::EACH && len > AHEAD && shadowed(x, out);
            let (mut at, step) = if backward { (end.wrapping_sub(BLOCK), -step) } else { (head, step) };
            (0..head).for_each(one);
            for _ in (head..end).step_by(BLOCK) {
                if stream {
                    L::fetch(x.wrapping_add(at).wrapping_offset(step * (AHEAD / BLOCK) as isize));
                }
                let (mut block, steps) = (x.add(at).cast::<[f32; BLOCK]>().read_unaligned(), steps.from(at));
                for (i, x) in block.iter_mut().enumerate() {
                    *x = F::real(*x, steps.at(i));
                }
                put::<L>(out.add(at), block, stream);
                at = at.wrapping_add_signed(step);
            }
            (end..len).for_each(one);
        } else if core::ptr::eq(x, out) {
            for i in 0..len {
                *out.add(i) = F::real(*out.add(i), steps.at(i));
            }
        } else {
            for i in 0..len {
                *out.add(i) = F::real(*x.add(i), steps.at(i));
            }
        }
    }
}

/// Whether x, going forward, is loaded within 512 bytes of where stores past the caches seem to be: a CPU compares twelve bits of
/// addresses first, and such loads wait for the stores. Zen 3, 16 MiB: 28 GB/s, and 41 going backward.
#[inline(always)]
fn shadowed(x: *const f32, out: *const f32) -> bool {
    (1..512).contains(&(out.addr().wrapping_sub(x.addr()) % 4096))
}

/// Elements before the next cache line.
#[inline(always)]
fn before_line(out: *const f32) -> usize {
    (out.addr().wrapping_neg() / size_of::<f32>()) % BLOCK
}

/// Writes a block; past the caches if `stream`, where it is a cache line.
#[inline(always)]
unsafe fn put<L: Lanes>(out: *mut f32, block: [f32; BLOCK], stream: bool) {
    // SAFETY: our caller's: a block, aligned if it says so. `L::N` divides it.
    unsafe {
        if stream {
            for i in (0..BLOCK).step_by(L::N) {
                L::stream_f(out.add(i), L::load_f(block.as_ptr().add(i)));
            }
        } else {
            out.cast::<[f32; BLOCK]>().write_unaligned(block);
        }
    }
}

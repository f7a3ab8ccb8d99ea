//! Fake quantization: what integers will do to reals, while the network is still one of floats.

use alloc::vec::Vec;

use zeropoint_kernels::{Backend, Error, FakeForm, FakeGradient, FakeQuant as Kernel};

use super::axis::{Axis, collect, equal};
use super::gradients::{Gradients, Pass};
use super::grid::{Grid, Levels};
use crate::{dispatch, plan};

/// The shortest run of a channel that has a loop of its own; shorter runs of all channels are taken together.
const SHORT: usize = 16;

/// Which elements pass their gradient on, and whose gradients are summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Gradient {
    /// The straight-through gradient (paper 3): `dx = dy` for reals of the range, its ends included, as TensorFlow has it. The sums are
    /// those of the ends: dmin of dy below, dmax of dy above.
    #[default]
    Range,
    /// `dx = dy` where the code nearest to x, before the clamp, is one of the grid: up to half a step beyond the ends, as PyTorch
    /// has it. The sums are dmin and dmax, of elements beyond.
    Index,
    /// [`Gradient::Index`], and sums for a step that is learned (LSQ): dscale, of `dy * (n - x / scale)` inside and `dy * n` at an end, n being
    /// the code less the zero point; dzero_point, of `-scale * dy` beyond the ends. Factors are the caller's.
    Learned,
}

/// What fake quantization is made of.
#[derive(Clone, Copy, Debug)]
pub struct FakeQuantSpec<'a> {
    /// One, or one a channel.
    pub grids: &'a [Grid],
    /// Which elements a grid is for.
    pub axis: Axis,
    /// Which gradients there are.
    pub gradient: Gradient,
    /// The backend; if `None`, the [`selected`](crate::selected) one. The bits do not depend on it.
    pub backend: Option<Backend>,
}

impl<'a> FakeQuantSpec<'a> {
    /// Of a whole tensor, with straight-through gradients.
    pub const fn new(grids: &'a [Grid]) -> Self {
        Self { grids, axis: Axis::Tensor, gradient: Gradient::Range, backend: None }
    }
}

/// How TensorFlow rounds. Both forms differ, in one of 600,000 random reals and a fourteenth of those on ties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// By division: `FakeQuantWithMinMaxVars`.
    Division,
    /// By multiplication: `FakeQuantWithMinMaxVarsPerChannel`, and `FakeQuantWithMinMaxArgs`.
    Multiplication,
}

/// What fake quantization in TensorFlow's way is made of.
#[derive(Clone, Copy, Debug)]
pub struct TensorFlowSpec<'a> {
    /// The lower end of the range, one or one a channel; anything, NaN included.
    pub min: &'a [f32],
    /// The upper end, likewise.
    pub max: &'a [f32],
    /// How many codes; from 0, or from 1 if narrow.
    pub levels: Levels,
    /// How to round.
    pub form: Form,
    /// Which elements a range is for.
    pub axis: Axis,
    /// The backend; if `None`, the [`selected`](crate::selected) one. The bits do not depend on it.
    pub backend: Option<Backend>,
}

impl<'a> TensorFlowSpec<'a> {
    /// Of a whole tensor, by division.
    pub const fn new(min: &'a [f32], max: &'a [f32], levels: Levels) -> Self {
        Self { min, max, levels, form: Form::Division, axis: Axis::Tensor, backend: None }
    }
}

/// Fake quantization, forward and back (paper, section 3 and eq. 12), prepared for a tensor or its channels.
///
/// Forward is `dequantize(quantize(x))`, bit for bit, with the quantizer that the integer network will use, [`Grid::quantize`]; a NaN
/// stays NaN, and has the gradient 0.
///
/// ```
/// use zeropoint::training::{FakeQuant, FakeQuantSpec, Gradients, Grid, Levels};
/// let grid = Grid::from_range(-1.0, 1.0, Levels::bits(8)?)?;
/// let fake = FakeQuant::new(&FakeQuantSpec::new(&[grid]))?;
/// let (x, dy) = ([-3.0, -0.3, 0.7, 2.0], [1.0, 2.0, 3.0, 4.0]);
/// let (mut y, mut dx, mut gradients) = ([0.0; 4], [0.0; 4], Gradients::new(&fake)?);
/// fake.forward(&x, &mut y)?;
/// assert_eq!(y, x.map(|x| grid.dequantize(grid.quantize(x))));
/// fake.backward(&x, &dy, &mut dx, &mut gradients)?;
/// assert_eq!(dx, [0.0, 2.0, 3.0, 0.0]);
/// assert_eq!(gradients.range(), Some([&[1.0][..], &[4.0][..]])); // dmin, dmax
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FakeQuant {
    backend: Backend,
    axis: Axis,
    form: FakeForm,
    gradient: Gradient,
    /// Elements that follow one another with the same steps.
    run: usize,
    /// Elements of an output that the caches keep.
    cached: usize,
    steps: [Vec<f32>; 6],
    /// Channels whose range is 0..=0: in TensorFlow's way, they give 0 and pass all gradients on.
    empty: Vec<usize>,
}

/// The steps of a channel, in the order of the vectors: scale, inverse, low, high, first, last.
type Steps = [f32; 6];

impl FakeQuant {
    /// By the library's own quantizer.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one grid a channel; [`Error::Limit`] for an axis that is none; [`Error::Overflow`],
    /// [`Error::Memory`], [`Error::Backend`].
    pub fn new(spec: &FakeQuantSpec<'_>) -> Result<Self, Error> {
        let FakeQuantSpec { grids, axis, gradient, backend } = *spec;
        axis.check_each("grids", grids.len())?;
        Self::with(axis, FakeForm::Nearest, gradient, backend, |channel| steps(&grids[channel]))
    }

    /// Another grid for a whole tensor.
    pub(crate) fn set_grid(&mut self, grid: &Grid) {
        self.steps.iter_mut().zip(steps(grid)).for_each(|(vector, step)| vector.fill(step));
    }

    /// In TensorFlow's way, bit for bit, sums of gradients included ([`Gradients`]), in strict IEEE arithmetic. TensorFlow flushes denormal
    /// numbers to zero; here a range below 2^-126 is a range.
    ///
    /// Ranges are not checked: NaN, infinite or reversed ends, and ends that are the same, give what they give there. A range
    /// without 0 is shifted, not extended: 2..=3 acts as 0..=1. The gradient is [`Gradient::Range`], and dy is multiplied by 1 or by 0,
    /// which of a negative one is -0.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one range a channel, and those of [`FakeQuant::new`].
    ///
    /// ```
    /// use zeropoint::training::{FakeQuant, Levels, TensorFlowSpec};
    /// let fake = FakeQuant::tensorflow(&TensorFlowSpec::new(&[-1.0], &[1.0], Levels::bits(8)?))?;
    /// let mut x = [-2.0, -0.5, 0.0, 0.5, 2.0];
    /// fake.forward_in_place(&mut x)?;
    /// assert_eq!(x, [-0.9960785, -0.5019608, 0.0, 0.5019608, 1.0039216]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    pub fn tensorflow(spec: &TensorFlowSpec<'_>) -> Result<Self, Error> {
        let TensorFlowSpec { min, max, levels, form, axis, backend } = *spec;
        axis.check_each("min", min.len())?;
        axis.check_each("max", max.len())?;
        let form = match form {
            Form::Division => FakeForm::Divide,
            Form::Multiplication => FakeForm::Multiply,
        };
        let steps = |channel: usize| nudged(min[channel], max[channel], levels);
        let mut fake = Self::with(axis, form, Gradient::Range, backend, steps)?;
        let is_empty = |channel: &usize| min[*channel] == 0.0 && max[*channel] == 0.0;
        let count = (0..axis.channels()).filter(is_empty).count();
        fake.empty = collect(count, (0..axis.channels()).filter(is_empty))?;
        Ok(fake)
    }

    fn with(
        axis: Axis,
        form: FakeForm,
        gradient: Gradient,
        backend: Option<Backend>,
        steps: impl Fn(usize) -> Steps,
    ) -> Result<Self, Error> {
        let backend = backend.map_or_else(dispatch::selected, Ok)?;
        // Elements of short runs have steps of their own, so that the runs of all channels make one.
        let (run, repeats) = match axis {
            Axis::Tensor => (usize::MAX, 1),
            Axis::Channels { inner, .. } if inner >= SHORT => (inner, 1),
            Axis::Channels { inner, .. } => (1, inner),
        };
        let (channels, mut vectors) = (axis.channels(), <[Vec<f32>; 6]>::default());
        for (at, vector) in vectors.iter_mut().enumerate() {
            *vector = collect(channels * repeats, (0..channels * repeats).map(|i| steps(i / repeats)[at]))?;
        }
        let cached = plan::cached_floats(run);
        Ok(Self { backend, axis, form, gradient, run, cached, steps: vectors, empty: Vec::new() })
    }

    /// Which elements share steps.
    pub const fn axis(&self) -> Axis {
        self.axis
    }

    /// Which gradients there are.
    pub const fn gradient(&self) -> Gradient {
        self.gradient
    }

    /// Rounds each element to a real of its grid. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length, [`Error::Divisor`] if they are not whole turns of the channels.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.axis.check(x.len())?;
        self.kernel().forward(self.backend, x, y)?;
        self.fill_empty(y);
        Ok(())
    }

    /// [`FakeQuant::forward`] where the elements are.
    ///
    /// # Errors
    /// As there.
    pub fn forward_in_place(&self, x: &mut [f32]) -> Result<(), Error> {
        self.axis.check(x.len())?;
        self.kernel().forward_in_place(self.backend, x)?;
        self.fill_empty(x);
        Ok(())
    }

    /// From x and the gradient dy of what forward made of it: the gradient dx, and those of the parameters. Allocates nothing.
    ///
    /// # Errors
    /// As [`FakeQuant::forward`]; [`Error::Length`] of gradients that were made for another axis.
    pub fn backward(&self, x: &[f32], dy: &[f32], dx: &mut [f32], gradients: &mut Gradients) -> Result<(), Error> {
        self.axis.check(x.len())?;
        let gradient = match (self.form, self.gradient) {
            (FakeForm::Nearest, Gradient::Range) => FakeGradient::Bounds,
            (_, Gradient::Range) => FakeGradient::Products,
            (_, Gradient::Index) => FakeGradient::Index,
            (_, Gradient::Learned) => FakeGradient::Learned,
        };
        equal("dy", x.len(), dy.len())?;
        equal("dx", x.len(), dx.len())?;
        let kernel = self.kernel();
        // What is done in parts goes past the caches as a whole, or not.
        let cached = if x.len() > self.cached { 0 } else { usize::MAX };
        let inner = match self.axis {
            Axis::Tensor => x.len().max(1),
            Axis::Channels { inner, .. } => inner,
        };
        let kernel = Kernel { cached, ..kernel };
        gradients.fill(self, &mut Pass { backend: self.backend, gradient, kernel, inner, x, dy, dx })?;
        if !self.empty.is_empty() {
            for (_, run) in self.axis.runs(x.len()).filter(|(channel, _)| self.empty.contains(channel)) {
                dx[run.clone()].copy_from_slice(&dy[run]);
            }
        }
        Ok(())
    }

    /// Whether channels take turns at elements.
    pub(crate) fn is_side_by_side(&self) -> bool {
        matches!(self.axis, Axis::Channels { inner: 1, .. })
    }

    /// How many sums of each kind the kernel keeps: of all lines; or, where elements are not side by side, of one.
    pub(crate) fn line(&self) -> usize {
        let steps = self.steps[0].len();
        if self.is_side_by_side() { self.kernel().sums(usize::MAX) } else { steps }
    }

    /// The scale of a channel.
    pub(crate) fn scale(&self, channel: usize) -> f32 {
        let scales = &self.steps[0];
        scales[channel * (scales.len() / self.axis.channels())]
    }

    /// Channels whose range is empty.
    pub(crate) fn empty(&self) -> &[usize] {
        &self.empty
    }

    fn kernel(&self) -> Kernel<'_> {
        let [scale, inverse, low, high, first, last] = &self.steps;
        Kernel { form: self.form, run: self.run, cached: self.cached, scale, inverse, low, high, first, last }
    }

    fn fill_empty(&self, y: &mut [f32]) {
        if self.empty.is_empty() {
            return;
        }
        for (_, run) in self.axis.runs(y.len()).filter(|(channel, _)| self.empty.contains(channel)) {
            y[run].fill(0.0);
        }
    }
}

/// The steps of a grid.
fn steps(grid: &Grid) -> Steps {
    let ((low, high), (first, last)) = (grid.range(), grid.codes());
    let n = |code: i32| (code - grid.zero_point()) as f32;
    [grid.scale(), 0.0, low, high, n(first), n(last)]
}

/// The largest integer up to `x`; of what is far or no number, `x`.
fn floor(x: f32) -> f32 {
    // Beyond 2^23 floats are integers.
    if x.abs() < 8_388_608.0 {
        let whole = x as i32 as f32;
        if whole > x { whole - 1.0 } else { whole }
    } else {
        x
    }
}

/// TensorFlow's steps for a range, all in float32 (paper, eq. 13).
fn nudged(min: f32, max: f32, levels: Levels) -> Steps {
    let (first, last) = levels.codes();
    let (first, last) = (first as f32, last as f32);
    let scale = (max - min) / (last - first);
    let inverse = (last - first) / (max - min);
    let zero = first - min / scale;
    let zero_point = if zero < first {
        first
    } else if zero > last {
        last
    } else {
        // Half away from zero, of what is not negative.
        let below = floor(zero);
        if zero - below >= 0.5 { below + 1.0 } else { below }
    };
    let (low, high) = ((first - zero_point) * scale, (last - zero_point) * scale);
    let steps_to_zero = floor(-low * inverse + 0.5);
    [scale, inverse, low, high, steps_to_zero, 0.0]
}

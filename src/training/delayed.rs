//! Fake quantization of activations, which waits until ranges have settled.

use zeropoint_kernels::Error;

use super::axis::{Axis, equal};
use super::fake_quant::{FakeQuant, FakeQuantSpec};
use super::gradients::Gradients;
use super::grid::{Grid, Levels};
use super::observe::MovingAverage;

/// What the activations of a layer pass through in training (paper 3.1): their range is averaged at every step that observes, and they are
/// quantized from some step on. Observing and quantizing are two switches.
///
/// A step is a call of [`Activations::forward`] that observes. The range that quantizes a batch has seen that batch.
///
/// ```
/// use zeropoint::training::{Activations, Axis, Gradients, Levels, MovingAverage, Start};
/// let observer = MovingAverage::new(Axis::Tensor, MovingAverage::DECAY, Start::FirstBatch)?;
/// let mut activations = Activations::new(observer, Levels::bits(2)?, 1)?; // quantizes from step 1 on
/// let (x, mut y) = ([0.0, 1.2, 3.0], [0.0; 3]);
/// activations.forward(&x, &mut y)?; // step 0
/// assert_eq!(y, x);
/// activations.forward(&x, &mut y)?; // step 1
/// assert_eq!(y, [0.0, 1.0, 3.0]);
/// activations.set_observing(false); // evaluation: no range moves, no step passes
/// activations.forward(&[9.0], &mut y[..1])?;
/// assert_eq!(y[0], 3.0);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Activations {
    observer: MovingAverage,
    levels: Levels,
    delay: u64,
    steps: u64,
    observing: bool,
    quantizing: bool,
    fake: FakeQuant,
    /// Whether the last batch was quantized.
    quantized: bool,
}

impl Activations {
    /// Observes from the first step on, and quantizes from step `delay` on.
    ///
    /// # Errors
    /// [`Error::Length`] of an observer of channels; those of [`FakeQuant::new`].
    pub fn new(observer: MovingAverage, levels: Levels, delay: u64) -> Result<Self, Error> {
        if observer.axis() != Axis::Tensor {
            return Err(Error::Length { argument: "ranges", expected: 1, got: observer.axis().channels() });
        }
        let fake = FakeQuant::new(&FakeQuantSpec::new(&[Grid::from_range(0.0, 0.0, levels)?]))?;
        let (observing, quantizing, quantized) = (true, true, false);
        Ok(Self { observer, levels, delay, steps: 0, observing, quantizing, fake, quantized })
    }

    /// Whether batches move the range, and count as steps.
    pub fn set_observing(&mut self, observing: bool) {
        self.observing = observing;
    }

    /// Whether batches are quantized, once the delay is over.
    pub fn set_quantizing(&mut self, quantizing: bool) {
        self.quantizing = quantizing;
    }

    /// Whether the next batch is quantized: the switch is on, and the delay over.
    pub const fn quantizes(&self) -> bool {
        self.quantizing && self.steps >= self.delay
    }

    /// Steps that have passed.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The grid of the range so far, 0 included.
    ///
    /// # Errors
    /// [`Error::Length`] if nothing was observed; those of [`Range::grid`](super::Range::grid), of a range whose steps are no float.
    pub fn grid(&self) -> Result<Grid, Error> {
        let nothing = Error::Length { argument: "observed batches", expected: 1, got: 0 };
        self.observer.range(0).ok_or(nothing)?.grid(self.levels)
    }

    /// Room for the gradients of [`Activations::backward`].
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn gradients(&self) -> Result<Gradients, Error> {
        Gradients::new(&self.fake)
    }

    /// Observes, and quantizes or copies, as the switches say. After an error no step has passed.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length, or a batch is to be quantized before anything was observed; [`Error::NotFinite`];
    /// those of [`Activations::grid`].
    pub fn forward(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        equal("y", x.len(), y.len())?;
        if self.observing {
            self.observer.observe(x)?;
        }
        let quantized = self.quantizes();
        if quantized {
            self.fake.set_grid(&self.grid()?);
            self.fake.forward(x, y)?;
        } else {
            y.copy_from_slice(x);
        }
        self.quantized = quantized;
        self.steps += u64::from(self.observing);
        Ok(())
    }

    /// Gradients of the last batch: those of [`Gradient::Range`](super::Gradient::Range), or dy itself if it was not quantized.
    ///
    /// # Errors
    /// As [`FakeQuant::backward`].
    pub fn backward(&self, x: &[f32], dy: &[f32], dx: &mut [f32], gradients: &mut Gradients) -> Result<(), Error> {
        if self.quantized {
            return self.fake.backward(x, dy, dx, gradients);
        }
        equal("dy", x.len(), dy.len())?;
        equal("dx", x.len(), dx.len())?;
        gradients.clear(&self.fake)?;
        dx.copy_from_slice(dy);
        Ok(())
    }
}

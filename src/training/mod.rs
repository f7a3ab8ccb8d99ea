//! Training.

mod axis;
mod delayed;
mod fake_quant;
mod gradients;
mod grid;
mod histogram;
mod observe;

pub use axis::Axis;
pub use delayed::Activations;
pub use fake_quant::{FakeQuant, FakeQuantSpec, Form, Gradient, TensorFlowSpec};
pub use gradients::Gradients;
pub use grid::{Grid, Levels};
pub use histogram::Histogram;
pub use observe::{MinMax, MovingAverage, Range, Start, ranges};

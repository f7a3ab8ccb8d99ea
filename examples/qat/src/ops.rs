//! Operations of the network that candle runs as its own: images are batch x height x width x channels, so that all
//! loops go along channels, and a pointwise convolution is a matrix product.
//!
//! [`FakeWeights`] and [`FakeActivations`] are the library's fake quantization, forward and back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor, bail,
};
use zeropoint::Error;
use zeropoint::training::{Activations, FakeQuant, FakeQuantSpec, Gradient, Gradients, Grid, Levels};

/// Taps of a kernel, either way.
pub const KERNEL: usize = 3;
/// Inside the root of batch normalization: with 1e-5, channels that are dead get weights a hundred times those of others when folded.
pub const EPSILON: f32 = 1e-3;
/// What moving averages of batch normalization keep at a step.
const DECAY: f32 = 0.9;

/// What is shared with an operation.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else { bail!("a tensor that is not contiguous") };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

/// The elements of a tensor, for `work`.
pub(crate) fn with<R>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("a tensor that is not on the CPU") };
    work(floats(storage, layout)?)
}

/// An output of a computation, for candle.
fn stored(y: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(y), shape.into()))
}

fn tensor(x: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(x, like.shape(), &Device::Cpu)
}

/// How a kernel of 3 x 3 moves over a square image that is padded as TensorFlow pads.
#[derive(Clone, Copy, Debug)]
pub struct Moves {
    /// Lines of the image.
    pub side: usize,
    /// Pixels from one output to the next.
    pub stride: usize,
}

impl Moves {
    /// Lines of the output.
    pub const fn output(self) -> usize {
        self.side.div_ceil(self.stride)
    }

    /// Calls `visit` with the pixel of the output, the tap and the pixel of the input under it, for those inside.
    fn each(self, mut visit: impl FnMut(usize, usize, usize)) {
        let Self { side, stride } = self;
        let out = self.output();
        let before = ((out - 1) * stride + KERNEL).saturating_sub(side) / 2;
        let inside = |at: usize| at.checked_sub(before).filter(|at| *at < side);
        for (y, x) in (0..out).flat_map(|y| (0..out).map(move |x| (y, x))) {
            for (ky, kx) in (0..KERNEL).flat_map(|ky| (0..KERNEL).map(move |kx| (ky, kx))) {
                if let (Some(iy), Some(ix)) = (inside(y * stride + ky), inside(x * stride + kx)) {
                    visit(y * out + x, ky * KERNEL + kx, iy * side + ix);
                }
            }
        }
    }
}

/// The windows of images of one channel: a row of nine for each pixel of the output.
pub struct Patches(pub Moves);

impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, taps) = (floats(x, layout)?, KERNEL * KERNEL);
        let (from, to) = (self.0.side * self.0.side, self.0.output() * self.0.output());
        let batch = x.len() / from;
        let mut y = vec![0.0; batch * to * taps];
        for (x, y) in x.chunks_exact(from).zip(y.chunks_exact_mut(to * taps)) {
            self.0.each(|out, tap, input| y[out * taps + tap] = x[input]);
        }
        stored(y, (batch * to, taps))
    }
}

/// Depthwise convolution of images with kernels, 9 x channels.
pub struct Depthwise(pub Moves);

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of: &Layout,
        w: &CpuStorage,
        kernels: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, c) = kernels.shape().dims2()?;
        let (x, w, out) = (floats(x, of)?, floats(w, kernels)?, self.0.output());
        let (from, to) = (self.0.side * self.0.side * c, out * out * c);
        let batch = x.len() / from;
        let mut y = vec![0.0; batch * to];
        for (x, y) in x.chunks_exact(from).zip(y.chunks_exact_mut(to)) {
            self.0.each(|out, tap, input| {
                let (y, w, x) = (&mut y[out * c..][..c], &w[tap * c..][..c], &x[input * c..][..c]);
                y.iter_mut().zip(w).zip(x).for_each(|((y, w), x)| *y += w * x);
            });
        }
        stored(y, (batch, out, out, c))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, c) = w.dims2()?;
        let (mut dx, mut dw) = (vec![0.0; x.elem_count()], vec![0.0; w.elem_count()]);
        let (from, to) = (self.0.side * self.0.side * c, self.0.output() * self.0.output() * c);
        with(x, |xs| {
            with(w, |ws| {
                with(dy, |dys| {
                    for ((x, dx), dy) in
                        xs.chunks_exact(from).zip(dx.chunks_exact_mut(from)).zip(dys.chunks_exact(to))
                    {
                        self.0.each(|out, tap, input| {
                            let (x, dx) = (&x[input * c..][..c], &mut dx[input * c..][..c]);
                            let (w, dw, dy) = (&ws[tap * c..][..c], &mut dw[tap * c..][..c], &dy[out * c..][..c]);
                            for ((((dx, dw), x), w), dy) in dx.iter_mut().zip(dw).zip(x).zip(w).zip(dy) {
                                *dx += w * dy;
                                *dw += x * dy;
                            }
                        });
                    }
                    Ok(())
                })
            })
        })?;
        Ok((Some(tensor(dx, x)?), Some(tensor(dw, w)?)))
    }
}

/// Statistics of batch normalization, one of each a channel.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Moving averages of mean and variance. The variance is the biased one: the folded layer is
    /// what training normalized by.
    pub average: [Vec<f32>; 2],
    /// Of the last batch: the mean, and one over the deviation.
    batch: [Vec<f32>; 2],
}

impl Moments {
    /// Before the first batch.
    pub fn new(channels: usize) -> Self {
        let none = || vec![0.0; channels];
        Self { average: [none(), vec![1.0; channels]], batch: [none(), none()] }
    }
}

/// Batch normalization of rows of channels by the statistics of the batch, with a factor and a shift a channel.
pub struct Normalize(pub Arc<Mutex<Moments>>);

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of: &Layout,
        gamma: &CpuStorage,
        gammas: &Layout,
        beta: &CpuStorage,
        betas: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gamma, beta) = (floats(x, of)?, floats(gamma, gammas)?, floats(beta, betas)?);
        let c = gamma.len();
        let rows = (x.len() / c) as f32;
        let (mut mean, mut variance) = (vec![0.0; c], vec![0.0; c]);
        for x in x.chunks_exact(c) {
            mean.iter_mut().zip(x).for_each(|(mean, x)| *mean += x);
        }
        mean.iter_mut().for_each(|mean| *mean /= rows);
        for x in x.chunks_exact(c) {
            variance.iter_mut().zip(x).zip(&mean).for_each(|((v, x), mean)| *v += (x - mean) * (x - mean));
        }
        variance.iter_mut().for_each(|v| *v /= rows);
        let inverse: Vec<f32> = variance.iter().map(|v| 1.0 / (v + EPSILON).sqrt()).collect();
        let mut y = vec![0.0; x.len()];
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            let channels = mean.iter().zip(&inverse).zip(gamma.iter().zip(beta));
            for ((y, x), ((mean, inverse), (gamma, beta))) in y.iter_mut().zip(x).zip(channels) {
                *y = (x - mean) * inverse * gamma + beta;
            }
        }
        let mut moments = lock(&self.0);
        for (average, new) in moments.average.iter_mut().zip([&mean, &variance]) {
            average.iter_mut().zip(new).for_each(|(old, new)| *old = DECAY * *old + (1.0 - DECAY) * new);
        }
        moments.batch = [mean, inverse];
        stored(y, of.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let moments = lock(&self.0);
        let [mean, inverse] = &moments.batch;
        let c = mean.len();
        let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.elem_count()], vec![0.0; c], vec![0.0; c]);
        let rows = (dx.len() / c) as f32;
        with(x, |x| {
            with(dy, |dy| {
                for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
                    let channels = dbeta.iter_mut().zip(&mut dgamma).zip(mean.iter().zip(inverse));
                    for (((dbeta, dgamma), (mean, inverse)), (x, dy)) in channels.zip(x.iter().zip(dy)) {
                        *dbeta += dy;
                        *dgamma += dy * (x - mean) * inverse;
                    }
                }
                with(gamma, |gamma| {
                    // gamma / deviation * (dy - (dbeta + normal * dgamma) / rows) = factor * dy + slope * x + shift.
                    let factor: Vec<f32> =
                        gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect();
                    let slope: Vec<f32> = (0..c).map(|i| -factor[i] * inverse[i] * dgamma[i] / rows).collect();
                    let shift: Vec<f32> =
                        (0..c).map(|i| -factor[i] * dbeta[i] / rows - slope[i] * mean[i]).collect();
                    for ((x, dy), dx) in x.chunks_exact(c).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c)) {
                        let channels = factor.iter().zip(&slope).zip(&shift);
                        for ((dx, (x, dy)), ((factor, slope), shift)) in
                            dx.iter_mut().zip(x.iter().zip(dy)).zip(channels)
                        {
                            *dx = factor * dy + slope * x + shift;
                        }
                    }
                    Ok(())
                })
            })
        })?;
        Ok((Some(tensor(dx, x)?), Some(tensor(dgamma, gamma)?), Some(tensor(dbeta, beta)?)))
    }
}

/// A bias a channel.
pub struct Bias;

impl CustomOp2 for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of: &Layout,
        b: &CpuStorage,
        biases: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, b) = (floats(x, of)?, floats(b, biases)?);
        let mut y = x.to_vec();
        for y in y.chunks_exact_mut(b.len()) {
            y.iter_mut().zip(b).for_each(|(y, b)| *y += b);
        }
        stored(y, of.shape())
    }

    fn bwd(&self, _: &Tensor, b: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut db = vec![0.0; b.elem_count()];
        with(dy, |dy| {
            for dy in dy.chunks_exact(db.len()) {
                db.iter_mut().zip(dy).for_each(|(db, dy)| *db += dy);
            }
            Ok(())
        })?;
        Ok((Some(dy.clone()), Some(tensor(db, b)?)))
    }
}

/// What is negative becomes 0, what is larger than this, this.
pub struct Clamp(pub f32);

impl CustomOp1 for Clamp {
    fn name(&self) -> &'static str {
        "clamp"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        stored(floats(x, layout)?.iter().map(|x| x.max(0.0).min(self.0)).collect(), layout.shape())
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let inside = |(y, dy): (&f32, &f32)| if *y > 0.0 && *y < self.0 { *dy } else { 0.0 };
        let dx = with(y, |ys| with(dy, |dy| Ok(ys.iter().zip(dy).map(inside).collect())))?;
        tensor(dx, y).map(Some)
    }
}

/// Fake quantization of weights, by the library.
pub struct FakeWeights(pub FakeQuant);

impl CustomOp1 for FakeWeights {
    fn name(&self) -> &'static str {
        "fake-quantized weights"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let mut y = vec![0.0; x.len()];
        self.0.forward(x, &mut y).map_err(candle_core::Error::wrap)?;
        stored(y, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut gradients = Gradients::new(&self.0).map_err(candle_core::Error::wrap)?;
        let mut dx = vec![0.0; x.elem_count()];
        let back = |x: &[f32], dy: &[f32], dx: &mut [f32]| self.0.backward(x, dy, dx, &mut gradients);
        backward(x, dy, &mut dx, back)?;
        tensor(dx, x).map(Some)
    }
}

/// Fake quantization of weights, by the library, on a grid whose step is learned: that of `start` times e to the second operand.
#[derive(Clone, Copy, Debug)]
pub struct LearnedWeights {
    /// The grid to begin with.
    pub start: Grid,
    /// Its codes.
    pub levels: Levels,
}

impl LearnedWeights {
    /// The grid for a value of the second operand.
    pub fn grid(&self, exponent: f32) -> core::result::Result<Grid, Error> {
        Grid::new(self.start.scale() * exponent.exp(), self.start.zero_point(), self.levels)
    }

    fn fake(&self, exponent: f32) -> core::result::Result<FakeQuant, Error> {
        FakeQuant::new(&FakeQuantSpec {
            gradient: Gradient::Learned,
            ..FakeQuantSpec::new(&[self.grid(exponent)?])
        })
    }
}

impl CustomOp2 for LearnedWeights {
    fn name(&self) -> &'static str {
        "fake-quantized weights, a learned step"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of: &Layout,
        exponent: &CpuStorage,
        one: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, of)?;
        let mut y = vec![0.0; x.len()];
        let fake = self.fake(floats(exponent, one)?[0]).map_err(candle_core::Error::wrap)?;
        fake.forward(x, &mut y).map_err(candle_core::Error::wrap)?;
        stored(y, of.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        exponent: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let at = with(exponent, |exponent| Ok(exponent[0]))?;
        let fake = self.fake(at).map_err(candle_core::Error::wrap)?;
        let mut gradients = Gradients::new(&fake).map_err(candle_core::Error::wrap)?;
        let mut dx = vec![0.0; x.elem_count()];
        backward(x, dy, &mut dx, |x, dy, dx| fake.backward(x, dy, dx, &mut gradients))?;
        // d scale / d exponent is the scale.
        let scale = self.grid(at).map_err(candle_core::Error::wrap)?.scale();
        let slope = gradients.learned().map_or(0.0, |[step, _]| step[0] * scale);
        Ok((Some(tensor(dx, x)?), Some(tensor(vec![slope], exponent)?)))
    }
}

/// Fake quantization of activations, by the library: observes, and quantizes once the delay is over.
pub struct FakeActivations(pub Arc<Mutex<Activations>>);

impl CustomOp1 for FakeActivations {
    fn name(&self) -> &'static str {
        "fake-quantized activations"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let mut y = vec![0.0; x.len()];
        lock(&self.0).forward(x, &mut y).map_err(candle_core::Error::wrap)?;
        stored(y, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let activations = lock(&self.0);
        let mut gradients = activations.gradients().map_err(candle_core::Error::wrap)?;
        let mut dx = vec![0.0; x.elem_count()];
        let back = |x: &[f32], dy: &[f32], dx: &mut [f32]| activations.backward(x, dy, dx, &mut gradients);
        backward(x, dy, &mut dx, back)?;
        tensor(dx, x).map(Some)
    }
}

/// The library's backward pass on tensors.
fn backward(
    x: &Tensor,
    dy: &Tensor,
    dx: &mut [f32],
    back: impl FnOnce(&[f32], &[f32], &mut [f32]) -> core::result::Result<(), zeropoint::Error>,
) -> Result<()> {
    with(x, |x| with(dy, |dy| back(x, dy, dx).map_err(candle_core::Error::wrap)))
}

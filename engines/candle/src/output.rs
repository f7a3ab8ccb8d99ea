//! What the layers share: weights in, results out.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, DType, Device, Error, Layout, Result, Tensor, bail};
use zeropoint::layers::Activation;
use zeropoint::training::{Grid, TrainedLayer, WeightLayout};
use zeropoint::{FloatScale, PackOptions, PerAxis, QuantParams, Rounding, Stages, Workspace};

/// What a layer gives.
#[derive(Clone, Copy, Debug)]
pub enum Output {
    /// Reals, `f32`: the last layer, or one before something that has no integers.
    Reals,
    /// Codes, `u8`, of reals in a range, behind an activation.
    Codes(QuantParams<u8>, Activation),
}

/// How a layer rounds, and for what it is packed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The rule by which sums become codes.
    pub rounding: Rounding,
    /// The backend, the expected number of rows.
    pub pack: PackOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounding: Rounding::DoubleAway, pack: PackOptions::default() }
    }
}

/// One of two: a layer of codes, or one of reals.
#[derive(Debug)]
pub(crate) enum Either<C, R> {
    Codes(C),
    Reals(R),
}

/// A layer before it is packed.
pub(crate) struct Floats {
    pub name: &'static str,
    pub layout: WeightLayout,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Floats {
    /// Reads tensors of any float type: weights, in the order of the layout, and a bias an output channel.
    pub fn new(
        name: &'static str,
        layout: WeightLayout,
        weights: &Tensor,
        bias: Option<&Tensor>,
        channels: usize,
    ) -> Result<Self> {
        let read = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let weights = read(weights)?;
        let bias = bias.map_or_else(|| Ok(vec![0.0; channels]), read)?;
        if bias.len() != channels {
            bail!("{name}: bias has {} elements, expected {channels}, one an output channel", bias.len());
        }
        Ok(Self { name, layout, weights, bias })
    }

    /// Codes of weights and the stages of an output, for `codes` or `reals` to make a layer of.
    pub fn quantized<C, R>(
        &self,
        input: &QuantParams<u8>,
        output: Output,
        rounding: Rounding,
        codes: impl FnOnce(&[i8], &Stages<'_, u8>) -> core::result::Result<C, zeropoint::Error>,
        reals: impl FnOnce(&[i8], &Stages<'_, f32>) -> core::result::Result<R, zeropoint::Error>,
    ) -> Result<Either<C, R>> {
        let params = self.weight_params().map_err(|error| self.refused(error))?;
        let made = match output {
            Output::Codes(output, activation) => {
                let grids: Vec<Grid> = params.into_iter().map(Grid::from).collect();
                let trained = TrainedLayer {
                    name: self.name,
                    layout: self.layout,
                    weights: &self.weights,
                    bias: &self.bias,
                    grids: &grids,
                    input: Grid::from(*input),
                    output: Grid::from(output),
                    activation,
                    rounding,
                };
                trained.convert().and_then(|layer| {
                    let (low, high) = layer.clamp();
                    let stages = Stages::fixed(PerAxis::PerColumn(layer.multipliers()))
                        .bias(layer.bias())
                        .rounding(rounding)
                        .zero_point(output.zero_point())
                        .clamp(low, high);
                    codes(layer.weights(), &stages).map(Either::Codes)
                })
            }
            Output::Reals => {
                let channels = params.len();
                let inner = self.inner(channels);
                let code = |(i, w): (usize, &f32)| params[i / inner % channels].quantize(*w);
                let weights: Vec<i8> = self.weights.iter().enumerate().map(code).collect();
                let scales: Vec<f32> = params.iter().map(|params| params.scale() * input.scale()).collect();
                let stages = Stages::dequantize(FloatScale::PerColumn(&scales)).float_bias(&self.bias);
                reals(&weights, &stages).map(Either::Reals)
            }
        };
        made.map_err(|error| self.refused(error))
    }

    /// Neighbours of one output channel.
    fn inner(&self, channels: usize) -> usize {
        if self.layout == WeightLayout::Depthwise { 1 } else { (self.weights.len() / channels.max(1)).max(1) }
    }

    /// About 0, one an output channel: codes are -127..=127.
    fn weight_params(&self) -> core::result::Result<Vec<QuantParams<i8>>, zeropoint::Error> {
        let channels = self.bias.len();
        let mut ranges = vec![zeropoint::training::Range::default(); channels];
        let axis = self.layout.axis(channels, self.weights.len())?;
        zeropoint::training::ranges(&self.weights, axis, &mut ranges)?;
        ranges.iter().map(|range| QuantParams::symmetric(range.max.max(-range.min))).collect()
    }

    pub fn refused(&self, error: zeropoint::Error) -> Error {
        refused(self.name, error)
    }
}

pub(crate) fn refused(name: &'static str, error: zeropoint::Error) -> Error {
    match error {
        // Has the name.
        zeropoint::Error::Layer { .. } => Error::msg(error),
        error => Error::msg(format_args!("{name}: {error}")),
    }
}

/// The elements of a tensor of `T`s from its first on, of which its strides say where the others are.
pub(crate) fn elements<'a, T: candle_core::WithDType>(
    name: &'static str,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [T]> {
    if storage.dtype() != T::DTYPE {
        bail!("{name}: input is {:?}, expected {:?}", storage.dtype(), T::DTYPE);
    }
    Ok(storage.as_slice::<T>()?.get(layout.start_offset()..).unwrap_or_default())
}

/// Workspaces that wait for the next run, the bytes of each beside it.
#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Vec<(usize, Workspace<'static>)>>);

impl Spares {
    pub fn with<R>(&self, bytes: usize, work: impl FnOnce(&mut Workspace<'static>) -> R) -> R {
        let spares = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = spares().pop().filter(|(has, _)| *has >= bytes);
        let (has, mut workspace) = spare.unwrap_or_else(|| (bytes, Workspace::new(bytes)));
        let result = work(&mut workspace);
        spares().push((has, workspace));
        result
    }
}

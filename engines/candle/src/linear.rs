//! `Linear` in integers.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::Linear;
use zeropoint::layers::{FullyConnected, FullyConnectedSpec};
use zeropoint::training::WeightLayout;
use zeropoint::{Element, MatMut, MatRef, QuantParams, Rayon, Stages, Threads};

use crate::output::{Either, Floats, Options, Output, Spares, elements, refused};

const NAME: &str = "QuantizedLinear";

/// A `Linear` whose weights are packed `i8` and whose input are `u8` codes.
///
/// The input has inputs as its last dimension, whatever is before it, and any strides. As an operation
/// (`apply_op1_no_bwd`), its rows have to lie at one distance from each other; [`Module::forward`] copies those that
/// do not. Clones share the weights.
#[derive(Clone, Debug)]
pub struct QuantizedLinear(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layer: Either<FullyConnected<u8, u8>, FullyConnected<u8, f32>>,
    inputs: usize,
    outputs: usize,
    spares: Spares,
}

impl QuantizedLinear {
    /// Quantizes and packs the weights of a layer of floats, for inputs that have these parameters.
    ///
    /// # Errors
    /// For weights or a bias that are not finite, and for a bias or a scale that integers cannot hold: they name the
    /// channel.
    pub fn from_float(linear: &Linear, input: &QuantParams<u8>, output: Output) -> Result<Self> {
        Self::from_float_with(linear, input, output, &Options::default())
    }

    /// [`QuantizedLinear::from_float`], with another rule or backend.
    ///
    /// # Errors
    /// As there.
    pub fn from_float_with(
        linear: &Linear,
        input: &QuantParams<u8>,
        output: Output,
        options: &Options,
    ) -> Result<Self> {
        let (outputs, inputs) = linear.weight().dims2()?;
        let floats = Floats::new(NAME, WeightLayout::FullyConnected, linear.weight(), linear.bias(), outputs)?;
        let layer = floats.quantized(
            input,
            output,
            options.rounding,
            |weights, stages| packed(MatRef::row_major(weights, outputs, inputs)?, input, options, stages),
            |weights, stages| packed(MatRef::row_major(weights, outputs, inputs)?, input, options, stages),
        )?;
        Ok(Self(Arc::new(Inner { layer, inputs, outputs, spares: Spares::default() })))
    }

    fn run<O: Element>(&self, layer: &FullyConnected<u8, O>, input: MatRef<'_, u8>) -> Result<Vec<O>> {
        let work = || {
            let mut out = vec![O::default(); input.rows() * self.0.outputs];
            let to = MatMut::row_major(&mut out, input.rows(), self.0.outputs)?;
            let bytes = layer.workspace_bytes(Rayon.threads())?;
            self.0.spares.with(bytes, |workspace| layer.run_on(&Rayon, input, to, workspace))?;
            Ok(out)
        };
        work().map_err(|error| refused(NAME, error))
    }
}

fn packed<O: Element>(
    weights: MatRef<'_, i8>,
    input: &QuantParams<u8>,
    options: &Options,
    stages: &Stages<'_, O>,
) -> core::result::Result<FullyConnected<u8, O>, zeropoint::Error> {
    let spec = FullyConnectedSpec::new(weights);
    let spec = FullyConnectedSpec { input_zero_point: input.zero_point(), pack: options.pack, ..spec };
    FullyConnected::new(&spec, stages)
}

/// Rows of a tensor and their stride, if they lie at one distance from each other.
fn rows(layout: &Layout) -> Option<(usize, usize)> {
    let leading = layout.dims().iter().zip(layout.stride()).rev().skip(1);
    let (mut rows, mut step) = (1usize, None);
    for (size, stride) in leading.filter(|(size, _)| **size != 1) {
        match step {
            None => step = Some(*stride),
            Some(step) if rows.checked_mul(step) == Some(*stride) => {}
            Some(_) if layout.shape().elem_count() == 0 => {}
            Some(_) => return None,
        }
        rows = rows.checked_mul(*size)?;
    }
    Some((rows, step.unwrap_or(layout.dims().last().copied().unwrap_or(0))))
}

impl CustomOp1 for QuantizedLinear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let codes = elements::<u8>(NAME, storage, layout)?;
        let Inner { layer, inputs, outputs, .. } = &*self.0;
        let (Some(last), Some(step)) = (layout.dims().last(), layout.stride().last()) else {
            bail!("{NAME}: input is a scalar, expected rows of {inputs}");
        };
        if last != inputs {
            bail!("{NAME}: input is of shape {:?}, expected rows of {inputs}", layout.dims());
        }
        let Some((rows, row_step)) = rows(layout) else {
            let (shape, strides) = (layout.dims(), layout.stride());
            bail!("{NAME}: rows of input, of shape {shape:?} and strides {strides:?}, lie at several distances");
        };
        let input = MatRef::new(codes, rows, *inputs, row_step, *step).map_err(|error| refused(NAME, error))?;
        let out = match layer {
            Either::Codes(layer) => CpuStorage::U8(self.run(layer, input)?),
            Either::Reals(layer) => CpuStorage::F32(self.run(layer, input)?),
        };
        let mut shape = layout.dims().to_vec();
        shape[layout.dims().len() - 1] = *outputs;
        Ok((out, shape.into()))
    }
}

impl Module for QuantizedLinear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let together = if rows(x.layout()).is_some() { x.clone() } else { x.contiguous()? };
        together.apply_op1_no_bwd(self)
    }
}

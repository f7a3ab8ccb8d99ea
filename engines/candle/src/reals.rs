//! Tensors of reals to codes, and back.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use zeropoint::layers::{Dequantize, Quantize};
use zeropoint::quant::Ties;
use zeropoint::{Error, QuantParams, Rayon, TensorMut, TensorRef};

use crate::output::{elements, refused};

/// The `u8` codes of a tensor of `f32`: each is the nearest, ties away from zero; beyond the range, its end.
///
/// # Errors
/// For a tensor of another type, or not on the CPU.
pub fn quantize(x: &Tensor, params: &QuantParams<u8>) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Codes(Quantize::new(params, Ties::Away)))
}

/// The `f32` reals of a tensor of `u8` codes.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use zeropoint_candle::{dequantize, quantize};
/// let params = zeropoint::QuantParams::new(0.5, 10)?;
/// let codes = quantize(&Tensor::new(&[0.6f32, -1.0, 1e9], &Device::Cpu)?, &params)?;
/// assert_eq!(codes.to_vec1::<u8>()?, [11, 8, 255]);
/// assert_eq!(dequantize(&codes, &params)?.to_vec1::<f32>()?, [0.5, -1.0, 122.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`quantize`].
pub fn dequantize(codes: &Tensor, params: &QuantParams<u8>) -> Result<Tensor> {
    codes.contiguous()?.apply_op1_no_bwd(&Reals(Dequantize::new(params)))
}

struct Codes(Quantize<u8>);
struct Reals(Dequantize<u8>);

/// Runs a layer that has no weights on all elements, as one line of pixels.
fn all<I: WithDType + zeropoint::Element, O: zeropoint::Element>(
    name: &'static str,
    storage: &CpuStorage,
    layout: &Layout,
    run: impl FnOnce(TensorRef<'_, I>, TensorMut<'_, O>) -> core::result::Result<(), Error>,
) -> Result<Vec<O>> {
    let line = [1, 1, 1, layout.shape().elem_count()];
    let x = elements::<I>(name, storage, layout)?;
    let work = || {
        let mut out = vec![O::default(); line[3]];
        run(TensorRef::nhwc(x, line)?, TensorMut::nhwc(&mut out, line)?)?;
        Ok(out)
    };
    work().map_err(|error| refused(name, error))
}

impl CustomOp1 for Codes {
    fn name(&self) -> &'static str {
        "quantize"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = all(self.name(), storage, layout, |x, out| self.0.run_on(&Rayon, x, out))?;
        Ok((CpuStorage::U8(out), layout.shape().clone()))
    }
}

impl CustomOp1 for Reals {
    fn name(&self) -> &'static str {
        "dequantize"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = all(self.name(), storage, layout, |x, out| self.0.run_on(&Rayon, x, out))?;
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

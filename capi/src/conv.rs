//! Layers with weights.

use std::fmt;

use zp::layers::{
    Conv2d, Conv2dSpec, DepthwiseConv2d, DepthwiseConv2dSpec, FullyConnected, FullyConnectedSpec, Padding,
    TransposeConv2d, TransposeConv2dSpec, Window,
};
use zp::{Code, Error, Side, TensorRef};

use crate::edge::{Caller, Plain, call};
use crate::failure::{Failure, zeropoint_status};
use crate::layer::{Images, Layer, tensor, zeropoint_layer};
use crate::layer_types::*;
use crate::types::*;
use crate::views::{Output, Read, pack, with_code, with_output, zero, zero_point};

/// How a kernel moves, with 1 for a stride or dilation of 0.
pub(crate) fn window(window: &zeropoint_window) -> Result<Window, Failure> {
    zero("window.reserved", window.reserved)?;
    let or_one = |numbers: [usize; 2]| numbers.map(|number| number.max(1));
    let padding = match zeropoint_padding::of("window.padding", window.padding)? {
        zeropoint_padding::Valid => Padding::Valid,
        zeropoint_padding::Same => Padding::Same,
        zeropoint_padding::Explicit => {
            let zeropoint_window { top, bottom, left, right, .. } = *window;
            Padding::Explicit { top, bottom, left, right }
        }
    };
    Ok(Window { stride: or_one(window.stride), dilation: or_one(window.dilation), padding })
}

/// Prepares a layer with weights. Everything is copied. The layer goes to `layer`, which is null after an error.
/// Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_conv_new(
    conv: *const zeropoint_conv,
    stages: *const zeropoint_stages,
    layer: *mut *mut zeropoint_layer,
) -> zeropoint_status {
    call!(|caller| caller.hand_out("layer", layer, || {
        let (conv, read) = (caller.read("conv", conv)?, Read::new(caller, stages)?);
        let weights = caller.read("conv.weights", conv.weights)?;
        with_code!("conv.input", conv.input, L => {
            with_code!("conv.weights.elements", weights.elements, W => {
                with_output!("stages.output", read.output, O => {
                    make::<L, W, O>(caller, &conv, tensor(caller, "conv.weights", &weights)?.0, &read)
                })
            })
        })
    }))
}

fn make<L: Code + Plain + zp::Element, W: Code + zp::Element, O: Output>(
    caller: &Caller,
    conv: &zeropoint_conv,
    weights: TensorRef<'_, W>,
    read: &Read<'_>,
) -> Result<Box<dyn Layer>, Failure> {
    let stages = read.stages::<O>()?;
    let weight_zero_point =
        zero_point(caller, conv.weight_zero_point, conv.weight_zero_points, conv.weight_zero_points_len)?;
    let (side, pack) = pack(caller, conv.pack)?;
    if side != Side::Rhs {
        return Err(Failure::Value {
            argument: "conv.pack.side",
            value: 1,
            valid: "ZEROPOINT_SIDE_RHS, for layers",
        });
    }
    let (input_zero_point, window) = (conv.input_zero_point, window(&conv.window)?);
    let groups = conv.groups.max(1);
    Ok(match zeropoint_conv_kind::of("conv.kind", conv.kind)? {
        zeropoint_conv_kind::Conv2d => {
            let spec = Conv2dSpec { weights, weight_zero_point, input_zero_point, window, groups, pack };
            Box::new(Conv2d::<L, O>::new(&spec, &stages)?)
        }
        zeropoint_conv_kind::DepthwiseConv2d => {
            let (multiplier, backend) = (conv.multiplier.max(1), pack.backend);
            let spec =
                DepthwiseConv2dSpec { weights, weight_zero_point, input_zero_point, multiplier, window, backend };
            Box::new(DepthwiseConv2d::<L, O>::new(&spec, &stages)?)
        }
        zeropoint_conv_kind::TransposeConv2d => {
            let output = conv.output;
            let spec = TransposeConv2dSpec { weights, weight_zero_point, input_zero_point, window, output, pack };
            Box::new(TransposeConv2d::<L, O>::new(&spec, &stages)?)
        }
        zeropoint_conv_kind::FullyConnected => {
            let [outputs, height, width, inputs] = weights.shape();
            if (height, width) != (1, 1) {
                let expected = [outputs, 1, 1, inputs];
                return Err(Error::TensorShape { argument: "weights", expected, got: weights.shape() }.into());
            }
            let weights = weights.pixels().ok_or(Failure::Panic)?;
            let spec = FullyConnectedSpec { weights, weight_zero_point, input_zero_point, pack };
            Box::new(FullyConnected::<L, O>::new(&spec, &stages)?)
        }
    })
}

impl<L: Code + Plain + zp::Element, O: Output> Layer for Conv2d<L, O> {
    fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
        let (input, out) = (images.input()?, images.out::<L, O>()?);
        images.with_workspace(|workspace| self.run_on(images.threads(), input, out, workspace))
    }

    fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Failure> {
        Ok(Self::output(self, input)?)
    }

    fn workspace_bytes(&self, _: [usize; 4], threads: usize) -> Result<usize, Failure> {
        Ok(Self::workspace_bytes(self, threads)?)
    }

    fn explain(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        self.products().first().map_or(Ok(()), |gemm| write!(f, "{}", gemm.explain()))
    }
}

impl<L: Code + Plain + zp::Element, O: Output> Layer for DepthwiseConv2d<L, O> {
    fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
        let (input, out) = (images.input()?, images.out::<L, O>()?);
        images.with_workspace(|workspace| self.run_on(images.threads(), input, out, workspace))
    }

    fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Failure> {
        Ok(Self::output(self, input)?)
    }

    fn workspace_bytes(&self, input: [usize; 4], threads: usize) -> Result<usize, Failure> {
        Ok(Self::workspace_bytes(self, input, threads)?)
    }

    fn explain(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        write!(f, "backend: {}", self.backend().name())
    }
}

impl<L: Code + Plain + zp::Element, O: Output> Layer for TransposeConv2d<L, O> {
    fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
        let (input, out) = (images.input()?, images.out::<L, O>()?);
        images.with_workspace(|workspace| self.run_on(images.threads(), input, out, workspace))
    }

    fn output(&self, _: [usize; 4]) -> Result<[usize; 4], Failure> {
        Err(Failure::Value {
            argument: "layer",
            value: 2,
            valid: "those whose output the input says: it was given",
        })
    }

    fn workspace_bytes(&self, _: [usize; 4], threads: usize) -> Result<usize, Failure> {
        Ok(Self::workspace_bytes(self, threads)?)
    }
}

impl<L: Code + Plain + zp::Element, O: Output> Layer for FullyConnected<L, O> {
    fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
        let (input, out) = (images.input::<L>()?, images.out::<L, O>()?);
        let gaps = |argument| Failure::Value { argument, value: 0, valid: "tensors whose pixels have one stride" };
        let input = input.pixels().ok_or(gaps("inputs"))?;
        let out = out.into_pixels().ok_or(gaps("out"))?;
        images.with_workspace(|workspace| self.run_on(images.threads(), input, out, workspace))
    }

    fn output(&self, [batch, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Failure> {
        let (k, n) = (self.product().packed().k(), self.product().packed().columns());
        if channels != k {
            let (expected, got) = ([batch, height, width, k], [batch, height, width, channels]);
            return Err(Error::TensorShape { argument: "input", expected, got }.into());
        }
        Ok([batch, height, width, n])
    }

    fn workspace_bytes(&self, _: [usize; 4], threads: usize) -> Result<usize, Failure> {
        Ok(Self::workspace_bytes(self, threads)?)
    }

    fn explain(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        write!(f, "{}", self.product().explain())
    }
}

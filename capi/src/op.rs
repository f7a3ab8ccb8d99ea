//! Layers without weights: a table from kinds to what makes them.

use zp::layers::*;
use zp::quant::Ties;
use zp::{Backend, Code, OutputCode, QuantParams, Rounding};

use crate::conv::window;
use crate::edge::{Caller, Plain, call};
use crate::failure::{Failure, zeropoint_status};
use crate::layer::{Images, Layer, zeropoint_layer};
use crate::layer_types::*;
use crate::views::{backend, rounding, same, type_of, with_code, zero};

/// Prepares a layer without weights. The layer goes to `layer`, which is null after an error. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_op_new(
    op: *const zeropoint_op,
    layer: *mut *mut zeropoint_layer,
) -> zeropoint_status {
    call!(|caller| caller.hand_out("layer", layer, || {
        let op = Op::read(caller, op)?;
        match op.kind {
            zeropoint_op_kind::Dequantize => with_code!("op.inputs.elements", op.first()?.elements, C => {
                Ok(Box::new(Dequantize::<C>::new(&op.only()?)))
            }),
            zeropoint_op_kind::Requantize => with_code!("op.inputs.elements", op.first()?.elements, I => {
                with_code!("op.output.elements", op.all.output.elements, O => op.requantize::<I, O>())
            }),
            _ => with_code!("op.output.elements", op.all.output.elements, C => op.of_one_type::<C>()),
        }
    }))
}

/// A type of codes of layers.
trait LayerCode: Code + OutputCode + TableCode + Plain {}
impl LayerCode for u8 {}
impl LayerCode for i8 {}

fn params<C: LayerCode>(argument: &'static str, params: &zeropoint_params) -> Result<QuantParams<C>, Failure> {
    same(argument, params.elements, type_of::<C>())?;
    Ok(QuantParams::new(params.scale, params.zero_point)?)
}

/// What a layer is made of.
struct Op<'c> {
    kind: zeropoint_op_kind,
    all: zeropoint_op,
    inputs: &'c [zeropoint_params],
    activation: Activation,
    rounding: Rounding,
    backend: Option<Backend>,
}

impl<'c> Op<'c> {
    fn read(caller: &'c Caller, pointer: *const zeropoint_op) -> Result<Self, Failure> {
        let all = caller.read("op", pointer)?;
        zero("op.reserved", all.reserved)?;
        Ok(Self {
            kind: zeropoint_op_kind::of("op.kind", all.kind)?,
            all,
            inputs: caller.slice("op.inputs", all.inputs, all.inputs_len)?,
            activation: match zeropoint_activation::of("op.activation", all.activation)? {
                zeropoint_activation::None => Activation::None,
                zeropoint_activation::Relu => Activation::Relu,
                zeropoint_activation::Relu6 => Activation::Relu6,
                zeropoint_activation::ReluN1 => Activation::ReluN1,
            },
            rounding: rounding("op.rounding", all.rounding)?,
            backend: backend(caller, "op.backend", all.backend)?,
        })
    }

    fn first(&self) -> Result<&zeropoint_params, Failure> {
        let wrong = zp::Error::Length { argument: "op.inputs", expected: 1, got: 0 };
        Ok(self.inputs.first().ok_or(wrong)?)
    }

    /// Parameters of the inputs, as many as there have to be.
    fn inputs<C: LayerCode, const N: usize>(&self) -> Result<[QuantParams<C>; N], Failure> {
        let list = self.list()?;
        let wrong = zp::Error::Length { argument: "op.inputs", expected: N, got: list.len() };
        Ok(list.try_into().map_err(|_| wrong)?)
    }

    fn only<C: LayerCode>(&self) -> Result<QuantParams<C>, Failure> {
        let [input] = self.inputs()?;
        Ok(input)
    }

    fn list<C: LayerCode>(&self) -> Result<Vec<QuantParams<C>>, Failure> {
        self.inputs.iter().map(|input| params("op.inputs.elements", input)).collect()
    }

    fn output<C: LayerCode>(&self) -> Result<QuantParams<C>, Failure> {
        params("op.output.elements", &self.all.output)
    }

    fn binary<C: LayerCode>(&self) -> Result<BinarySpec<C>, Failure> {
        let ([lhs, rhs], output) = (self.inputs()?, self.output()?);
        let Self { activation, rounding, backend, .. } = *self;
        Ok(BinarySpec { lhs, rhs, output, activation, rounding, backend })
    }

    fn requantize<I: LayerCode, O: LayerCode>(&self) -> Result<Box<dyn Layer>, Failure> {
        let (input, output) = (self.only::<I>()?, self.output::<O>()?);
        let Self { activation, rounding, .. } = *self;
        Ok(Box::new(Requantize::new(&RequantizeSpec { input, output, activation, rounding })?))
    }

    fn ties(&self) -> Result<zeropoint_ties, Failure> {
        zeropoint_ties::of("op.ties", self.all.ties)
    }

    /// Layers whose codes are all of one type.
    fn of_one_type<C: LayerCode>(&self) -> Result<Box<dyn Layer>, Failure> {
        use zeropoint_op_kind as K;
        let Self { activation, rounding, .. } = *self;
        let (output, kernel) = (self.output::<C>()?, self.all.kernel);
        Ok(match self.kind {
            K::Add => Box::new(Add::new(&self.binary::<C>()?)?),
            K::Sub => Box::new(Sub::new(&self.binary::<C>()?)?),
            K::Mul => Box::new(Mul::new(&self.binary::<C>()?)?),
            K::AveragePool2d => {
                let ties = match self.ties()? {
                    zeropoint_ties::Default => AverageTies::AwayFromCodeZero,
                    zeropoint_ties::Other => AverageTies::AwayFromZeroPoint,
                };
                let window = window(&self.all.window)?;
                let spec = AveragePool2dSpec { kernel, window, params: output, activation, ties };
                Box::new(AveragePool2d::new(&spec)?)
            }
            K::MaxPool2d => {
                let window = window(&self.all.window)?;
                Box::new(MaxPool2d::new(&MaxPool2dSpec { kernel, window, params: output, activation })?)
            }
            K::Mean => {
                let (height, width) = (self.all.keep_height == 0, self.all.keep_width == 0);
                let input = self.only()?;
                Box::new(Mean::new(&MeanSpec { height, width, input, output, activation, rounding })?)
            }
            K::Pad => {
                let zeropoint_op { before, after, .. } = self.all;
                Box::new(Pad::new(&PadSpec { params: output, before, after }))
            }
            K::Concat | K::ConcatRequantize => {
                let dimension = match zeropoint_dimension::of("op.dimension", self.all.dimension)? {
                    zeropoint_dimension::Channels => Dimension::Channels,
                    zeropoint_dimension::Width => Dimension::Width,
                    zeropoint_dimension::Height => Dimension::Height,
                    zeropoint_dimension::Batch => Dimension::Batch,
                };
                let inputs = self.list::<C>()?;
                let spec = ConcatSpec { dimension, inputs: &inputs, output };
                match self.kind {
                    K::Concat => Box::new(Concat::new(&spec)?),
                    _ => Box::new(ConcatRequantize::new(&spec, rounding)?),
                }
            }
            K::Relu => Box::new(Relu::new(&output)),
            K::Relu6 => Box::new(Relu6::new(&output)),
            K::Logistic => Box::new(Logistic::new(&self.only::<C>()?)),
            K::Tanh => Box::new(Tanh::new(&self.only::<C>()?)),
            K::Softmax => {
                let beta = if self.all.beta == 0.0 { 1.0 } else { self.all.beta };
                Box::new(Softmax::new(&self.only::<C>()?, beta)?)
            }
            K::Quantize => {
                let ties = match self.ties()? {
                    zeropoint_ties::Default => Ties::Away,
                    zeropoint_ties::Other => Ties::Even,
                };
                Box::new(Quantize::new(&output, ties))
            }
            K::Requantize => self.requantize::<C, C>()?,
            K::Dequantize => Box::new(Dequantize::<C>::new(&self.only()?)),
        })
    }
}

fn several() -> Result<[usize; 4], Failure> {
    Err(Failure::Value { argument: "layer", value: 2, valid: "those with one input" })
}

/// Layers of inputs of one type, by how they are run.
macro_rules! layers {
    ($($name:ident<$($t:ident),*>: $from:ty => $to:ty $(, $output:ident)?;)*) => {$(
        impl<$($t: LayerCode),*> Layer for $name<$($t),*> {
            fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
                let (input, out) = (images.input::<$from>()?, images.out::<$from, $to>()?);
                Ok(self.run_on(images.threads(), input, out)?)
            }

            $(fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Failure> {
                layers!($output, self, input)
            })?
        }
    )*};
    (checked, $self:ident, $input:ident) => {
        Ok($self.output($input)?)
    };
}
layers! {
    AveragePool2d<C>: C => C, checked;
    MaxPool2d<C>: C => C, checked;
    Pad<C>: C => C, checked;
    Relu<C>: C => C;
    Relu6<C>: C => C;
    Requantize<I, O>: I => O;
    Dequantize<C>: C => f32;
    Quantize<C>: f32 => C;
}

impl<C: LayerCode> Layer for Mean<C> {
    fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
        let (input, out) = (images.input::<C>()?, images.out::<C, C>()?);
        Ok(self.run_on(images.threads(), input, out)?)
    }

    fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Failure> {
        Ok(Self::output(self, input))
    }
}

macro_rules! binary {
    ($($name:ident),*) => {$(
        impl<C: LayerCode> Layer for $name<C> {
            fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
                let [lhs, rhs] = images.all::<C, 2>()?;
                Ok(self.run_on(images.threads(), lhs, rhs, images.out::<C, C>()?)?)
            }

            fn output(&self, _: [usize; 4]) -> Result<[usize; 4], Failure> {
                several()
            }
        }
    )*};
}
binary!(Add, Sub, Mul);

macro_rules! concats {
    ($($name:ident),*) => {$(
        impl<C: LayerCode> Layer for $name<C> {
            fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
                Ok(self.run_on(images.threads(), &images.list::<C>()?, images.out::<C, C>()?)?)
            }

            fn output(&self, _: [usize; 4]) -> Result<[usize; 4], Failure> {
                several()
            }
        }
    )*};
}
concats!(Concat, ConcatRequantize);

macro_rules! functions {
    ($($name:ident),*) => {$(
        impl<C: LayerCode> Layer for $name<C> {
            fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
                images.flat::<C>(|input, out| self.run(input, out))
            }
        }
    )*};
}
functions!(Logistic, Tanh);

impl<C: LayerCode> Layer for Softmax<C> {
    fn run(&self, images: &Images<'_>) -> Result<(), Failure> {
        let [.., depth] = images.input::<C>()?.shape();
        images.flat::<C>(|input, out| self.run(depth, input, out))
    }
}

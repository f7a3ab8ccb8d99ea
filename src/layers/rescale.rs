//! Codes to other codes, to reals and back, one by one.

use core::marker::PhantomData;

use zeropoint_kernels::{Code, Element, Error, Rounding, TensorMut, TensorRef};

use super::finish::{Bytes, Finisher, flip};
use super::{Activation, run};
use crate::Threads;
use crate::quant::{QuantParams, Ties};
use crate::stages::OutputCode;

/// What [`Requantize`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct RequantizeSpec<I, O> {
    /// Parameters of the input.
    pub input: QuantParams<I>,
    /// Parameters of the output.
    pub output: QuantParams<O>,
    /// What is applied to the result.
    pub activation: Activation,
    /// The rule of the rescaling; any but [`Rounding::IntMulShift`], whose multipliers no scale has.
    pub rounding: Rounding,
}

impl<I, O> RequantizeSpec<I, O> {
    /// Without an activation, by the default rule.
    pub fn new(input: QuantParams<I>, output: QuantParams<O>) -> Self {
        Self { input, output, activation: Activation::None, rounding: Rounding::default() }
    }
}

/// The output of each input code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<T>([T; 256]);

impl<T: Copy + Default> Table<T> {
    /// From the outputs of codes.
    fn new<C: Element>(output: impl Fn(i32) -> T) -> Self {
        let mut table = [T::default(); 256];
        for code in C::RANGE.0..=C::RANGE.1 {
            table[usize::from(code as u8)] = output(code);
        }
        Self(table)
    }

    pub fn map(&self, codes: &[u8], to: &mut [T]) {
        for (to, code) in to.iter_mut().zip(codes) {
            *to = self.0[usize::from(*code)];
        }
    }
}

impl Table<u8> {
    /// Bytes of output codes, by bytes of input codes (semantics.md 10.8).
    pub fn requantize<I: Code + OutputCode, O: Code + OutputCode>(
        spec: &RequantizeSpec<I, O>,
    ) -> Result<Self, Error> {
        let RequantizeSpec { input, output, activation, rounding } = spec;
        let real = f64::from(input.scale()) / f64::from(output.scale());
        let finisher = Finisher::new(real, *rounding, output, *activation)?;
        Ok(Self::new::<I>(|code| finisher.one(code - input.zero_point())))
    }
}

/// Codes for other parameters, or of the other type (semantics.md 10.8).
///
/// ```
/// use zeropoint::layers::{Requantize, RequantizeSpec};
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let spec = RequantizeSpec::new(QuantParams::<u8>::new(0.5, 128)?, QuantParams::<i8>::new(0.25, 0)?);
/// let layer = Requantize::new(&spec)?;
/// let mut codes = [0i8; 3];
/// let input = TensorRef::nhwc(&[127u8, 138, 255], [1, 1, 1, 3])?;
/// layer.run(input, TensorMut::nhwc(&mut codes, [1, 1, 1, 3])?)?;
/// assert_eq!(codes, [-2, 20, 127]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Requantize<I, O> {
    table: Table<u8>,
    codes: PhantomData<(I, O)>,
}

impl<I: Code + OutputCode, O: Code + OutputCode> Requantize<I, O> {
    /// From the parameters of both sides.
    ///
    /// # Errors
    /// [`Error::Real`] if the factor reaches 2^30, [`Error::FixedPoint`] for [`Rounding::IntMulShift`].
    pub fn new(spec: &RequantizeSpec<I, O>) -> Result<Self, Error> {
        Ok(Self { table: Table::requantize(spec)?, codes: PhantomData })
    }

    run::serial!(I, O);

    /// Runs on threads lent by the caller. The bits do not depend on them.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, I>,
        out: TensorMut<'_, O>,
    ) -> Result<(), Error> {
        run::shape("out", input.shape(), out.shape())?;
        run::each(threads, [input.bytes()], out.into_bytes(), |[codes], to| self.table.map(codes, to))
    }
}

/// Codes to the reals they stand for (semantics.md 7.2).
///
/// ```
/// use zeropoint::layers::Dequantize;
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let layer = Dequantize::new(&QuantParams::new(0.5, 3)?);
/// let mut reals = [0.0; 2];
/// layer.run(TensorRef::nhwc(&[3u8, 0], [1, 1, 2, 1])?, TensorMut::nhwc(&mut reals, [1, 1, 2, 1])?)?;
/// assert_eq!(reals, [0.0, -1.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dequantize<C> {
    table: Table<f32>,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> Dequantize<C> {
    /// From the parameters of the input.
    pub fn new(input: &QuantParams<C>) -> Self {
        let real = |code: i32| input.scale() * (code - input.zero_point()) as f32;
        Self { table: Table::new::<C>(real), code: PhantomData }
    }

    run::serial!(C, f32);

    /// Runs on threads lent by the caller.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, C>,
        out: TensorMut<'_, f32>,
    ) -> Result<(), Error> {
        run::shape("out", input.shape(), out.shape())?;
        run::each(threads, [input.bytes()], out, |[codes], reals| self.table.map(codes, reals))
    }
}

/// Reals to the nearest codes (semantics.md 7.1): what [`quantize`](crate::quant::quantize) says of each.
///
/// ```
/// use zeropoint::layers::Quantize;
/// use zeropoint::quant::Ties;
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let layer = Quantize::new(&QuantParams::<i8>::new(0.5, -3)?, Ties::Away);
/// let mut codes = [0i8; 3];
/// let reals = TensorRef::nhwc(&[0.25f32, -1e30, f32::NAN], [1, 1, 3, 1])?;
/// layer.run(reals, TensorMut::nhwc(&mut codes, [1, 1, 3, 1])?)?;
/// assert_eq!(codes, [-2, -128, -3]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quantize<C> {
    output: QuantParams<C>,
    ties: Ties,
}

impl<C: Code + OutputCode> Quantize<C> {
    /// From the parameters of the output.
    pub fn new(output: &QuantParams<C>, ties: Ties) -> Self {
        Self { output: *output, ties }
    }

    run::serial!(f32, C);

    /// Runs on threads lent by the caller.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, f32>,
        out: TensorMut<'_, C>,
    ) -> Result<(), Error> {
        run::shape("out", input.shape(), out.shape())?;
        run::each(threads, [input], out.into_bytes(), |[reals], codes| self.codes(reals, codes))
    }

    /// What `quantize` says of each, in 32 bits: bounded, a ratio is of 257 at most, and its parts are exact.
    fn codes(&self, reals: &[f32], codes: &mut [u8]) {
        let (scale, zero, (low, high)) = (self.output.scale(), self.output.zero_point(), self.output.codes());
        let (low, high) = (low - zero, high - zero);
        // One beyond each end, where the clamp decides.
        let (least, most) = ((low - 1) as f32, (high + 1) as f32);
        let away = self.ties == Ties::Away;
        for (code, real) in codes.iter_mut().zip(reals) {
            let ratio = real / scale;
            let ratio = if ratio.is_nan() { 0.0 } else { ratio }.max(least).min(most);
            let whole = ratio as i32;
            let rest = (ratio - whole as f32).abs();
            let moves = (rest > 0.5) | ((rest == 0.5) & (away | (whole & 1 != 0)));
            let step = if ratio < 0.0 { -1 } else { 1 };
            *code = ((whole + if moves { step } else { 0 }).max(low).min(high) + zero) as u8;
        }
    }
}

macro_rules! clamps {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name<C> {
            bytes: Bytes,
            code: PhantomData<C>,
        }

        impl<C: Code + OutputCode> $name<C> {
            /// From the parameters of input and output, which are the same.
            pub fn new(params: &QuantParams<C>) -> Self {
                Self { bytes: Bytes::new(params, Activation::$name), code: PhantomData }
            }

            run::serial!(C, C);

            /// Runs on threads lent by the caller.
            ///
            /// # Errors
            /// [`Error::TensorShape`], [`Error::Threads`].
            pub fn run_on(
                &self,
                threads: &dyn Threads,
                input: TensorRef<'_, C>,
                out: TensorMut<'_, C>,
            ) -> Result<(), Error> {
                run::shape("out", input.shape(), out.shape())?;
                let (bytes, flip) = (self.bytes, flip::<C>());
                run::each(threads, [input.bytes()], out.into_bytes(), |[codes], to| {
                    for (to, code) in to.iter_mut().zip(codes) {
                        *to = bytes.clamp(code ^ flip);
                    }
                })
            }
        }
    )*};
}

clamps! {
    /// max(0, x) as a layer of its own; [`Activation::Relu`] costs nothing (semantics.md 10.9).
    Relu;
    /// min(max(0, x), 6) as a layer of its own; [`Activation::Relu6`] costs nothing (semantics.md 10.9).
    Relu6;
}

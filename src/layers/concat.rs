//! Concat: images side by side.

use alloc::vec::Vec;
use core::marker::PhantomData;

use zeropoint_kernels::{Code, Error, Rounding, TensorMut, TensorRef};

use super::rescale::{RequantizeSpec, Table};
use super::{Activation, run};
use crate::Threads;
use crate::parallel::Serial;
use crate::quant::QuantParams;
use crate::stages::OutputCode;

/// A dimension of images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dimension {
    /// Images.
    Batch,
    /// Lines.
    Height,
    /// Pixels of a line.
    Width,
    /// Channels of a pixel.
    Channels,
}

/// What a concatenation is made of.
#[derive(Clone, Copy, Debug)]
pub struct ConcatSpec<'a, C> {
    /// Along which the inputs follow each other.
    pub dimension: Dimension,
    /// Parameters of each input.
    pub inputs: &'a [QuantParams<C>],
    /// Parameters of the output.
    pub output: QuantParams<C>,
}

impl<C: Code + OutputCode> ConcatSpec<'_, C> {
    fn is_same(&self, input: &QuantParams<C>) -> bool {
        (input.scale(), input.zero_point()) == (self.output.scale(), self.output.zero_point())
    }
}

/// Images one after another.
#[derive(Clone, Debug)]
struct Joined<C> {
    dimension: usize,
    /// Of each input that has other parameters than the output.
    tables: Vec<Option<Table<u8>>>,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> Joined<C> {
    fn new(
        spec: &ConcatSpec<'_, C>,
        table: impl Fn(&QuantParams<C>) -> Result<Option<Table<u8>>, Error>,
    ) -> Result<Self, Error> {
        let mut tables = Vec::new();
        let count = spec.inputs.len();
        let memory = Error::Memory { argument: "inputs", bytes: count.saturating_mul(size_of::<Table<u8>>()) };
        tables.try_reserve_exact(count).map_err(|_| memory)?;
        for input in spec.inputs {
            tables.push(table(input)?);
        }
        Ok(Self { dimension: spec.dimension as usize, tables, code: PhantomData })
    }

    fn run_on(
        &self,
        threads: &dyn Threads,
        inputs: &[TensorRef<'_, C>],
        out: TensorMut<'_, C>,
    ) -> Result<(), Error> {
        if inputs.len() != self.tables.len() {
            return Err(Error::Length { argument: "inputs", expected: self.tables.len(), got: inputs.len() });
        }
        let (d, mut expected) = (self.dimension, out.shape());
        let mut total = 0usize;
        for input in inputs {
            let size = input.shape()[d];
            expected[d] = size;
            run::shape("inputs", expected, input.shape())?;
            total = total.checked_add(size).ok_or(Error::Overflow { argument: "inputs", a: total, b: size })?;
        }
        expected[d] = total;
        run::shape("out", expected, out.shape())?;
        run::strips(threads, out.into_bytes(), |mut strip| {
            let (start, shape) = ([strip.batch, strip.line, 0, 0], strip.out.shape());
            let mut at = 0;
            for (input, table) in inputs.iter().zip(&self.tables) {
                let size = input.shape()[d];
                // What the strip has of this input.
                let (first, end) = (start[d].max(at), (start[d] + shape[d]).min(at + size));
                if first < end {
                    let (mut from, mut to, mut part) = (start, [0; 4], shape);
                    (from[d], to[d], part[d]) = (first - at, first - start[d], end - first);
                    let mut part = strip.out.reborrow().part(to, part)?;
                    run::zip([input.bytes()], [from[0], from[1]], &mut part, |[codes], to| match table {
                        None => to.copy_from_slice(codes),
                        Some(table) => table.map(codes, to),
                    });
                }
                at += size;
            }
            Ok(())
        })
    }
}

macro_rules! runs {
    () => {
        /// Runs serially.
        ///
        /// # Errors
        /// [`Error::Length`] for another number of inputs, [`Error::TensorShape`], [`Error::Overflow`].
        pub fn run(&self, inputs: &[TensorRef<'_, C>], out: TensorMut<'_, C>) -> Result<(), Error> {
            self.run_on(&Serial, inputs, out)
        }

        /// Runs on threads lent by the caller. The bits do not depend on them.
        ///
        /// # Errors
        /// As `run`; [`Error::Threads`].
        pub fn run_on(
            &self,
            threads: &dyn Threads,
            inputs: &[TensorRef<'_, C>],
            out: TensorMut<'_, C>,
        ) -> Result<(), Error> {
            self.0.run_on(threads, inputs, out)
        }
    };
}

/// Images of the same parameters one after another: codes are moved, nothing is lost (semantics.md 10.7; paper 2.5 and A.3).
///
/// ```
/// use zeropoint::layers::{Concat, ConcatSpec, Dimension};
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let params = QuantParams::new(0.1, 0)?;
/// let spec = ConcatSpec { dimension: Dimension::Channels, inputs: &[params, params], output: params };
/// let (a, b) = ([1u8, 2], [3u8, 4, 5, 6]); // two pixels of one channel, of two
/// let mut codes = [0; 6];
/// let inputs = [TensorRef::nhwc(&a, [1, 1, 2, 1])?, TensorRef::nhwc(&b, [1, 1, 2, 2])?];
/// Concat::new(&spec)?.run(&inputs, TensorMut::nhwc(&mut codes, [1, 1, 2, 3])?)?;
/// assert_eq!(codes, [1, 3, 4, 2, 5, 6]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Concat<C>(Joined<C>);

impl<C: Code + OutputCode> Concat<C> {
    /// Of inputs whose parameters are those of the output.
    ///
    /// # Errors
    /// [`Error::Params`] if an input has others: see [`ConcatRequantize`]. [`Error::Memory`].
    pub fn new(spec: &ConcatSpec<'_, C>) -> Result<Self, Error> {
        let pair = |params: &QuantParams<C>| (params.scale(), params.zero_point());
        let none = |input: &QuantParams<C>| match spec.is_same(input) {
            true => Ok(None),
            false => Err(Error::Params { argument: "inputs", expected: pair(&spec.output), got: pair(input) }),
        };
        Ok(Self(Joined::new(spec, none)?))
    }

    runs!();
}

/// Images of any parameters one after another. An input that has not those of the output is requantized, as
/// [`Requantize`](crate::layers::Requantize) does, and may lose by it.
#[derive(Clone, Debug)]
pub struct ConcatRequantize<C>(Joined<C>);

impl<C: Code + OutputCode> ConcatRequantize<C> {
    /// Of any inputs.
    ///
    /// # Errors
    /// [`Error::Real`] if a factor reaches 2^30, [`Error::FixedPoint`] for [`Rounding::IntMulShift`], [`Error::Memory`].
    pub fn new(spec: &ConcatSpec<'_, C>, rounding: Rounding) -> Result<Self, Error> {
        let table = |input: &QuantParams<C>| {
            let (input, output) = (*input, spec.output);
            let requantize = RequantizeSpec { input, output, activation: Activation::None, rounding };
            Ok(Some(Table::requantize(&requantize)?).filter(|_| !spec.is_same(&input)))
        };
        Ok(Self(Joined::new(spec, table)?))
    }

    runs!();
}

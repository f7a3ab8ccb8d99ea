//! Add, Sub, Mul: two images to one, element by element.

use alloc::boxed::Box;
use core::marker::PhantomData;

use zeropoint_kernels::{Code, Element, Error, Multiplier, Rounding, TensorMut, TensorRef};

use super::finish::{Finisher, check};
use super::{Activation, run};
use crate::Threads;
use crate::parallel::Serial;
use crate::quant::QuantParams;
use crate::stages::OutputCode;

/// Results that wait for their output stage, in L1.
const WAITING: usize = 256;
/// What operands of a sum are shifted left by, so that rescaling them loses little.
const LEFT: u32 = 20;

/// What a layer of two operands is made of.
#[derive(Clone, Copy, Debug)]
pub struct BinarySpec<C> {
    /// Parameters of the first operand.
    pub lhs: QuantParams<C>,
    /// Parameters of the second operand.
    pub rhs: QuantParams<C>,
    /// Parameters of the output.
    pub output: QuantParams<C>,
    /// What is applied to the result.
    pub activation: Activation,
    /// The rule of every rescaling; any but [`Rounding::IntMulShift`], whose multipliers no scale has.
    pub rounding: Rounding,
}

impl<C> BinarySpec<C> {
    /// Without an activation, by the default rule.
    pub fn new(lhs: QuantParams<C>, rhs: QuantParams<C>, output: QuantParams<C>) -> Self {
        Self { lhs, rhs, output, activation: Activation::None, rounding: Rounding::default() }
    }
}

/// The integer of two codes that the output stage rescales.
#[derive(Clone, Debug)]
enum Operation {
    /// The sum of what two tables, by code, say: differences to zero points, rescaled.
    Sum(Box<[[i32; 256]; 2]>),
    /// The product of differences to zero points.
    Product { lhs: i32, rhs: i32, signed: bool },
}

/// A layer of two operands.
#[derive(Clone, Debug)]
struct Binary<C> {
    operation: Operation,
    finisher: Finisher,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> Binary<C> {
    /// A sum, or, with `sign` -1, a difference (semantics.md 10.2).
    fn sum(spec: &BinarySpec<C>, sign: i32) -> Result<Self, Error> {
        let BinarySpec { lhs, rhs, output, activation, rounding } = spec;
        let twice = 2.0 * f64::from(lhs.scale().max(rhs.scale()));
        let table = |operand: &QuantParams<C>, sign: i32| {
            let by = check(*rounding, Multiplier::from_real(f64::from(operand.scale()) / twice)?)?;
            let mut table = [0; 256];
            for code in <C as Element>::RANGE.0..=<C as Element>::RANGE.1 {
                let difference = (code - operand.zero_point()) << LEFT;
                // At most half of the difference, which has 28 bits.
                table[usize::from(code as u8)] = sign * rounding.apply(difference, by) as i32;
            }
            Ok(table)
        };
        Ok(Self {
            operation: Operation::Sum(Box::new([table(lhs, 1)?, table(rhs, sign)?])),
            finisher: Finisher::new(
                twice / (f64::from(1 << LEFT) * f64::from(output.scale())),
                *rounding,
                output,
                *activation,
            )?,
            code: PhantomData,
        })
    }

    /// A product (semantics.md 10.3).
    fn product(spec: &BinarySpec<C>) -> Result<Self, Error> {
        let BinarySpec { lhs, rhs, output, activation, rounding } = spec;
        let real = f64::from(lhs.scale()) * f64::from(rhs.scale()) / f64::from(output.scale());
        Ok(Self {
            operation: Operation::Product { lhs: lhs.zero_point(), rhs: rhs.zero_point(), signed: C::SIGNED },
            finisher: Finisher::new(real, *rounding, output, *activation)?,
            code: PhantomData,
        })
    }

    fn run_on(
        &self,
        threads: &dyn Threads,
        lhs: TensorRef<'_, C>,
        rhs: TensorRef<'_, C>,
        out: TensorMut<'_, C>,
    ) -> Result<(), Error> {
        let [a, b] = [lhs.shape(), rhs.shape()];
        // A size of 1 gives way to the other's.
        let shape = core::array::from_fn(|i| if a[i] == 1 { b[i] } else { a[i] });
        let lhs = lhs.bytes().broadcast("lhs", shape)?;
        let rhs = rhs.bytes().broadcast("rhs", shape)?;
        run::shape("out", shape, out.shape())?;
        run::each(threads, [lhs, rhs], out.into_bytes(), |[lhs, rhs], codes| self.piece(lhs, rhs, codes))
    }

    fn piece(&self, lhs: &[u8], rhs: &[u8], codes: &mut [u8]) {
        let mut waiting = [0; WAITING];
        let pieces = lhs.chunks(WAITING).zip(rhs.chunks(WAITING)).zip(codes.chunks_mut(WAITING));
        for ((lhs, rhs), codes) in pieces {
            self.operation.apply(lhs, rhs, &mut waiting);
            self.finisher.all(&waiting, codes);
        }
    }
}

impl Operation {
    fn apply(&self, lhs: &[u8], rhs: &[u8], results: &mut [i32; WAITING]) {
        let each = results.iter_mut().zip(lhs.iter().zip(rhs));
        match self {
            Self::Sum(tables) => {
                let [lhs, rhs] = &**tables;
                for (result, (a, b)) in each {
                    *result = lhs[usize::from(*a)] + rhs[usize::from(*b)];
                }
            }
            Self::Product { lhs, rhs, signed: false } => {
                for (result, (a, b)) in each {
                    *result = (i32::from(*a) - lhs) * (i32::from(*b) - rhs);
                }
            }
            Self::Product { lhs, rhs, signed: true } => {
                for (result, (a, b)) in each {
                    *result = (i32::from(*a as i8) - lhs) * (i32::from(*b as i8) - rhs);
                }
            }
        }
    }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident = $new:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name<C>(Binary<C>);

        impl<C: Code + OutputCode> $name<C> {
            /// From the parameters of both operands and of the output.
            ///
            /// # Errors
            /// [`Error::Real`] if the output's scale is so small that a factor reaches 2^30, [`Error::FixedPoint`] for
            /// [`Rounding::IntMulShift`].
            pub fn new(spec: &BinarySpec<C>) -> Result<Self, Error> {
                let new: fn(&BinarySpec<C>) -> Result<Binary<C>, Error> = $new;
                Ok(Self(new(spec)?))
            }

            /// Runs serially. Where an operand has size 1, it is repeated as the other asks for.
            ///
            /// # Errors
            /// [`Error::TensorShape`].
            pub fn run(
                &self,
                lhs: TensorRef<'_, C>,
                rhs: TensorRef<'_, C>,
                out: TensorMut<'_, C>,
            ) -> Result<(), Error> {
                self.run_on(&Serial, lhs, rhs, out)
            }

            #[doc = concat!("As [`", stringify!($name), "::run`], on threads lent by the caller. The bits do not depend on them.")]
            ///
            /// # Errors
            /// [`Error::TensorShape`], [`Error::Threads`].
            pub fn run_on(
                &self,
                threads: &dyn Threads,
                lhs: TensorRef<'_, C>,
                rhs: TensorRef<'_, C>,
                out: TensorMut<'_, C>,
            ) -> Result<(), Error> {
                self.0.run_on(threads, lhs, rhs, out)
            }
        }
    )*};
}

layers! {
    /// The sum of two images (semantics.md 10.2).
    ///
    /// ```
    /// use zeropoint::layers::{Add, BinarySpec};
    /// use zeropoint::{QuantParams, TensorMut, TensorRef};
    /// let tenth = QuantParams::<u8>::new(0.1, 10)?;
    /// let add = Add::new(&BinarySpec::new(tenth, QuantParams::new(0.2, 0)?, tenth))?;
    /// let mut sums = [0u8; 3];
    /// let (lhs, rhs) = ([11u8, 12, 13], [100u8]); // 0.1, 0.2, 0.3; 20
    /// let lhs = TensorRef::nhwc(&lhs, [1, 1, 3, 1])?;
    /// let rhs = TensorRef::nhwc(&rhs, [1, 1, 1, 1])?; // repeated
    /// add.run(lhs, rhs, TensorMut::nhwc(&mut sums, [1, 1, 3, 1])?)?;
    /// assert_eq!(sums, [211, 212, 213]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    Add = |spec| Binary::sum(spec, 1);
    /// The difference of two images: [`Add`] with the second operand's part negated.
    Sub = |spec| Binary::sum(spec, -1);
    /// The product of two images, element by element (semantics.md 10.3).
    Mul = Binary::product;
}

//! Add, Sub, Mul: two images to one, element by element.

use core::marker::PhantomData;

use zeropoint_kernels::{Backend, Code, Error, Multiplier, Operation, Pairwise, Rounding, TensorMut, TensorRef};

use super::finish::check;
use super::{Activation, run};
use crate::parallel::Serial;
use crate::quant::QuantParams;
use crate::stages::OutputCode;
use crate::{Threads, dispatch, plan};

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
    /// The backend; if `None`, the [`selected`](crate::selected) one.
    pub backend: Option<Backend>,
}

impl<C> BinarySpec<C> {
    /// Without an activation, by the default rule.
    pub fn new(lhs: QuantParams<C>, rhs: QuantParams<C>, output: QuantParams<C>) -> Self {
        let (activation, rounding) = (Activation::None, Rounding::default());
        Self { lhs, rhs, output, activation, rounding, backend: None }
    }
}

/// A layer of two operands.
#[derive(Clone, Debug)]
struct Binary<C> {
    backend: Backend,
    pairwise: Pairwise,
    /// Whether the second operand is the kernel's first.
    swapped: bool,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> Binary<C> {
    /// `operands` in the order of the kernel.
    fn new(
        spec: &BinarySpec<C>,
        operands: [&QuantParams<C>; 2],
        operation: Operation,
        real: f64,
    ) -> Result<Self, Error> {
        let (low, high) = spec.activation.bounds(&spec.output);
        let pairwise = Pairwise {
            operation,
            zero_points: operands.map(QuantParams::zero_point),
            signed: C::SIGNED,
            rounding: spec.rounding,
            scale: check(spec.rounding, Multiplier::from_real(real)?)?,
            zero_point: spec.output.zero_point(),
            low,
            high,
        };
        let backend = match spec.backend {
            Some(backend) => backend,
            // As there, kernels differ in lanes only.
            None => plan::depthwise(dispatch::candidates()?).map_or_else(dispatch::selected, Ok)?,
        };
        Ok(Self { backend, pairwise, swapped: false, code: PhantomData })
    }

    /// A sum, or a difference (semantics.md 10.2): the operand of the larger scale comes first.
    fn sum(spec: &BinarySpec<C>, subtract: bool) -> Result<Self, Error> {
        let BinarySpec { lhs, rhs, output, rounding, .. } = spec;
        let swapped = rhs.scale() > lhs.scale();
        let (larger, smaller) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let twice = 2.0 * f64::from(larger.scale());
        let by = check(*rounding, Multiplier::from_real(f64::from(smaller.scale()) / twice)?)?;
        let operation = Operation::Sum { by, negative: [subtract && swapped, subtract && !swapped] };
        let real = twice / (f64::from(1 << LEFT) * f64::from(output.scale()));
        let sum = Self::new(spec, [larger, smaller], operation, real)?;
        // Trying all pairs of codes takes 0.4 ms on Zen 4, once; a code takes half the time from then on.
        Ok(Self { swapped, pairwise: sum.pairwise.shortened(), ..sum })
    }

    /// A product (semantics.md 10.3).
    fn product(spec: &BinarySpec<C>) -> Result<Self, Error> {
        let BinarySpec { lhs, rhs, output, .. } = spec;
        let real = f64::from(lhs.scale()) * f64::from(rhs.scale()) / f64::from(output.scale());
        Self::new(spec, [lhs, rhs], Operation::Product, real)
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
        let operands = if self.swapped { [rhs, lhs] } else { [lhs, rhs] };
        run::pairs(threads, operands, out.into_bytes(), |codes, to| self.pairwise.run(self.backend, codes, to))
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
            /// [`Rounding::IntMulShift`], [`Error::Backend`].
            pub fn new(spec: &BinarySpec<C>) -> Result<Self, Error> {
                let new: fn(&BinarySpec<C>) -> Result<Binary<C>, Error> = $new;
                Ok(Self(new(spec)?))
            }

            /// The backend that runs it.
            pub fn backend(&self) -> Backend {
                self.0.backend
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
    Add = |spec| Binary::sum(spec, false);
    /// The difference of two images: [`Add`] with the second operand's part negated.
    Sub = |spec| Binary::sum(spec, true);
    /// The product of two images, element by element (semantics.md 10.3).
    Mul = Binary::product;
}

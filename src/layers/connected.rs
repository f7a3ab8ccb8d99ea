//! Fully connected: a product with the layout and the zero point of a layer.

use core::marker::PhantomData;

use zeropoint_kernels::{Code, Element, Error, MatMut, MatRef, ZeroPoint};

use crate::{Gemm, PackOptions, Packed, Stages, Threads, Workspace};

/// What a fully connected layer is made of, but for its output stages.
#[derive(Clone, Copy, Debug)]
pub struct FullyConnectedSpec<'a, W> {
    /// Outputs x inputs.
    pub weights: MatRef<'a, W>,
    /// One, or one an output.
    pub weight_zero_point: ZeroPoint<'a>,
    /// The code of 0.
    pub input_zero_point: i32,
    /// How to pack the weights.
    pub pack: PackOptions,
}

impl<'a, W: Code> FullyConnectedSpec<'a, W> {
    /// With zero points 0.
    pub fn new(weights: MatRef<'a, W>) -> Self {
        let zero = ZeroPoint::One(0);
        Self { weights, weight_zero_point: zero, input_zero_point: 0, pack: PackOptions::default() }
    }
}

/// Each output of each row of inputs: `stages(sum over inputs of (input - zi) * (weight - zw))` (semantics.md 10.1).
/// Columns of the [`Stages`] are outputs.
///
/// ```
/// use zeropoint::layers::{FullyConnected, FullyConnectedSpec};
/// use zeropoint::{MatMut, MatRef, Stages};
/// let weights = [1i8, 2, 3, 4, 5, 6]; // two outputs of three inputs
/// let spec = FullyConnectedSpec::new(MatRef::row_major(&weights, 2, 3)?);
/// let layer = FullyConnected::<u8, i32>::new(&spec, &Stages::raw())?;
/// let mut sums = [0; 2];
/// let (input, out) = (MatRef::row_major(&[1, 0, 10], 1, 3)?, MatMut::row_major(&mut sums, 1, 2)?);
/// layer.run(input, out, &mut layer.workspace())?;
/// assert_eq!(sums, [31, 64]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct FullyConnected<L, O> {
    product: Gemm<'static, O>,
    zero: i32,
    input: PhantomData<L>,
}

impl<L: Code, O: Element> FullyConnected<L, O> {
    /// Packs the weights, copies the vectors of the stages.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`], and those of [`Packed::rhs`] and [`Gemm::new`].
    pub fn new<W: Code>(spec: &FullyConnectedSpec<'_, W>, stages: &Stages<'_, O>) -> Result<Self, Error> {
        ZeroPoint::One(spec.input_zero_point).check("input_zero_point", 0, L::RANGE.0, L::RANGE.1)?;
        let weights = spec.weights.transposed().zero_point(spec.weight_zero_point);
        let product = Gemm::new(Packed::rhs_with(weights, spec.pack)?, stages)?;
        Ok(Self { product, zero: spec.input_zero_point, input: PhantomData })
    }

    /// The product: what was chosen is in [`Gemm::explain`].
    pub fn product(&self) -> &Gemm<'static, O> {
        &self.product
    }

    /// Bytes of workspace that runs on up to `threads` threads need.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn workspace_bytes(&self, threads: usize) -> Result<usize, Error> {
        self.product.workspace_bytes(threads)
    }

    /// A workspace for serial runs.
    pub fn workspace(&self) -> Workspace<'static> {
        self.product.workspace()
    }

    /// Runs serially: input rows x inputs, out rows x outputs.
    ///
    /// # Errors
    /// As [`Gemm::run`].
    pub fn run(
        &self,
        input: MatRef<'_, L>,
        out: MatMut<'_, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        self.product.run(input.zero_point(self.zero), out, workspace)
    }

    /// Runs on threads lent by the caller. The bits do not depend on them.
    ///
    /// # Errors
    /// As [`FullyConnected::run`]; [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: MatRef<'_, L>,
        out: MatMut<'_, O>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        self.product.options().threads(threads).run(input.zero_point(self.zero), out, workspace)
    }
}

//! Products to time: data, stages, and the check of what they compute.

use zeropoint::reference::{self, Output};
use zeropoint::{
    Backend, Gemm, MatMut, MatRef, Multiplier, PackOptions, Packed, PerAxis, Quantized, Stages, Workspace,
};

use super::data::Rng;
pub use super::shape::Shape;

/// The order of the elements of an output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    RowMajor,
    ColMajor,
}

const LHS_ZERO: i32 = 117;
const RHS_ZERO: i32 = 131;

/// Operands of the full range, both zero points non-zero, and vectors for the output stages.
pub struct Data {
    pub shape: Shape,
    lhs: Vec<u8>,
    rhs: Vec<u8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
}

impl Data {
    pub fn new(shape: Shape) -> Self {
        let Shape { m, k, n } = shape;
        let mut rng = Rng::new((m * 31 + k) as u64 * 31 + n as u64);
        // Sums of k products of two uniform codes: about 74 * 74 * sqrt(k). Most outputs lie inside the clamp.
        let spread = 5500.0 * (k as f64).sqrt();
        let multiplier = |by: f64| Multiplier::from_real(by).expect("a small positive number");
        Self {
            shape,
            lhs: rng.codes(m * k),
            rhs: rng.codes(k * n),
            bias: (0..n).map(|_| rng.within(-50_000, 50_000)).collect(),
            multipliers: (0..n).map(|_| multiplier(rng.real(30.0, 60.0) / spread)).collect(),
        }
    }

    /// With weights of this range.
    pub fn weights(mut self, low: i32, high: i32) -> Self {
        let mut rng = Rng::new(3);
        self.rhs.fill_with(|| rng.within(low, high) as u8);
        self
    }

    pub fn lhs(&self) -> Quantized<'_, u8> {
        MatRef::row_major(&self.lhs, self.shape.m, self.shape.k).expect("lhs").zero_point(LHS_ZERO)
    }

    pub fn rhs(&self) -> Quantized<'_, u8> {
        MatRef::row_major(&self.rhs, self.shape.k, self.shape.n).expect("rhs").zero_point(RHS_ZERO)
    }

    /// int32 with a bias a column.
    pub fn sums(&self) -> Stages<'_, i32> {
        Stages::raw().bias(&self.bias)
    }

    /// u8 by the default rule, one multiplier a column, and a clamp as of a ReLU.
    pub fn codes(&self) -> Stages<'_, u8> {
        Stages::fixed(PerAxis::PerColumn(&self.multipliers)).bias(&self.bias).zero_point(9).clamp(9, 255)
    }

    /// The prepared product.
    pub fn prepare<O: Output>(&self, backend: Backend, stages: &Stages<'_, O>) -> Gemm<'static, O> {
        let options =
            PackOptions { backend: Some(backend), expected_rows: Some(self.shape.m), ..PackOptions::default() };
        let packed = Packed::rhs_with(self.rhs(), options).expect("packs");
        Gemm::new(packed, stages).expect("prepares")
    }

    /// Panics unless `out` is what `stages` of the product are: everywhere by the scalar backend, and in the first
    /// and last rows and columns by the reference.
    pub fn check<O: Output + PartialEq>(
        &self,
        backend: Backend,
        stages: impl Fn(&Self) -> Stages<'_, O>,
        out: &[O],
        order: Order,
    ) {
        let Shape { m, k, n } = self.shape;
        let at = |i: usize, j: usize| if order == Order::RowMajor { out[i * n + j] } else { out[j * m + i] };
        let who = format!("{} {}", backend.kernel(), self.shape);
        if backend.name() != "scalar" {
            let scalar = Backend::named("scalar").expect("always there");
            let mut expected = vec![O::default(); m * n];
            let gemm = self.prepare(scalar, &stages(self));
            run(&gemm, self, &mut expected, Order::RowMajor, &mut gemm.workspace());
            for (i, row) in expected.chunks_exact(n).enumerate() {
                let wrong = (0..n).find(|&j| at(i, j) != row[j]);
                assert!(wrong.is_none(), "{who}: row {i}, column {wrong:?} differs from scalar");
            }
        }
        let corners = [(0, 0), (m - m.min(7), n - n.min(17))];
        for (row, col) in corners {
            let part = Self {
                shape: Shape { m: m.min(7), k, n: n.min(17) },
                lhs: self.lhs[row * k..(row + m.min(7)) * k].to_vec(),
                rhs: self.rhs.chunks_exact(n).flat_map(|row| &row[col..col + n.min(17)]).copied().collect(),
                bias: self.bias[col..col + n.min(17)].to_vec(),
                multipliers: self.multipliers[col..col + n.min(17)].to_vec(),
            };
            let Shape { m, n, .. } = part.shape;
            let mut expected = vec![O::default(); m * n];
            let view = MatMut::row_major(&mut expected, m, n).expect("out");
            reference::gemm(part.lhs(), part.rhs(), &stages(&part), view).expect("the reference runs");
            for (index, expected) in expected.iter().enumerate() {
                let (i, j) = (row + index / n, col + index % n);
                assert!(at(i, j) == *expected, "{who}: row {i}, column {j} differs from the reference");
            }
        }
    }
}

/// One run into `out`.
pub fn run<O: Output>(
    gemm: &Gemm<'_, O>,
    data: &Data,
    out: &mut [O],
    order: Order,
    workspace: &mut Workspace<'_>,
) {
    let Shape { m, n, .. } = data.shape;
    let out = match order {
        Order::RowMajor => MatMut::row_major(out, m, n),
        Order::ColMajor => MatMut::col_major(out, m, n),
    };
    gemm.run(data.lhs(), out.expect("out"), workspace).expect("runs");
}

/// A prepared product, checked once, as a call to time.
pub fn prepared<O: Output + PartialEq>(
    data: &Data,
    backend: Backend,
    stages: impl Fn(&Data) -> Stages<'_, O>,
    order: Order,
) -> impl FnMut() {
    let gemm = data.prepare(backend, &stages(data));
    let mut workspace = gemm.workspace();
    let mut out = vec![O::default(); data.shape.m * data.shape.n];
    run(&gemm, data, &mut out, order, &mut workspace);
    data.check(backend, stages, &out, order);
    move || run(&gemm, data, &mut out, order, &mut workspace)
}

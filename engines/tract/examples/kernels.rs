//! tract's choice of kernel and zeropoint's at shapes of networks, in turns: packing of activations, product, and what
//! a quantized layer fuses to it. `cargo run --release --example kernels`

use std::time::{Duration, Instant};

use tract_data::internal::*;
use tract_linalg::mmm::{AsInputValue, FusedSpec, MMMInputValue, MatMatMul, Query, RoundingPolicy, ScratchSpace};
use tract_linalg::{BinOp, MmmDispatch};

/// Weights, M x K, times activations, K x N: how tract sees a layer.
struct Layer {
    kernel: Box<dyn MatMatMul>,
    scratch: Box<dyn ScratchSpace>,
    weights: Box<dyn MMMInputValue>,
    bias: Tensor,
    zero: Tensor,
    out: Tensor,
    /// The axis of the output that weights have, and that of activations.
    axes: [usize; 2],
}

impl Layer {
    fn new(ours: bool, [m, k, n]: [usize; 3], codes: bool, axes: [usize; 2]) -> TractResult<Self> {
        zeropoint_tract::enable(ours);
        let query = Query::plain(DatumType::I32, Some(m), Some(k), Some(n));
        let (kernel, packing, _) = MmmDispatch::native().pick(&query).context("no kernel")?;
        ensure!(packing == 0 || !ours);
        let weights = kernel.packings()[packing].0.prepare_one(&tensor(&[m, k])?, 1, 0)?;
        let shape = if axes == [0, 1] { [m, n] } else { [n, m] };
        Ok(Self {
            // SAFETY: used with this kernel only.
            scratch: unsafe { kernel.allocate_scratch_space() },
            weights,
            bias: Tensor::from_shape(&[m], &vec![1_000i32; m])?,
            zero: tensor0(3i32),
            out: Tensor::zero_dt(if codes { DatumType::I8 } else { DatumType::I32 }, &shape)?,
            kernel,
            axes,
        })
    }

    fn run(&mut self, activations: &Tensor, [m, n]: [usize; 2]) -> TractResult<()> {
        let packing = self.kernel.packings().iter().position(|(lhs, _)| lhs.dyn_eq(self.weights.format()));
        let packing = packing.context("packed for another kernel")?;
        // Row-major with N or K contiguous, as the output is.
        let k_axis = self.axes[0];
        let columns = self.kernel.packings()[packing].1.prepare_one(activations, k_axis, 1 - k_axis)?;
        let product = FusedSpec::AddMatMul {
            a: AsInputValue::Borrowed(&*self.weights),
            b: AsInputValue::Owned(columns),
            packing,
        };
        // SAFETY: operands are packed by the kernel's packing, and have the shapes of the output.
        unsafe {
            let view = self.kernel.c_view(Some(self.axes[0]), Some(self.axes[1]));
            let store = FusedSpec::Store(view.wrap(&self.out.view_mut()));
            let list = if self.out.datum_type() == DatumType::I8 {
                vec![
                    product,
                    FusedSpec::BinPerRow(self.bias.view(), BinOp::Add),
                    FusedSpec::QScale(12, RoundingPolicy::Even, 1_400_000_003),
                    FusedSpec::BinScalar(&self.zero, BinOp::Add),
                    store,
                ]
            } else {
                vec![product, store]
            };
            self.kernel.run_with_scratch_space(m, n, &mut *self.scratch, &list)
        }
    }
}

fn tensor(shape: &[usize]) -> TractResult<Tensor> {
    let mut state = 1u64;
    let mut code = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as i8
    };
    Tensor::from_shape(shape, &(0..shape.iter().product()).map(|_| code()).collect::<Vec<_>>())
}

fn main() -> TractResult<()> {
    println!("{}\nweights x K x activations; outputs; GOP/s of tract, of zeropoint", zeropoint_tract::explain()?);
    for shape in
        [[3_072, 768, 128], [768, 3_072, 128], [768, 768, 13], [256, 256, 256], [64, 576, 3_136], [1_024; 3]]
    {
        let [m, k, n] = shape;
        for (codes, axes) in [(false, [0, 1]), (false, [1, 0]), (true, [0, 1]), (true, [1, 0])] {
            let activations = tensor(&if axes == [0, 1] { [k, n] } else { [n, k] })?;
            let mut layers = [Layer::new(false, shape, codes, axes)?, Layer::new(true, shape, codes, axes)?];
            let mut least = [Duration::MAX; 2];
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(300) {
                for (layer, least) in layers.iter_mut().zip(&mut least) {
                    let start = Instant::now();
                    layer.run(&activations, [m, n])?;
                    *least = start.elapsed().min(*least);
                }
            }
            ensure!(layers[0].out == layers[1].out, "{shape:?}: outputs differ");
            let [tract, ours] = least.map(|least| 2.0 * (m * k * n) as f64 / least.as_nanos() as f64);
            let what = if codes { "i8 " } else { "i32" };
            let order = if axes == [0, 1] { "by weight" } else { "by activation" };
            println!(
                "{m:5} x {k:4} x {n:4}  {what} {order:13} {tract:5.0} {ours:5.0}  {}",
                layers[0].kernel.name()
            );
        }
    }
    Ok(())
}

//! Every backend of the list as a kernel of tract, against plain sums and tract's portable kernel, bit for bit.

use tract_data::internal::*;
use tract_linalg::BinOp;
use tract_linalg::generic::mmm::generic_i32_4x4;
use tract_linalg::mmm::{AsInputValue, FusedSpec, MatMatMul, RoundingPolicy};
use zeropoint_kernels::available;
use zeropoint_tract::{Kernel, tiles};

/// Numbers that look random, the same every time.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn tensor<T: Datum + Copy>(&mut self, shape: &[usize], mut of: impl FnMut(u64) -> T) -> Tensor {
        let values: Vec<_> = (0..shape.iter().product()).map(|_| of(self.next())).collect();
        Tensor::from_shape(shape, &values).unwrap()
    }
}

fn kernels() -> Vec<Kernel> {
    let both = |backend| [Some(Kernel::products(backend)), Kernel::convolutions(backend)];
    let kernels: Vec<_> = available().flat_map(both).flatten().collect();
    println!("{kernels:?}");
    kernels
}

/// What a product is stored as: the type, and whether column after column.
#[derive(Clone, Copy, Debug)]
struct Out(DatumType, bool);

/// Sums, row after row.
const SUMS: Out = Out(DatumType::I32, false);

/// `a`, M x K, times `b`, K x N, by a kernel, in a packing of its, then `ops`.
fn run(kernel: &dyn MatMatMul, packing: usize, [a, b]: [&Tensor; 2], ops: &[FusedSpec], out: Out) -> Tensor {
    let (m, n) = (a.shape()[0], b.shape()[1]);
    let Out(to, by_columns) = out;
    let (shape, axes) = if by_columns { ([n, m], [1, 0]) } else { ([m, n], [0, 1]) };
    let (lhs, rhs) = &kernel.packings()[packing];
    let (lhs, rhs) = (lhs.prepare_one(a, 1, 0).unwrap(), rhs.prepare_one(b, 0, 1).unwrap());
    let mut c = Tensor::zero_dt(to, &shape).unwrap();
    let product =
        FusedSpec::AddMatMul { a: AsInputValue::Borrowed(&*lhs), b: AsInputValue::Borrowed(&*rhs), packing };
    // SAFETY: operands are packed by the kernel's packing; the output has its shape, and operands of `ops` theirs.
    unsafe {
        let store = FusedSpec::Store(kernel.c_view(Some(axes[0]), Some(axes[1])).wrap(&c.view_mut()));
        let list: Vec<_> = [product].into_iter().chain(ops.iter().cloned()).chain([store]).collect();
        kernel.run(m, n, &list).unwrap();
    }
    c
}

fn sums(a: &Tensor, b: &Tensor) -> Tensor {
    let (a, b) = (a.to_plain_array_view::<i8>().unwrap(), b.to_plain_array_view::<i8>().unwrap());
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    let sum = |at: usize| (0..k).map(|k| i32::from(a[[at / n, k]]) * i32::from(b[[k, at % n]])).sum::<i32>();
    Tensor::from_shape(&[m, n], &(0..m * n).map(sum).collect::<Vec<_>>()).unwrap()
}

/// Sizes at the edges of tiles, K at those of steps, data at those of i8.
#[test]
fn products() {
    let mut rng = Rng(1);
    for kernel in kernels() {
        let (mr, nr) = (MatMatMul::mr(&kernel), MatMatMul::nr(&kernel));
        for k in [0, 1, 2, 3, 4, 5, 31, 63, 64, 65, 512, 1_000] {
            for [m, n] in [[1, 1], [mr, nr], [mr - 1, nr + 1], [mr + 1, nr - 1], [2 * mr + 3, 2 * nr + 5]] {
                for fill in [None, Some([-128, -128]), Some([127, -128]), Some([-128, 127])] {
                    let code = |side: usize| move |bits: u64| fill.map_or(bits as i8, |fill| fill[side]);
                    let (a, b) = (rng.tensor(&[m, k], code(0)), rng.tensor(&[k, n], code(1)));
                    let before = tiles();
                    let got = run(&kernel, 0, [&a, &b], &[], SUMS);
                    assert_eq!(tiles() - before, (m.div_ceil(mr) * n.div_ceil(nr)) as u64);
                    assert_eq!(got, sums(&a, &b), "{kernel:?}, {m} x {k} x {n}, {fill:?}");
                }
            }
        }
    }
}

/// What a product is finished with: a number, one a row, one a column, tiles of i32 and of i8.
struct Operands {
    one: Tensor,
    row: Tensor,
    col: Tensor,
    tile: Tensor,
    bytes: Tensor,
}

impl Operands {
    /// Numbers with which nothing wraps: tract's portable kernel panics in debug builds.
    fn new(rng: &mut Rng, m: usize, n: usize) -> Self {
        let mut small = |shape: &[usize]| rng.tensor(shape, |bits| bits as i32 % 1_000);
        let (one, row, col, tile) = (small(&[]), small(&[m]), small(&[n]), small(&[m, n]));
        Self { one, row, col, tile, bytes: rng.tensor(&[m, n], |bits| bits as i8) }
    }

    /// Everything that tract fuses, each alone, and what a quantized product has in a row.
    fn lists(&self, kernel: &dyn MatMatMul, whole: bool) -> Vec<(Vec<FusedSpec<'_>>, DatumType)> {
        let mut lists = vec![];
        for op in [BinOp::Min, BinOp::Max, BinOp::Add, BinOp::Mul, BinOp::Sub, BinOp::SubF] {
            lists.push(vec![FusedSpec::BinScalar(&self.one, op)]);
            lists.push(vec![FusedSpec::BinPerRow(self.row.view(), op)]);
            lists.push(vec![FusedSpec::BinPerCol(self.col.view(), op)]);
        }
        use RoundingPolicy::{Away, Even, MinusInf, Odd, PlusInf, Zero};
        for policy in [Zero, Away, MinusInf, PlusInf, Even, Odd] {
            lists.push(vec![FusedSpec::RoundingShiftRight(5, policy)]);
            lists.push(vec![FusedSpec::QScale(3, policy, 1_234_567_891)]);
            lists.push(vec![FusedSpec::QScale(-1, policy, 1_234_567_891)]);
            // Ties, exact ones of both signs, and no shift at all.
            lists.push(vec![FusedSpec::QScale(1, policy, 1 << 30)]);
            lists.push(vec![FusedSpec::QScale(4, policy, -(1 << 30))]);
            lists.push(vec![FusedSpec::QScale(-31, policy, 3)]);
        }
        lists.push(vec![FusedSpec::ShiftLeft(3)]);
        // SAFETY: the tiles have the shape of the output.
        let add =
            |tile: &Tensor| unsafe { FusedSpec::AddUnicast(kernel.c_view(Some(0), Some(1)).wrap(&tile.view())) };
        lists.push(vec![FusedSpec::AddRowColProducts(&self.row, &self.col)]);
        lists.push(vec![add(&self.tile)]);
        // In whole tiles only: at edges tract reads four bytes an element, whatever they are.
        if whole {
            lists.push(vec![add(&self.bytes)]);
        }
        let all = vec![
            FusedSpec::BinPerRow(self.row.view(), BinOp::Add),
            FusedSpec::AddRowColProducts(&self.row, &self.col),
            add(&self.tile),
            FusedSpec::QScale(10, Even, 1_400_000_003),
            FusedSpec::BinScalar(&self.one, BinOp::Add),
        ];
        let lists = lists.into_iter().map(|list| (list, DatumType::I32));
        lists.chain([(all.clone(), DatumType::I32), (all, DatumType::I8)]).collect()
    }
}

/// What is fused, against tract's portable kernel.
#[test]
fn fused() {
    let mut rng = Rng(2);
    for kernel in kernels() {
        let (mr, nr) = (MatMatMul::mr(&kernel), MatMatMul::nr(&kernel));
        for [m, n] in [[4 * mr, 4 * nr], [2 * mr + 1, nr + 3], [mr - 1, 2 * nr + 1]] {
            let (a, b) = (rng.tensor(&[m, 40], |bits| bits as i8), rng.tensor(&[40, n], |bits| bits as i8));
            let operands = Operands::new(&mut rng, m, n);
            let whole = m == 4 * mr;
            let lists = operands.lists(&kernel, whole).into_iter().zip(operands.lists(&*generic_i32_4x4, whole));
            for ((ours, to), (theirs, _)) in lists {
                for out in [Out(to, false), Out(to, true)] {
                    let got = run(&kernel, 0, [&a, &b], &ours, out);
                    let expected = run(&*generic_i32_4x4, 1, [&a, &b], &theirs, out);
                    assert_eq!(got, expected, "{kernel:?}, {m} x {n}, {out:?}, {ours:?}");
                }
            }
        }
    }
}

/// Views whose rows or columns are not side by side, as tract hands them over for batches and transpositions.
#[test]
fn views() {
    let mut rng = Rng(3);
    let batches = rng.tensor(&[2, 70, 40], |bits| bits as i8);
    let b = rng.tensor(&[40, 50], |bits| bits as i8);
    for kernel in kernels() {
        let a = batches.slice(0, 1, 2).unwrap().into_shape(&[70, 40]).unwrap();
        let transposed = a.clone().permute_axes(&[1, 0]).unwrap();
        let (lhs, _) = &MatMatMul::packings(&kernel)[0];
        let plain = lhs.prepare_one(&a, 1, 0).unwrap();
        assert_eq!(*plain, *lhs.prepare_one(&transposed, 0, 1).unwrap(), "{kernel:?}");
        // SAFETY: shape and strides are the tensor's, the offset that of its second batch.
        let view = unsafe { TensorView::from_bytes(&batches, 70 * 40, batches.shape(), batches.strides()) };
        assert_eq!(*plain, *lhs.prepare_one_view(&view, 2, 1).unwrap(), "{kernel:?}");
        assert_eq!(run(&kernel, 0, [&a, &b], &[], SUMS), sums(&a, &b));
        assert!(lhs.prepare_one(&sums(&a, &b), 1, 0).is_err());
        assert!(lhs.prepare_one(&a, 1, 1).is_err() && lhs.prepare_one(&a, 2, 0).is_err());
    }
}

//! Small calls whose instructions are counted: under valgrind, and under qemu. Setting up is not counted.

use std::hint::black_box;

use zeropoint::kernels::bytes::numbers_mut;
use zeropoint::reference::Output;
use zeropoint::{Backend, Gemm, MatRef, Multiplier, PackOptions, Packed, Rounding, Side, Stages, Workspace};

use super::data::{Aligned, Rng, aligned};
use super::product::{Data, Order, Shape, run};

/// What one tile needs.
pub struct Tile {
    backend: Backend,
    k: usize,
    lhs: Aligned,
    rhs: Aligned,
    acc: Aligned,
}

impl Tile {
    pub fn new(backend: Backend, k: usize) -> Option<Self> {
        let (mr, nr) = (backend.mr(), backend.nr());
        let mut rng = Rng::new(1);
        let (a, b) = (rng.codes(mr * k), rng.codes(k * nr));
        let mut lhs = aligned(backend.packed_bytes(Side::Lhs, mr, k).ok()?);
        let mut rhs = aligned(backend.packed_bytes(Side::Rhs, nr, k).ok()?);
        backend.pack(Side::Lhs, MatRef::row_major(&a, mr, k).ok()?, &mut lhs, None).ok()?;
        backend.pack(Side::Rhs, MatRef::row_major(&b, k, nr).ok()?, &mut rhs, None).ok()?;
        let k = backend.padded_k(k).ok()?;
        Some(Self { backend, k, lhs, rhs, acc: aligned(4 * backend.tile_len(k).ok()?) })
    }

    pub fn multiply(&mut self) -> Option<()> {
        let Self { backend, k, lhs, rhs, acc } = self;
        let acc = numbers_mut::<i32>("acc", acc, backend.tile_len(*k).ok()?).ok()?;
        backend.tile(backend.mr(), *k, lhs, rhs, black_box(acc), false).ok()
    }
}

/// A prepared product and all that it needs.
pub struct Product<O> {
    data: Data,
    gemm: Gemm<'static, O>,
    workspace: Workspace<'static>,
    out: Vec<O>,
}

impl<O: Output> Product<O> {
    fn of(data: Data, gemm: Gemm<'static, O>) -> Self {
        let Shape { m, n, .. } = data.shape;
        Self { workspace: gemm.workspace(), out: vec![O::default(); m * n], data, gemm }
    }

    pub fn new(backend: Backend, data: Data, stages: fn(&Data) -> Stages<'_, O>) -> Self {
        let gemm = data.prepare(backend, &stages(&data));
        Self::of(data, gemm)
    }

    pub fn multiply(&mut self) {
        let Self { data, gemm, workspace, out } = self;
        run(gemm, data, black_box(out), Order::RowMajor, workspace);
    }
}

/// A product with K = 1: little but its output stage.
pub fn stage(backend: Backend, rounding: Rounding, shift: i32) -> Option<Product<u8>> {
    let data = Data::new(Shape::new(48, 1, 64));
    let by = match rounding {
        Rounding::IntMulShift => Multiplier::int_mul_shift(777, 17),
        _ => Multiplier::new(0x5a82_799a, shift),
    };
    let stages = Stages::<u8>::fixed(by.ok()?).rounding(rounding).zero_point(3);
    let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
    let gemm = Gemm::new(Packed::rhs_with(data.rhs(), options).ok()?, &stages).ok()?;
    Some(Product::of(data, gemm))
}

/// A matrix to pack.
pub struct Matrix {
    backend: Backend,
    side: Side,
    row_major: bool,
    codes: Vec<u8>,
    out: Aligned,
    sums: Vec<i32>,
}

impl Matrix {
    const SIZE: usize = 96;

    pub fn new(backend: Backend, side: Side, row_major: bool) -> Option<Self> {
        let size = Self::SIZE;
        let out = aligned(backend.packed_bytes(side, size, size).ok()?);
        Some(Self { backend, side, row_major, codes: Rng::new(2).codes(size * size), out, sums: vec![0; size] })
    }

    pub fn pack(&mut self) -> Option<()> {
        let Self { backend, side, row_major, codes, out, sums } = self;
        let view = if *row_major { MatRef::row_major } else { MatRef::col_major };
        backend.pack(*side, view(codes, Self::SIZE, Self::SIZE).ok()?, black_box(out), Some(sums)).ok()
    }
}

//! `QLinearMatMul` and `MatMulInteger`.

use std::marker::PhantomData;

use zeropoint::kernels::bytes::codes;
use zeropoint::{
    Code, Element, Error, FloatScale, Gemm, MatMut, MatRef, PackOptions, Packed, Quantized, Stages, Threads, gemm,
};

use crate::edge::{Call, Info, Kernel, Plain};
use crate::failure::{Failure, refuse};
use crate::scratch::Pool;
use crate::tensor::{Source, Tensor, count, zero_point};
use crate::threads::each;

/// Which inputs are what.
pub(crate) struct Places {
    a: usize,
    a_zero: usize,
    b: usize,
    b_zero: usize,
}

/// A type of results: int32 sums, or codes by the float rule.
pub(crate) trait Output: Element + Plain {
    const PLACES: Places;
    /// What the sums of `columns` columns are finished by.
    fn finish(source: &dyn Source, columns: usize) -> Result<Finish, Failure>;
    fn stages(finish: &Finish) -> Stages<'_, Self>;
}

/// Scales, one or one a column, and the zero point of the output.
#[derive(Default)]
pub(crate) struct Finish {
    pub scales: Vec<f32>,
    pub zero: i32,
}

impl Finish {
    /// Of a product of inputs with these scales: by ONNX Runtime, which rounds to float32 twice.
    pub fn new(input: &[f32], weights: &[f32], output: &[f32], zero: &[i32]) -> Self {
        let (input, output) = (input[0], output[0]);
        Self { scales: weights.iter().map(|weight| input * weight / output).collect(), zero: zero[0] }
    }

    pub fn scale(&self) -> FloatScale<'_> {
        match &self.scales[..] {
            [scale] => FloatScale::One(*scale),
            scales => FloatScale::PerColumn(scales),
        }
    }
}

impl Output for i32 {
    const PLACES: Places = Places { a: 0, a_zero: 2, b: 1, b_zero: 3 };
    fn finish(_: &dyn Source, _: usize) -> Result<Finish, Failure> {
        Ok(Finish::default())
    }
    fn stages(_: &Finish) -> Stages<'_, i32> {
        Stages::raw()
    }
}

macro_rules! output {
    ($($code:ty),*) => {$(
        impl Output for $code {
            const PLACES: Places = Places { a: 0, a_zero: 2, b: 3, b_zero: 5 };
            fn finish(source: &dyn Source, columns: usize) -> Result<Finish, Failure> {
                let weights = source.scales(4, columns)?;
                Ok(Finish::new(&source.scales(1, 1)?, &weights, &source.scales(6, 1)?, &source.zeros(7, 1)?))
            }
            fn stages(finish: &Finish) -> Stages<'_, $code> {
                Stages::<$code>::float(finish.scale()).zero_point(finish.zero)
            }
        }
    )*};
}
output!(u8, i8);

/// What B is but for its elements: matrices K x N, as many as its first dimensions say.
#[derive(Clone)]
struct Shape {
    batch: Vec<usize>,
    k: usize,
    n: usize,
    /// It has one dimension, K: the result has no N.
    vector: bool,
}

/// B.
struct Rhs<'c> {
    shape: Shape,
    signed: bool,
    bytes: &'c [u8],
    zeros: Vec<i32>,
}

impl<'c> Rhs<'c> {
    fn read(source: &'c dyn Source, places: &Places) -> Result<Self, Failure> {
        let tensor = source.need(places.b)?;
        let (signed, bytes) = tensor.bytes()?;
        let shape = match &tensor.shape[..] {
            [] => return refuse!("{} has no dimensions", tensor.name),
            [k] => Shape { batch: vec![], k: *k, n: 1, vector: true },
            [batch @ .., k, n] => Shape { batch: batch.to_vec(), k: *k, n: *n, vector: false },
        };
        let zeros = source.zeros(places.b_zero, shape.n)?;
        Ok(Self { shape, signed, bytes, zeros })
    }

    fn matrix<W: Code>(&self, index: usize) -> Result<Quantized<'_, W>, Error> {
        let size = self.shape.k * self.shape.n;
        let part = self.bytes.get(index * size..(index + 1) * size).unwrap_or_default();
        Ok(MatRef::row_major(codes::<W>(part), self.shape.k, self.shape.n)?.zero_point(zero_point(&self.zeros)))
    }

    fn pack(&self, index: usize, expected_rows: Option<usize>) -> Result<Packed<'static>, Error> {
        let options = PackOptions { expected_rows, ..PackOptions::default() };
        if self.signed {
            Packed::rhs_with(self.matrix::<i8>(index)?, options)
        } else {
            Packed::rhs_with(self.matrix::<u8>(index)?, options)
        }
    }

    /// The product, with weights for this once.
    fn multiply<L: Code, O: Element>(
        &self,
        index: usize,
        lhs: Quantized<'_, L>,
        stages: &Stages<'_, O>,
        out: MatMut<'_, O>,
    ) -> Result<(), Error> {
        if self.signed {
            gemm(lhs, self.matrix::<i8>(index)?, stages, out)
        } else {
            gemm(lhs, self.matrix::<u8>(index)?, stages, out)
        }
    }
}

/// Products with a constant B.
struct Ready<O> {
    shape: Shape,
    products: Vec<Gemm<'static, O>>,
}

impl<O: Output> Ready<O> {
    fn new(info: &Info<'_>) -> Result<Self, Failure> {
        let rhs = Rhs::read(info, &O::PLACES)?;
        let finish = O::finish(info, rhs.shape.n)?;
        let (stages, batch) = (O::stages(&finish), count("B", &rhs.shape.batch)?);
        let rows = expected_rows(&info.sizes(O::PLACES.a)?, batch);
        let products = (0..batch).map(|i| Gemm::new(rhs.pack(i, rows)?, &stages));
        Ok(Self { products: products.collect::<Result<_, _>>()?, shape: rhs.shape })
    }
}

/// Rows of A that meet a matrix of B, if known: all of them, if there is one B.
fn expected_rows(a: &[i64], batch: usize) -> Option<usize> {
    let rows = &a[..a.len().saturating_sub(1)];
    let rows = if batch == 1 { rows } else { &rows[rows.len().saturating_sub(1)..] };
    rows.iter().try_fold(1, |product: usize, size| product.checked_mul(usize::try_from(*size).ok()?))
}

/// The kernel of both operators, for A of `L` and results of `O`.
struct MatMul<L, O> {
    ready: Option<Ready<O>>,
    pool: Pool,
    a: PhantomData<L>,
}

/// Packs B if all that it takes is constant.
pub(crate) fn create<L: Code, O: Output>(info: &Info<'_>) -> Result<Box<dyn Kernel>, Failure> {
    let ready = match Ready::new(info) {
        Ok(ready) => Some(ready),
        Err(Failure::Later) => None,
        Err(failure) => return Err(failure),
    };
    Ok(Box::new(MatMul::<L, O> { ready, pool: Pool::default(), a: PhantomData }))
}

impl<L: Code, O: Output> Kernel for MatMul<L, O> {
    fn run(&self, Call { inputs, out, threads }: Call<'_>) -> Result<(), Failure> {
        let a = inputs.need(O::PLACES.a)?;
        if let Some(Ready { shape, products }) = &self.ready {
            let lhs = Lhs::<L>::new(&a, &inputs, shape, &O::PLACES)?;
            return self.pool.with(|scratch| {
                for (number, out) in lhs.results(out.make(&lhs.out)?).enumerate() {
                    let (index, lhs, out) = lhs.product(number, out)?;
                    // As many as the broadcast shape of B.
                    let Some(product) = products.get(index) else { continue };
                    let workspace = scratch.memory.of(product.workspace_bytes(threads.threads())?);
                    product.options().threads(&threads).run(lhs, out, workspace)?;
                }
                Ok(())
            });
        }
        let rhs = Rhs::read(&inputs, &O::PLACES)?;
        let finish = O::finish(&inputs, rhs.shape.n)?;
        let (stages, lhs) = (O::stages(&finish), Lhs::<L>::new(&a, &inputs, &rhs.shape, &O::PLACES)?);
        let results = lhs.results(out.make(&lhs.out)?).enumerate();
        each(&threads, results.len(), results, |(number, out)| {
            let (index, lhs, out) = lhs.product(number, out)?;
            Ok(rhs.multiply(index, lhs, &stages, out)?)
        })
    }
}

/// A, and how it meets B.
struct Lhs<'c, L> {
    codes: &'c [L],
    zeros: Vec<i32>,
    /// First dimensions of the result, and how many matrices of A and of B a step along each takes.
    batch: Vec<(usize, [usize; 2])>,
    m: usize,
    k: usize,
    n: usize,
    /// Shape of the result.
    out: Vec<usize>,
}

impl<'c, L: Code> Lhs<'c, L> {
    fn new(a: &Tensor<'c>, source: &dyn Source, b: &Shape, places: &Places) -> Result<Self, Failure> {
        let (batch, m, k) = match &a.shape[..] {
            [] => return refuse!("{} has no dimensions", a.name),
            [k] => (&[][..], 1, *k),
            [batch @ .., m, k] => (batch, *m, *k),
        };
        if k != b.k {
            return refuse!("{} of shape {:?} has K = {k}, but B has K = {}", a.name, a.shape, b.k);
        }
        let mut zeros = source.zeros(places.a_zero, m)?;
        let rank = batch.len().max(b.batch.len());
        let size = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
        let (mut steps, mut strides) = (vec![(0, [0; 2]); rank], [1, 1]);
        for axis in (0..rank).rev() {
            let sizes = [size(batch, axis), size(&b.batch, axis)];
            let together = if sizes[0] == 1 { sizes[1] } else { sizes[0] };
            if sizes.iter().any(|size| *size != 1 && *size != together) {
                return refuse!("{} of shape {:?} does not broadcast with B of {:?}", a.name, a.shape, b.batch);
            }
            steps[axis] = (together, [0, 1].map(|i| if sizes[i] == 1 { 0 } else { strides[i] }));
            strides = [0, 1].map(|i| strides[i] * sizes[i]);
        }
        let mut out: Vec<usize> = steps.iter().map(|(size, _)| *size).collect();
        out.extend((a.shape.len() > 1).then_some(m));
        out.extend((!b.vector).then_some(b.n));
        let mut lhs = Self { codes: a.codes()?, zeros, batch: steps, m, k, n: b.n, out };
        // Matrices that meet the same B are one.
        if lhs.batch.iter().all(|(_, [_, b])| *b == 0) {
            let times = count(a.name, batch)?;
            zeros = if lhs.zeros.len() > 1 { lhs.zeros.repeat(times) } else { lhs.zeros };
            lhs = Self { zeros, batch: vec![], m: m * times, ..lhs };
        }
        Ok(lhs)
    }

    /// The matrices that the result is made of.
    fn results<'o, O>(&self, out: &'o mut [O]) -> std::slice::ChunksExactMut<'o, O> {
        // Of an empty result, none.
        out.chunks_exact_mut((self.m * self.n).max(1))
    }

    /// Of a matrix of the result: the number of the B, the A that meets it, and itself.
    fn product<'o, O: Output>(
        &self,
        number: usize,
        result: &'o mut [O],
    ) -> Result<(usize, Quantized<'_, L>, MatMut<'o, O>), Error> {
        let Self { m, k, n, .. } = *self;
        let (mut rest, mut at) = (number, [0, 0]);
        for (size, steps) in self.batch.iter().rev() {
            at = [0, 1].map(|i| at[i] + rest % size * steps[i]);
            rest /= size;
        }
        let codes = self.codes.get(at[0] * m * k..(at[0] + 1) * m * k).unwrap_or_default();
        let lhs = MatRef::row_major(codes, m, k)?.zero_point(zero_point(&self.zeros));
        Ok((at[1], lhs, MatMut::row_major(result, m, n)?))
    }
}

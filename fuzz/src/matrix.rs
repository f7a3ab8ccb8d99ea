//! Matrices in any memory order; their memory ends where its allocation does.

use arbitrary::Arbitrary;
use zeropoint::{MatMut, MatRef, ZeroPoint};

use crate::{Rng, Value};

/// How elements lie in memory.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Order {
    Rows,
    Columns,
    /// Rows lie between one another.
    Interlocked,
    /// Elements share memory; for what is read only, elsewhere as `Rows`.
    Shared(u8, u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Layout {
    order: Order,
    /// Elements between neighbours, between lines, before the first.
    step: u8,
    pad: u8,
    before: u8,
}

impl Layout {
    fn strides(&self, rows: usize, cols: usize, shared: bool) -> (usize, usize) {
        let (step, pad) = (usize::from(self.step % 3) + 1, usize::from(self.pad % 40));
        match self.order {
            Order::Shared(row_stride, col_stride) if shared => (row_stride.into(), col_stride.into()),
            Order::Rows | Order::Shared(..) => (cols * step + pad, step),
            Order::Columns => (step, rows * step + pad),
            Order::Interlocked => (cols + pad, cols + pad + 1),
        }
    }
}

/// What matrices are filled with.
#[derive(Arbitrary, Clone, Debug)]
pub enum Fill {
    Constant(u8),
    /// The ends of u8 and i8.
    Extremes(u32),
    /// Two extremes by turns.
    Alternating(u8),
    Any(u32),
    Bytes(Vec<u8>),
}

impl Fill {
    pub fn at(&self, i: usize, rng: &mut Rng) -> u8 {
        const EXTREMES: [u8; 4] = [0x00, 0x7f, 0x80, 0xff];
        match self {
            Self::Constant(value) => *value,
            Self::Extremes(_) => EXTREMES[(rng.bits() % 4) as usize],
            Self::Alternating(which) => EXTREMES[usize::from(which >> (2 * (i % 2)) & 3)],
            Self::Any(_) => rng.bits() as u8,
            Self::Bytes(bytes) => {
                if bytes.is_empty() {
                    0
                } else {
                    bytes[i % bytes.len()]
                }
            }
        }
    }

    pub fn seed(&self) -> u64 {
        match self {
            Self::Extremes(seed) | Self::Any(seed) => u64::from(*seed),
            _ => 0,
        }
    }
}

#[derive(Clone)]
pub struct Matrix<T> {
    pub data: Box<[T]>,
    shape: (usize, usize),
    strides: (usize, usize),
    before: usize,
}

impl<T: Value> Matrix<T> {
    fn new(shape: (usize, usize), layout: Layout, shared: bool, mut value: impl FnMut(usize) -> T) -> Self {
        let (rows, cols) = shape;
        let strides = layout.strides(rows, cols, shared);
        let span = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * strides.0 + (cols - 1) * strides.1 + 1 };
        let before = usize::from(layout.before % 5);
        Self { data: (0..before + span).map(&mut value).collect(), shape, strides, before }
    }

    /// Codes to read.
    pub fn codes(shape: (usize, usize), layout: Layout, fill: &Fill) -> Self {
        let mut rng = Rng(fill.seed());
        Self::new(shape, layout, true, |i| T::of(fill.at(i, &mut rng).into()))
    }

    /// An output full of anything.
    pub fn output(shape: (usize, usize), layout: Layout) -> Self {
        let mut rng = Rng(3);
        Self::new(shape, layout, false, |_| T::of(rng.bits() as u32))
    }

    pub fn view(&self) -> MatRef<'_, T> {
        let ((rows, cols), (row_stride, col_stride)) = (self.shape, self.strides);
        MatRef::new(&self.data[self.before..], rows, cols, row_stride, col_stride).expect("a matrix to read")
    }

    pub fn view_mut(&mut self) -> MatMut<'_, T> {
        let ((rows, cols), (row_stride, col_stride)) = (self.shape, self.strides);
        MatMut::new(&mut self.data[self.before..], rows, cols, row_stride, col_stride).expect("a matrix to write")
    }

    /// Panics unless all memory is the same, gaps included.
    pub fn assert_same(&self, expected: &Self, how: &dyn std::fmt::Display) {
        let differ = |(got, expected): (&T, &T)| got.bits() != expected.bits();
        if let Some(at) = self.data.iter().zip(&expected.data).position(differ) {
            let (got, expected) = (self.data[at], expected.data[at]);
            panic!(
                "{how}: offset {at} from {} (strides {:?}) is {got:?}, should be {expected:?}",
                self.before, self.strides
            );
        }
    }
}

/// Zero points of one side.
#[derive(Arbitrary, Clone, Debug)]
pub enum Zero {
    One(u8),
    Each(Fill),
}

impl Zero {
    /// As many as there are rows, or columns; `signed` ones are those of i8.
    pub fn values(&self, count: usize, signed: bool) -> Vec<i32> {
        let of = |code: u8| if signed { i32::from(code as i8) } else { i32::from(code) };
        match self {
            Self::One(zero) => vec![of(*zero)],
            Self::Each(fill) => {
                let mut rng = Rng(fill.seed());
                (0..count).map(|i| of(fill.at(i, &mut rng))).collect()
            }
        }
    }

    pub fn of<'a>(&self, values: &'a [i32]) -> ZeroPoint<'a> {
        match self {
            Self::One(_) => ZeroPoint::One(values[0]),
            Self::Each(_) => ZeroPoint::Each(values),
        }
    }
}

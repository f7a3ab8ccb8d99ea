//! Images in memory with gaps; their memory ends where their allocation does.

use arbitrary::Arbitrary;
use zeropoint::{TensorMut, TensorRef};

use crate::matrix::Fill;
use crate::{Rng, Value};

/// Elements between channels, pixels, lines, images; and which of them, if it is only read, are all the first one.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Gaps {
    None,
    Some([u8; 4], u8),
}

impl Gaps {
    fn strides(self, [_, h, w, c]: [usize; 4], read: bool) -> [usize; 4] {
        let Self::Some(between, repeated) = self else { return [h * w * c, w * c, c, 1] };
        let [channel, pixel, line, image] = between.map(|gap| usize::from(gap) % 3);
        let channel = 1 + channel;
        let pixel = c * channel + pixel;
        let line = w * pixel + line;
        let strides = [h * line + image, line, pixel, channel];
        core::array::from_fn(|i| if read && repeated >> i & 1 == 1 { 0 } else { strides[i] })
    }
}

#[derive(Clone)]
pub struct Image<T> {
    data: Box<[T]>,
    shape: [usize; 4],
    strides: [usize; 4],
}

impl<T: Value> Image<T> {
    fn new(shape: [usize; 4], strides: [usize; 4], value: impl FnMut(usize) -> T) -> Self {
        let last: usize = shape.iter().zip(strides).map(|(size, stride)| size.saturating_sub(1) * stride).sum();
        let len = if shape.contains(&0) { 0 } else { last + 1 };
        Self { data: (0..len).map(value).collect(), shape, strides }
    }

    /// Codes to read.
    pub fn codes(shape: [usize; 4], gaps: Gaps, fill: &Fill) -> Self {
        let mut rng = Rng(fill.seed());
        Self::new(shape, gaps.strides(shape, true), |i| T::of(fill.at(i, &mut rng).into()))
    }

    /// An output full of anything.
    pub fn output(shape: [usize; 4], gaps: Gaps) -> Self {
        let mut rng = Rng(3);
        Self::new(shape, gaps.strides(shape, false), |_| T::of(rng.bits() as u32))
    }

    pub fn view(&self) -> TensorRef<'_, T> {
        TensorRef::new(&self.data, self.shape, self.strides).expect("an image to read")
    }

    pub fn view_mut(&mut self) -> TensorMut<'_, T> {
        TensorMut::new(&mut self.data, self.shape, self.strides).expect("an image to write")
    }

    /// Panics unless all memory is the same, gaps included.
    pub fn assert_same(&self, expected: &Self, how: &str) {
        let differ = |(got, expected): (&T, &T)| got.bits() != expected.bits();
        if let Some(at) = self.data.iter().zip(&expected.data).position(differ) {
            let (got, expected) = (self.data[at], expected.data[at]);
            panic!(
                "{how}: {:?}, strides {:?}, offset {at} is {got:?}, should be {expected:?}",
                self.shape, self.strides
            );
        }
    }
}

impl Image<f32> {
    /// Multiples of half a scale, most of them, and any bits.
    pub fn reals(shape: [usize; 4], gaps: Gaps, scale: f32) -> Self {
        let mut rng = Rng(5);
        Self::new(shape, gaps.strides(shape, true), |i| {
            let bits = rng.bits() as u32;
            if i % 4 == 0 { f32::from_bits(bits) } else { (bits as i32 % 1200) as f32 / 2.0 * scale }
        })
    }
}

//! Images in memory with gaps, so that most of the views are parts of larger ones.

use proptest::prelude::*;
use zeropoint::layers::{Padding, Window};
use zeropoint::{TensorMut, TensorRef};

use super::Rng;
use super::matrix::Value;

/// Gaps between what an image is made of, in elements of each: between images, lines, pixels, channels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gaps {
    pub between: [usize; 4],
    /// Every image is the first one; only for what is read.
    pub repeated: bool,
}

/// An image and the memory around it.
#[derive(Clone, Debug)]
pub struct Image<T> {
    pub data: Vec<T>,
    pub shape: [usize; 4],
    pub strides: [usize; 4],
}

impl<T: Value> Image<T> {
    pub fn random(shape: [usize; 4], gaps: Gaps, rng: &Rng) -> Self {
        let [_, h, w, c] = shape;
        let [by_n, by_h, by_w, by_c] = gaps.between;
        let channel = 1 + by_c;
        let pixel = c * channel + by_w;
        let line = w * pixel + by_h;
        let image = if gaps.repeated { 0 } else { h * line + by_n };
        let len: usize = if shape.contains(&0) {
            0
        } else {
            shape.iter().zip([image, line, pixel, channel]).map(|(size, by)| (size - 1) * by).sum::<usize>() + 1
        };
        // Codes as hard as they get, where they are codes.
        let extreme = rng.pick(&[0x00, 0x7f, 0x80, 0xff]);
        let share = rng.pick(&[1, 2, 8]);
        let value = || if rng.one_in(share) { extreme } else { rng.bits() as u32 };
        Self { data: (0..len).map(|_| T::of(value())).collect(), shape, strides: [image, line, pixel, channel] }
    }

    pub fn view(&self) -> TensorRef<'_, T> {
        TensorRef::new(&self.data, self.shape, self.strides).unwrap()
    }

    pub fn view_mut(&mut self) -> TensorMut<'_, T> {
        TensorMut::new(&mut self.data, self.shape, self.strides).unwrap()
    }

    /// Where in the image the element at an offset is, or that it is in a gap.
    pub fn place(&self, offset: usize) -> String {
        let [n, h, w, c] = self.shape;
        for at in (0..n * h * w * c).map(|i| [i / (h * w * c), i / (w * c) % h, i / c % w, i % c]) {
            if at.iter().zip(self.strides).map(|(at, by)| at * by).sum::<usize>() == offset {
                return format!("out{at:?}");
            }
        }
        format!("the gap at offset {offset}")
    }
}

/// Any gaps; none, half of the time.
pub fn gaps(read: bool) -> impl Strategy<Value = Gaps> {
    let gap = || prop_oneof![3 => Just(0usize), 1 => 1..=9usize];
    let channel = prop_oneof![7 => Just(0usize), 1 => 1..=2usize];
    let between = (gap(), gap(), gap(), channel).prop_map(|(n, h, w, c)| [n, h, w, c]);
    let between = prop_oneof![1 => Just([0; 4]), 1 => between];
    (between, prop::bool::weighted(if read { 0.1 } else { 0.0 }))
        .prop_map(|(between, repeated)| Gaps { between, repeated })
}

/// Any way for a kernel to move.
pub fn windows() -> impl Strategy<Value = Window> {
    let steps = || prop_oneof![3 => Just(1usize), 2 => Just(2), 1 => 3..=5usize];
    let pads = prop::array::uniform4(0..=4usize);
    let padding = prop_oneof![
        1 => Just(Padding::Valid),
        2 => Just(Padding::Same),
        1 => pads.prop_map(|[top, bottom, left, right]| Padding::Explicit { top, bottom, left, right }),
    ];
    (steps(), steps(), prop_oneof![3 => Just([1, 1]), 1 => prop::array::uniform2(1..=3usize)], padding)
        .prop_map(|(down, across, dilation, padding)| Window { stride: [down, across], dilation, padding })
}

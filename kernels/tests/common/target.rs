//! Outputs: known before, compared whole afterwards, gaps included.

use std::any::type_name;
use std::fmt::{self, Debug};

use zeropoint_kernels::{Finish, MatMut};

use super::matrix::{Layout, span};
use super::oracle::{Output, fixed_factor, float_factor, of_row};
use super::{Arena, Rng, Run};

/// An output matrix and what was there before.
pub struct Target<'a, O> {
    data: &'a mut [O],
    old: Vec<O>,
    shape: (usize, usize),
    strides: (usize, usize),
}

impl<'a, O: Output> Target<'a, O> {
    /// An output full of anything; pages between lines become read-only, so that not even the same value can be
    /// written to them.
    pub fn new(arena: &'a Arena, rng: &Rng, shape: (usize, usize), layout: Layout) -> Self {
        let strides = layout.strides::<O>(shape.0, shape.1);
        let len = span(shape, strides);
        let random = |_| O::random(rng);
        // Kernels may store whole lines in another way.
        let data = if rng.one_in(3) { arena.lines(len, random) } else { arena.slice(len, random) };
        #[cfg(all(unix, not(miri)))]
        if matches!(layout, Layout::RowPages | Layout::ColumnPages) {
            let stride = strides.0.max(strides.1);
            for line in 0..data.len().saturating_sub(1) / stride {
                // SAFETY: lines are two pages apart and shorter than one, so the next page is all gap.
                unsafe { super::pages::freeze_next(data[line * stride..].as_ptr().cast()) }
            }
        }
        Self { old: data.to_vec(), data, shape, strides }
    }

    pub fn view(&mut self) -> MatMut<'_, O> {
        let ((rows, cols), (row_stride, col_stride)) = (self.shape, self.strides);
        MatMut::new(self.data, rows, cols, row_stride, col_stride).unwrap()
    }

    /// Compares with `sum` of each element, finished; nothing else may have changed.
    pub fn check(&self, run: &Run, finish: &Finish<'_>, sum: impl Fn(usize, usize) -> i64) {
        let mut expected = self.old.clone();
        for i in 0..self.shape.0 {
            for j in 0..self.shape.1 {
                let at = i * self.strides.0 + j * self.strides.1;
                let sum = sum(i, j);
                expected[at] = O::finished(finish, (i, j), sum, self.old[at]);
                let (got, expected) = (self.data[at], expected[at]);
                if !got.same(expected) {
                    let stage = stage_at(finish, (i, j));
                    run.fail(format_args!(
                        "{self:?}, at ({i}, {j}) got {got:?}, expected {expected:?}: sum {sum}, {stage}"
                    ));
                }
            }
        }
        if let Some(at) = self.data.iter().zip(&expected).position(|(got, expected)| !got.same(*expected)) {
            let (got, expected) = (self.data[at], expected[at]);
            run.fail(format_args!("{self:?}, in the gap at offset {at} got {got:?}, expected {expected:?}"));
        }
    }
}

impl<O> Debug for Target<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out {} {:?} strides {:?}", type_name::<O>(), self.shape, self.strides)
    }
}

/// What a stage does to one element.
fn stage_at(finish: &Finish<'_>, at: (usize, usize)) -> String {
    let Finish { zero_point, low, high, .. } = finish;
    let bias = (finish.bias[at.1], of_row(&finish.row_bias, at.0));
    let (fixed, float) = (fixed_factor(finish, at), float_factor(finish, at));
    format!("biases {bias:?}, {fixed:?}, {float:?}, zero point {zero_point}, clamp {low}..={high}")
}

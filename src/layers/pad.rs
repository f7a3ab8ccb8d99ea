//! Pad: an image with zeros around it.

use core::marker::PhantomData;

use zeropoint_kernels::{Code, Error, TensorMut, TensorRef};

use super::run;
use crate::Threads;
use crate::quant::QuantParams;
use crate::stages::OutputCode;

/// What [`Pad`] is made of. Counts are of batch, height, width, channels.
#[derive(Clone, Copy, Debug)]
pub struct PadSpec<C> {
    /// Parameters of input and output, which are the same.
    pub params: QuantParams<C>,
    /// How many zeros come before the image.
    pub before: [usize; 4],
    /// How many come behind it.
    pub after: [usize; 4],
}

/// An image with real zeros, codes that are the zero point, around it (semantics.md 10.6).
///
/// ```
/// use zeropoint::layers::{Pad, PadSpec};
/// use zeropoint::{QuantParams, TensorMut, TensorRef};
/// let params = QuantParams::new(1.0, 9)?;
/// let pad = Pad::new(&PadSpec { params, before: [0, 0, 1, 0], after: [0, 0, 2, 0] });
/// let mut codes = [0u8; 5];
/// pad.run(TensorRef::nhwc(&[1, 2], [1, 1, 2, 1])?, TensorMut::nhwc(&mut codes, [1, 1, 5, 1])?)?;
/// assert_eq!(codes, [9, 1, 2, 9, 9]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pad<C> {
    before: [usize; 4],
    after: [usize; 4],
    zero: u8,
    code: PhantomData<C>,
}

impl<C: Code + OutputCode> Pad<C> {
    /// Around images of any size.
    pub fn new(spec: &PadSpec<C>) -> Self {
        let PadSpec { params, before, after } = *spec;
        Self { before, after, zero: params.zero_point() as u8, code: PhantomData }
    }

    /// The shape of the output for the shape of an input.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Error> {
        let mut shape = input;
        for more in [self.before, self.after] {
            for (size, more) in shape.iter_mut().zip(more) {
                *size = size.checked_add(more).ok_or(Error::Overflow { argument: "pad", a: *size, b: more })?;
            }
        }
        Ok(shape)
    }

    run::serial!(C, C);

    /// Runs on threads lent by the caller.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::Overflow`], [`Error::Threads`].
    pub fn run_on(
        &self,
        threads: &dyn Threads,
        input: TensorRef<'_, C>,
        out: TensorMut<'_, C>,
    ) -> Result<(), Error> {
        run::shape("out", self.output(input.shape())?, out.shape())?;
        let ([batch, height, width, channels], [front, top, left, first]) = (input.shape(), self.before);
        let input = input.bytes();
        // Where an index lies in the image, if it does.
        let inside = |at: usize, before: usize, size| at.checked_sub(before).filter(|at| *at < size);
        run::strips(threads, out.into_bytes(), |mut strip| {
            let [_, lines, out_width, out_channels] = strip.out.shape();
            let n = inside(strip.batch, front, batch);
            for y in 0..lines {
                let from = n.zip(inside(strip.line + y, top, height));
                let mut fill = |x: [usize; 2], c: [usize; 2]| {
                    let part = strip.out.reborrow().part([0, y, x[0], c[0]], [1, 1, x[1], c[1]]);
                    part.map(|mut part| run::zip([], [0, 0], &mut part, |[]: [&[u8]; 0], to| to.fill(self.zero)))
                };
                let Some((n, y_in)) = from else {
                    fill([0, out_width], [0, out_channels])?;
                    continue;
                };
                let (right, last) = (left + width, first + channels);
                fill([0, left], [0, out_channels])?;
                fill([right, out_width - right], [0, out_channels])?;
                fill([left, width], [0, first])?;
                fill([left, width], [last, out_channels - last])?;
                let mut part = strip.out.reborrow().part([0, y, left, first], [1, 1, width, channels])?;
                run::zip([input], [n, y_in], &mut part, |[codes], to| to.copy_from_slice(codes));
            }
            Ok(())
        })
    }
}

//! The windows of an image as rows of a matrix, a few at a time: what a convolution multiplies.

use zeropoint_kernels::TensorRef;

use super::window::Axis;

/// Codes that one move copies.
const CHUNK: usize = 16;

/// The rows that a convolution of `input` multiplies: of each output pixel, kernel height x kernel width x channels.
#[derive(Clone, Copy)]
pub(crate) struct Windows<'a> {
    /// The image, with the channels of one group.
    pub input: TensorRef<'a, u8>,
    /// Down and across.
    pub axes: [Axis; 2],
    /// The code of 0, around the image.
    pub zero: u8,
}

impl Windows<'_> {
    /// Codes from a row of `k` codes to the next: the last move of a row may write beyond it, and rows that are a power of two
    /// apart would crowd few sets of a cache.
    pub fn step(k: usize) -> Option<usize> {
        let step = k.checked_add(CHUNK - 1)?.checked_next_multiple_of(CHUNK)?;
        if step.is_multiple_of(512) { step.checked_add(CHUNK) } else { Some(step) }
    }

    /// Writes `count` rows from `first` on, [`Windows::step`] apart; rows are the output pixels of all images, in order.
    pub fn write(&self, first: usize, count: usize, step: usize, to: &mut [u8]) {
        let [down, across] = self.axes;
        let [.., channels] = self.input.shape();
        let tap_line = across.kernel * channels;
        let mut row = 0;
        while row < count {
            // The rest of a line of output pixels.
            let (line, ox) = ((first + row) / across.output, (first + row) % across.output);
            let pixels = (across.output - ox).min(count - row);
            let (batch, oy) = (line / down.output, line % down.output);
            for tap in 0..down.kernel {
                let to = &mut to[row * step + tap * tap_line..];
                match down.at(oy, tap) {
                    None => (0..pixels).for_each(|i| to[i * step..][..tap_line].fill(self.zero)),
                    Some(iy) => self.line([batch, iy], ox..ox + pixels, step, to),
                }
            }
            row += pixels;
        }
    }

    /// What the taps of one kernel line see for some output pixels of a line, `step` apart.
    fn line(&self, [batch, iy]: [usize; 2], pixels: core::ops::Range<usize>, step: usize, to: &mut [u8]) {
        let [_, across] = self.axes;
        let [_, _, width, channels] = self.input.shape();
        let tap_line = across.kernel * channels;
        let whole = self.input.run([batch, iy, 0], width).filter(|_| across.dilation == 1);
        for (i, ox) in pixels.enumerate() {
            let to = &mut to[i * step..];
            let first = across.first(ox);
            if let (Some(whole), Ok(first)) = (whole, usize::try_from(first))
                && first + across.kernel <= width
            {
                copy(&whole[first * channels..], to, tap_line);
                continue;
            }
            for tap in 0..across.kernel {
                let to = &mut to[tap * channels..][..channels];
                let Some(ix) = across.at(ox, tap) else {
                    to.fill(self.zero);
                    continue;
                };
                match self.input.run([batch, iy, ix], 1) {
                    Some(pixel) => to.copy_from_slice(pixel),
                    None => to.iter_mut().enumerate().for_each(|(c, to)| {
                        *to = self.input.get([batch, iy, ix, c]).unwrap_or(self.zero);
                    }),
                }
            }
        }
    }
}

/// Copies `count` codes, and up to 15 of what follows them where there is room: taps are written in order.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8], count: usize) {
    let whole = count.next_multiple_of(CHUNK);
    if count <= 8 * CHUNK && from.len() >= whole && to.len() >= whole {
        let (from, _) = from[..whole].as_chunks::<CHUNK>();
        let (to, _) = to[..whole].as_chunks_mut::<CHUNK>();
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    } else {
        to[..count].copy_from_slice(&from[..count]);
    }
}

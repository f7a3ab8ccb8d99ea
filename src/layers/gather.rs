//! The windows of an image as rows of a matrix, a few at a time: what a convolution multiplies.

use core::ops::Range;

use zeropoint_kernels::{Backend, Error, TensorRef};

use super::window::Axis;

/// Codes that one move copies.
const CHUNK: usize = 16;
/// Rows start at a line of the cache, as tile registers like to read them.
const LINE: usize = 64;

/// The rows that a convolution of `input` multiplies: of each output pixel, kernel height x kernel width x channels.
#[derive(Clone, Copy)]
pub(crate) struct Gathered<'a> {
    /// The image, with the channels of one group.
    pub input: TensorRef<'a, u8>,
    /// Down and across.
    pub axes: [Axis; 2],
    /// What rows have of what is around the image.
    pub zero: u8,
    /// What codes of the image are combined with (exclusive or) on their way.
    pub flip: u8,
}

impl Gathered<'_> {
    /// Codes from a row of `k` codes to the next: the last move of a row may write beyond it, and rows that are a power of two
    /// apart would crowd few sets of a cache.
    pub fn step(k: usize) -> Option<usize> {
        let step = k.checked_add(CHUNK - 1)?.checked_next_multiple_of(LINE)?;
        if step.is_multiple_of(512) { step.checked_add(LINE) } else { Some(step) }
    }

    /// Writes `count` rows from `first` on, [`Gathered::step`] apart; rows are the output pixels of all images, in order.
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
    fn line(&self, [batch, iy]: [usize; 2], pixels: Range<usize>, step: usize, to: &mut [u8]) {
        let [_, across] = self.axes;
        let [_, _, width, channels] = self.input.shape();
        let whole = self.input.run([batch, iy, 0], width).filter(|_| across.dilation == 1);
        let Some(whole) = whole else {
            for (i, ox) in pixels.enumerate() {
                self.apart([batch, iy], ox, &mut to[i * step..]);
            }
            return;
        };
        let inside = across.inside(pixels.clone());
        let row = |ox: usize| (ox - pixels.start) * step;
        for ox in (pixels.start..inside.start).chain(inside.end..pixels.end) {
            self.edge(whole, ox, &mut to[row(ox)..]);
        }
        if !inside.is_empty() {
            let from = &whole[across.first(inside.start).unsigned_abs() * channels..];
            let lines = Lines { from, by: across.stride * channels, count: across.kernel * channels, step };
            lines.copy(inside.len(), &mut to[row(inside.start)..], self.flip);
        }
    }

    /// The same for one pixel which sees a part of a line.
    fn edge(&self, whole: &[u8], ox: usize, to: &mut [u8]) {
        let [_, across] = self.axes;
        let [_, _, width, channels] = self.input.shape();
        let first = across.first(ox);
        let outside = first.min(0).unsigned_abs().min(across.kernel);
        let seen = (width as isize - first).clamp(outside as isize, across.kernel as isize) as usize;
        let to = &mut to[..across.kernel * channels];
        let (before, rest) = to.split_at_mut(outside * channels);
        let (inside, after) = rest.split_at_mut((seen - outside) * channels);
        for part in [before, after] {
            match part.len() {
                0 => {}
                1..=CHUNK => part.iter_mut().for_each(|code| *code = self.zero),
                _ => part.fill(self.zero),
            }
        }
        copy(whole.get(first.max(0).unsigned_abs() * channels..).unwrap_or_default(), inside, self.flip);
    }

    /// The same for one pixel whose taps are not beside each other, or whose channels are not.
    fn apart(&self, [batch, iy]: [usize; 2], ox: usize, to: &mut [u8]) {
        let [_, across] = self.axes;
        let [.., channels] = self.input.shape();
        for tap in 0..across.kernel {
            let to = &mut to[tap * channels..][..channels];
            let Some(ix) = across.at(ox, tap) else {
                to.fill(self.zero);
                continue;
            };
            match self.input.run([batch, iy, ix], 1) {
                Some(pixel) => copy(pixel, to, self.flip),
                None => to.iter_mut().enumerate().for_each(|(c, to)| {
                    *to = self.input.get([batch, iy, ix, c]).unwrap_or_default() ^ self.flip;
                }),
            }
        }
    }
}

/// A part of an output whose windows are copied together: so many lines of so many pixels, and codes from a line of the copy to
/// the next.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub lines: usize,
    pub pixels: usize,
    pub step: usize,
}

impl Gathered<'_> {
    /// Channels of a pixel.
    pub fn channels(&self) -> usize {
        let [.., channels] = self.input.shape();
        channels
    }

    /// Pixels of a line of the copy that so many output pixels see.
    fn seen(&self, pixels: usize) -> usize {
        let [_, across] = self.axes;
        (pixels - 1) * across.stride + across.kernel
    }

    /// Lines of the copy that so many lines of output see.
    fn lines(&self, lines: usize) -> usize {
        let [down, _] = self.axes;
        (lines - 1) * down.stride + (down.kernel - 1) * down.dilation + 1
    }

    /// What of an output from pixel `x` of a line on, `most` lines at most, `bytes` have room for: whole lines, or pixels of one. `piece` codes
    /// of each line are read, maybe beyond it.
    pub fn strip(&self, x: usize, most: usize, bytes: usize, piece: usize) -> Strip {
        let [down, across] = self.axes;
        let channels = self.channels();
        let bytes = bytes.saturating_sub(piece - across.kernel * channels);
        let width = across.output;
        let (step, covered) = (self.seen(width) * channels, self.lines(1));
        if x == 0 && most > 0 && covered.saturating_mul(step) <= bytes {
            let more = (bytes / step.max(1) - covered) / down.stride;
            return Strip { lines: most.min(more + 1), pixels: width, step };
        }
        let seen = bytes / (covered * channels).max(1);
        let pixels = (seen.saturating_sub(across.kernel) / across.stride + 1).min(width - x);
        Strip { lines: 1, pixels, step: self.seen(pixels) * channels }
    }

    /// Copies what the windows of a strip see, with what surrounds the image.
    pub fn copy<T: Copied>(&self, strip: Strip, [n, y, x]: [usize; 3], to: &mut [T]) {
        let [down, across] = self.axes;
        let image = Surrounded { input: self.input, zero: self.zero, flip: self.flip };
        for (i, to) in to.chunks_mut(strip.step.max(1)).take(self.lines(strip.lines)).enumerate() {
            let Some(to) = to.get_mut(..strip.step) else { return };
            image.copy(n, [down.first(y) + i as isize, across.first(x)], 1, to);
        }
    }
}

/// An image and what surrounds it.
#[derive(Clone, Copy)]
pub(crate) struct Surrounded<'a> {
    pub input: TensorRef<'a, u8>,
    /// What is around it, as it is copied.
    pub zero: u8,
    /// What codes of the image are combined with (exclusive or) on their way.
    pub flip: u8,
}

impl Surrounded<'_> {
    /// Copies pixels of a line from the one at `left` on, channels `times` over. Both may lie beyond the image.
    pub fn copy<T: Copied>(&self, image: usize, [line, left]: [isize; 2], times: usize, to: &mut [T]) {
        let zero = T::of(self.zero ^ self.flip, self.flip);
        let Some(line) = self.line(line) else { return to.fill(zero) };
        let (to, pixels) = self.inside(left, times, to, zero);
        match self.input.run([image, line, pixels.start], pixels.len()) {
            Some(line) if times == 1 => T::copy(line, to, self.flip),
            _ => self.one_by_one([image, line, pixels.start], times, to.iter_mut(), |to, code| {
                *to = T::of(code, self.flip);
            }),
        }
    }

    /// The same of two lines, woven: each code of `line` has that of the next line behind it.
    pub fn weave(
        &self,
        backend: Backend,
        image: usize,
        [line, left]: [isize; 2],
        times: usize,
        to: &mut [[u8; 2]],
    ) -> Result<(), Error> {
        let Self { zero, flip, .. } = *self;
        let (to, pixels) = self.inside(left, times, to, [zero; 2]);
        let lines = [line, line + 1].map(|line| self.line(line));
        let runs =
            lines.map(|line| line.and_then(|line| self.input.run([image, line, pixels.start], pixels.len())));
        match (runs, lines) {
            _ if times > 1 => {}
            ([Some(a), Some(b)], _) => return backend.weave([a, b], flip, to),
            ([Some(a), None], [_, None]) => {
                to.iter_mut().zip(a).for_each(|(to, a)| *to = [a ^ flip, zero]);
                return Ok(());
            }
            ([None, Some(b)], [None, _]) => {
                to.iter_mut().zip(b).for_each(|(to, b)| *to = [zero, b ^ flip]);
                return Ok(());
            }
            _ => {}
        }
        to.fill([zero; 2]);
        for (half, line) in lines.into_iter().enumerate() {
            let Some(line) = line else { continue };
            self.one_by_one([image, line, pixels.start], times, to.iter_mut(), |to, code| to[half] = code ^ flip);
        }
        Ok(())
    }

    /// A line, if it lies in the image.
    fn line(&self, line: isize) -> Option<usize> {
        let [_, height, ..] = self.input.shape();
        usize::try_from(line).ok().filter(|line| *line < height)
    }

    /// The part of `to`, from the pixel at `left` on, that shows pixels of the image, and which; fills the rest.
    fn inside<'t, T: Copy>(
        &self,
        left: isize,
        times: usize,
        to: &'t mut [T],
        zero: T,
    ) -> (&'t mut [T], Range<usize>) {
        let [_, _, width, channels] = self.input.shape();
        let pixel = channels * times;
        let seen = to.len() / pixel.max(1);
        let before = left.min(0).unsigned_abs().min(seen);
        let inside = (width as isize - left).clamp(before as isize, seen as isize) as usize - before;
        let from = left.max(0).unsigned_abs();
        let (head, rest) = to.split_at_mut(before * pixel);
        let (to, tail) = rest.split_at_mut(inside * pixel);
        head.fill(zero);
        tail.fill(zero);
        (to, from..from + inside)
    }

    /// Puts the codes of pixels from `first` on, channels `times` over, to what there is.
    fn one_by_one<T>(
        &self,
        [image, line, first]: [usize; 3],
        times: usize,
        to: impl Iterator<Item = T>,
        put: impl Fn(T, u8),
    ) {
        let [.., channels] = self.input.shape();
        for (i, to) in to.enumerate() {
            let (pixel, channel) = (i / (channels * times), i % (channels * times) / times);
            put(to, self.input.get([image, line, first + pixel, channel]).unwrap_or_default());
        }
    }
}

/// What codes are copied to.
pub(crate) trait Copied: Copy {
    /// A code combined with `flip`.
    fn of(code: u8, flip: u8) -> Self;

    /// As many of these as there are codes.
    fn copy(from: &[u8], to: &mut [Self], flip: u8) {
        to.iter_mut().zip(from).for_each(|(to, code)| *to = Self::of(*code, flip));
    }
}

impl Copied for u8 {
    fn of(code: u8, flip: u8) -> Self {
        code ^ flip
    }

    fn copy(from: &[u8], to: &mut [u8], flip: u8) {
        if flip == 0 {
            to.copy_from_slice(from);
        } else {
            to.iter_mut().zip(from).for_each(|(to, code)| *to = Self::of(*code, flip));
        }
    }
}

/// The code itself, which is signed if `flip` says so.
impl Copied for i16 {
    fn of(code: u8, flip: u8) -> Self {
        Self::from(code ^ flip) - Self::from(flip)
    }
}

/// Lines of `count` codes, each `by` codes behind the one before, which are copied `step` apart.
struct Lines<'a> {
    from: &'a [u8],
    by: usize,
    count: usize,
    step: usize,
}

impl Lines<'_> {
    fn copy(&self, lines: usize, to: &mut [u8], flip: u8) {
        match self.count.div_ceil(CHUNK) {
            1 => self.chunks::<1>(lines, to, flip),
            2 => self.chunks::<2>(lines, to, flip),
            3 => self.chunks::<3>(lines, to, flip),
            4 => self.chunks::<4>(lines, to, flip),
            6 => self.chunks::<6>(lines, to, flip),
            _ => (0..lines).for_each(|line| self.exactly(line, to, flip)),
        }
    }

    fn exactly(&self, line: usize, to: &mut [u8], flip: u8) {
        copy(&self.from[line * self.by..], &mut to[line * self.step..][..self.count], flip);
    }

    /// Copies whole chunks where there are as many: what follows a line is written later, or between rows.
    fn chunks<const C: usize>(&self, lines: usize, to: &mut [u8], flip: u8) {
        let (mut from, mut room) = (self.from, &mut *to);
        for line in 0..lines {
            let chunks = from.as_chunks::<CHUNK>().0.first_chunk::<C>();
            let (Some(chunks), Some((first, _))) =
                (chunks, room.as_chunks_mut::<CHUNK>().0.split_first_chunk_mut::<C>())
            else {
                return (line..lines).for_each(|line| self.exactly(line, to, flip));
            };
            for (to, from) in first.iter_mut().zip(chunks) {
                *to = from.map(|code| code ^ flip);
            }
            from = from.get(self.by..).unwrap_or_default();
            room = room.get_mut(self.step..).unwrap_or_default();
        }
    }
}

/// Fills `to` with the first codes of `from`.
fn copy(from: &[u8], to: &mut [u8], flip: u8) {
    match to.len() {
        0 => {}
        1..4 => pieces::<1>(from, to, flip),
        4..8 => pieces::<4>(from, to, flip),
        8..CHUNK => pieces::<8>(from, to, flip),
        _ => pieces::<CHUNK>(from, to, flip),
    }
}

/// The same for no fewer than `W` codes, the last ones twice if need be.
fn pieces<const W: usize>(from: &[u8], to: &mut [u8], flip: u8) {
    let last = to.len() - W;
    for at in (0..last).step_by(W).chain([last]) {
        if let (Some(from), Some(to)) = (from[at..].first_chunk::<W>(), to[at..].first_chunk_mut::<W>()) {
            *to = from.map(|code| code ^ flip);
        }
    }
}

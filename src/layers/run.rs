//! How layers without weights walk over images: strips of lines on lent threads, and along a line pieces that lie together
//! in all images that take part.

use core::convert::Infallible;

use zeropoint_kernels::{Element, Error, Strip, Strips, TensorMut, TensorRef};

use crate::parallel::{self, Few};
use crate::{Threads, plan};

/// Elements that are gathered at a time where they do not lie together.
const GATHERED: usize = 64;

/// Runs `work` on strips that make up `out`.
pub(crate) fn strips<O: Element>(
    threads: &dyn Threads,
    out: TensorMut<'_, O>,
    work: impl Fn(Strip<'_, O>) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let [batch, height, ..] = out.shape();
    let outputs = out.shape().iter().fold(1, |count: usize, size| count.saturating_mul(*size));
    let nanoseconds = plan::outputs_ns(outputs);
    let threads = Few::new(threads, nanoseconds);
    let lines = plan::strip(batch.saturating_mul(height), threads.threads(), nanoseconds);
    parallel::each(&threads, &Strips::new(out, lines), work)
}

/// Calls `piece` with elements of the inputs and of `out` that have the same place, until each had its turn; inputs are of
/// the shape of `out`.
pub(crate) fn each<I: Element, O: Element, const N: usize>(
    threads: &dyn Threads,
    inputs: [TensorRef<'_, I>; N],
    out: TensorMut<'_, O>,
    piece: impl Fn([&[I]; N], &mut [O]) + Sync,
) -> Result<(), Error> {
    strips(threads, out, |mut strip| {
        zip(inputs, [strip.batch, strip.line], &mut strip.out, &piece);
        Ok(())
    })
}

/// [`each`] on one thread; the first image and line of `out` meet those at `start` of the inputs.
pub(crate) fn zip<I: Element, O: Element, const N: usize>(
    inputs: [TensorRef<'_, I>; N],
    start: [usize; 2],
    out: &mut TensorMut<'_, O>,
    piece: impl Fn([&[I]; N], &mut [O]),
) {
    let piece = |from: [&[I]; N], to: &mut [O]| {
        piece(from, to);
        Ok::<_, Infallible>(())
    };
    let Ok(()) = walk(inputs, start, out, |input, at, pixels| input.run(at, pixels), piece);
}

/// [`each`] of two operands, where a piece of one that is repeated is what is repeated.
pub(crate) fn pairs<T: Element>(
    threads: &dyn Threads,
    operands: [TensorRef<'_, T>; 2],
    out: TensorMut<'_, T>,
    piece: impl Fn([&[T]; 2], &mut [T]) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    fn find<'a, T: Copy>(operand: &TensorRef<'a, T>, at: [usize; 3], pixels: usize) -> Option<&'a [T]> {
        operand.run(at, pixels).or_else(|| operand.repeated(at, pixels))
    }
    strips(threads, out, |mut strip| walk(operands, [strip.batch, strip.line], &mut strip.out, find, &piece))
}

/// Calls `piece` with what `find` finds of each input for pixels of a line of `out`, or with elements that were gathered.
fn walk<'a, I: Element, O: Element, E, const N: usize>(
    inputs: [TensorRef<'a, I>; N],
    start: [usize; 2],
    out: &mut TensorMut<'_, O>,
    find: impl Fn(&TensorRef<'a, I>, [usize; 3], usize) -> Option<&'a [I]>,
    piece: impl Fn([&[I]; N], &mut [O]) -> Result<(), E>,
) -> Result<(), E> {
    let [batch, height, width, channels] = out.shape();
    // One piece a line, or one a pixel.
    let whole = |pixels: usize, at: [usize; 3], out: &mut TensorMut<'_, O>| {
        let [n, y, x] = at;
        let from = inputs.map(|input| find(&input, [start[0] + n, start[1] + y, x], pixels));
        let (Some(to), true) = (out.run(at, pixels), from.iter().all(Option::is_some)) else { return Ok(false) };
        piece(from.map(Option::unwrap_or_default), to)?;
        Ok(true)
    };
    for (n, y) in (0..batch).flat_map(|n| (0..height).map(move |y| (n, y))) {
        if whole(width, [n, y, 0], out)? {
            continue;
        }
        let mut together = channels > 1;
        for x in 0..width {
            together = together && whole(1, [n, y, x], out)?;
        }
        if together {
            continue;
        }
        let mut gathered = [[I::default(); GATHERED]; N];
        let mut to = [O::default(); GATHERED];
        let (mut left, at) = (width * channels, |i: usize| (i / channels, i % channels));
        while left > 0 {
            let (first, count) = (width * channels - left, left.min(GATHERED));
            for (gathered, input) in gathered.iter_mut().zip(&inputs) {
                for (i, code) in gathered.iter_mut().take(count).enumerate() {
                    let (x, c) = at(first + i);
                    *code = input.get([start[0] + n, start[1] + y, x, c]).unwrap_or_default();
                }
            }
            piece(core::array::from_fn(|i| &gathered[i][..count]), &mut to[..count])?;
            for (i, code) in to[..count].iter().enumerate() {
                let (x, c) = at(first + i);
                out.set([n, y, x, c], *code);
            }
            left -= count;
        }
    }
    Ok(())
}

/// Checks the shape of an image.
pub(crate) fn shape(argument: &'static str, expected: [usize; 4], got: [usize; 4]) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::TensorShape { argument, expected, got }) }
}

/// `run` of a layer with one input, by its `run_on`; in a workspace, if so.
macro_rules! serial {
    ($input:ty, $output:ty, workspace) => {
        /// Runs serially.
        ///
        /// # Errors
        /// As `run_on`.
        pub fn run(
            &self,
            input: TensorRef<'_, $input>,
            out: TensorMut<'_, $output>,
            workspace: &mut Workspace<'_>,
        ) -> Result<(), Error> {
            self.run_on(&$crate::parallel::Serial, input, out, workspace)
        }
    };
    ($input:ty, $output:ty) => {
        /// Runs serially.
        ///
        /// # Errors
        /// As `run_on`.
        pub fn run(&self, input: TensorRef<'_, $input>, out: TensorMut<'_, $output>) -> Result<(), Error> {
            self.run_on(&$crate::parallel::Serial, input, out)
        }
    };
}
pub(crate) use serial;

/// Workspaces of a layer that needs the same whatever the image, by its `workspace_bytes`.
macro_rules! workspaces {
    () => {
        /// A workspace for serial runs.
        pub fn workspace(&self) -> Workspace<'static> {
            self.workspace_for(1)
        }

        /// A workspace for runs on up to `threads` threads.
        pub fn workspace_for(&self, threads: usize) -> Workspace<'static> {
            Workspace::new(self.workspace_bytes(threads).unwrap_or(0))
        }
    };
}
pub(crate) use workspaces;

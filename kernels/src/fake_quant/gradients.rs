//! Gradients of fake quantization.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::{AHEAD, BLOCK, Back, Each, FakeQuantRun, Piece, Step, Steps, Work, before_line, nearest, put};
use crate::lanes::Lanes;

/// Blocks that are turned to parts before these are added.
const BLOCKS: usize = 8;

/// What an element gives: dx, and what both sums gain, the first by a product.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    dx: f32,
    first: f32,
    second: f32,
    /// What `first` is multiplied by.
    by: f32,
}

/// A kind of gradient, as a type.
pub(super) trait Gradient {
    /// Whether parts take so long to come that a core waits for those of a block, since its schedulers hold little more: then several blocks
    /// come before any is added. On Zen 3, learned steps: 0.70 to 0.60 ns an element in L1, 0.91 to 0.80 with 64 channels from memory.
    const LONG: bool = false;

    fn parts(x: f32, dy: f32, step: Step) -> Parts;

    /// Adds what the elements of a block gain.
    #[inline(always)]
    unsafe fn add<L: Lanes>(all: &Parts16, [first, second]: &mut [[f64; BLOCK]; 2]) {
        for i in 0..BLOCK {
            first[i] += f64::from(all.first[i]);
            second[i] += f64::from(all.second[i]);
        }
    }
}

/// `x` if so, else zero.
#[inline(always)]
fn only(x: f32, so: bool) -> f32 {
    if so { x } else { 0.0 }
}

pub(super) struct Bounds;
impl Gradient for Bounds {
    #[inline(always)]
    fn parts(x: f32, dy: f32, step: Step) -> Parts {
        let dx = only(dy, x >= step.low && x <= step.high);
        Parts { dx, first: only(dy, x < step.low), second: only(dy, x > step.high), by: 1.0 }
    }
}

pub(super) struct Products;
impl Gradient for Products {
    #[inline(always)]
    fn parts(x: f32, dy: f32, step: Step) -> Parts {
        let product = |so: bool| dy * if so { 1.0 } else { 0.0 };
        let dx = product(x >= step.low && x <= step.high);
        Parts { dx, first: product(x < step.low), second: product(x > step.high), by: 1.0 }
    }
}

pub(super) struct Index;
impl Gradient for Index {
    #[inline(always)]
    fn parts(x: f32, dy: f32, step: Step) -> Parts {
        let ratio = x / step.scale;
        // Ties go away from zero, so a half is beyond the end; with both integers below 2^17, a half more is a float.
        let (low, high) = (step.first - 0.5, step.last + 0.5);
        let dx = only(dy, ratio > low && ratio < high);
        Parts { dx, first: only(dy, ratio <= low), second: only(dy, ratio >= high), by: 1.0 }
    }
}

pub(super) struct Learned;
impl Gradient for Learned {
    const LONG: bool = true;

    #[inline(always)]
    fn parts(x: f32, dy: f32, step: Step) -> Parts {
        let ratio = x / step.scale;
        let (low, high) = (step.first - 0.5, step.last + 0.5);
        let inside = ratio > low && ratio < high;
        let number = !ratio.is_nan();
        let outside = number && !inside;
        // Beyond an end that is n; inside, n - ratio. What is no number gains nothing, whatever dy is.
        let by = nearest(ratio, step) - only(ratio, inside);
        Parts { dx: only(dy, inside), first: only(dy, number), second: only(-dy, outside), by }
    }

    #[inline(always)]
    unsafe fn add<L: Lanes>(all: &Parts16, [first, second]: &mut [[f64; BLOCK]; 2]) {
        // SAFETY: Features.
        unsafe { L::add_wide_products(first, &all.first, &all.by) }
        for (sum, gain) in second.iter_mut().zip(all.second) {
            *sum += f64::from(gain);
        }
    }
}

/// What the sums gain of a block; vectors that lie across two lines could not be loaded from where they wait to be stored.
#[repr(align(64))]
pub(super) struct Parts16 {
    first: [f32; BLOCK],
    second: [f32; BLOCK],
    by: [f32; BLOCK],
}

/// Takes gradients of a kind back.
pub(super) struct Backward<L, G>(Back, PhantomData<(L, G)>);

impl<L, G> Backward<L, G> {
    pub fn new(back: Back) -> Self {
        Self(back, PhantomData)
    }
}

impl<L: Lanes, G: Gradient> Work for Backward<L, G> {
    #[inline(always)]
    unsafe fn piece(&self, run: &FakeQuantRun<'_>, start: usize, len: usize, piece: Piece) {
        let back = self.0;
        // SAFETY: our caller's clauses: pieces are parts of all slices, and there are sums for each channel.
        unsafe {
            let from = [run.x.add(start), back.dy.add(start)];
            let (dx, [first, second]) = (run.out.add(start), back.sums);
            let mut room: Room = [const { MaybeUninit::uninit() }; BLOCKS];
            match piece {
                Piece::Each => {
                    let steps = Each(run.steps);
                    let mut at = 0;
                    while len - at >= BLOCK {
                        let parts = gains::<L, G, _>(&mut room, from, dx, at..len, steps, false);
                        for parts in parts {
                            let to = [first, second].map(|sums| sums.add(at).cast::<[f64; BLOCK]>());
                            let mut sums = to.map(|sums| sums.read());
                            G::add::<L>(parts, &mut sums);
                            to[0].write(sums[0]);
                            to[1].write(sums[1]);
                            at += BLOCK;
                        }
                    }
                    for at in at..len {
                        gain::<G>(from, dx, at, [&mut *first.add(at), &mut *second.add(at)], steps.at(at));
                    }
                }
                Piece::One(channel, step) => {
                    let several = if run.steps.run == 1 { 1 } else { BLOCK };
                    let [first, second] = [first, second].map(|sums| sums.add(channel * several));
                    if len < BLOCK {
                        for i in 0..len {
                            gain::<G>(from, dx, i, [&mut *first.add(i), &mut *second.add(i)], step);
                        }
                        return;
                    }
                    let to = [first, second].map(|sums| sums.cast::<[f64; BLOCK]>());
                    let mut staged = to.map(|sums| sums.read());
                    let stream = run.streams::<L>();
                    let head = if stream { before_line(dx) } else { 0 };
                    few::<G>(from, dx, 0..head, &mut staged, step);
                    // Blocks from there on begin with another sum.
                    staged.iter_mut().for_each(|sums| sums.rotate_left(head));
                    // A copy, whose elements are in registers.
                    let mut sums = staged;
                    let mut at = head;
                    while len - at >= BLOCK {
                        let parts = gains::<L, G, _>(&mut room, from, dx, at..len, step, stream);
                        for parts in parts {
                            G::add::<L>(parts, &mut sums);
                            at += BLOCK;
                        }
                    }
                    staged = sums;
                    few::<G>(from, dx, at..len, &mut staged, step);
                    staged.iter_mut().for_each(|sums| sums.rotate_right(head));
                    to[0].write(staged[0]);
                    to[1].write(staged[1]);
                }
            }
        }
    }
}

/// Room for parts of some blocks: too much to be returned, which copies it.
type Room = [MaybeUninit<Parts16>; BLOCKS];

/// Writes dx of the first blocks of some elements, of which there is one at least, and gives what the sums gain of each.
#[inline(always)]
unsafe fn gains<L: Lanes, G: Gradient, S: Steps>(
    room: &mut Room,
    [x, dy]: [*const f32; 2],
    dx: *mut f32,
    elements: Range<usize>,
    steps: S,
    stream: bool,
) -> &[Parts16] {
    let count = if G::LONG { BLOCKS.min(elements.len() / BLOCK) } else { 1 };
    for (at, parts) in elements.step_by(BLOCK).zip(room.iter_mut().take(count)) {
        // SAFETY: our caller's: a block of each.
        unsafe {
            L::fetch(x.wrapping_add(at + AHEAD));
            L::fetch(dy.wrapping_add(at + AHEAD));
            if S::EACH {
                L::fetch(dx.wrapping_add(at + AHEAD));
            }
            let x = x.add(at).cast::<[f32; BLOCK]>().read_unaligned();
            let dy = dy.add(at).cast::<[f32; BLOCK]>().read_unaligned();
            let none = [0.0; BLOCK];
            let (mut block, mut gains) = (none, Parts16 { first: none, second: none, by: none });
            for i in 0..BLOCK {
                let Parts { dx, first, second, by } = G::parts(x[i], dy[i], steps.at(at + i));
                (block[i], gains.first[i], gains.second[i], gains.by[i]) = (dx, first, second, by);
            }
            parts.write(gains);
            put::<L>(dx.add(at), block, stream);
        }
    }
    // SAFETY: so many were written.
    unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), count) }
}

/// Fewer elements than a block, for the first sums.
#[inline(always)]
unsafe fn few<G: Gradient>(
    from: [*const f32; 2],
    dx: *mut f32,
    elements: Range<usize>,
    [first, second]: &mut [[f64; BLOCK]; 2],
    step: Step,
) {
    for ((at, first), second) in elements.zip(first).zip(second) {
        // SAFETY: our caller's: so many elements of each.
        unsafe { gain::<G>(from, dx, at, [first, second], step) };
    }
}

/// One element at `at`.
#[inline(always)]
unsafe fn gain<G: Gradient>(
    [x, dy]: [*const f32; 2],
    dx: *mut f32,
    at: usize,
    [first, second]: [&mut f64; 2],
    step: Step,
) {
    // SAFETY: our caller's: an element of each.
    unsafe {
        let parts = G::parts(*x.add(at), *dy.add(at), step);
        *dx.add(at) = parts.dx;
        // Products of two 32-bit floats are exact in 64 bits.
        *first += f64::from(parts.first) * f64::from(parts.by);
        *second += f64::from(parts.second);
    }
}

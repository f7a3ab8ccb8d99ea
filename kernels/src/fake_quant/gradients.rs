//! Gradients of fake quantization.

use core::hint::black_box;
use core::marker::PhantomData;
use core::ops::AddAssign;

use super::{AHEAD, BLOCK, Back, Each, FakeQuantRun, Piece, Step, Steps, TERMS, Work, before_line, nearest, put};
use crate::lanes::Lanes;

/// What an element gives: dx, and what its two sums gain.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    dx: f32,
    first: f32,
    second: f32,
}

/// A kind of gradient, as a type.
pub(super) trait Gradient {
    /// Whether a sum gains [`TERMS`] elements as 32-bit floats at once. Wide sums of a block do not fit the registers of AVX2, and every half of a
    /// vector is converted for them. Zen 3, learned steps: 0.58 to 0.47 ns an element in L1, 0.84 to 0.68 with 64 channels.
    const SHORT: bool = false;

    fn parts(x: f32, dy: f32, step: Step) -> Parts;
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
        Parts { dx, first: only(dy, x < step.low), second: only(dy, x > step.high) }
    }
}

pub(super) struct Products;
impl Gradient for Products {
    #[inline(always)]
    fn parts(x: f32, dy: f32, step: Step) -> Parts {
        let product = |so: bool| dy * if so { 1.0 } else { 0.0 };
        let dx = product(x >= step.low && x <= step.high);
        Parts { dx, first: product(x < step.low), second: product(x > step.high) }
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
        Parts { dx, first: only(dy, ratio <= low), second: only(dy, ratio >= high) }
    }
}

pub(super) struct Learned;
impl Gradient for Learned {
    const SHORT: bool = true;

    #[inline(always)]
    fn parts(x: f32, dy: f32, step: Step) -> Parts {
        let ratio = x / step.scale;
        let (low, high) = (step.first - 0.5, step.last + 0.5);
        let inside = ratio > low && ratio < high;
        let number = !ratio.is_nan();
        let outside = number && !inside;
        // Beyond an end that is n; inside, n - ratio. What is no number gains nothing, whatever dy is.
        let by = nearest(ratio, step) - only(ratio, inside);
        Parts { dx: only(dy, inside), first: only(dy, number) * by, second: only(-dy, outside) }
    }
}

/// Channels side by side whose short sums are kept at once.
const SIDE: usize = 128;
/// All lanes of [`Sums::settle`].
const ALL: [u32; BLOCK] = [u32::MAX; BLOCK];

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
        // SAFETY: our caller's clauses: pieces are parts of all slices, and there are sums for each channel.
        unsafe {
            let at = At { from: [run.x, self.0.dy], dx: run.out }.add(start);
            match piece {
                Piece::Each { width } if G::SHORT => {
                    for first in (0..width).step_by(SIDE) {
                        let (count, steps) = (SIDE.min(width - first), Each(run.steps, first));
                        let mut short = [[0.0; SIDE]; 2];
                        let to = short.each_mut().map(|sums| sums.as_mut_ptr());
                        for line in (0..len).step_by(width) {
                            side_by_side::<L, G, f32>(at.add(line + first), count, steps, to);
                        }
                        for (to, short) in self.0.sums.into_iter().zip(&short) {
                            for (i, short) in short[..count].iter().enumerate() {
                                *to.add(first + i) += f64::from(*short);
                            }
                        }
                    }
                }
                Piece::Each { width } => {
                    for line in (0..len).step_by(width) {
                        side_by_side::<L, G, f64>(at.add(line), width, Each(run.steps, 0), self.0.sums);
                    }
                }
                Piece::One(channel, step) => {
                    let to = self.0.sums.map(|sums| sums.add(channel * BLOCK).cast::<[f64; BLOCK]>());
                    let sums = Sums { wide: to.map(|sums| sums.read()), short: [[0.0; BLOCK]; 2] };
                    let sums = one::<L, G>(at, len, step, run.streams::<L>(), sums);
                    to[0].write(sums.wide[0]);
                    to[1].write(sums.wide[1]);
                }
            }
        }
    }
}

/// What both sums gain of the elements of a block; vectors that lie across two lines could not be loaded from where they wait to be stored.
#[repr(align(64))]
struct Gains([[f32; BLOCK]; 2]);

/// Some elements: x and dy, and where dx goes.
#[derive(Clone, Copy)]
struct At {
    from: [*const f32; 2],
    dx: *mut f32,
}

impl At {
    /// Those from element `i` on.
    ///
    /// # Safety
    /// There are that many.
    #[inline(always)]
    unsafe fn add(self, i: usize) -> Self {
        // SAFETY: our caller's.
        unsafe { Self { from: self.from.map(|from| from.add(i)), dx: self.dx.add(i) } }
    }

    /// A block: writes dx, and gives what the sums gain.
    ///
    /// # Safety
    /// It is there, and dx aligned if `stream`.
    #[inline(always)]
    unsafe fn block<L: Lanes, G: Gradient>(self, steps: impl Steps, stream: bool) -> Gains {
        let (mut dx, mut gains) = ([0.0; BLOCK], Gains([[0.0; BLOCK]; 2]));
        // SAFETY: our caller's.
        unsafe {
            let [x, dy] = self.from.map(|from| {
                L::fetch(from.wrapping_add(AHEAD));
                from.cast::<[f32; BLOCK]>().read_unaligned()
            });
            for i in 0..BLOCK {
                let parts = G::parts(x[i], dy[i], steps.at(i));
                (dx[i], gains.0[0][i], gains.0[1][i]) = (parts.dx, parts.first, parts.second);
            }
            put::<L>(self.dx, dx, stream);
        }
        gains
    }

    /// One element: writes dx, and gives what both sums gain.
    ///
    /// # Safety
    /// It is there.
    #[inline(always)]
    unsafe fn element<G: Gradient>(self, step: Step) -> [f32; 2] {
        let [x, dy] = self.from;
        // SAFETY: our caller's.
        unsafe {
            let parts = G::parts(*x, *dy, step);
            *self.dx = parts.dx;
            [parts.first, parts.second]
        }
    }
}

/// A line of channels, an element each, and as many sums.
///
/// # Safety
/// So many elements, steps and sums.
#[inline(always)]
unsafe fn side_by_side<L: Lanes, G: Gradient, T: Copy + AddAssign + From<f32>>(
    at: At,
    count: usize,
    Each(steps, first): Each<'_>,
    sums: [*mut T; 2],
) {
    let blocks = count - count % BLOCK;
    // SAFETY: our caller's.
    unsafe {
        for i in (0..blocks).step_by(BLOCK) {
            let at = at.add(i);
            L::fetch(at.dx.wrapping_add(AHEAD));
            let gains = at.block::<L, G>(Each(steps, first + i), false);
            let to = sums.map(|sums| sums.add(i).cast::<[T; BLOCK]>());
            let mut sums = to.map(|sums| sums.read());
            add(&mut sums, &gains);
            to[0].write(sums[0]);
            to[1].write(sums[1]);
        }
        for i in blocks..count {
            let gains = at.add(i).element::<G>(Each(steps, first).at(i));
            sums.into_iter().zip(gains).for_each(|(sums, gain)| *sums.add(i) += gain.into());
        }
    }
}

/// Adds the gains of a block.
#[inline(always)]
fn add<T: AddAssign + From<f32>>([first, second]: &mut [[T; BLOCK]; 2], Gains(gains): &Gains) {
    for i in 0..BLOCK {
        first[i] += gains[0][i].into();
        second[i] += gains[1][i].into();
    }
}

/// The sums of a channel that has sixteen of both.
#[derive(Clone, Copy)]
struct Sums {
    wide: [[f64; BLOCK]; 2],
    /// What is not yet in those, of gradients that are [`Gradient::SHORT`].
    short: [[f32; BLOCK]; 2],
}

impl Sums {
    /// Moves short sums to the wide ones: those of `lanes`, which are all ones or zero.
    #[inline(always)]
    fn settle(&mut self, lanes: &[u32; BLOCK]) {
        for (wide, short) in self.wide.iter_mut().zip(&mut self.short) {
            for i in 0..BLOCK {
                wide[i] += f64::from(f32::from_bits(short[i].to_bits() & lanes[i]));
                short[i] = f32::from_bits(short[i].to_bits() & !lanes[i]);
            }
        }
    }

    /// A sum becomes that which was so many behind it.
    fn rotate(&mut self, by: usize) {
        self.wide.iter_mut().for_each(|sums| sums.rotate_left(by));
        self.short.iter_mut().for_each(|sums| sums.rotate_left(by));
    }

    /// Fewer elements than a block, for the first sums.
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    unsafe fn few<G: Gradient>(&mut self, at: At, count: usize, step: Step) {
        for i in 0..count {
            // SAFETY: our caller's.
            let gains = unsafe { at.add(i).element::<G>(step) };
            for ((wide, short), gain) in self.wide.iter_mut().zip(&mut self.short).zip(gains) {
                if G::SHORT { short[i] += gain } else { wide[i] += f64::from(gain) }
            }
        }
    }
}

/// Elements of one channel; past the caches if `stream`.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn one<L: Lanes, G: Gradient>(from: At, len: usize, step: Step, stream: bool, mut sums: Sums) -> Sums {
    let head = if stream { before_line(from.dx).min(len) } else { 0 };
    let mut at = head;
    // SAFETY: our caller's: so many elements of each.
    unsafe {
        sums.few::<G>(from, head, step);
        // Blocks from there on begin with another sum.
        sums.rotate(head);
        // In copies, elements are in registers.
        if G::SHORT {
            // The sums that had an element of the head are a block ahead of the others: their terms are complete a block earlier.
            let ahead = core::array::from_fn(|i| if i < BLOCK - head { 0 } else { u32::MAX });
            let turns = [(TERMS - 1, ahead), (1, ahead.map(|lane| !lane))];
            let turns = if head > 0 { &turns[..] } else { &[(TERMS, ALL)] };
            let mut held = sums;
            'all: loop {
                for (blocks, lanes) in turns {
                    for _ in 0..*blocks {
                        if len - at < BLOCK {
                            break 'all;
                        }
                        add(&mut held.short, &from.add(at).block::<L, G>(step, stream));
                        at += BLOCK;
                    }
                    held.settle(lanes);
                }
            }
            sums = held;
        } else {
            let mut wide = sums.wide;
            while len - at >= BLOCK {
                // From memory, four floats are widened by one instruction; from registers, where they would be, by more.
                let gains = from.add(at).block::<L, G>(step, stream);
                let Gains([first, second]) = black_box(&gains);
                L::add_wide(&mut wide[0], first);
                L::add_wide(&mut wide[1], second);
                at += BLOCK;
            }
            sums.wide = wide;
        }
        sums.few::<G>(from.add(at), len - at, step);
        sums.settle(&ALL);
        sums.rotate(BLOCK - head);
    }
    sums
}

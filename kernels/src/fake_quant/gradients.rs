//! Gradients of fake quantization.

use core::marker::PhantomData;

use super::{AHEAD, BLOCK, Back, Each, FakeQuantRun, Piece, ROWS, Step, Steps, Work, before_line, nearest, put};
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

/// Channels side by side whose rows of sums stay in L1 for some lines.
const SIDE: usize = 64;
/// Lanes of the sums that are folded in the end.
const LANES: usize = 8;

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
                Piece::Each { width } => {
                    let lines = [start, len, run.len].map(|elements| elements / width);
                    for first in (0..width).step_by(SIDE) {
                        let rows = Rows { width, sums: self.0.sums.map(|sums| sums.add(first)) };
                        let (count, steps) = (SIDE.min(width - first), Each::of(run.steps, first));
                        lines_of::<L, G>(at.add(first), lines, count, steps, rows);
                    }
                }
                Piece::One(step) => {
                    let sums = one::<L, G>(at, len, step, run.streams::<L>());
                    for (to, sum) in self.0.sums.into_iter().zip(sums) {
                        *to.add(start / run.steps.run) = sum;
                    }
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

/// Rows of sums of some channels, of lines so wide.
#[derive(Clone, Copy)]
struct Rows {
    width: usize,
    sums: [*mut f32; 2],
}

impl Rows {
    #[inline(always)]
    fn row(&self, row: usize) -> [*mut f32; 2] {
        self.sums.map(|sums| sums.wrapping_add(row * self.width))
    }

    /// Adds all rows to the first eight.
    ///
    /// # Safety
    /// There are all, with so many channels.
    #[inline(always)]
    unsafe fn eight(&self, count: usize) {
        for row in 0..LANES {
            // SAFETY: our caller's.
            unsafe { self.fold(count, row, [row + LANES, row + 2 * LANES, row + 3 * LANES]) };
        }
    }

    /// Adds rows to one, in this order. No closures: on their own, they would be compiled without the kernel's features.
    ///
    /// # Safety
    /// There are those rows, with so many channels.
    #[inline(always)]
    unsafe fn fold<const N: usize>(&self, count: usize, to: usize, from: [usize; N]) {
        let blocks = count - count % BLOCK;
        for (kind, to) in self.row(to).into_iter().enumerate() {
            // SAFETY: our caller's.
            unsafe {
                for i in (0..blocks).step_by(BLOCK) {
                    let to = to.add(i).cast::<[f32; BLOCK]>();
                    let mut sums = to.read();
                    for row in from {
                        let row = self.row(row)[kind].add(i).cast::<[f32; BLOCK]>().read();
                        for i in 0..BLOCK {
                            sums[i] += row[i];
                        }
                    }
                    to.write(sums);
                }
                for i in blocks..count {
                    for row in from {
                        *to.add(i) += *self.row(row)[kind].add(i);
                    }
                }
            }
        }
    }
}

/// So many channels of `count` lines, of which one of all is the first. With the last of all, the first row is their sum.
///
/// # Safety
/// They are there, and the rows of [`FakeQuant::sums`](super::FakeQuant::sums).
#[inline(always)]
unsafe fn lines_of<L: Lanes, G: Gradient>(
    at: At,
    [first, count, all]: [usize; 3],
    channels: usize,
    steps: Each,
    rows: Rows,
) {
    let (whole, eights) = (all - all % ROWS, all - all % LANES);
    // Lines behind the last eight have a row of their own.
    let tail = if eights > 0 { LANES } else { 0 };
    // SAFETY: our caller's; a row is read after a line has set it.
    unsafe {
        for line in first..first + count {
            if line == whole && whole > 0 {
                rows.eight(channels);
            }
            let (to, sets) = match line {
                _ if line < whole => (line % ROWS, line < ROWS),
                _ if line < eights => (line % LANES, line < LANES),
                _ => (tail, line == eights),
            };
            let at = at.add((line - first) * rows.width);
            if sets {
                side_by_side::<L, G, true>(at, channels, steps, rows.row(to));
            } else {
                side_by_side::<L, G, false>(at, channels, steps, rows.row(to));
            }
        }
        if first + count < all {
            return;
        }
        if whole == all {
            rows.eight(channels);
        }
        if eights > 0 {
            for row in 0..LANES / 2 {
                rows.fold(channels, row, [row + LANES / 2]);
            }
            rows.fold(channels, 0, [2]);
            rows.fold(channels, 1, [3]);
            rows.fold(channels, 0, [1]);
        }
        if eights > 0 && eights < all {
            rows.fold(channels, 0, [tail]);
        }
    }
}

/// A line of channels, an element each, and as many sums: they are set, or it is added.
///
/// # Safety
/// So many elements, steps and sums.
#[inline(always)]
unsafe fn side_by_side<L: Lanes, G: Gradient, const SETS: bool>(
    at: At,
    count: usize,
    steps: Each,
    sums: [*mut f32; 2],
) {
    let blocks = count - count % BLOCK;
    // SAFETY: our caller's.
    unsafe {
        for i in (0..blocks).step_by(BLOCK) {
            let at = at.add(i);
            L::fetch(at.dx.wrapping_add(AHEAD));
            let gains = at.block::<L, G>(steps.from(i), false);
            let to = sums.map(|sums| sums.add(i).cast::<[f32; BLOCK]>());
            let mut sums = if SETS { [[0.0; BLOCK]; 2] } else { to.map(|sums| sums.read()) };
            add(&mut sums, &gains);
            to[0].write(sums[0]);
            to[1].write(sums[1]);
        }
        for i in blocks..count {
            let gains = at.add(i).element::<G>(steps.at(i));
            for (sums, gain) in sums.into_iter().zip(gains) {
                *sums.add(i) = gain + if SETS { 0.0 } else { *sums.add(i) };
            }
        }
    }
}

/// Adds the gains of a block.
#[inline(always)]
fn add([first, second]: &mut [[f32; BLOCK]; 2], Gains(gains): &Gains) {
    for i in 0..BLOCK {
        first[i] += gains[0][i];
        second[i] += gains[1][i];
    }
}

/// Both sums of each row of one channel: of two halves, those of a block.
#[derive(Clone, Copy)]
struct Channel([[[f32; BLOCK]; 2]; ROWS / BLOCK]);

impl Channel {
    const ZERO: Self = Self([[[0.0; BLOCK]; 2]; ROWS / BLOCK]);

    /// A row becomes that which was so many behind it.
    #[inline(always)]
    fn rotated(&self, by: usize) -> Self {
        let mut rows = *self;
        for row in 0..ROWS {
            let from = (row + by) % ROWS;
            for sum in 0..2 {
                rows.0[row / BLOCK][sum][row % BLOCK] = self.0[from / BLOCK][sum][from % BLOCK];
            }
        }
        rows
    }

    /// Fewer elements than rows, for the first of them.
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    unsafe fn few<L: Lanes, G: Gradient>(&mut self, at: At, count: usize, step: Step) {
        let mut done = 0;
        // SAFETY: our caller's.
        unsafe {
            if count >= BLOCK {
                add(&mut self.0[0], &at.block::<L, G>(step, false));
                done = BLOCK;
            }
            for i in done..count {
                let gains = at.add(i).element::<G>(step);
                self.0[i / BLOCK][0][i % BLOCK] += gains[0];
                self.0[i / BLOCK][1][i % BLOCK] += gains[1];
            }
        }
    }

    /// Of one sum, those of eight rows.
    #[inline(always)]
    fn lanes(&self, sum: usize, row: usize) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane = self.0[row / BLOCK][sum][row % BLOCK + i];
        }
        lanes
    }
}

/// Both sums of a run, in the order that [`super`] states; past the caches if `stream`.
///
/// # Safety
/// So many elements.
#[inline(always)]
unsafe fn one<L: Lanes, G: Gradient>(from: At, len: usize, step: Step, stream: bool) -> [f32; 2] {
    let (whole, rest) = (len - len % ROWS, len % ROWS);
    let head = if stream { before_line(from.dx).min(whole) } else { 0 };
    let (mut rows, mut last) = (Channel::ZERO, Channel::ZERO);
    // SAFETY: our caller's: so many elements.
    unsafe {
        rows.few::<L, G>(from, head, step);
        // Blocks from there on begin with another row. In copies, elements are in registers.
        let mut held = if head > 0 { rows.rotated(head) } else { rows };
        let mut at = head;
        while whole - at >= ROWS {
            for sums in &mut held.0 {
                add(sums, &from.add(at).block::<L, G>(step, stream));
                at += BLOCK;
            }
        }
        rows = held;
        if head > 0 {
            rows.few::<L, G>(from.add(at), whole - at, step);
            rows = rows.rotated(ROWS - head);
        }
        last.few::<L, G>(from.add(whole), rest, step);
    }
    [folded(&rows, &last, rest, 0), folded(&rows, &last, rest, 1)]
}

/// One of both sums: of all rows, and of the last elements, `rest` of them.
#[inline(always)]
fn folded(rows: &Channel, last: &Channel, rest: usize, sum: usize) -> f32 {
    let mut lanes = rows.lanes(sum, 0);
    for row in (LANES..ROWS).step_by(LANES) {
        add_lanes(&mut lanes, rows.lanes(sum, row));
    }
    for row in (0..rest - rest % LANES).step_by(LANES) {
        add_lanes(&mut lanes, last.lanes(sum, row));
    }
    let four = [lanes[0] + lanes[4], lanes[1] + lanes[5], lanes[2] + lanes[6], lanes[3] + lanes[7]];
    let mut tail = 0.0;
    for row in rest - rest % LANES..rest {
        tail += last.0[row / BLOCK][sum][row % BLOCK];
    }
    tail + ((four[0] + four[2]) + (four[1] + four[3]))
}

#[inline(always)]
fn add_lanes(to: &mut [f32; LANES], lanes: [f32; LANES]) {
    for i in 0..LANES {
        to[i] += lanes[i];
    }
}

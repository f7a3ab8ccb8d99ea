//! Gradients of fake quantization.

use core::marker::PhantomData;

use super::{BLOCK, Back, Each, FakeQuantRun, Piece, Step, Steps, Work, nearest};

/// What an element does to the gradients: dx, and what both sums gain.
pub(super) type Gains = (f32, [f64; 2]);

/// A kind of gradient, as a type.
pub(super) trait Gradient {
    fn gains(x: f32, dy: f32, step: Step) -> Gains;
}

/// `x` if so, else zero.
#[inline(always)]
fn only(x: f32, so: bool) -> f32 {
    if so { x } else { 0.0 }
}

pub(super) struct Bounds;
impl Gradient for Bounds {
    #[inline(always)]
    fn gains(x: f32, dy: f32, step: Step) -> Gains {
        let dx = only(dy, x >= step.low && x <= step.high);
        (dx, [only(dy, x < step.low).into(), only(dy, x > step.high).into()])
    }
}

pub(super) struct Products;
impl Gradient for Products {
    #[inline(always)]
    fn gains(x: f32, dy: f32, step: Step) -> Gains {
        let product = |so: bool| dy * if so { 1.0 } else { 0.0 };
        let dx = product(x >= step.low && x <= step.high);
        (dx, [product(x < step.low).into(), product(x > step.high).into()])
    }
}

pub(super) struct Index;
impl Gradient for Index {
    #[inline(always)]
    fn gains(x: f32, dy: f32, step: Step) -> Gains {
        let ratio = x / step.scale;
        // Ties go away from zero, so a half is beyond the end; with both integers below 2^17, a half more is a float.
        let (low, high) = (step.first - 0.5, step.last + 0.5);
        let dx = only(dy, ratio > low && ratio < high);
        (dx, [only(dy, ratio <= low).into(), only(dy, ratio >= high).into()])
    }
}

pub(super) struct Learned;
impl Gradient for Learned {
    #[inline(always)]
    fn gains(x: f32, dy: f32, step: Step) -> Gains {
        let ratio = x / step.scale;
        let (low, high) = (step.first - 0.5, step.last + 0.5);
        let inside = ratio > low && ratio < high;
        let outside = ratio <= low || ratio >= high;
        let rest = nearest(ratio, step) - ratio;
        let end = if ratio <= low { step.first } else { step.last };
        let by_scale = if inside { rest } else { only(end, outside) };
        let by_zero_point = only(-step.scale, outside);
        let dy_wide = f64::from(dy);
        // A product of two f32 is exact in f64. What is no number gains nothing, whatever dy is.
        let scale = dy_wide * f64::from(by_scale);
        let zero_point = dy_wide * f64::from(by_zero_point);
        let gain = |product: f64, so: bool| if so { product } else { 0.0 };
        (only(dy, inside), [gain(scale, inside || outside), gain(zero_point, outside)])
    }
}

/// Takes gradients of a kind back.
pub(super) struct Backward<G>(Back, PhantomData<G>);

impl<G> Backward<G> {
    pub fn new(back: Back) -> Self {
        Self(back, PhantomData)
    }
}

impl<G: Gradient> Work for Backward<G> {
    #[inline(always)]
    unsafe fn piece(&self, run: &FakeQuantRun<'_>, start: usize, len: usize, piece: Piece) {
        let back = self.0;
        // SAFETY: our caller's clauses: pieces are parts of all slices, and there are sums for each channel.
        unsafe {
            let from = [run.x.add(start), back.dy.add(start)];
            let dx = run.out.add(start);
            let (mut at, [first, second]) = (0, back.sums);
            match piece {
                Piece::Each => {
                    while len - at >= BLOCK {
                        let to = [first, second].map(|sums| sums.add(at).cast::<[f64; BLOCK]>());
                        let mut sums = to.map(|sums| sums.read());
                        gains::<G, _>(from, dx, at, &mut sums, Each(run.steps));
                        to[0].write(sums[0]);
                        to[1].write(sums[1]);
                        at += BLOCK;
                    }
                    while at < len {
                        let sums = [&mut *first.add(at), &mut *second.add(at)];
                        gain::<G>(from, dx, at, sums, Each(run.steps).at(at));
                        at += 1;
                    }
                }
                Piece::One(channel, step) => {
                    let several = if run.steps.run == 1 { 1 } else { BLOCK };
                    let [first, second] = [first, second].map(|sums| sums.add(channel * several));
                    if len >= BLOCK {
                        let to = [first, second].map(|sums| sums.cast::<[f64; BLOCK]>());
                        let mut sums = to.map(|sums| sums.read());
                        while len - at >= BLOCK {
                            gains::<G, _>(from, dx, at, &mut sums, step);
                            at += BLOCK;
                        }
                        to[0].write(sums[0]);
                        to[1].write(sums[1]);
                    }
                    let mut i = 0;
                    while at < len {
                        gain::<G>(from, dx, at, [&mut *first.add(i), &mut *second.add(i)], step);
                        (at, i) = (at + 1, i + 1);
                    }
                }
            }
        }
    }
}

/// A block at `at`.
#[inline(always)]
unsafe fn gains<G: Gradient, S: Steps>(
    [x, dy]: [*const f32; 2],
    dx: *mut f32,
    at: usize,
    sums: &mut [[f64; BLOCK]; 2],
    steps: S,
) {
    // SAFETY: our caller's: a block of each.
    unsafe {
        let x = x.add(at).cast::<[f32; BLOCK]>().read_unaligned();
        let dy = dy.add(at).cast::<[f32; BLOCK]>().read_unaligned();
        let mut out = [0.0; BLOCK];
        for i in 0..BLOCK {
            let (dx, [first, second]) = G::gains(x[i], dy[i], steps.at(at + i));
            out[i] = dx;
            sums[0][i] += first;
            sums[1][i] += second;
        }
        dx.add(at).cast::<[f32; BLOCK]>().write_unaligned(out);
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
        let (gradient, gains) = G::gains(*x.add(at), *dy.add(at), step);
        *dx.add(at) = gradient;
        *first += gains[0];
        *second += gains[1];
    }
}

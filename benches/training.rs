//! Fake quantization, forward and back, on the backend that is selected: beside a plain scalar loop where all is in L1, and beside a copy where
//! nothing is in L2. `ZEROPOINT_BACKEND=avx2 cargo bench --bench training`. See `benches/README.md`.

mod common;

use common::{Bench, Rng, Table, number, percent, target};
use zeropoint::reference;
use zeropoint::training::{
    Axis, FakeQuant, FakeQuantSpec, Form, Gradient, Gradients, Grid, Levels, TensorFlowSpec,
};

/// Elements that fit L1 three times, and elements that do not fit L2, of which a core has 2 MiB.
const SMALL: usize = 2048;
const LARGE: usize = 4 << 20;
/// Channels, side by side.
const CHANNELS: usize = 64;

const MIN: f32 = -1.0;
const MAX: f32 = 2.0;

/// A loop over x and dy to an output, and the sum of its sums.
type Plain<'a> = dyn Fn(&[f32], &[f32], &mut [f32]) -> f32 + 'a;

fn reals(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(1);
    // A few are beyond the range.
    (0..count).map(|_| (rng.bits() as u16 as f32 / 65536.0 - 0.4) * 4.0).collect()
}

fn main() {
    let mut bench = Bench::new();
    let backend = zeropoint::selected().expect("a backend");
    let head = ["pass", "ns an element in L1", "plain loop", "times as fast", "GB/s from memory", "of a copy"];
    let mut table = Table::new(format!("{}, fake quantization", backend.name()), &head);
    let copy = bench.ns("training/copy", || {
        let (x, mut y) = (reals(LARGE), reals(LARGE));
        move || std::hint::black_box(&mut y).copy_from_slice(std::hint::black_box(&x))
    });
    let copied = copy.map(|ns| 8.0 * LARGE as f64 / ns);
    let levels = Levels::bits(8).expect("levels");
    let grid = Grid::from_range(MIN, MAX, levels).expect("a grid");
    let mut row = |what: &str, fake: &FakeQuant, back: bool, plain: &Plain<'_>| {
        let mut run = |count: usize| {
            bench.ns(&format!("training/{what}/{count}"), || {
                let (x, dy, mut out) = (reals(count), reals(count), reals(count));
                let mut gradients = Gradients::new(fake).expect("room");
                move || {
                    if back {
                        fake.backward(&x, &dy, &mut out, &mut gradients).expect("runs");
                    } else {
                        fake.forward(&x, &mut out).expect("runs");
                    }
                }
            })
        };
        let (small, large) = (run(SMALL), run(LARGE));
        let loops = bench.ns(&format!("training/{what}/plain"), || {
            let (x, dy, mut out) = (reals(SMALL), reals(SMALL), reals(SMALL));
            move || {
                std::hint::black_box(plain(&x, &dy, &mut out));
            }
        });
        let (Some(small), Some(large), Some(loops)) = (small, large, loops) else { return };
        let rate = if back { 12.0 } else { 8.0 } * LARGE as f64 / large;
        let (times, share) = (loops / small, copied.map(|copied| rate / copied));
        table.row([
            what.to_string(),
            number(Some(small / SMALL as f64), 3),
            number(Some(loops / SMALL as f64), 3),
            number(Some(times), 1),
            number(Some(rate), 1),
            format!(
                "{}  {} {}",
                percent(share),
                target("plain loop", Some(times), 3.0),
                target("copy", share, 0.8)
            ),
        ]);
    };

    let nearest =
        |gradient| FakeQuant::new(&FakeQuantSpec { gradient, ..FakeQuantSpec::new(&[grid]) }).expect("steps");
    let axis = Axis::Channels { channels: CHANNELS, inner: 1 };
    let grids = [grid; CHANNELS];
    let each =
        |gradient| FakeQuant::new(&FakeQuantSpec { axis, gradient, ..FakeQuantSpec::new(&grids) }).expect("steps");
    let tensorflow = |form| {
        let spec = TensorFlowSpec { form, ..TensorFlowSpec::new(&[MIN], &[MAX], levels) };
        FakeQuant::tensorflow(&spec).expect("steps")
    };
    let (scale, zero) = (grid.scale(), grid.zero_point() as f32);
    // What one writes without thinking, with the float functions of the standard library.
    let plain = |x: &[f32], _: &[f32], y: &mut [f32]| {
        for (y, x) in y.iter_mut().zip(x) {
            *y = scale * ((x / scale).round() + zero).clamp(0.0, 255.0) - scale * zero;
        }
        0.0
    };
    let (low, high) = grid.range();
    let plain_back = |x: &[f32], dy: &[f32], dx: &mut [f32]| {
        let (mut below, mut above) = (0.0, 0.0);
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = if *x >= low && *x <= high { *dy } else { 0.0 };
            if *x < low {
                below += dy;
            }
            if *x > high {
                above += dy;
            }
        }
        below + above
    };
    let plain_learned = |x: &[f32], dy: &[f32], dx: &mut [f32]| {
        let (mut by_scale, mut by_zero) = (0.0, 0.0);
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            let code = (x / scale).round() + zero;
            let n = code.clamp(0.0, 255.0) - zero;
            if (0.0..=255.0).contains(&code) {
                *dx = *dy;
                by_scale += dy * (n - x / scale);
            } else {
                *dx = 0.0;
                by_scale += dy * n;
                by_zero -= dy * scale;
            }
        }
        by_scale + by_zero
    };
    let define = |form| {
        let define = reference::TensorFlow::new(MIN, MAX, levels, form);
        move |x: &[f32], _: &[f32], y: &mut [f32]| {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = define.real(*x));
            0.0
        }
    };
    row("forward", &nearest(Gradient::Range), false, &plain);
    row("forward, 64 channels", &each(Gradient::Range), false, &plain);
    row("forward, TensorFlow by division", &tensorflow(Form::Division), false, &define(Form::Division));
    row(
        "forward, TensorFlow by multiplication",
        &tensorflow(Form::Multiplication),
        false,
        &define(Form::Multiplication),
    );
    row("back", &nearest(Gradient::Range), true, &plain_back);
    row("back, 64 channels", &each(Gradient::Range), true, &plain_back);
    row("back, TensorFlow", &tensorflow(Form::Division), true, &plain_back);
    row("back, by index", &nearest(Gradient::Index), true, &plain_learned);
    row("back, learned step", &nearest(Gradient::Learned), true, &plain_learned);
    row("back, learned step, 64 channels", &each(Gradient::Learned), true, &plain_learned);
    table.print();
    bench.finish();
}

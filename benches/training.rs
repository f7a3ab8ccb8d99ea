//! Fake quantization, forward and back, on the backend that is selected: beside a plain scalar loop where all is in L1, and beside a copy where
//! arrays do not fit L2, or memory alone has them. `ZEROPOINT_BACKEND=avx2 cargo bench --bench training`. See `benches/README.md`.

mod common;

use aligned_vec::{AVec, ConstAlign};
use common::{Bench, Rng, Table, number, percent, target};
use zeropoint::reference;
use zeropoint::training::{
    Axis, FakeQuant, FakeQuantSpec, Form, Gradient, Gradients, Grid, Levels, Range, TensorFlowSpec, moments,
    ranges,
};

/// Elements that fit L1 three times.
const SMALL: usize = 2048;
/// 16 MiB, beyond L2, of which a core has 2 MiB at most; and 64 MiB, of which an L3 of 32 MiB has little.
const LARGE: [usize; 2] = [4 << 20, 16 << 20];
/// Arrays begin with a page: the offset between two of them decides how fast some CPUs are.
const PAGE: usize = 4096;
/// Channels, side by side.
const CHANNELS: usize = 64;

const MIN: f32 = -1.0;
const MAX: f32 = 2.0;

/// A loop over x and dy to an output, and the sum of its sums.
type Plain<'a> = dyn Fn(&[f32], &[f32], &mut [f32]) -> f32 + 'a;

fn reals(count: usize) -> AVec<f32, ConstAlign<PAGE>> {
    let mut rng = Rng::new(1);
    // A few are beyond the range.
    AVec::from_iter(PAGE, (0..count).map(|_| (rng.bits() as u16 as f32 / 65536.0 - 0.4) * 4.0))
}

/// What reads a tensor without writing one: of a copy, that is as much as half of it.
fn observers(bench: &mut Bench, copied: [Option<f64>; 2]) {
    let axis = Axis::Channels { channels: CHANNELS, inner: 1 };
    let mut table = Table::new(
        "what is observed",
        &["pass", "ns an element in L1", "GB/s of 16 MiB", "of a copy", "GB/s of 64 MiB", "of a copy"],
    );
    let mut row = |what: &str, run: &dyn Fn(&[f32])| {
        let [small, mid, large] = [SMALL, LARGE[0], LARGE[1]].map(|count| {
            let ns = bench.ns(&format!("training/{what}/{count}"), || {
                let x = reals(count);
                move || run(std::hint::black_box(&x))
            });
            ns.map(|ns| ns / count as f64)
        });
        let [mid, large] = [mid, large].map(|ns| ns.map(|ns| 4.0 / ns));
        let share = |at: usize, rate: Option<f64>| percent(rate.zip(copied[at]).map(|(a, b)| a / b));
        table.row([
            what.into(),
            number(small, 3),
            number(mid, 1),
            share(0, mid),
            number(large, 1),
            share(1, large),
        ]);
    };
    row("ranges", &|x| ranges(x, Axis::Tensor, &mut [Range::default()]).expect("runs"));
    row("ranges, 64 channels", &|x| ranges(x, axis, &mut [Range::default(); CHANNELS]).expect("runs"));
    row("moments, 64 channels", &|x| {
        moments(x, axis, &mut [0.0; CHANNELS], &mut [0.0; CHANNELS]).expect("runs");
    });
    table.print();
}

fn main() {
    let mut bench = Bench::new();
    let backend = zeropoint::selected().expect("a backend");
    let head = [
        "pass",
        "ns an element in L1",
        "plain loop",
        "times as fast",
        "GB/s of 16 MiB",
        "of a copy",
        "GB/s of 64 MiB",
        "of a copy",
    ];
    let mut table = Table::new(format!("{}, fake quantization", backend.name()), &head);
    let copied = LARGE.map(|count| {
        let copy = bench.ns(&format!("training/copy/{count}"), || {
            let (x, mut y) = (reals(count), reals(count));
            move || std::hint::black_box(&mut y).copy_from_slice(std::hint::black_box(&x))
        });
        copy.map(|ns| 8.0 * count as f64 / ns)
    });
    observers(&mut bench, copied);
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
        let (small, large) = (run(SMALL), LARGE.map(run));
        let loops = bench.ns(&format!("training/{what}/plain"), || {
            let (x, dy, mut out) = (reals(SMALL), reals(SMALL), reals(SMALL));
            move || {
                std::hint::black_box(plain(&x, &dy, &mut out));
            }
        });
        let (Some(small), [Some(mid), Some(large)], Some(loops)) = (small, large, loops) else { return };
        let bytes = if back { 12.0 } else { 8.0 };
        let rates = [bytes * LARGE[0] as f64 / mid, bytes * LARGE[1] as f64 / large];
        let [share, of_memory] = [0, 1].map(|i| copied[i].map(|copied| rates[i] / copied));
        let times = loops / small;
        table.row([
            what.to_string(),
            number(Some(small / SMALL as f64), 3),
            number(Some(loops / SMALL as f64), 3),
            number(Some(times), 1),
            number(Some(rates[0]), 1),
            percent(share),
            number(Some(rates[1]), 1),
            format!(
                "{}  {} {}",
                percent(of_memory),
                target("plain loop", Some(times), 3.0),
                target("copy", of_memory, 0.8)
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
    // The same with bounds, and sums, of each channel.
    let bounds = std::hint::black_box([(low, high); CHANNELS]);
    let plain_back_each = |x: &[f32], dy: &[f32], dx: &mut [f32]| {
        let mut sums = [(0.0, 0.0); CHANNELS];
        for (i, ((dx, x), dy)) in dx.iter_mut().zip(x).zip(dy).enumerate() {
            let (low, high) = bounds[i % CHANNELS];
            let (below, above) = &mut sums[i % CHANNELS];
            *dx = if *x >= low && *x <= high { *dy } else { 0.0 };
            if *x < low {
                *below += dy;
            }
            if *x > high {
                *above += dy;
            }
        }
        sums.iter().map(|(below, above)| below + above).sum()
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
    row("back, 64 channels", &each(Gradient::Range), true, &plain_back_each);
    row("back, TensorFlow", &tensorflow(Form::Division), true, &plain_back);
    row("back, by index", &nearest(Gradient::Index), true, &plain_learned);
    row("back, learned step", &nearest(Gradient::Learned), true, &plain_learned);
    row("back, learned step, 64 channels", &each(Gradient::Learned), true, &plain_learned);
    table.print();
    bench.finish();
}

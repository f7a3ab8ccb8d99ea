//! Reals to those of codes, and gradients back, of few elements and many.

use zeropoint_kernels::{FakeForm, FakeGradient, FakeQuant};

use super::{Arena, Run};

/// What the kernel computes of an element, of one step or another.
fn define(form: FakeForm, x: f32, [scale, inverse, low, high, first, last]: [f32; 6]) -> f32 {
    if form == FakeForm::Nearest {
        return if x.is_nan() { x } else { scale * ((x / scale).clamp(first, last).round() + 0.0) };
    }
    let above = if x.is_nan() { x } else { x.min(high).max(low) - low };
    let steps = if form == FakeForm::Divide { above / scale } else { above * inverse };
    (steps - first + 0.5).floor() * scale
}

fn bits(x: f32) -> u32 {
    if x.is_nan() { f32::NAN } else { x }.to_bits()
}

/// The sum of at most 8,192 values.
fn in_order(gains: &[f32]) -> f32 {
    let (rows, rest) = gains.as_chunks::<32>();
    let mut lanes = [0.0; 32];
    rows.iter().flatten().enumerate().for_each(|(i, gain)| lanes[i % 32] += gain);
    (8..32).for_each(|i| lanes[i % 8] += lanes[i]);
    let (eights, tail) = rest.as_chunks::<8>();
    eights.iter().flatten().enumerate().for_each(|(i, gain)| lanes[i % 8] += gain);
    [4, 2, 1].into_iter().for_each(|half| (0..half).for_each(|i| lanes[i] += lanes[i + half]));
    tail.iter().fold(0.0, |sum, gain| sum + gain) + lanes[0]
}

/// Runs of 1 and more of one channel and of several, whose memory ends with the last element.
pub fn ends(run: &Run) {
    let rng = &run.rng;
    // Rows of sums take turns after 32 elements, and earlier where blocks begin at a line of the caches.
    // Rounding goes backward where it is longer than 512.
    for len in (0..=65).chain([127, 128, 129, 143, 144, 145, 272, 300, 600]) {
        for (channels, each) in
            [(1, usize::MAX), (1, 1), (3, 1), (16, 1), (33, 1), (48, 1), (2, 16), (3, 21), (2, 70)]
        {
            let form = rng.pick(&[FakeForm::Nearest, FakeForm::Divide, FakeForm::Multiply]);
            let gradient = rng.pick(&[
                FakeGradient::Bounds,
                FakeGradient::Products,
                FakeGradient::Index,
                FakeGradient::Learned,
            ]);
            run.case(format_args!("{form:?}, {gradient:?}, {len} elements of {channels} channels, {each} each"));
            let arena = Arena::new(run.place);
            let steps: Vec<[f32; 6]> = (0..channels)
                .map(|_| {
                    let (scale, first) = (rng.real(-3, 3), -rng.within(0, 100));
                    let last = first + 100;
                    let (low, high) = (scale * first as f32, scale * last as f32);
                    let zero = if form == FakeForm::Nearest { first } else { -first };
                    [scale, 1.0 / scale, low, high, zero as f32, last as f32]
                })
                .collect();
            let vectors: [&[f32]; 6] = core::array::from_fn(|i| &*arena.slice(channels, |c| steps[c][i]));
            let [scale, inverse, low, high, first, last] = vectors;
            let spec = FakeQuant { form, run: each, cached: 0, scale, inverse, low, high, first, last };
            let x = &*arena
                .slice(len, |_| if rng.one_in(9) { f32::NAN } else { rng.within(-3000, 3000) as f32 / 16.0 });
            let dy = &*arena.slice(len, |_| rng.real(-9, 9));
            let [y, there, dx] = [0; 3].map(|_| arena.slice(len, |i| x[i]));
            // Gradients of single elements are of whole lines.
            let back = if each == 1 { len / channels * channels } else { len };
            let count = spec.sums(back);
            let [a, b] = [0; 2].map(|_| arena.slice(count, |_| 0.5f32));
            let done =
                spec.forward(run.backend, x, y).and_then(|()| spec.forward_in_place(run.backend, there)).and_then(
                    |()| spec.backward(run.backend, gradient, [&x[..back], &dy[..back]], &mut dx[..back], [a, b]),
                );
            if let Err(error) = done {
                run.fail(format_args!("{error}"));
            }
            run.check_margins(&arena);
            // An output that begins so many elements behind the same place of a page goes from its end.
            let gap = 16 * rng.below(9) + if rng.one_in(2) { rng.below(16) } else { 0 };
            let page = &mut *arena.lines(1024 + gap + len, |i| if i < len { x[i] } else { 0.0 });
            let (from, behind) = page.split_at_mut(1024);
            let behind = &mut behind[gap..];
            let done = spec.forward(run.backend, &from[..len], behind);
            if done.is_err() || behind.iter().zip(&*y).any(|(behind, y)| bits(*behind) != bits(*y)) {
                run.fail(format_args!("{gap} elements behind: {behind:?} is not {y:?}"));
            }
            run.check_margins(&arena);
            // Past the caches or not, bits are the same.
            let near = FakeQuant { cached: usize::MAX, ..spec };
            let (mut near_y, mut near_dx) = (vec![0.0; len], x.to_vec());
            let [mut near_a, mut near_b] = [0; 2].map(|_| vec![0.5; count]);
            let done = near.forward(run.backend, x, &mut near_y).and_then(|()| {
                near.backward(
                    run.backend,
                    gradient,
                    [&x[..back], &dy[..back]],
                    &mut near_dx[..back],
                    [&mut near_a, &mut near_b],
                )
            });
            let all = |x: &[f32]| x.iter().map(|x| bits(*x)).collect::<Vec<_>>();
            if done.is_err() || [all(y), all(dx)] != [all(&near_y), all(&near_dx)] {
                run.fail(format_args!("{y:?}, {dx:?} are not {near_y:?}, {near_dx:?}"));
            }
            if [all(a), all(b)] != [all(&near_a), all(&near_b)] {
                run.fail(format_args!("sums are {a:?}, {b:?}, not {near_a:?}, {near_b:?}"));
            }
            for i in 0..len {
                let step = steps[if each == usize::MAX { 0 } else { i / each % channels }];
                let expected = define(form, x[i], step);
                if [y[i], there[i]].map(bits) != [bits(expected); 2] {
                    run.fail(format_args!("element {i}, {}, is {} and {}, not {expected}", x[i], y[i], there[i]));
                }
                let [_, _, low, high, ..] = step;
                if gradient == FakeGradient::Bounds
                    && i < back
                    && dx[i] != if (low..=high).contains(&x[i]) { dy[i] } else { 0.0 }
                {
                    run.fail(format_args!("element {i}, {} with {}, has the gradient {}", x[i], dy[i], dx[i]));
                }
            }
            if gradient == FakeGradient::Bounds {
                let gains = |i: usize| {
                    let [_, _, low, high, ..] = steps[if each == usize::MAX { 0 } else { i / each % channels }];
                    [x[i] < low, x[i] > high].map(|beyond| if beyond { dy[i] } else { 0.0 })
                };
                let (of, sums): (&dyn Fn(usize) -> usize, _) = match each {
                    1 => (&|i| i % channels, channels.min(back)),
                    _ => (&|i| i / each, count),
                };
                for (kind, got) in [&*a, &*b].into_iter().enumerate() {
                    for (sum, got) in got[..sums].iter().enumerate() {
                        let gains: Vec<_> = (0..back).filter(|i| of(*i) == sum).map(|i| gains(i)[kind]).collect();
                        if *got != in_order(&gains) {
                            run.fail(format_args!("sum {kind} of {sum} is {got}"));
                        }
                    }
                }
            }
        }
    }
}

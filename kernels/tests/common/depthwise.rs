//! Lines of a depthwise convolution against their sums.

use zeropoint_kernels::{Depthwise, DepthwiseForm, DepthwiseShape, DepthwiseWeights, Dest};

use super::matrix::Layout;
use super::oracle::Output;
use super::stage::{By, Kind, Maker};
use super::target::Target;
use super::{Arena, Run};

/// Computes some lines, every number at random.
pub fn line(run: &Run, shape: DepthwiseShape, width: usize, kind: Kind, layout: Layout) {
    match kind.dest {
        Dest::U8 => checked::<u8>(run, shape, width, kind, layout),
        Dest::I8 => checked::<i8>(run, shape, width, kind, layout),
        Dest::I16 => checked::<i16>(run, shape, width, kind, layout),
        Dest::I32 => checked::<i32>(run, shape, width, kind, layout),
        Dest::F32 => checked::<f32>(run, shape, width, kind, layout),
    }
}

fn checked<O: Output>(run: &Run, shape: DepthwiseShape, width: usize, kind: Kind, layout: Layout) {
    let Run { backend, ref rng, place, .. } = *run;
    let (height_out, down, more) = (rng.pick(&[1, 1, 2, 3]), rng.below(4), rng.below(3));
    run.case(format_args!("{shape:?}, {height_out} x {width} pixels {down} apart, {kind:?}, {layout:?}"));
    let DepthwiseShape { kernel: [height, taps], stride, dilation, channels, pixel: step } = shape;
    let arena = Arena::new(place);
    let columns = backend.columns(channels).unwrap();
    // What is faster where it is taken, and pairs now and then, too.
    let form = match rng.below(3) {
        0 | 1 if shape.takes_quads(backend) => DepthwiseForm::Quads,
        0 | 2 if shape.takes_woven(backend) => DepthwiseForm::Woven,
        _ => DepthwiseForm::Pairs,
    };
    let (quads, together) = (form == DepthwiseForm::Quads, form.lines());
    let seen = (height_out - 1) * down + shape.span().unwrap();
    let ring = (seen + more + together - 1).next_multiple_of(together);
    let first = rng.below(ring);
    let line_step = shape.line(form, width).unwrap() + rng.below(70);
    let len = (ring / together - 1) * line_step + shape.line(form, width).unwrap();
    let lines = arena.slice(len, |_| rng.extreme(0, 255) as u8);

    let (low, high) = if quads { (-128, 127) } else { (-255, 255) };
    let count = shape.weights(backend, form).unwrap();
    let pairs = arena.slice(if quads { 0 } else { count }, |_| 0i16);
    let bytes = arena.slice(if quads { count } else { 0 }, |_| 0i8);
    let mut taken = vec![0; channels * height * taps];
    let sums = arena.slice(columns, |_| 0);
    for (channel, sum) in sums.iter_mut().enumerate().take(channels) {
        for y in 0..height {
            for x in 0..taps {
                let weight = rng.extreme(low, high);
                for at in shape.place(backend, form, channel, [y, x]).unwrap() {
                    if quads { bytes[at] = weight as i8 } else { pairs[at] = weight as i16 }
                }
                taken[(channel * height + y) * taps + x] = weight;
                *sum += weight;
            }
        }
    }
    let weights = match form {
        DepthwiseForm::Pairs => DepthwiseWeights::Pairs(pairs),
        DepthwiseForm::Woven => DepthwiseWeights::Woven(pairs),
        DepthwiseForm::Quads => DepthwiseWeights::Quads(bytes),
    };
    let zero_point = rng.extreme(0, 255);
    let sum = |row: usize, channel: usize| {
        let (top, pixel, mut sum) = (row / width * down, row % width, 0);
        for y in 0..height {
            for x in 0..taps {
                let line = (first + top + y * dilation[0]) % ring;
                let before = (pixel * stride + x * dilation[1]) * step + channel;
                let at = line / together * line_step + before * together + line % together;
                let weight = taken[(channel * height + y) * taps + x];
                sum += (i64::from(lines[at]) - i64::from(zero_point)) * i64::from(weight);
            }
        }
        sum
    };
    let maker = Maker { arena: &arena, rng, kind, bias: 1 << 20, shape: (height_out * width, columns) };
    let finish = maker.make(|| By::typical(rng, kind.scaling));
    let mut out = Target::<O>::new(&arena, rng, (height_out * width, channels), layout);
    Depthwise {
        shape,
        lines,
        line_step,
        ring,
        first,
        down,
        width,
        weights,
        sums,
        zero_point,
        finish,
        out: out.view(),
    }
    .run(backend)
    .unwrap();
    run.check_margins(&arena);
    out.check(run, &finish, sum);
}

/// Two lines woven into one, of every length up to some vectors.
pub fn weave(run: &Run) {
    let rng = &run.rng;
    for len in (0..=130).chain([255, 256, 257]) {
        let flip = rng.pick(&[0, 128]);
        run.case(format_args!("two lines of {len} codes, flip {flip}"));
        let arena = Arena::new(run.place);
        let [a, b] = [0; 2].map(|_| &*arena.slice(len, |_| rng.below(256) as u8));
        let to = arena.slice(len, |_| [0; 2]);
        if let Err(error) = run.backend.weave([a, b], flip, to) {
            run.fail(format_args!("{error}"));
        }
        run.check_margins(&arena);
        if (0..len).any(|i| to[i] != [a[i] ^ flip, b[i] ^ flip]) {
            run.fail(format_args!("{a:?} and {b:?} became {to:?}"));
        }
        for short in [[&a[..len / 2], b], [a, &b[..len / 2]]] {
            if len > 0 && run.backend.weave(short, flip, to).is_ok() {
                run.fail(format_args!("{} codes and {len} were taken", len / 2));
            }
        }
    }
}

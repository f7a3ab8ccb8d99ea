//! `finish` against the definitions: every kind of stage, at the sums that are hardest for each of its scales.

use zeropoint_kernels::Dest;

use super::matrix::Layout;
use super::oracle::{Output, of_row};
use super::points::Points;
use super::stage::{Axis, Kind, Maker, Scaling};
use super::target::Target;
use super::{Arena, Run};

/// Finishes tiles until every scale, or one in `share`, has met its sums.
pub fn finish(run: &Run, kind: Kind, layouts: &[Layout], share: usize) {
    match kind.dest {
        Dest::U8 => tiles::<u8>(run, kind, layouts, share),
        Dest::I8 => tiles::<i8>(run, kind, layouts, share),
        Dest::I16 => tiles::<i16>(run, kind, layouts, share),
        Dest::I32 => tiles::<i32>(run, kind, layouts, share),
        Dest::F32 => tiles::<f32>(run, kind, layouts, share),
    }
}

fn tiles<O: Output>(run: &Run, kind: Kind, layouts: &[Layout], share: usize) {
    run.case(format_args!("{kind:?}"));
    let Run { backend, ref rng, .. } = *run;
    let (mr, nr) = (backend.mr(), backend.nr());
    let lists = Points::of(rng, kind.scaling, share);
    // How far each list was read, and the lists that were not read to their end.
    let mut read = vec![0; lists.len()];
    let mut open: Vec<_> = (0..lists.len()).collect();
    while !open.is_empty() {
        let arena = Arena::new(run.place);
        let (rows, cols) = if rng.one_in(4) { (rng.below(mr + 1), rng.below(nr + 1)) } else { (mr, nr) };
        // The list of each line: of each column, of each row, or of the tile.
        let mut lines = vec![];
        let maker = Maker { arena: &arena, rng, kind, bias: i32::MAX, shape: (rows, nr) };
        let finish = maker.make(|| {
            lines.push(rng.pick(&open));
            lists[lines[lines.len() - 1]].by
        });
        let list = |i: usize, j: usize| match kind.scaling {
            Scaling::None { .. } => 0,
            Scaling::Fixed { axis: Axis::One, .. } => lines[0],
            Scaling::Fixed { axis: Axis::Row, .. } => lines[i],
            Scaling::Fixed { axis: Axis::Column, .. } | Scaling::Float { .. } => lines[j],
        };

        let acc = arena.lines(mr * nr, |_| rng.bits() as i32);
        for i in 0..rows {
            for j in 0..cols {
                let list = list(i, j);
                let sums = &lists[list].sums;
                let biases = finish.bias[j].wrapping_add(of_row(&finish.row_bias, i));
                acc[i * nr + j] = sums[read[list] % sums.len()].wrapping_sub(biases);
                read[list] += 1;
            }
        }
        open.retain(|list| read[*list] < lists[*list].sums.len());

        let sums = acc.to_vec();
        let mut out = Target::<O>::new(&arena, rng, (rows, cols), rng.pick(layouts));
        let staging = arena.lines(mr * nr * size_of::<i32>(), |_| rng.bits() as u8);
        backend.finish(&finish, acc, staging, out.view()).unwrap();
        run.check_margins(&arena);
        out.check(run, &finish, |i, j| i64::from(sums[i * nr + j]));
    }
}

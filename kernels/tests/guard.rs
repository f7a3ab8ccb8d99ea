//! The parts of `check.rs` again, with every buffer between pages that cannot be touched: one byte read or written
//! too far faults. Buffers start right behind an unmapped page, then end right before one. Gaps between rows or
//! columns of out lie on read-only pages, so that a rewrite of the same value faults, too.
//!
//! A fault ends the process, after printing the line that repeats it.
#![cfg(all(unix, not(miri)))]

mod common;

use common::block::Product;
use common::depthwise;
use common::fake_quant;
use common::finish::finish;
use common::matrix::{Fill, Layout};
use common::pairwise;
use common::panels::{Multiply, Packing, pack, tile};
use common::stage::Kind;
use common::{Arena, Place, Run, walk};
use zeropoint_kernels::{DepthwiseShape, Side};

/// Outputs with gaps of whole pages, and without.
const LAYOUTS: [Layout; 6] =
    [Layout::RowPages, Layout::ColumnPages, Layout::Rows, Layout::Columns, Layout::RowGap, Layout::Apart];

/// Runs `body` for every backend at both ends of pages.
fn both_ends(test: &'static str, body: impl Fn(&Run)) {
    walk(test, Place::Before, &body);
    walk(test, Place::Behind, &body);
}

/// Sizes just below, at and above multiples of `unit`.
fn edges(unit: usize) -> [usize; 5] {
    [1, unit - 1, unit, unit + 1, 2 * unit + 1]
}

#[test]
fn packing() {
    both_ends("packing", |run| {
        let rng = &run.rng;
        for (side, width) in [(Side::Lhs, run.backend.lhs().width), (Side::Rhs, run.backend.nr())] {
            for members in edges(width).into_iter().chain([8]) {
                for k in edges(run.backend.k_step()).into_iter().chain([16, 17, 32]) {
                    for layout in Layout::ALL {
                        let fill = Fill::Random;
                        let case = Packing { side, members, k, layout, fill, sums: rng.one_in(2) };
                        if rng.one_in(2) { pack::<u8>(run, case) } else { pack::<i8>(run, case) }
                    }
                }
            }
        }
    });
}

#[test]
fn windows() {
    both_ends("windows", |run| {
        if !run.backend.reads_windows() {
            return;
        }
        for rows in edges(run.backend.mr()) {
            for n in edges(run.backend.nr()) {
                let [pieces, steps] = [[1, 2, 3], [1, 2, 5]].map(|of| run.rng.pick(&of));
                Product::windows(run, [rows, n, pieces, steps], &Kind::all()).check(run);
            }
        }
    });
}

#[test]
fn tiles() {
    both_ends("tiles", |run| {
        for rows in 1..=run.backend.mr() {
            for k in edges(run.backend.k_step()) {
                tile(run, Multiply { rows, k, fills: [Fill::Random; 2], add: run.rng.one_in(2) });
            }
        }
    });
}

/// Panels that carry a proof may be any bytes: sums are anything then, but nothing is read or written beside them.
#[test]
fn forged_proofs() {
    both_ends("forged_proofs", |run| {
        if !run.backend.is_proven() {
            return;
        }
        let Run { backend, ref rng, place, .. } = *run;
        let step = backend.k_step();
        for blocks in [0, 1, 2, 3, 7].into_iter().cycle().take(200) {
            let (k, rows, tame) = (blocks * step, 1 + rng.below(backend.mr()), rng.bits());
            run.case(format_args!("K {k}, {rows} rows, {tame:x}"));
            let arena = Arena::new(place);
            let lhs = arena.lines(backend.packed_bytes(Side::Lhs, rows, k).unwrap(), |_| rng.bits() as u8);
            // Bytes of some kinds only make likelier what few words are: counts, roads, blocks.
            let byte = |i: usize| if tame >> (i % 37) & 1 == 0 { rng.below(4) as u8 } else { rng.bits() as u8 };
            let small = |i: usize| if i.is_multiple_of(4) || tame & 3 > 0 { byte(i) } else { 0 };
            let rhs = arena.lines(backend.packed_bytes(Side::Rhs, backend.nr(), k).unwrap(), small);
            let acc = arena.lines(backend.tile_len(k).unwrap(), |_| 0);
            backend.tile(rows, k, lhs, rhs, acc, rng.one_in(2)).unwrap();
            run.check_margins(&arena);
        }
    });
}

#[test]
fn finishing() {
    both_ends("finishing", |run| {
        for kind in Kind::all() {
            // A scale or two of each kind: here only places matter.
            finish(run, kind, &LAYOUTS, 200);
        }
    });
}

#[test]
fn blocks() {
    both_ends("blocks", |run| {
        let (rng, kinds) = (&run.rng, Kind::all());
        let depths = edges(run.backend.k_step());
        let product = |shape| Product::any(run, shape, &kinds);
        let placed = |product: Product| {
            let [lhs, rhs, _] = product.layouts;
            Product { layouts: [lhs, rhs, rng.pick(&LAYOUTS)], ..product }.check(run);
        };
        for m in edges(run.backend.mr()) {
            for n in edges(run.backend.nr()) {
                for k in depths {
                    placed(product((m, n, k)));
                }
                Product::plain(run, (m, n, rng.pick(&depths))).check(run);
                let pages = [Layout::Rows, Layout::Rows, Layout::RowPages];
                Product { layouts: pages, ..Product::plain(run, (m, n, rng.pick(&depths))) }.check(run);
            }
        }
        // Every kind, so that every vector of a stage meets its page.
        for &kind in &kinds {
            let shape =
                (1 + rng.below(run.backend.mr() + 2), 1 + rng.below(run.backend.nr() + 2), rng.pick(&depths));
            placed(Product { kind, ..product(shape) });
        }
    });
}

#[test]
fn depthwise_lines() {
    both_ends("depthwise_lines", |run| {
        let (rng, kinds) = (&run.rng, Kind::all());
        for kernel in [[3, 3], [3, 3], [1, 1], [2, 3], [5, 4]] {
            for stride in 1..=3 {
                for channels in edges(run.backend.nr()) {
                    let dilation = if rng.one_in(3) { [2, 2] } else { [1, 1] };
                    let pixel = rng.pick(&[channels, channels, channels.div_ceil(2)]);
                    let shape = DepthwiseShape { kernel, stride, dilation, channels, pixel };
                    depthwise::line(run, shape, rng.pick(&[1, 6, 7, 8, 15]), rng.pick(&kinds), rng.pick(&LAYOUTS));
                }
            }
        }
        // Every kind, on registers where there is such a way.
        for &kind in &kinds {
            let (stride, channels) = (1 + rng.below(2), 1 + rng.below(2 * run.backend.nr()));
            let pixel = rng.pick(&[channels, channels.div_ceil(2)]);
            let shape = DepthwiseShape { kernel: [3, 3], stride, dilation: [1, 1], channels, pixel };
            for layout in [Layout::Rows, rng.pick(&LAYOUTS)] {
                depthwise::line(run, shape, 1 + rng.below(15), kind, layout);
            }
        }
    });
}

#[test]
fn weaving() {
    both_ends("weaving", depthwise::weave);
}

#[test]
fn pairs() {
    both_ends("pairs", pairwise::ends);
}

#[test]
fn fake_quantization() {
    both_ends("fake_quantization", fake_quant::ends);
}

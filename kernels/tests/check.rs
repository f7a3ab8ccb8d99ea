//! Every backend x {pack, tile, finish, block} against plain definitions, bit for bit.
//!
//! `ZEROPOINT_SEED=number` changes the random data. `ZEROPOINT_EXPECT=scalar,avx2` names backends that have to run
//! here: a missing one fails every test. `ZEROPOINT_ONLY=amx-int8` leaves out all others, and says so. A failure
//! prints one line that repeats it.

mod common;

use common::block::{Product, Zero};
use common::fake_quant;
use common::finish::finish;
use common::matrix::{Fill, Layout};
use common::pairwise::{self, RULES};
use common::panels::{Multiply, Packing, pack, tile};
use common::stage::{Axis, Kind, Scaling};
use common::tiles::{Tiled, tiled};
use common::{Arena, Place, Rng, Run, backends, walk};
use zeropoint_kernels::{
    Blocking, Depthwise, DepthwiseForm, DepthwiseShape, DepthwiseWeights, Dest, Elem, Element, Error, FakeForm,
    FakeGradient, FakeQuant, Finish, Job, MatMut, MatRef, Multiplier, Operation, Outliers, Pairwise, Rounding,
    Scale, Side, Weights, Windows, WindowsRef, ZeroPoint,
};

/// The largest K whose sums no operands can wrap: 33,025 * 255 * 255 < 2^31.
const LONGEST: usize = 33_025;

/// Sizes around the multiples of `unit`.
fn around(unit: usize) -> Vec<usize> {
    let mut sizes = vec![0, 1, unit - 1, unit, unit + 1, 2 * unit - 1, 2 * unit, 2 * unit + 1];
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// K around the steps of a kernel and the squares of its packer.
fn depths(run: &Run) -> Vec<usize> {
    let mut sizes = around(run.backend.k_step());
    sizes.extend([3, 15, 16, 17, 33]);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[test]
fn coverage() {
    println!("covered: {:?}", backends());
}

#[test]
fn packing() {
    walk("packing", Place::Heap, |run| {
        // Lengths that give contiguous members a cache line more, of 16 and of 8 bits.
        let skewed = [255, 256, 512];
        for (side, width) in [(Side::Lhs, run.backend.lhs().width), (Side::Rhs, run.backend.nr())] {
            let mut members = around(width);
            members.extend([7, 8, 9, 16, 17]);
            let mut shapes = vec![];
            for members in members {
                shapes.extend(depths(run).into_iter().map(|k| (members, k)));
            }
            shapes.extend([1, width + 1].iter().flat_map(|members| skewed.map(|k| (*members, k))));
            for (members, k) in shapes {
                for layout in Layout::ALL {
                    let fill = run.rng.pick(&Fill::ALL);
                    let case = Packing { side, members, k, layout, fill, sums: !run.rng.one_in(4) };
                    pack::<u8>(run, case);
                    pack::<i8>(run, case);
                }
            }
        }
        for (side, fill) in [(Side::Lhs, Fill::High), (Side::Rhs, Fill::Low), (Side::Rhs, Fill::High)] {
            let case = Packing { side, members: 3, k: LONGEST, layout: Layout::Rows, fill, sums: true };
            pack::<u8>(run, case);
            pack::<i8>(run, Packing { layout: Layout::Columns, ..case });
        }
    });
}

#[test]
fn tiles() {
    walk("tiles", Place::Heap, |run| {
        for rows in 1..=run.backend.mr() {
            for add in [false, true] {
                for k in depths(run) {
                    let fills = [run.rng.pick(&Fill::ALL), run.rng.pick(&Fill::ALL)];
                    tile(run, Multiply { rows, k, fills, add });
                }
                // Several turns of every loop, and no step like another.
                tile(run, Multiply { rows, k: 256, fills: [Fill::Random; 2], add });
            }
        }
        for left in Fill::ALL {
            for right in Fill::ALL {
                let rows = 1 + run.rng.below(run.backend.mr());
                tile(run, Multiply { rows, k: 5 * run.backend.k_step(), fills: [left, right], add: true });
            }
        }
        // The longest sum that fits, and longer ones, which wrap.
        for k in [LONGEST, LONGEST + 1, 2 * LONGEST + 3] {
            tile(run, Multiply { rows: 1, k, fills: [Fill::High, Fill::High], add: false });
        }
    });
}

/// The chapter "Tiles" of the crate's documentation: packed whole, multiplied panel by panel, at the addresses that panels
/// have one behind the other.
#[test]
fn tiles_of_packed_sides() {
    walk("tiles_of_packed_sides", Place::Heap, |run| {
        let (mr, nr) = (run.backend.mr(), run.backend.nr());
        // Twins are slow: one pair of types each time.
        let all = |case| {
            let pairs = [tiled::<u8, u8>, tiled::<u8, i8>, tiled::<i8, u8>, tiled::<i8, i8>];
            if run.is_twin() {
                run.rng.pick(&pairs)(run, case)
            } else {
                pairs.iter().for_each(|pair| pair(run, case))
            }
        };
        for k in depths(run) {
            let [m, n] = [mr, nr].map(|unit| run.rng.pick(&around(unit)));
            all(Tiled { m, k, n, fills: [run.rng.pick(&Fill::ALL), run.rng.pick(&Fill::ALL)] });
            all(Tiled { m: 2 * mr + 1, k, n: nr + 1, fills: [Fill::Random; 2] });
        }
        for left in Fill::ALL.into_iter().filter(|_| !run.is_twin()) {
            for right in Fill::ALL {
                all(Tiled { m: mr + 1, k: 64, n: nr + 1, fills: [left, right] });
            }
        }
        // The longest sum that fits, and a longer one.
        for k in [LONGEST, LONGEST + 2].into_iter().filter(|_| !run.is_twin()) {
            all(Tiled { m: 1, k, n: 2, fills: [Fill::High; 2] });
        }
    });
}

/// Whatever is too short, misaligned or out of range is an error that names it.
#[test]
fn tiles_refuse() {
    walk("tiles_refuse", Place::Heap, |run| {
        let backend = run.backend;
        // Rows of a power of two lie apart.
        let k = backend.padded_k(512).unwrap();
        let arena = Arena::new(run.place);
        let [lhs, rhs] =
            [Side::Lhs, Side::Rhs].map(|side| &*arena.lines(backend.panel_bytes(side, k).unwrap() + 1, |_| 0u8));
        let acc = arena.lines(backend.tile_len(k).unwrap() + 16, |_| 0i32);
        let len = acc.len() - 16;
        let mut tile = |rows, k, lhs, rhs, acc_from: usize, acc_to: usize| match backend.tile(
            rows,
            k,
            lhs,
            rhs,
            &mut acc[acc_from..acc_to],
            false,
        ) {
            Ok(()) => "",
            Err(Error::Length { argument, .. } | Error::Range { argument, .. }) => argument,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(tile(1, k, lhs, rhs, 0, len), "");
        assert_eq!(tile(0, k, lhs, rhs, 0, len), "rows");
        assert_eq!(tile(backend.mr() + 1, k, lhs, rhs, 0, len), "rows");
        assert_eq!(tile(1, k, &lhs[..lhs.len() - 2], rhs, 0, len), "lhs");
        if lhs.len() % 2 == 1 {
            assert_eq!(tile(1, k, &lhs[1..], rhs, 0, len), "lhs");
        }
        assert_eq!(tile(1, k, lhs, &rhs[..rhs.len() - 2], 0, len), "rhs");
        if rhs.len() % 2 == 1 {
            assert_eq!(tile(1, k, lhs, &rhs[1..], 0, len), "rhs");
        }
        assert_eq!(tile(1, k, lhs, rhs, 0, len - 1), "acc");
        assert_eq!(tile(1, k, lhs, rhs, 1, len + 1), "acc");
        assert_eq!(tile(1, k, lhs, rhs, 16, len + 16), "");
        if backend.k_step() > 1 {
            assert_eq!(tile(1, k + 1, lhs, rhs, 0, len), "k");
        }
    });
}

/// Rows of lhs in an image, as convolutions have them, by every kernel that reads them there.
#[test]
fn windows() {
    walk("windows", Place::Heap, |run| {
        let (mr, nr) = (run.backend.mr(), run.backend.nr());
        if !run.backend.reads_windows() {
            return;
        }
        for rows in around(mr) {
            for n in around(nr) {
                for _ in 0..if run.is_twin() { 1 } else { 12 } {
                    let [pieces, steps] = [[0, 1, 2, 3, 3, 7], [0, 1, 1, 2, 3, 9]].map(|of| run.rng.pick(&of));
                    Product::windows(run, [rows, n, pieces, steps], &Kind::all()).check(run);
                }
            }
        }
        for rows in [5 * mr + 3, 100] {
            Product::windows(run, [rows, 2 * nr + 1, 3, 12], &Kind::all()).check(run);
        }
    });
}

/// Windows that a kernel cannot read are an error.
#[test]
fn windows_refuse() {
    fn refused<L: Element + Default>(run: &Run, piece: usize) -> Option<Error> {
        let (backend, arena) = (run.backend, Arena::new(run.place));
        // Strides that nothing is apart by.
        let [row_stride, line_stride, piece_stride] = [usize::MAX; 3];
        let windows = Windows { rows: 1, line: 1, row_stride, line_stride, pieces: 1, piece, piece_stride };
        let image = arena.slice(piece, |_| L::default());
        let lhs = WindowsRef::new(image, windows, 0).unwrap();
        let plan = backend.plan(1, piece, Blocking::of_rows(1)).unwrap();
        let panels = arena.lines(backend.packed_bytes(Side::Rhs, 1, piece).unwrap(), |_| 0u8);
        let rhs = arena.slice(piece, |_| 0i8);
        let sums = arena.slice(backend.nr(), |_| 0);
        backend.pack(Side::Rhs, MatRef::row_major(rhs, piece, 1).unwrap(), panels, Some(&mut sums[..1])).unwrap();
        let bias = arena.slice(backend.nr(), |_| 0);
        let zero_point = ZeroPoint::One(0);
        let weights = Weights { k: piece, n: 1, panels, sums, zero_point, outliers: Outliers::default() };
        let (mut out, workspace) = ([0i32], arena.lines(plan.workspace_bytes(), |_| 0u8));
        let out = MatMut::row_major(&mut out, 1, 1).unwrap();
        Job { lhs, weights, finish: Finish::raw(bias), out }.run(&plan, workspace).err()
    }
    walk("windows_refuse", Place::Heap, |run| {
        let (backend, step) = (run.backend, run.backend.k_step());
        let by = [Elem::U8, Elem::I8, Elem::I16].into_iter();
        let by = by.zip([refused::<u8>, refused::<i8>, refused::<i16>]);
        for (elem, refused) in by.clone() {
            let error = refused(run, step);
            let read = backend.reads_windows() && elem == backend.lhs().elem;
            assert_eq!(read, error.is_none(), "{error:?}");
            assert!(read || matches!(error, Some(Error::InPlace { argument: "lhs", .. })), "{error:?}");
        }
        if backend.reads_windows() && step > 1 {
            let error = by.clone().find(|(elem, _)| *elem == backend.lhs().elem).unwrap().1(run, step + 1);
            assert!(matches!(error, Some(Error::Divisor { argument: "k_step", .. })), "{error:?}");
        }
    });
}

/// Woven lines come in twos, and kernels of other shapes see none.
#[test]
fn woven_lines_refuse() {
    walk("woven_lines_refuse", Place::Heap, |run| {
        let form = DepthwiseForm::Woven;
        let common = DepthwiseShape { kernel: [3, 3], stride: 1, dilation: [1, 1], channels: 1, pixel: 1 };
        let refused_of = |count: usize, shape: DepthwiseShape, ring: usize, first: usize| {
            let arena = Arena::new(run.place);
            let (line_step, columns) = (shape.line(form, 1).unwrap(), run.backend.columns(1).unwrap());
            let lines = arena.slice(ring.div_ceil(2) * line_step, |_| 0);
            let weights = arena.slice(shape.weights(run.backend, form).unwrap(), |_| 0);
            let (sums, mut out) = (arena.slice(columns, |_| 0), [0; 2]);
            let weights = DepthwiseWeights::Woven(weights);
            let (finish, out) = (Finish::raw(sums), MatMut::row_major(&mut out, count, 1).unwrap());
            let (down, width, zero_point) = (1, 1, 0);
            Depthwise { shape, lines, line_step, ring, first, down, width, weights, sums, zero_point, finish, out }
                .run(run.backend)
                .err()
        };
        let refused = |shape, ring, first| refused_of(1, shape, ring, first);
        let other = [DepthwiseShape { kernel: [5, 5], ..common }, DepthwiseShape { dilation: [2, 1], ..common }];
        for shape in other.into_iter().chain((!common.takes_woven(run.backend)).then_some(common)) {
            let error = refused(shape, 6, 0);
            assert!(matches!(error, Some(Error::Shape { argument: "woven weights", .. })), "{error:?}");
        }
        if common.takes_woven(run.backend) {
            (0..6).for_each(|first| assert_eq!(refused(common, 6, first), None));
            let error = refused(common, 5, 0);
            assert!(matches!(error, Some(Error::Divisor { value: 2, of: 5, .. })), "{error:?}");
            let error = refused(common, 2, 0);
            assert!(matches!(error, Some(Error::Limit { argument: "ring", value: 2, low: 4, .. })), "{error:?}");
            // Lines 1 to 4 are woven with 0 and 5.
            assert_eq!(refused_of(2, common, 4, 0), None);
            let error = refused_of(2, common, 4, 1);
            assert!(matches!(error, Some(Error::Limit { argument: "ring", value: 4, low: 6, .. })), "{error:?}");
        }
    });
}

#[test]
fn finishing() {
    walk("finishing", Place::Heap, |run| {
        for kind in Kind::all() {
            // i16 shows most of a result; the others differ from it in clamp and store. Twins apply the very
            // definition, lane by lane.
            let shares = [if kind.dest == Dest::I16 { 1 } else { 4 }, if run.is_twin() { 8 } else { 1 }];
            finish(run, kind, &Layout::DISJOINT, shares[0] * shares[1]);
        }
    });
}

/// Multipliers that no rule is defined for give anything, but no panic: `Scale::Columns` is plain numbers.
#[test]
fn foreign_multipliers() {
    walk("foreign_multipliers", Place::Heap, |run| {
        let (rng, tile, nr) = (&run.rng, run.backend.mr() * run.backend.nr(), run.backend.nr());
        let arena = Arena::new(run.place);
        let shifts = arena.slice(nr, |_| rng.pick(&[i32::MIN, -33, -32, 31, 32, 33, 63, 64, i32::MAX]));
        let multipliers = arena.slice(nr, |_| rng.extreme(i32::MIN, i32::MAX));
        let bias = arena.slice(nr, |_| 0);
        for rounding in Rounding::ALL {
            for near in [false, true] {
                run.case(format_args!("{rounding:?}, near {near}, {multipliers:?}, {shifts:?}"));
                let scale = Scale::Columns { rounding, multipliers, shifts, near };
                let finish = Finish { scale, low: 0, high: 255, ..Finish::raw(bias) };
                let (acc, staging) = (arena.lines(tile, |_| rng.bits() as i32), arena.lines(4 * tile, |_| 0));
                let out = arena.slice(tile, |_| 0u8);
                let view = MatMut::row_major(out, run.backend.mr(), nr).unwrap();
                run.backend.finish(&finish, acc, staging, view).unwrap();
            }
        }
        run.check_margins(&arena);
    });
}

/// All pairs of sizes at the edges of tiles, the third size and everything else random.
#[test]
fn block_shapes() {
    walk("block_shapes", Place::Heap, |run| {
        let kinds = Kind::all();
        let (rows, cols, depths) = (2 * run.backend.mr() + 1, around(run.backend.nr()), depths(run));
        let rng = &run.rng;
        for m in 0..=rows {
            for &n in &cols {
                Product::any(run, (m, n, rng.pick(&depths)), &kinds).check(run);
                if !run.is_twin() || run.backend.goes_across() {
                    Product::plain(run, (m, n, rng.pick(&depths))).check(run);
                }
            }
            for &k in &depths {
                Product::any(run, (m, rng.pick(&cols), k), &kinds).check(run);
            }
        }
        for &n in &cols {
            for &k in &depths {
                Product::any(run, (rng.below(rows + 1), n, k), &kinds).check(run);
            }
        }
        // More rows than wait for an output without contiguous rows.
        for _ in 0..6 {
            let shape = (9 * run.backend.mr() + rng.below(16), rng.pick(&cols), rng.pick(&depths));
            let out = rng.pick(&[Layout::Columns, Layout::ColumnGap]);
            for product in [Product::any(run, shape, &kinds), Product::plain(run, shape)] {
                let [lhs, rhs, _] = product.layouts;
                Product { layouts: [lhs, rhs, out], ..product }.check(run);
            }
        }
        for depth in [255, 256, 512] {
            Product::any(run, (run.backend.mr() + 1, rng.pick(&cols), depth), &kinds).check(run);
            if !run.is_twin() || run.backend.goes_across() {
                Product::plain(run, (4 * run.backend.mr() + depth % 4, rng.pick(&cols), depth)).check(run);
            }
        }
    });
}

/// Every kind of stage with all signs of operands and all forms of zero points.
#[test]
fn block_stages() {
    walk("block_stages", Place::Heap, |run| {
        let (cols, depths) = (around(run.backend.nr()), depths(run));
        for kind in Kind::all() {
            for signed in [[false, false], [false, true], [true, false], [true, true]] {
                for zeros in
                    [[Zero::Any, Zero::Any], [Zero::Each, Zero::Any], [Zero::Any, Zero::Each], [Zero::Each; 2]]
                {
                    let shape = (run.rng.below(run.backend.mr() + 3), run.rng.pick(&cols), run.rng.pick(&depths));
                    Product { signed, zeros, ..Product::any(run, shape, &[kind]) }.check(run);
                }
            }
        }
    });
}

/// K = 33,025 with operands as far from their zero points as can be, K split and whole; then K that wraps.
#[test]
fn longest_sums() {
    walk("longest_sums", Place::Heap, |run| {
        let fixed = Scaling::Fixed { rounding: Rounding::DoubleAway, axis: Axis::Column, near: false };
        let kinds = [
            Kind { dest: Dest::I32, scaling: Scaling::None { accumulate: false } },
            Kind { dest: Dest::I16, scaling: fixed },
        ];
        let far = [(Fill::High, Zero::Low), (Fill::Low, Zero::High)];
        let mut products = vec![];
        for (i, (left, right)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
            let ((left, za), (right, zb)) = (far[left], far[right]);
            for signed in [[false, false], [false, true], [true, false], [true, true]] {
                for (kind, depth) in kinds.iter().flat_map(|kind| [(*kind, usize::MAX), (*kind, 8192)]) {
                    let k = if i == 3 { LONGEST + 1 } else { LONGEST };
                    let layouts = [Layout::Rows, Layout::Columns, Layout::Rows];
                    let blocking = Blocking {
                        depth,
                        panels: 2,
                        cached: 0,
                        fetched: 0,
                        far: 0,
                        ..Blocking::of_rows(usize::MAX)
                    };
                    let (fills, zeros) = ([left, right], [za, zb]);
                    let any = Product::any(run, (2, 3, k), &[kind]);
                    products.push(Product { signed, fills, zeros, blocking, layouts, ..any });
                }
            }
        }
        // A few will do for twins.
        products.retain(|_| !run.is_twin() || run.rng.one_in(12));
        products.iter().for_each(|product| product.check(run));
    });
}

/// All 65,536 pairs of codes, by every rule.
#[test]
fn pairs() {
    let [a, b]: [Vec<u8>; 2] = [8, 0].map(|shift| (0..1 << 16).map(|i: u32| (i >> shift) as u8).collect());
    walk("pairs", Place::Heap, |run| {
        pairwise::ends(run);
        let rng = &run.rng;
        // Twins have no lanes of their own.
        let rules: &[Rounding] = if run.is_twin() { &[rng.pick(&RULES)] } else { &RULES };
        for &rounding in rules {
            for signed in [false, true] {
                // Products, half of the time.
                for product in if rng.one_in(2) { vec![false] } else { vec![false, true] } {
                    pairwise::check(run, &pairwise::spec(rng, rounding, signed, product), a.len(), [&a, &b]);
                }
            }
        }
    });
}

/// What is no layer is refused.
#[test]
fn pairs_refused() {
    let backend = backends()[0];
    let fine = pairwise::spec(&Rng::new(1), Rounding::DoubleAway, false, true);
    let run = |spec: Pairwise, lens: [usize; 2]| {
        let [a, b] = lens.map(|len| vec![0; len]);
        spec.run(backend, [&a, &b], &mut [0; 3])
    };
    assert_eq!(run(fine, [3, 1]), Ok(()));
    for lens in [[3, 2], [4, 3], [0, 3]] {
        assert!(matches!(run(fine, lens), Err(Error::Length { expected: 3, .. })), "{lens:?}");
    }
    let periods = fine.run(backend, [&[0; 2], &[0; 3]], &mut [0; 6]);
    assert_eq!(periods, Err(Error::Length { argument: "rhs", expected: 2, got: 3 }));
    let zero = Pairwise { zero_points: [0, 256], ..fine };
    assert!(matches!(run(zero, [3, 3]), Err(Error::ZeroPoint { argument: "rhs", value: 256, .. })));
    let zero = Pairwise { signed: true, zero_points: [0, 0], zero_point: 128, low: 0, high: 1, ..fine };
    assert!(matches!(run(zero, [3, 3]), Err(Error::ZeroPoint { argument: "zero_point", value: 128, .. })));
    let clamp = Pairwise { low: 3, high: 2, ..fine };
    assert!(matches!(run(clamp, [3, 3]), Err(Error::Clamp { low: 3, high: 2, .. })));
    let rule = Pairwise { rounding: Rounding::IntMulShift, ..fine };
    assert!(matches!(run(rule, [3, 3]), Err(Error::FixedPoint { .. })));
    for (m, s) in [(1 << 30, 1), ((1 << 30) + 1, 0), (0, 3)] {
        let by = Multiplier::new(m, s).unwrap();
        let sum = Pairwise { operation: Operation::Sum { by, negative: [false; 2] }, ..fine };
        assert_eq!(run(sum, [3, 3]), Err(Error::FixedPoint { multiplier: m, shift: s }));
    }
}

#[test]
fn fake_quantization() {
    walk("fake_quantization", Place::Heap, fake_quant::ends);
}

/// What are no steps is refused.
#[test]
fn fake_quantization_refused() {
    let backend = backends()[0];
    let fine = FakeQuant {
        form: FakeForm::Nearest,
        cached: 0,
        run: 2,
        scale: &[1.0],
        inverse: &[1.0],
        low: &[-1.0],
        high: &[1.0],
        first: &[-1.0],
        last: &[1.0],
    };
    let (x, mut y) = ([0.0; 4], [0.0; 4]);
    assert_eq!(fine.forward(backend, &x, &mut y), Ok(()));
    let length = |argument, expected, got| Err(Error::Length { argument, expected, got });
    assert_eq!(fine.forward(backend, &x, &mut y[..3]), length("y", 4, 3));
    let mut forward = |steps: FakeQuant<'_>| steps.forward(backend, &x, &mut y);
    assert!(matches!(forward(FakeQuant { run: 0, ..fine }), Err(Error::Limit { argument: "run", .. })));
    assert!(matches!(forward(FakeQuant { scale: &[], ..fine }), Err(Error::Limit { argument: "run", .. })));
    assert_eq!(forward(FakeQuant { high: &[1.0; 2], ..fine }), length("steps", 1, 2));
    for far in [f32::NAN, f32::INFINITY, -132_000.0] {
        let refused = forward(FakeQuant { first: &[far], ..fine });
        assert!(matches!(refused, Err(Error::Real { argument: "steps", .. })), "{far}");
        // TensorFlow's forms take any.
        assert_eq!(forward(FakeQuant { form: FakeForm::Divide, first: &[far], ..fine }), Ok(()));
    }
    // Two runs.
    let mut sums = [[0.0; 2]; 2];
    let [a, b] = &mut sums;
    let back = fine.backward(backend, FakeGradient::Index, [&x, &x[..3]], &mut y, [a, b]);
    assert_eq!(back, length("dy", 4, 3));
    let back = fine.backward(backend, FakeGradient::Index, [&x, &x], &mut y, [a, &mut b[..1]]);
    assert_eq!(back, length("sums", 2, 1));
    // Gradients of single elements are of whole lines of the channels.
    let pairs = [0.0, 1.0];
    let lines = FakeQuant {
        run: 1,
        scale: &pairs,
        inverse: &pairs,
        low: &pairs,
        high: &pairs,
        first: &pairs,
        last: &pairs,
        ..fine
    };
    let back = lines.backward(backend, FakeGradient::Bounds, [&x[..3], &x[..3]], &mut y[..3], [a, b]);
    assert_eq!(back, Err(Error::Divisor { argument: "channels", value: 2, of: 3 }));
    // Of whatever form, gradients of steps round to them.
    let steps = FakeQuant { form: FakeForm::Divide, last: &[f32::NAN], ..fine };
    let mut back = |gradient| steps.backward(backend, gradient, [&x, &x], &mut y, [&mut *a, &mut *b]);
    assert_eq!(back(FakeGradient::Index), Ok(()));
    assert!(matches!(back(FakeGradient::Learned), Err(Error::Real { argument: "steps", .. })));
}

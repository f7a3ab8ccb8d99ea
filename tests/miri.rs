//! What is unsafe and plain Rust, in shapes small enough for Miri: views and their parts, blocks handed to threads,
//! packers, block loops and edges of the twins, the split over threads, uninitialized outputs.
//!
//! `cargo +nightly miri test --test miri`; it runs without Miri, too.

mod common;

use std::mem::MaybeUninit;

use common::matrix::{Layout, Matrix, Order};
use common::pool::Started;
use common::problem::{Problem, Zero};
use common::stage::{Axis, Size, Stage};
use common::{AlignedBytes, Rng, backends, seed};
use zeropoint::kernels::{Blocks, Dest};
use zeropoint::{Gemm, MatMut, MatRef, Multiplier, Packed, Rounding, Stages, Threads, Workspace};

#[test]
fn views_and_their_parts() {
    let data: Vec<u8> = (0..60).collect();
    let view = MatRef::new(&data, 4, 5, 11, 2).unwrap();
    let part = view.part(1, 2, 3, 2).unwrap();
    assert_eq!((part.get(2, 1), part.get(3, 0), part.transposed().get(1, 2)), (Some(39), None, Some(39)));
    for at in 0..=4 {
        let (head, rest) = view.split_rows(at).unwrap();
        assert_eq!((head.rows(), rest.rows()), (at, 4 - at));
        assert_eq!((rest.get(0, 4), head.get(at, 0)), (view.get(at, 4), None));
    }
    // The last element lies at the end of the data, and an empty part beyond it is nowhere.
    assert_eq!(MatRef::new(&data[..42], 4, 5, 11, 2).unwrap().get(3, 4), Some(41));
    let nowhere = view.part(4, 5, 0, 0).unwrap();
    assert_eq!((nowhere.get(0, 0), nowhere.split_cols(0).unwrap().1.get(0, 0)), (None, None));
}

#[test]
fn interleaved_parts_are_written_at_once() {
    let mut data = vec![0u16; 4 * 6 - 1];
    // Columns lie between one another, so each half spans nearly all of the data.
    let (mut left, mut right) = MatMut::new(&mut data, 4, 3, 6, 2).unwrap().split_cols(2).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..4).for_each(|i| assert!(left.set(i, 0, 1) && left.set(i, 1, 2) && !left.set(i, 2, 9))));
        scope.spawn(|| (0..4).for_each(|i| assert!(right.set(i, 0, 3) && right.get(i, 0) == Some(3))));
    });
    assert!(data.chunks(6).all(|row| row[..5] == [1, 0, 2, 0, 3]));
    let mut view = MatMut::row_major(&mut data, 1, 23).unwrap();
    assert_eq!(view.reborrow().transposed().get(22, 0), Some(3));
    view.into_row().unwrap()[22] = 7;
    assert_eq!(data[22], 7);
}

#[test]
fn blocks_go_to_one_thread_each() {
    for (rows, cols) in [(1, 1), (2, 3), (3, 2), (5, 1), (100, 100)] {
        let mut data = vec![0u32; 5 * 13];
        let out = MatMut::new(&mut data, 5, 6, 13, 2).unwrap();
        let blocks = Blocks::new(out, rows, cols);
        let count = blocks.count();
        let claimed = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for last in [false, true, true] {
                let (blocks, claimed) = (&blocks, &claimed);
                let claim = move || if last { blocks.claim_last() } else { blocks.claim() };
                scope.spawn(move || {
                    while let Some(mut block) = claim() {
                        claimed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        for (i, j) in (0..block.out.rows()).flat_map(|i| (0..6).map(move |j| (i, j))) {
                            let old = block.out.get(i, j).unwrap_or(0);
                            block.out.set(i, j, old + ((block.row + i) * 6 + block.col + j + 1) as u32);
                        }
                    }
                });
            }
        });
        assert!(claimed.into_inner() == count && blocks.claim().is_none() && blocks.claim_last().is_none());
        for (at, value) in data.iter().enumerate() {
            let (i, j) = (at / 13, at % 13 / 2);
            let element = at % 13 % 2 == 0 && j < 6;
            assert_eq!(
                *value,
                if element { (i * 6 + j + 1) as u32 } else { 0 },
                "at {at}, blocks of {rows} x {cols}"
            );
        }
    }
}

/// Problems of this output type with something of everything, small enough.
///
/// Under Miri, which is slow, each backend takes its turn; else each runs every problem.
fn check(dest: Dest) {
    let backends = backends();
    let turn =
        |problem: usize, backend: usize| !cfg!(miri) || (problem + backend + dest as usize).is_multiple_of(6);
    let rng = Rng::new(seed() ^ dest as u64);
    let shapes = [(1, 1, 1), (3, 5, 7), (9, 4, 2), (2, 9, 14), (4, 0, 3), (0, 2, 2), (5, 9, 6)];
    let layouts = [
        Layout::ROWS,
        Layout::COLUMNS,
        Layout { pad: 3, margin: [1, 0, 1, 2], ..Layout::of(Order::Columns) },
        Layout { pad: 1, margin: [0, 2, 1, 0], ..Layout::of(Order::SpreadRows(2)) },
        Layout { pad: 0, margin: [1, 1, 0, 0], ..Layout::of(Order::Interlocked) },
    ];
    let zeros = [Zero::None, Zero::One, Zero::Each];
    let axes = [Axis::One, Axis::Columns, Axis::Rows, Axis::Both];
    for (i, shape) in shapes.into_iter().enumerate() {
        let operand = || if rng.one_in(5) { Layout::of(Order::Shared(1, 1)) } else { rng.pick(&layouts) };
        let stage = Stage {
            rounding: Some(rng.pick(&Rounding::ALL)).filter(|_| !rng.one_in(4)),
            axis: rng.pick(&axes),
            factors: rng.pick(&[Size::Usual, Size::Any]),
            int16: rng.one_in(4),
            bias: rng.pick(&[Size::None, Size::Usual, Size::Any]),
            row_bias: rng.pick(&[Size::None, Size::Usual, Size::Any]),
            float_bias: rng.pick(&axes),
            zero_point: rng.one_in(2),
            clamp: rng.one_in(2),
            accumulate: dest == Dest::I32 && rng.one_in(2),
        };
        let problem = Problem {
            signed: (i & 1 > 0, i & 2 > 0),
            dest,
            shape,
            lhs: operand(),
            rhs: operand(),
            out: rng.pick(&layouts),
            zeros: (rng.pick(&zeros), rng.pick(&zeros)),
            stage,
            seed: rng.bits(),
        };
        let backends: Vec<_> = (0..backends.len()).filter(|j| turn(i, *j)).map(|j| backends[j]).collect();
        if let Err(difference) = problem.check(&backends) {
            panic!("ZEROPOINT_SEED={}: {difference}\n{problem:?}", seed());
        }
    }
}

#[test]
fn u8_codes_on_every_twin() {
    check(Dest::U8);
}

#[test]
fn i8_codes_on_every_twin() {
    check(Dest::I8);
}

#[test]
fn i16_codes_on_every_twin() {
    check(Dest::I16);
}

#[test]
fn sums_on_every_twin() {
    check(Dest::I32);
}

#[test]
fn reals_on_every_twin() {
    check(Dest::F32);
}

#[test]
fn a_product_on_threads_that_stay() {
    let pool = Started::new(2);
    let rng = Rng::new(seed());
    let (m, k, n) = (5, 6, 19);
    let lhs = Matrix::<i8>::codes(m, k, Layout::ROWS, &rng);
    let rhs = Matrix::<u8>::codes(k, n, Layout::COLUMNS, &rng);
    let zeros: Vec<_> = (0..n as i32).collect();
    let packed = Packed::rhs(rhs.view().zero_point(&zeros[..])).unwrap();
    let stored = AlignedBytes::new(packed.as_bytes());
    let by = Multiplier::from_real(0.01).unwrap();
    for packed in [packed.clone(), Packed::borrow(stored.get()).unwrap()] {
        let gemm = Gemm::new(packed, &Stages::<i8>::fixed(by)).unwrap();
        let mut expected = vec![0; m * n];
        gemm.run(lhs.view(), MatMut::row_major(&mut expected, m, n).unwrap(), &mut gemm.workspace()).unwrap();
        let mut memory = vec![0; gemm.workspace_bytes(pool.threads()).unwrap() + 63];
        for skip in [0, 1, 63] {
            // Rows of the output lie 3 bytes apart, so that columns are split, and none of the gaps is initialized.
            let mut codes = vec![MaybeUninit::uninit(); m * (n + 3) - 3];
            let out = MatMut::uninit(&mut codes, m, n, n + 3, 1).unwrap();
            let mut workspace = Workspace::borrow(&mut memory[skip.min(63)..]);
            let result = gemm.options().threads(&pool).run(lhs.view(), out, &mut workspace);
            if skip == 0 {
                result.unwrap();
            } else if result.is_err() {
                continue; // an unlucky start has left less room than is needed
            }
            // SAFETY: the run was successful, so that every element is written.
            let element = |i: usize, j: usize| unsafe { codes[i * (n + 3) + j].assume_init() };
            let got: Vec<i8> = (0..m * n).map(|at| element(at / n, at % n)).collect();
            assert_eq!(got, expected);
        }
    }
}

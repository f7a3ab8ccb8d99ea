//! The public API against `zeropoint::reference`, bit for bit: any types, shapes, strides, zero points, stages and
//! threads, on every backend and every twin.
//!
//! `ZEROPOINT_SEED=number` changes all that is random, `PROPTEST_CASES=number` how much of it there is.
#![cfg(not(miri))] // tests/miri.rs has small cases

mod common;

use common::matrix::{Layout, Order};
use common::problem::{Problem, Zero};
use common::stage::{Axis, Size, Stage};
use common::{backends, seed};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use zeropoint::Rounding;
use zeropoint::kernels::Dest;

/// Shapes that are cheap in debug builds, and yet pass tiles, blocks of rows and pieces of K.
fn shapes() -> impl Strategy<Value = (usize, usize, usize)> {
    let small = || prop_oneof![0..=4usize, 0..=40usize];
    let few = || 1..=6usize;
    prop_oneof![
        40 => (small(), small(), small()),
        4 => (41..=400usize, few(), few()),
        4 => (few(), 41..=400usize, few()),
        4 => (few(), few(), 41..=400usize),
        2 => (20..=60usize, 200..=300usize, few()),
        1 => (1..=3usize, 1500..=8000usize, 1..=3usize),
    ]
}

/// Layouts whose elements have memory of their own.
fn disjoint() -> impl Strategy<Value = Layout> {
    let order = prop_oneof![
        4 => Just(Order::Rows),
        4 => Just(Order::Columns),
        1 => (2..=3usize).prop_map(Order::SpreadRows),
        1 => (2..=3usize).prop_map(Order::SpreadColumns),
        1 => Just(Order::Interlocked),
    ];
    let pad = prop_oneof![2 => Just(0), 1 => 1..=70usize];
    let margin = prop_oneof![2 => Just([0; 4]), 1 => prop::array::uniform4(0..=3usize)];
    (order, pad, margin).prop_map(|(order, pad, margin)| Layout { order, pad, margin })
}

/// Any layout, strides of 0 among them.
fn operands() -> impl Strategy<Value = Layout> {
    let shared = (0..=3usize, 0..=3usize).prop_map(|(down, across)| Layout::of(Order::Shared(down, across)));
    prop_oneof![4 => disjoint(), 1 => shared]
}

fn zeros() -> impl Strategy<Value = Zero> {
    select(&[Zero::None, Zero::One, Zero::One, Zero::Each][..])
}

fn stages(dest: Dest) -> impl Strategy<Value = Stage> {
    let rules = Rounding::ALL.iter().copied().map(Some).chain([None, None]);
    let rounding = select(rules.collect::<Vec<_>>());
    let axis = || select(&[Axis::One, Axis::Columns, Axis::Rows, Axis::Both][..]);
    let factors = select(&[Size::Usual, Size::Usual, Size::Any][..]);
    let bias = || select(&[Size::None, Size::Usual, Size::Any][..]);
    let scaling = (rounding, axis(), factors, prop::bool::weighted(0.2));
    let rest = (any::<bool>(), any::<bool>(), any::<bool>());
    (scaling, bias(), bias(), axis(), rest).prop_map(move |(scaling, bias, row_bias, float_bias, rest)| {
        let ((rounding, axis, factors, int16), (zero_point, clamp, accumulate)) = (scaling, rest);
        let accumulate = accumulate && dest == Dest::I32;
        Stage { rounding, axis, factors, int16, bias, row_bias, float_bias, zero_point, clamp, accumulate }
    })
}

fn problems(dest: Dest) -> impl Strategy<Value = Problem> {
    let views = (operands(), operands(), disjoint());
    let signed = (any::<bool>(), any::<bool>());
    (signed, shapes(), views, (zeros(), zeros()), stages(dest), any::<u64>()).prop_map(
        move |(signed, shape, (lhs, rhs, out), zeros, stage, seed)| Problem {
            signed,
            dest,
            shape,
            lhs,
            rhs,
            out,
            zeros,
            stage,
            seed,
        },
    )
}

fn check(dest: Dest) {
    let mut config = ProptestConfig {
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = if cfg!(debug_assertions) { 160 } else { 1000 };
    }
    let backends = backends();
    let result = TestRunner::new(config)
        .run(&problems(dest), |problem| problem.check(&backends).map_err(TestCaseError::fail));
    if let Err(error) = result {
        panic!("ZEROPOINT_SEED={}: {error}", seed());
    }
}

#[test]
fn u8_codes_are_those_of_the_reference() {
    check(Dest::U8);
}

#[test]
fn i8_codes_are_those_of_the_reference() {
    check(Dest::I8);
}

#[test]
fn i16_codes_are_those_of_the_reference() {
    check(Dest::I16);
}

#[test]
fn sums_are_those_of_the_reference() {
    check(Dest::I32);
}

#[test]
fn reals_are_those_of_the_reference() {
    check(Dest::F32);
}

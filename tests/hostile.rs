//! Arguments that nobody means well with: an error or a right answer, never a panic, never memory of others.
#![cfg(not(miri))] // tests/miri.rs has small cases

mod common;

use std::collections::HashSet;
use std::mem::MaybeUninit;

use common::pool::Scoped;
use common::{AlignedBytes, Rng, backends, seed};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use zeropoint::quant::{QuantParams, Ties, quantize};
use zeropoint::{
    Backend, Error, FloatScale, Gemm, MatMut, MatRef, Multiplier, PackOptions, Packed, PerAxis, Rounding, Stages,
    Workspace, ZeroPoint, available, gemm,
};

const MAX: usize = usize::MAX;

/// Sizes and strides that overflow something, or no memory is large enough for.
const SIZES: [usize; 10] = [0, 1, 2, 3, MAX >> 12, MAX >> 4, MAX / 3, MAX / 2, MAX / 2 + 1, MAX];

#[test]
fn outputs_are_disjoint_exactly_if_they_say_so() {
    let shapes = (0..6usize).flat_map(|rows| (0..6usize).map(move |cols| (rows, cols)));
    for (rows, cols) in shapes {
        for (row_stride, col_stride) in (0..9).flat_map(|down| (0..9).map(move |across| (down, across))) {
            let at = (0..rows).flat_map(|i| (0..cols).map(move |j| i * row_stride + j * col_stride));
            let disjoint = at.clone().collect::<HashSet<_>>().len() == rows * cols;
            let mut data = vec![0u8; at.max().map_or(0, |last| last + 1)];
            let view = MatMut::new(&mut data, rows, cols, row_stride, col_stride);
            assert_eq!(view.is_ok(), disjoint, "{rows} x {cols}, strides {row_stride}, {col_stride}: {view:?}");
        }
    }
}

/// Everything that a view can be asked for, with every argument.
macro_rules! ask_all {
    ($view:expr) => {
        for (row, col) in SIZES.iter().flat_map(|row| SIZES.map(|col| (*row, col))) {
            let inside = row < $view.rows() && col < $view.cols();
            assert_eq!($view.get(row, col).is_some(), inside);
            let _ = ($view.split_rows(row).is_ok(), $view.split_cols(col).is_ok());
            let _ = $view.transposed().split_rows(col).is_ok();
            for (rows, cols) in [(0, 0), (1, 1), (MAX, 1), (1, MAX), (MAX / 2, MAX / 2), (col, row)] {
                let _ = $view.part(row, col, rows, cols).map(|part| part.get(0, 0));
            }
        }
    };
}

#[test]
fn views_of_any_size() {
    let data = [7u8; 6];
    let (mut sums, mut memory) = ([0i32; 6], [MaybeUninit::<f32>::uninit(); 6]);
    let mut made = 0;
    for (rows, cols) in SIZES.iter().flat_map(|rows| SIZES.map(|cols| (*rows, cols))) {
        for (down, across) in SIZES.iter().flat_map(|down| SIZES.map(|across| (*down, across))) {
            let _ = MatMut::uninit(&mut memory, rows, cols, down, across);
            if let Ok(view) = MatRef::new(&data, rows, cols, down, across) {
                made += 1;
                if made % 16 == 0 {
                    ask_all!(view);
                }
            }
            if MatMut::new(&mut sums, rows, cols, down, across).is_ok() && made % 16 == 1 {
                ask_all!(MatMut::new(&mut sums, rows, cols, down, across).unwrap());
            }
        }
        let empty = MatRef::new(&data[..0], rows, cols, rows, cols);
        assert_eq!(empty.is_ok(), rows == 0 || cols == 0);
    }
    assert!(made > 1000);
}

#[test]
fn products_without_an_element() {
    for size in SIZES {
        for (m, k, n) in [(0, size, 0), (size, 0, 0), (0, 0, size), (2, size, 0), (size, 5, 0)] {
            // Data as far as there has to be any: all of it one code.
            let lhs = MatRef::new(if m == 0 || k == 0 { &[][..] } else { &[3u8] }, m, k, 0, 0).unwrap();
            let rhs = MatRef::<u8>::new(&[], k, n, 0, 0).unwrap();
            let out = || MatMut::<i32>::row_major(&mut [], m, n).unwrap();
            // What is empty needs no memory, but sizes in whole tiles have to be numbers.
            let fits = |result: Result<(), Error>, how: &dyn std::fmt::Debug| {
                let sizes = [m, k, n].iter().all(|size| *size < MAX - 64);
                assert!(result.is_ok() || !sizes || n > 3, "{m} x {k} x {n}, {how:?}: {result:?}");
            };
            fits(gemm(lhs, rhs, &Stages::raw(), out()), &"in one call");
            for backend in backends() {
                let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
                for (threads, workspace) in [(1, 1 << 16), (3, 1 << 16)] {
                    let gemm =
                        Packed::rhs_with(rhs, options).and_then(|rhs| Gemm::new(rhs, &Stages::<i32>::raw()));
                    let mut memory = Workspace::new(workspace);
                    let run = |gemm: Gemm<'_, i32>| {
                        gemm.options().threads(&Scoped(threads)).run(lhs, out(), &mut memory)
                    };
                    fits(gemm.and_then(run), &backend);
                }
            }
        }
    }
}

/// Arguments of a product, none of which has to fit another.
#[derive(Debug)]
struct Arguments {
    shapes: [(usize, usize); 3],
    zeros: [Option<(i32, usize)>; 2],
    lengths: [usize; 5],
    factor: (i32, u32, f32),
    rounding: Rounding,
    clamp: (i32, i32),
    zero_point: i32,
    ints: i32,
    workspace: usize,
}

fn arguments() -> impl Strategy<Value = Arguments> {
    // Mostly what fits, so that the checks behind the first are reached.
    let size = || prop_oneof![6 => Just(3usize), 1 => 0..=6usize, 1 => select(&SIZES[..])];
    let length = || prop_oneof![12 => Just(3usize), 1 => 0..=6usize];
    let int = || prop_oneof![4 => 0..=127i32, 1 => select(&[i32::MIN, -129, -1, 255, 256, 32768, i32::MAX][..])];
    let float = prop_oneof![4 => Just(0.5f32), 1 => any::<f32>()];
    let zeros = || prop::option::of((int(), length()));
    let shape = || (size(), size());
    (
        [shape(), shape(), shape()],
        [zeros(), zeros()],
        prop::array::uniform5(length()),
        (int(), 0..=33u32, float),
        select(&Rounding::ALL[..]),
        (int(), int()),
        (int(), any::<i32>(), select(&[0usize, 1, 64, 4096, 1 << 16][..])),
    )
        .prop_map(|(shapes, zeros, lengths, factor, rounding, clamp, (zero_point, ints, workspace))| {
            Arguments { shapes, zeros, lengths, factor, rounding, clamp, zero_point, ints, workspace }
        })
}

impl Arguments {
    fn use_everywhere(&self, backend: Backend) {
        let (data, mut codes) = ([0xffu8; 40], [0u8; 40]);
        let (m, factor) = (self.shapes[0].0, self.factor);
        let each: Vec<_> =
            self.zeros.iter().map(|zero| zero.map_or(vec![], |(value, len)| vec![value; len])).collect();
        let zero = |side: usize| match self.zeros[side] {
            Some((value, 3)) if value % 2 == 0 => ZeroPoint::One(value),
            Some(_) => ZeroPoint::Each(&each[side]),
            None => ZeroPoint::One(0),
        };
        let [ints, by, scales, reals, rows] = self.lengths;
        let (ints, rows) = (vec![self.ints; ints], vec![self.ints; rows]);
        let multiplier = Multiplier::int_mul_shift(factor.0, factor.1).or(Multiplier::from_real(factor.2.into()));
        let Ok(multiplier) = multiplier else { return };
        let by = vec![multiplier; by];
        let (scales, reals) = (vec![factor.2; scales], vec![factor.2; reals]);
        let both = FloatScale::Both { rows: &reals, columns: &scales };
        let fixed = if self.zero_point % 2 == 0 { PerAxis::PerColumn(&by[..]) } else { PerAxis::PerRow(&by[..]) };
        let stages = [Stages::<u8>::fixed(fixed).rounding(self.rounding), Stages::<u8>::float(both)];
        let (low, high) = self.clamp;
        for stages in stages {
            let stages = stages.bias(&ints).row_bias(&rows).zero_point(self.zero_point).clamp(low, high);
            let (lhs, rhs, out) = (self.shapes[0], self.shapes[1], self.shapes[2]);
            let Ok(lhs) = MatRef::row_major(&data, lhs.0, lhs.1) else { return };
            let Ok(rhs) = MatRef::col_major(&data, rhs.0, rhs.1) else { return };
            let Ok(mut out) = MatMut::row_major(&mut codes, out.0, out.1) else { return };
            let (lhs, rhs) = (lhs.zero_point(zero(0)), rhs.zero_point(zero(1)));
            let _ = gemm(lhs, rhs, &stages, out.reborrow());
            let options = PackOptions { backend: Some(backend), expected_rows: Some(m), ..PackOptions::default() };
            let mut workspace = Workspace::new(self.workspace);
            for (packed, activations) in
                [(Packed::rhs_with(rhs, options), lhs), (Packed::lhs_with(lhs, options), rhs)]
            {
                let Ok(gemm) = packed.and_then(|packed| Gemm::new(packed, &stages)) else { continue };
                let _ = gemm.run(activations, out.reborrow(), &mut workspace);
                let late = gemm.options().threads(&Scoped(2)).stages(&stages);
                let _ = late.run(activations, out.reborrow(), &mut workspace);
                let _ = (gemm.explain().to_string(), format!("{gemm:?}"));
            }
        }
    }
}

#[test]
fn products_of_arguments_that_do_not_fit() {
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        cases: 2000,
        ..ProptestConfig::default()
    };
    let backends = backends();
    let result = TestRunner::new(config).run(&(arguments(), select(backends)), |(arguments, backend)| {
        arguments.use_everywhere(backend);
        Ok(())
    });
    if let Err(error) = result {
        panic!("ZEROPOINT_SEED={}: {error}", seed());
    }
}

#[test]
fn reals_and_codes_of_any_size() {
    let ints = [i32::MIN, -32769, -129, -1, 0, 1, 128, 255, 65535, i32::MAX];
    let reals =
        [f32::NAN, f32::NEG_INFINITY, f32::MIN, -1.5, -1e-45, -0.0, 0.0, 1e-45, 2.5, f32::MAX, f32::INFINITY];
    for (x, scale) in reals.iter().flat_map(|x| reals.map(|scale| (*x, scale))) {
        for (zero, low) in ints.iter().flat_map(|zero| ints.map(|low| (*zero, low))) {
            for high in ints {
                for ties in [Ties::Away, Ties::Even] {
                    let code = quantize(x, scale, zero, low..=high, ties);
                    assert!(
                        low > high || (low..=high).contains(&code),
                        "{x} {scale} {zero} {low}..={high}: {code}"
                    );
                }
            }
        }
        if let Ok(params) = QuantParams::<i8>::from_range(x, scale) {
            let _ = (params.quantize(x), params.dequantize(i8::MIN));
        }
        let _ = (QuantParams::<i16>::symmetric(x), QuantParams::dynamic(&[x, scale]));
        let _ = (Multiplier::from_scales(x, scale, 1.0), Multiplier::from_scales(1.0, x, scale));
    }
    for (m, s) in ints.iter().flat_map(|m| ints.map(|s| (*m, s))) {
        for rounding in Rounding::ALL {
            let by = [Multiplier::new(m, s), Multiplier::int_mul_shift(m, s as u32)];
            for by in by.into_iter().flatten().filter(|by| rounding.accepts(*by)) {
                let _ = ints.map(|x| rounding.apply(x, by.to_int16()));
            }
        }
    }
}

/// Weights of 5 x 7, their zero points one a column or one for all.
fn blob(backend: Backend, each: bool) -> Vec<u8> {
    let data: Vec<u8> = (0..35).map(|i| i * 7).collect();
    let codes = MatRef::row_major(&data, 5, 7).unwrap();
    let zeros = [1, 2, 3, 4, 5, 6, 7];
    let codes = if each { codes.zero_point(&zeros) } else { codes.zero_point(9) };
    let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
    Packed::rhs_with(codes, options).unwrap().as_bytes().to_vec()
}

fn load(bytes: &[u8]) -> Result<(), Error> {
    let aligned = AlignedBytes::new(bytes);
    let (copied, borrowed) = (Packed::from_bytes(bytes), Packed::borrow(aligned.get()));
    assert_eq!(copied.is_ok(), borrowed.is_ok());
    copied.map(|_| ())
}

#[test]
fn packed_bytes_that_were_damaged() {
    for (backend, each) in available().flat_map(|backend| [(backend, false), (backend, true)]) {
        let good = blob(backend, each);
        load(&good).unwrap();
        for len in 0..good.len() {
            assert!(load(&good[..len]).is_err(), "{backend:?}: cut to {len} bytes");
        }
        for more in [1, 7, 64] {
            let error = load(&[&good[..], &vec![0; more]].concat()).unwrap_err();
            let words = format!("length should be {}, but is {}", good.len(), good.len() + more);
            assert!(error.to_string().contains(&words), "{error}");
        }
        for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(load(&bad).is_err(), "{backend:?}: bit {bit} of byte {at} was flipped");
        }
        let unaligned = AlignedBytes::new(&[&[0], &good[..]].concat());
        assert!(Packed::borrow(&unaligned.get()[1..]).unwrap_err().to_string().contains("aligned bytes"));
    }
}

/// Lets the header state the checksum that its bytes have: refusals say which.
fn seal(blob: &mut [u8]) {
    if let Err(Error::Packed { argument: "checksum", got, .. }) = Packed::from_bytes(blob) {
        blob[40..48].copy_from_slice(&got.as_str().parse::<u64>().unwrap().to_ne_bytes());
    }
}

/// Loads what may be anything and uses it as if it were good. Returns whether it was taken.
fn load_and_use(blob: &[u8]) -> bool {
    let Ok(packed) = Packed::from_bytes(blob) else { return false };
    let (columns, k) = (packed.columns(), packed.k());
    let data = vec![0xffu8; k.max(columns).min(1000) * 3];
    let Ok(gemm) = Gemm::new(packed, &Stages::<u8>::fixed(Multiplier::ONE)) else { return true };
    let Ok(lhs) = MatRef::row_major(&data, 3, k) else { return true };
    let mut codes = vec![0; 3 * columns];
    for (activations, (rows, cols)) in [(lhs, (3, columns)), (lhs.transposed(), (columns, 3))] {
        for threads in [1, 3] {
            let out = MatMut::row_major(&mut codes, rows, cols).unwrap();
            let mut workspace = gemm.workspace_for(threads);
            let _ = gemm.options().threads(&Scoped(threads)).run(activations, out, &mut workspace);
        }
    }
    true
}

#[test]
fn packed_bytes_that_were_forged() {
    let rng = Rng::new(seed());
    let mut taken = 0;
    for (backend, each) in available().flat_map(|backend| [(backend, false), (backend, true)]) {
        let good = blob(backend, each);
        // Every field of the header, with everything that could do harm; then anything anywhere.
        let sizes =
            SIZES.iter().flat_map(|size| size.to_ne_bytes().into_iter().chain([size.wrapping_add(1) as u8]));
        let sizes: Vec<_> = sizes.collect();
        for (at, len) in
            [(0, 8), (8, 4), (12, 1), (13, 1), (14, 2), (16, 4), (20, 4), (24, 8), (32, 8), (48, 40), (88, 40)]
        {
            for bytes in sizes.chunks(9).map(|bytes| &bytes[..8]).chain([&[0xff; 8][..], &[1; 8], &[0x80; 8]]) {
                let mut bad = good.clone();
                bad[at..at + len].iter_mut().zip(bytes.iter().cycle()).for_each(|(to, from)| *to = *from);
                seal(&mut bad);
                taken += usize::from(load_and_use(&bad));
            }
        }
        for (k, n) in (0..12u64).flat_map(|k| (0..40u64).map(move |n| (k, n))) {
            let mut bad = good.clone();
            bad[24..32].copy_from_slice(&k.to_ne_bytes());
            bad[32..40].copy_from_slice(&n.to_ne_bytes());
            seal(&mut bad);
            taken += usize::from(load_and_use(&bad));
        }
        for _ in 0..300 {
            let mut bad = good.clone();
            for _ in 0..1 + rng.below(20) {
                let at = rng.below(bad.len());
                bad[at] = rng.pick(&[0x00, 0x7f, 0x80, 0xff, rng.bits() as u8]);
            }
            bad.truncate(if rng.one_in(10) { rng.below(bad.len()) } else { bad.len() });
            seal(&mut bad);
            taken += usize::from(load_and_use(&bad));
        }
    }
    // Sums and codes may say anything: the seal works, and forged weights were used.
    assert!(taken > 100, "only {taken} forged blobs were taken");
}

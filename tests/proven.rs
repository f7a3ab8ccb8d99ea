//! Weights that carry a proof: exact for every lhs, refused where the proof is forged.
#![cfg(not(miri))] // Miri runs the scalar backend

mod common;

use common::{AlignedBytes, Rng, seed};
use zeropoint::{
    Backend, Effort, Error, Gemm, MatMut, MatRef, PackOptions, Packed, Quantized, Shares, Stages, available,
    kernels::Proof, reference,
};
use zeropoint_twins::proven;

const EFFORTS: [Effort; 3] = [Effort::Fast, Effort::Normal, Effort::Thorough];

/// The kernels with a proof that run here.
fn kernels() -> impl Iterator<Item = Backend> {
    available().filter(|backend| backend.is_proven())
}

/// Those with this one.
fn with(proof: Proof) -> impl Iterator<Item = Backend> {
    kernels().filter(move |backend| backend.proof() == Some(proof))
}

/// Weights of a bell shape, or of any size if `sigma` is infinite.
fn weights(rng: &Rng, count: usize, sigma: f64) -> Vec<i8> {
    let uniform = || (rng.bits() >> 11) as f64 / (1u64 << 53) as f64;
    let normal = || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..count)
        .map(|_| if sigma.is_finite() { (sigma * normal()).round() as i8 } else { rng.bits() as i8 })
        .collect()
}

/// For each column a row that drives its sums up, and one that drives them down; then rows of any codes.
fn worst(rng: &Rng, rhs: &[i8], k: usize, n: usize) -> Vec<u8> {
    let mut rows = vec![];
    for column in 0..n {
        for sign in [1, -1] {
            rows.extend((0..k).map(|k| if rhs[k * n + column].signum() == sign { 255 } else { 0 }));
        }
    }
    rows.extend((0..2 * k).map(|_| 255));
    rows.extend((0..5 * k).map(|_| rng.bits() as u8));
    rows
}

fn pack(backend: Backend, rhs: &[i8], (k, n): (usize, usize), effort: Effort) -> Packed<'static> {
    let options = PackOptions { backend: Some(backend), effort, ..PackOptions::default() };
    Packed::rhs_with(MatRef::row_major(rhs, k, n).unwrap(), options).unwrap()
}

/// Products with packed weights are those of the reference; what was packed is what was given.
fn check(packed: &Packed<'_>, rhs: &[i8], lhs: &[u8], what: &str) -> Shares {
    let (k, n) = (packed.k(), packed.columns());
    let m = lhs.len() / k;
    let lhs: Quantized<'_, u8> = MatRef::row_major(lhs, m, k).unwrap().into();
    let view = MatRef::row_major(rhs, k, n).unwrap();
    let (mut expected, mut got) = (vec![0; m * n], vec![7; m * n]);
    let sums = Stages::<i32>::raw();
    reference::gemm(lhs, view.into(), &sums, MatMut::row_major(&mut expected, m, n).unwrap()).unwrap();
    let gemm = Gemm::new(packed.clone(), &sums).unwrap();
    for column_major in [false, true] {
        let out = if column_major { MatMut::new(&mut got, m, n, 1, m) } else { MatMut::row_major(&mut got, m, n) };
        gemm.run(lhs, out.unwrap(), &mut gemm.workspace()).unwrap();
        let wrong = (0..m * n).find(|i| expected[*i] != got[if column_major { i % n * m + i / n } else { *i }]);
        assert_eq!(wrong.map(|i| (i / n, i % n)), None, "ZEROPOINT_SEED={} {what}, K {k}, N {n}: wrong", seed());
    }
    let padded = packed.backend().padded_k(k).unwrap();
    let blob = packed.as_bytes();
    let panels = &blob[blob.len() - packed.backend().packed_bytes(zeropoint::Side::Rhs, n, k).unwrap()..];
    for (column, weights) in proven::weights(packed.backend(), panels, n, padded).iter().enumerate() {
        for (at, weight) in weights.iter().enumerate() {
            let expected = if column < n && at < k { rhs[at * n + column] } else { 0 };
            assert_eq!(*weight, expected, "{what}: column {column}, k {at}");
        }
    }
    packed.shares().unwrap()
}

#[test]
fn bell_shapes_are_exact() {
    let rng = Rng::new(seed());
    for backend in kernels() {
        for sigma in [0.0, 1.0, 8.0, 12.0, 16.0, 20.0, 24.0, 32.0, 40.0, 48.0, 64.0, f64::INFINITY] {
            for (k, n) in [(1, 1), (31, 17), (32, 16), (64, 33), (160, 31), (100, 64)] {
                let rhs = weights(&rng, k * n, sigma);
                let lhs = worst(&rng, &rhs, k, n);
                for effort in if k == 64 { &EFFORTS[..] } else { &EFFORTS[..1] } {
                    let packed = pack(backend, &rhs, (k, n), *effort);
                    check(&packed, &rhs, &lhs, &format!("sigma {sigma}, {effort:?}"));
                }
            }
        }
    }
}

/// The steps of a strip of 32 k whose weights are all the same, or all but some.
fn steps(backend: Backend, rhs: &[i8]) -> Shares {
    let packed = pack(backend, rhs, (32, 32), Effort::Normal);
    check(&packed, rhs, &worst(&Rng::new(seed()), rhs, 32, 32), "limits")
}

#[test]
fn the_limit_is_128() {
    for backend in with(Proof::Strips) {
        // Lanes of 8, 4, 2 and 1 weights: all of them hold 128, none holds one more.
        let kinds = |shares: Shares| [shares.fours, shares.runs, shares.pairs, shares.wides];
        for (weight, kind) in [(16, 0), (17, 1), (32, 1), (33, 2), (64, 2), (65, 3), (127, 3), (-128, 3)] {
            for sign in [1i8, -1] {
                let rhs = [if weight == -128 { -128 } else { weight * sign }; 32 * 32];
                let mut expected = [0; 4];
                expected[kind] = 8;
                assert_eq!(kinds(steps(backend, &rhs)), expected, "weights of {}", rhs[0]);
                // One weight of one column more.
                if let Some(more) = rhs[0].checked_add(sign).filter(|_| kind < 3) {
                    let mut rhs = rhs;
                    rhs[5 * 32 + 20] = more;
                    let shares = kinds(steps(backend, &rhs));
                    let tight = [16, 32, 64].contains(&weight);
                    assert_eq!(shares == expected, !tight, "one weight of {more} among {}: {shares:?}", rhs[0]);
                }
            }
        }
        // Weights of opposite sign do not add up.
        let rhs: Vec<_> = (0..32 * 32).map(|i| if i / 32 % 2 == 0 { 127 } else { -128 }).collect();
        assert_eq!(kinds(steps(backend, &rhs)), [0, 0, 8, 0]);
    }
}

#[test]
fn one_extreme_pair_in_a_tame_panel() {
    for backend in with(Proof::Strips) {
        for (a, b) in [(0, 1), (0, 16), (3, 31), (14, 15), (17, 30)] {
            for (value, column) in [(127, 0), (-128, 15), (127, 16), (-128, 31)] {
                let mut rhs = [1i8; 32 * 32];
                (rhs[a * 32 + column], rhs[b * 32 + column]) = (value, value);
                steps(backend, &rhs);
                // A whole column of them can be matched with nothing.
                (0..32).for_each(|k| rhs[k * 32 + column] = value);
                let shares = steps(backend, &rhs);
                assert_eq!(shares.wides, 4, "column {column} of {value}");
            }
        }
    }
}

/// Two weights of -128 in one lane, eight k apart, cost their panel the proof; anything else keeps it.
#[test]
fn only_pairs_of_least_weights_wrap() {
    for backend in with(Proof::Pairs) {
        let (k, n) = (32usize, 5usize);
        let panel = k / 16;
        let panels = n.div_ceil(backend.nr());
        for (a, b) in (0..k).flat_map(|a| (0..k).map(move |b| (a, b))) {
            let column = (a + 3 * b) % n;
            let mut rhs: Vec<_> = (0..k * n).map(|i| if i % 2 == 0 { 127 } else { -127 }).collect();
            (rhs[a * n + column], rhs[b * n + column]) = (-128, -128);
            let packed = pack(backend, &rhs, (k, n), Effort::Normal);
            let shares = check(&packed, &rhs, &worst(&Rng::new(seed()), &rhs, k, n), "pairs");
            let wrap = a / 16 == b / 16 && a.abs_diff(b) == 8;
            let expected = Shares { pairs: panel * (panels - usize::from(wrap)), ..Shares::default() };
            let expected = Shares { wides: panel * usize::from(wrap), ..expected };
            assert_eq!(shares, expected, "-128 at {a} and {b}");
        }
    }
}

#[test]
fn forged_heads_are_refused() {
    for backend in with(Proof::Pairs) {
        let (k, n) = (96, 2 * backend.nr());
        let rhs = weights(&Rng::new(seed()), k * n, f64::INFINITY);
        let blob = pack(backend, &rhs, (k, n), Effort::Fast).as_bytes().to_vec();
        load(&mut blob.clone()).unwrap();
        let panel = 16 + 96 * backend.nr();
        let first = blob.len() - 2 * panel;
        for (at, flip) in (0..16).flat_map(|at| [1, 2, 128].map(|flip| (at, flip))) {
            let mut bad = blob.clone();
            bad[first + at] ^= flip;
            match load(&mut bad) {
                Err(error) => assert!(error.contains("head of panel"), "{error}"),
                // Not to be proven is as exact.
                Ok(()) => {
                    assert_eq!((at, flip, blob[first]), (0, 1, 1));
                    check(
                        &Packed::from_bytes(&bad).unwrap(),
                        &rhs,
                        &worst(&Rng::new(seed()), &rhs, k, n),
                        "forged",
                    );
                }
            }
        }
        // Weights that do not fit together.
        let mut bad = blob;
        (bad[first], bad[first + 16 + 3], bad[first + 16 + 11]) = (1, 0x80, 0x80);
        assert!(load(&mut bad).unwrap_err().contains("sum of weights"));
    }
}

/// Lets the header state the checksum that its bytes have: refusals say which.
fn seal(blob: &mut [u8]) {
    if let Err(Error::Packed { argument: "checksum", got, .. }) = Packed::from_bytes(blob) {
        blob[40..48].copy_from_slice(&got.as_str().parse::<u64>().unwrap().to_ne_bytes());
    }
}

/// What loading says of sealed bytes.
fn load(blob: &mut [u8]) -> Result<(), String> {
    seal(blob);
    let aligned = AlignedBytes::new(blob);
    let copied = Packed::from_bytes(blob).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(copied, Packed::borrow(aligned.get()).map(|_| ()).map_err(|error| error.to_string()));
    copied
}

#[test]
fn forged_proofs_are_refused() {
    let rng = Rng::new(seed());
    for backend in with(Proof::Strips) {
        for sigma in [8.0, 24.0, 40.0, 64.0] {
            let (k, n) = (96, 40);
            let rhs = weights(&rng, k * n, sigma);
            let blob = pack(backend, &rhs, (k, n), Effort::Fast).as_bytes().to_vec();
            let strip = 192 + 512 * 3;
            let first = blob.len() - 4 * strip;
            load(&mut blob.clone()).unwrap();
            // Any change of what stands before the weights; the end of it is padding.
            for at in (0..4).flat_map(|index| (0..72 + 37 * 3).map(move |at| first + index * strip + at)) {
                for flip in [1, 2, 16, 64, 128, 255] {
                    let mut bad = blob.clone();
                    bad[at] ^= flip;
                    match load(&mut bad) {
                        Err(error) => {
                            assert!(["order", "road"].iter().any(|word| error.contains(word)), "{error}")
                        }
                        // A copy of lhs where none was needed.
                        Ok(()) => {
                            _ = check(&Packed::from_bytes(&bad).unwrap(), &rhs, &worst(&rng, &rhs, k, n), "forged")
                        }
                    }
                }
            }
            // Weights that do not fit together, of either sign.
            let wides = pack(backend, &rhs, (k, n), Effort::Fast).shares().unwrap().wides;
            for value in [127, 0x80] {
                let mut refused = 0;
                for at in first + 192..first + strip {
                    let mut bad = blob.clone();
                    bad[at..].iter_mut().take(2).for_each(|byte| *byte = value);
                    refused += usize::from(load(&mut bad).is_err_and(|error| error.contains("sum of weights")));
                }
                assert!(refused > 0 || wides > 0, "sigma {sigma}, weights of {value:x}");
            }
        }
    }
}

#[test]
fn what_was_chosen_is_told() {
    let rng = Rng::new(seed());
    let (k, n) = (128, 64);
    for backend in kernels() {
        let tame = weights(&rng, k * n, 12.0);
        let gemm = Gemm::new(pack(backend, &tame, (k, n), Effort::Normal), &Stages::<i32>::raw()).unwrap();
        let text = gemm.explain().to_string();
        assert!(text.contains("proven for runs of four") && text.contains("K: whole"), "{text}");
        let step = if backend.proof() == Some(Proof::Pairs) { 64 } else { 128 };
        assert_eq!(gemm.packed().shares().unwrap().steps(), k * n / step);
        assert!(available().any(|other| other.name() == backend.name() && !other.is_proven()));
    }
    // The selected backend takes the proof where it pays.
    let Some(proven) = kernels().find(|kernel| Ok(kernel.name()) == zeropoint::selected().map(|b| b.name()))
    else {
        return;
    };
    // Nearly all weights of any size are proven where only pairs of -128 are not.
    let uniform = proven.proof() == Some(Proof::Pairs);
    for (weight, pays) in [(Some(1), true), (None, uniform), (Some(-128), false)] {
        let rhs = weight.map_or_else(|| weights(&rng, k * n, f64::INFINITY), |weight| vec![weight; k * n]);
        let packed = Packed::rhs(MatRef::row_major(&rhs, k, n).unwrap()).unwrap();
        assert_eq!(packed.backend() == proven, pays, "{weight:?}: {packed:?}");
        assert_eq!(packed.shares().is_some(), pays);
    }
}

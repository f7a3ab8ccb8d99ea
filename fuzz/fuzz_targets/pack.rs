//! Packed bytes from anywhere, and what every backend packs against the formula of its layout.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::kernels::{Elem, Panel};
use zeropoint::{
    Backend, Code, Gemm, MatMut, MatRef, PackOptions, Packed, Quantized, Side, Stages, available, gemm,
};
use zeropoint_fuzz::matrix::{Fill, Layout, Matrix, Zero};
use zeropoint_fuzz::{Value, aligned, backends};

#[derive(Arbitrary, Debug)]
enum Input {
    /// Bytes that somebody found.
    Foreign { bytes: Vec<u8>, misaligned: bool },
    /// Packed weights that were changed.
    Changed { weights: Weights, edits: Vec<(u16, u8)>, cut: Option<u16>, sealed: bool },
    /// Packed weights.
    Layout { weights: Weights, lhs: bool, sums: bool },
}

#[derive(Arbitrary, Debug)]
struct Weights {
    rows: u8,
    cols: u8,
    signed: bool,
    layout: Layout,
    fill: Fill,
    zero: Zero,
    /// The constant side is lhs.
    lhs: bool,
    backend: u8,
}

fuzz_target!(|input: Input| match &input {
    Input::Foreign { bytes, misaligned } => load(bytes, *misaligned),
    Input::Changed { weights, edits, cut, sealed } => {
        let mut blob = if weights.signed { pack::<i8>(weights) } else { pack::<u8>(weights) };
        for (at, value) in edits {
            let at = usize::from(*at) % blob.len();
            blob[at] = *value;
        }
        if let Some(cut) = cut {
            blob.truncate(usize::from(*cut));
        }
        if *sealed {
            seal(&mut blob);
        }
        load(&blob, false);
    }
    Input::Layout { weights, lhs, sums } => {
        let side = if *lhs { Side::Lhs } else { Side::Rhs };
        if weights.signed { layout::<i8>(weights, side, *sums) } else { layout::<u8>(weights, side, *sums) }
    }
});

impl Weights {
    fn shape(&self) -> (usize, usize) {
        (usize::from(self.rows) % 150, usize::from(self.cols) % 150)
    }
}

/// Weights in bytes that are as they should be.
fn pack<C: Code + Value>(weights: &Weights) -> Vec<u8> {
    let backends: Vec<Backend> = available().collect();
    let options = PackOptions {
        backend: Some(backends[usize::from(weights.backend) % backends.len()]),
        ..PackOptions::default()
    };
    let (rows, cols) = weights.shape();
    let matrix = Matrix::<C>::codes((rows, cols), weights.layout, &weights.fill);
    let zeros = weights.zero.values(if weights.lhs { rows } else { cols }, C::SIGNED);
    let codes = Quantized { codes: matrix.view(), zero_point: weights.zero.of(&zeros) };
    let packed = if weights.lhs { Packed::lhs_with(codes, options) } else { Packed::rhs_with(codes, options) };
    let packed = packed.expect("packs");
    let bytes = packed.as_bytes().to_vec();
    assert_eq!(Packed::from_bytes(&bytes).expect("what was packed is taken back").as_bytes(), bytes);
    same_product(&packed, codes);
    bytes
}

/// Weights give the product that the codes give in one call.
fn same_product<C: Code>(packed: &Packed<'_>, codes: Quantized<'_, C>) {
    let (k, n) = (packed.k(), packed.columns());
    let ones = vec![201u8; 2 * k];
    let (mut once, mut prepared) = (vec![0i32; 2 * n], vec![0i32; 2 * n]);
    let gemm_of = Gemm::new(packed.clone(), &Stages::raw()).expect("prepares");
    let mut workspace = gemm_of.workspace();
    if packed.side() == Side::Rhs {
        let lhs = MatRef::row_major(&ones, 2, k).expect("lhs").zero_point(3);
        gemm(lhs, codes, &Stages::raw(), MatMut::row_major(&mut once, 2, n).expect("out")).expect("runs");
        gemm_of.run(lhs, MatMut::row_major(&mut prepared, 2, n).expect("out"), &mut workspace).expect("runs");
    } else {
        let rhs = MatRef::row_major(&ones, k, 2).expect("rhs").zero_point(3);
        gemm(codes, rhs, &Stages::raw(), MatMut::row_major(&mut once, n, 2).expect("out")).expect("runs");
        gemm_of.run(rhs, MatMut::row_major(&mut prepared, n, 2).expect("out"), &mut workspace).expect("runs");
    }
    assert_eq!(once, prepared, "{packed:?}");
}

/// Loads bytes, and uses what is taken: any result will do, but no fault.
fn load(bytes: &[u8], misaligned: bool) {
    let skip = usize::from(misaligned);
    let mut memory = aligned(bytes.len() + skip, 0);
    memory[skip..].copy_from_slice(bytes);
    let borrowed = Packed::borrow(&memory[skip..]);
    match Packed::from_bytes(bytes) {
        Ok(packed) => {
            assert_eq!(packed.as_bytes(), bytes);
            assert_eq!(borrowed.is_ok(), !misaligned, "{borrowed:?}");
            multiply(&packed);
            borrowed.iter().for_each(multiply);
        }
        Err(error) => {
            // Only alignment makes a difference.
            assert_eq!(error.to_string(), borrowed.expect_err("refused when copied").to_string());
        }
    }
}

fn multiply(packed: &Packed<'_>) {
    let (k, n) = (packed.k(), packed.columns());
    // Blobs without columns may say any K; one code is a matrix of any size.
    if n > 0 && k > 1 << 16 {
        return;
    }
    let rows = 3;
    let stages = Stages::<i32>::raw();
    let Ok(gemm) = Gemm::new(packed.clone(), &stages) else { return };
    let mut out = vec![0i32; rows * n];
    let codes = |rows, cols| MatRef::new(&[77u8], rows, cols, 0, 0).expect("one code").zero_point(5);
    let mut workspace = gemm.workspace();
    let result = match packed.side() {
        Side::Rhs => gemm.run(codes(rows, k), MatMut::row_major(&mut out, rows, n).expect("out"), &mut workspace),
        Side::Lhs => gemm.run(codes(k, rows), MatMut::row_major(&mut out, n, rows).expect("out"), &mut workspace),
    };
    result.expect("shapes fit");
}

/// Makes the checksum right: that of `src/packed.rs`, so that inputs get past it.
fn seal(blob: &mut [u8]) {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    if blob.len() < 48 {
        return;
    }
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for part in [&blob[..40], &blob[48..]] {
        let (words, tail) = part.as_chunks::<8>();
        hash = words.iter().fold(hash, |hash, word| step(hash, u64::from_ne_bytes(*word)));
        hash = tail.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)));
    }
    blob[40..48].copy_from_slice(&hash.to_ne_bytes());
}

/// What every backend packs: each element where the formula says, zeros beyond K, nothing else written.
fn layout<C: Code + Value>(weights: &Weights, side: Side, with_sums: bool) {
    let (rows, cols) = weights.shape();
    let matrix = Matrix::<C>::codes((rows, cols), weights.layout, &weights.fill);
    let codes = matrix.view();
    let (members, k) = if side == Side::Lhs { (rows, cols) } else { (cols, rows) };
    let code = |w, at| if side == Side::Lhs { codes.get(w, at) } else { codes.get(at, w) };
    for backend in backends() {
        let panel = if side == Side::Lhs { backend.lhs() } else { backend.rhs() };
        let bytes = backend.packed_bytes(side, members, k).expect("small");
        let padded = backend.padded_k(k).expect("small");
        let (mut got, mut expected) = (aligned(bytes, 0xa5), aligned(bytes, 0xa5));
        let (mut sums, mut expected_sums) = (vec![7; members], vec![0; members]);
        backend.pack(side, codes, &mut got, with_sums.then_some(&mut sums[..])).expect("packs");
        let proven = side == Side::Rhs && backend.is_proven();
        let weights =
            if proven { zeropoint_twins::proven::weights(backend, &got, members, padded) } else { vec![] };

        let strides = panel.strides(padded);
        // Contiguous members need none beyond the last; other layouts are padded with zeros.
        let tile = if side == Side::Lhs { panel.width } else { backend.nr() };
        let written = if panel.is_rows() { members } else { members.next_multiple_of(tile) };
        for w in 0..written {
            for at in 0..padded {
                let code: Option<i32> = if w < members && at < k { code(w, at).map(Into::into) } else { None };
                let value = code.map_or(0, |code| code + panel.elem.offset(C::SIGNED));
                if proven {
                    assert_eq!(i32::from(weights[w][at]), value, "{}: member {w}, k {at}", backend.kernel());
                } else {
                    let place = w / panel.width * strides.panel + strides.offset(w % panel.width, at);
                    set(&mut expected, panel, place, value);
                }
                if w < members {
                    expected_sums[w] += value;
                }
            }
        }
        if proven {
            backend.verify(members, k, &got).expect("the proof holds");
            expected.copy_from_slice(&got);
        }
        let wrong = got.iter().zip(expected.iter()).position(|(got, expected)| got != expected);
        assert_eq!(wrong, None, "{} {side:?}: first wrong byte", backend.kernel());
        let untouched = vec![7; members];
        assert_eq!(&sums, if with_sums { &expected_sums } else { &untouched }, "{} {side:?}", backend.kernel());
    }
}

fn set(packed: &mut [u8], panel: Panel, at: usize, value: i32) {
    match panel.elem {
        Elem::U8 | Elem::I8 => packed[at] = value as u8,
        Elem::I16 => packed[2 * at..2 * at + 2].copy_from_slice(&(value as i16).to_ne_bytes()),
    }
}

//! `pack` and `tile` against the definitions.

use zeropoint_kernels::{Elem, MatRef, Side};

use super::matrix::{Fill, Layout, Matrix, TestCode};
use super::{Arena, Run, oracle};

/// A packing to check.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    pub side: Side,
    /// Rows of lhs or columns of rhs.
    pub members: usize,
    pub k: usize,
    /// How members (as rows) lie in memory.
    pub layout: Layout,
    pub fill: Fill,
    /// Whether sums are asked for.
    pub sums: bool,
}

/// Packs, and compares each element, the padding and the sums.
pub fn pack<C: TestCode>(run: &Run, case: Packing) {
    let Run { backend, ref rng, .. } = *run;
    let Packing { side, members, k, layout, fill, sums } = case;
    let arena = Arena::new(run.place);
    let source = Matrix::<C>::new(&arena, rng, (members, k), layout, fill);
    run.case(format_args!("{case:?} of {source:?}"));

    let bytes = backend.packed_bytes(side, members, k).unwrap();
    let packed = arena.lines(bytes, |_| rng.bits() as u8);
    let got_sums = arena.slice(members, |_| rng.bits() as i32);
    let view = match side {
        Side::Lhs => source.view(),
        Side::Rhs => source.transposed().view(),
    };
    backend.pack(side, view, packed, sums.then_some(&mut *got_sums)).unwrap();
    run.check_margins(&arena);

    let padded_k = k.next_multiple_of(backend.k_step());
    let (panel, tile) = match side {
        Side::Lhs => (backend.lhs(), backend.lhs().width),
        Side::Rhs => (backend.rhs(), backend.nr()),
    };
    // Members are padded to those of a tile in panels of groups; contiguous members beyond the last are nobody's.
    let all = if panel.is_rows() { members } else { members.next_multiple_of(tile) };
    let proven = side == Side::Rhs && backend.is_proven();
    let weights =
        if proven { zeropoint_twins::proven::weights(backend, packed, members, padded_k) } else { vec![] };
    for member in 0..all {
        let mut sum = 0;
        for at in 0..padded_k {
            let exists = member < members && at < k;
            let expected = if exists { oracle::packed(panel.elem, source.at(member, at), C::SIGNED) } else { 0 };
            let got = match weights.get(member) {
                Some(weights) => i64::from(weights[at]),
                None => oracle::element(panel.elem, packed, oracle::position(panel, padded_k, member, at)),
            };
            if got != expected {
                run.fail(format_args!("at (member {member}, k {at}) got {got}, expected {expected}"));
            }
            sum += expected;
        }
        if let Some(&got) = got_sums.get(member).filter(|got| sums && i64::from(**got) != sum) {
            run.fail(format_args!("sum of member {member}: got {got}, expected {sum}"));
        }
    }
}

/// A tile to multiply.
#[derive(Clone, Copy, Debug)]
pub struct Multiply {
    pub rows: usize,
    /// Elements of each member that are not padding.
    pub k: usize,
    /// Data of lhs and rhs.
    pub fills: [Fill; 2],
    pub add: bool,
}

/// Multiplies a tile of panels that were written by the definition of the layout.
pub fn tile(run: &Run, case: Multiply) {
    run.case(format_args!("{case:?}"));
    let Run { backend, ref rng, .. } = *run;
    let Multiply { rows, k, fills: [lhs_fill, rhs_fill], add } = case;
    let (nr, padded_k) = (backend.nr(), k.next_multiple_of(backend.k_step()));
    let arena = Arena::new(run.place);

    // A panel and its elements as a plain matrix; members that nobody asked for are anything.
    let side = |side, panel: zeropoint_kernels::Panel, members: usize, fill: Fill| {
        let data = arena.lines(backend.packed_bytes(side, members, padded_k).unwrap(), |_| rng.bits() as u8);
        let range = match panel.elem {
            Elem::U8 => (0, 255),
            Elem::I8 => (-128, 127),
            Elem::I16 => (-128, 255),
        };
        let mut plain = vec![vec![0; padded_k]; members];
        for (member, values) in plain.iter_mut().enumerate() {
            for (at, value) in values.iter_mut().enumerate() {
                *value = if at < k { i64::from(fill.value(rng, range, (member, at))) } else { 0 };
                if !(side == Side::Rhs && backend.is_proven()) {
                    oracle::set_element(panel.elem, data, oracle::position(panel, padded_k, member, at), *value);
                }
            }
        }
        if side == Side::Rhs && backend.is_proven() {
            // Not the layout, but what is packed is written by definition.
            let codes: Vec<_> = plain.iter().flatten().map(|value| i8::try_from(*value).unwrap()).collect();
            backend.pack(side, MatRef::col_major(&codes, padded_k, members).unwrap(), data, None).unwrap();
        }
        (&*data, plain)
    };
    let (lhs, left) = side(Side::Lhs, backend.lhs(), rows, lhs_fill);
    let (rhs, right) = side(Side::Rhs, backend.rhs(), nr, rhs_fill);
    let acc = arena.lines(backend.tile_len(padded_k).unwrap(), |_| rng.extreme(i32::MIN, i32::MAX));
    let old = acc.to_vec();
    backend.tile(rows, padded_k, lhs, rhs, acc, add).unwrap();
    run.check_margins(&arena);

    for (i, left) in left.iter().enumerate() {
        for (j, right) in right.iter().enumerate() {
            let sum: i64 = left.iter().zip(right).map(|(l, r)| l * r).sum();
            let before = if add { i64::from(old[i * nr + j]) } else { 0 };
            let (got, expected) = (acc[i * nr + j], (before + sum) as i32);
            if got != expected {
                run.fail(format_args!("at ({i}, {j}) got {got}, expected {expected}"));
            }
        }
    }
}

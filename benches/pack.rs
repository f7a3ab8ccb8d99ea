//! Packing, with sums, from either storage order, beside a plain copy that moves as many bytes.
//!
//! Bytes moved are those read and those written, of both: packing n codes into i16 moves 3 n bytes, and is
//! compared with a copy of 1.5 n bytes. `cargo bench --bench pack`; see `benches/README.md`.

mod common;

use common::{Aligned, Bench, Rng, Table, aligned, number, percent, target};
use zeropoint::kernels::{Elem, Panel};
use zeropoint::{Backend, MatRef, Side, available};

const SIZES: [usize; 2] = [1024, 4096];
/// The least share of the copy's bandwidth that the project asks for.
const TARGET: f64 = 0.25;

fn main() {
    let mut bench = Bench::new();
    let tables: Vec<Table> = SIZES
        .iter()
        // A test run is short.
        .filter(|size| bench.is_timed() || **size == SIZES[0])
        .copied()
        .collect::<Vec<_>>()
        .into_iter()
        .flat_map(|size| available().map(move |backend| (size, backend)))
        .map(|(size, backend)| packing(&mut bench, backend, size))
        .collect();
    tables.iter().for_each(Table::print);
    bench.finish();
}

/// Square matrices of `size`, all ways.
fn packing(bench: &mut Bench, backend: Backend, size: usize) -> Table {
    let written = |side| backend.packed_bytes(side, size, size).expect("fits");
    let ways = [
        ("rhs", Side::Rhs, "row_major"),
        ("rhs", Side::Rhs, "col_major"),
        ("lhs", Side::Lhs, "row_major"),
        ("lhs", Side::Lhs, "col_major"),
    ];
    let title = format!("{} ({}), {size}x{size} u8, GB/s read + written", backend.name(), backend.kernel());
    let mut table = Table::new(title, &["from", "ms", "GB/s", "copy GB/s", "of copy", "target"]);
    for (side_name, side, order) in ways {
        let moved = (size * size + written(side)) as f64;
        let name = format!("pack/{}/{side_name}/{order}/{size}", backend.name());
        let packed = bench.ns(&name, || pack(backend, side, order == "row_major", size));
        let copied = bench.ns(&format!("{name}/copy"), || copy(moved as usize / 2));
        let speed = packed.zip(copied).map(|(packed, copied)| copied / packed);
        if packed.is_some() {
            let rate = |ns: Option<f64>| ns.map(|ns| moved / ns);
            let cells = [number(packed.map(|ns| ns / 1e6), 3), number(rate(packed), 1), number(rate(copied), 1)];
            let end = [percent(speed), target("of copy", speed, TARGET)];
            table.row([format!("{side_name}, {order}")].into_iter().chain(cells).chain(end));
        }
    }
    table
}

/// A plain copy as a call to time.
fn copy(bytes: usize) -> impl FnMut() {
    let from = Rng::new(3).codes(bytes);
    let mut to = aligned(bytes);
    move || {
        to.copy_from_slice(&from);
        std::hint::black_box(&mut to);
    }
}

/// Looks at codes, what they were packed to, and sums.
type Check<'c> = dyn Fn(&[u8], &Aligned, &[i32]) + 'c;

/// Packing, checked once, as a call to time.
fn pack(backend: Backend, side: Side, row_major: bool, size: usize) -> impl FnMut() {
    let codes = Rng::new(size as u64).codes(size * size);
    let mut out = aligned(backend.packed_bytes(side, size, size).expect("fits"));
    let mut sums = vec![0i32; size];
    let mut call = move |check: &Check<'_>| {
        let view = if row_major { MatRef::row_major } else { MatRef::col_major };
        backend.pack(side, view(&codes, size, size).expect("view"), &mut out, Some(&mut sums)).expect("packs");
        check(&codes, &out, &sums);
    };
    call(&|codes, out, sums| {
        let panel = if side == Side::Lhs { backend.lhs() } else { backend.rhs() };
        let padded = backend.padded_k(size).expect("small");
        let strides = panel.strides(padded);
        let proven = side == Side::Rhs && backend.is_proven();
        let weights = if proven { zeropoint_twins::proven::weights(backend, out, size, padded) } else { vec![] };
        // Members are contiguous in a row-major lhs and in a column-major rhs.
        let contiguous = (side == Side::Lhs) == row_major;
        for (w, sum) in sums.iter().enumerate() {
            let mut expected = 0i32;
            for k in 0..size {
                let code = codes[if contiguous { w * size + k } else { k * size + w }];
                let value = i32::from(code) + panel.elem.offset(false);
                let at = w / panel.width * strides.panel + strides.offset(w % panel.width, k);
                let got = weights.get(w).map_or_else(|| element(out, panel, at), |weights| weights[k].into());
                assert_eq!(got, value, "{}, member {w}, k {k}", backend.kernel());
                expected += value;
            }
            assert_eq!(*sum, expected, "{}, sum of member {w}", backend.kernel());
        }
    });
    move || call(&|_, _, _| {})
}

fn element(packed: &[u8], panel: Panel, at: usize) -> i32 {
    match panel.elem {
        Elem::U8 => packed[at].into(),
        Elem::I8 => (packed[at] as i8).into(),
        Elem::I16 => i16::from_ne_bytes([packed[2 * at], packed[2 * at + 1]]).into(),
    }
}

//! Vectors that were computed elsewhere, in arbitrary precision (`tests/golden/README.md` at the root), against the
//! scalar definitions and, through them or through lanes, every backend of the table. Twins are left out: their
//! lanes apply the definitions.

mod common;

use common::{Arena, Place, table};
use serde_json::Value;
use zeropoint_kernels::{
    Backend, Element, Error, Finish, MatMut, Multiplier, PerRow, Rounding, Scale, float_even,
};

/// The rows of a section, their values in the order of `names`.
fn section<const N: usize>(name: &str, names: [&str; N], count: usize) -> Vec<[Value; N]> {
    const TEXT: &str = include_str!("../../tests/golden/requant.json");
    let all: Value = serde_json::from_str(TEXT).unwrap();
    let section = &all[name];
    let columns = section["columns"].as_array().unwrap();
    let order = names.map(|name| columns.iter().position(|column| column == name).unwrap());
    let rows = section["rows"].as_array().unwrap();
    assert_eq!(rows.len(), count);
    rows.iter().map(|row| order.map(|at| row[at].clone())).collect()
}

fn int(value: &Value) -> i32 {
    i32::try_from(value.as_i64().unwrap()).unwrap()
}

fn bits(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn float(value: &Value) -> f32 {
    f32::from_bits(u32::try_from(bits(value)).unwrap())
}

/// A sum, and the code it has to become.
#[derive(Debug)]
struct Vector {
    sum: i32,
    bias: i32,
    zero_point: i32,
    low: i32,
    high: i32,
    out: i32,
}

impl Vector {
    /// Finishes a row of tiles full of this sum on every backend, in every type that holds its codes.
    fn check(&self, backends: &[Backend], scales: &[Scale<'_>]) {
        for &backend in backends {
            for scale in scales {
                self.finish::<u8>(backend, *scale);
                self.finish::<i8>(backend, *scale);
                self.finish::<i16>(backend, *scale);
            }
        }
    }

    fn finish<O: Element + Into<i32>>(&self, backend: Backend, scale: Scale<'_>) {
        let Self { sum, bias, zero_point, low, high, out: expected } = *self;
        if [zero_point, low, high].iter().any(|code| !(O::RANGE.0..=O::RANGE.1).contains(code)) {
            return;
        }
        let (mr, nr) = (backend.mr(), backend.nr());
        let arena = Arena::new(Place::Heap);
        let finish = Finish { scale, zero_point, low, high, ..Finish::raw(arena.slice(nr, |_| bias)) };
        let (acc, staging) = (arena.lines(mr * nr, |_| sum), arena.lines(mr * nr * 4, |_| 0));
        let out = arena.slice(nr, |_| O::default());
        backend.finish(&finish, acc, staging, MatMut::row_major(out, 1, nr).unwrap()).unwrap();
        for (col, got) in out.iter().enumerate() {
            let got = (*got).into();
            assert_eq!(got, expected, "{} column {col}: {self:?}, {:?}", backend.kernel(), first(&scale));
        }
    }
}

/// The scale of the first column.
fn first(scale: &Scale<'_>) -> String {
    match scale {
        Scale::Columns { rounding, multipliers, shifts, .. } => {
            format!("{rounding:?} by column: {} {}", multipliers[0], shifts[0])
        }
        Scale::Float { columns, .. } => format!("float {:?}", columns[0]),
        other => format!("{other:?}"),
    }
}

/// More columns than any tile has.
const COLUMNS: usize = 64;

/// A vector by a fixed-point rule: by its definition, by column and by row.
fn fixed(backends: &[Backend], vector: &Vector, rounding: Rounding, by: Multiplier, raw: i64) {
    let x = vector.sum.wrapping_add(vector.bias);
    assert_eq!(rounding.apply(x, by), raw, "{rounding:?} of {x} by {by:?}");
    let (multipliers, shifts) = ([by.multiplier(); COLUMNS], [by.shift(); COLUMNS]);
    let scale = |near| Scale::Columns { rounding, multipliers: &multipliers, shifts: &shifts, near };
    vector.check(backends, &[scale(false), Scale::Rows { rounding, multipliers: PerRow::One(by) }]);
    let bound = i64::from(x).abs() + ((1 << by.shift().unsigned_abs()) / 2);
    if rounding == Rounding::DoubleAway && by.shift() < 0 && bound < 1 << 31 {
        vector.check(backends, &[scale(true)]);
    }
}

#[test]
fn q31() {
    let backends = table();
    for rounding in Rounding::ALL.into_iter().filter(|rounding| *rounding != Rounding::IntMulShift) {
        let (raw, out) = (format!("raw_{}", rounding.name()), format!("out_{}", rounding.name()));
        let names = ["acc", "multiplier", "shift", "zero_point", "clamp_lo", "clamp_hi", &raw, &out];
        for row in section("q31", names, 5307) {
            let [sum, m, s, zero_point, low, high] = [0, 1, 2, 3, 4, 5].map(|i: usize| int(&row[i]));
            let vector = Vector { sum, bias: 0, zero_point, low, high, out: int(&row[7]) };
            fixed(&backends, &vector, rounding, Multiplier::new(m, s).unwrap(), row[6].as_i64().unwrap());
        }
    }
}

#[test]
fn int_mul_shift() {
    let backends = table();
    let names = ["acc", "offset", "mult_int", "right_shift", "clamp_lo", "clamp_hi", "raw", "out"];
    for row in section("int_mul_shift", names, 3265) {
        let [sum, bias, m, right, low, high, raw, out] = row.each_ref().map(int);
        let by = Multiplier::int_mul_shift(m, right.unsigned_abs()).unwrap();
        let vector = Vector { sum, bias, zero_point: 0, low, high, out };
        fixed(&backends, &vector, Rounding::IntMulShift, by, i64::from(raw));
    }
}

#[test]
fn f32_even() {
    let backends = table();
    let names = ["acc", "scale_bits", "zero_point", "clamp_lo", "clamp_hi", "raw", "out"];
    for row in section("f32_even", names, 4385) {
        let [sum, zero_point, low, high, out] = [0, 2, 3, 4, 6].map(|i: usize| int(&row[i]));
        let scale = float(&row[1]);
        let scaled = |low, high| float_even(sum, scale, low, high) as i32;
        assert_eq!(scaled(low - zero_point, high - zero_point) + zero_point, out, "{row:?}");
        // The definition needs bounds; null is far beyond them.
        let limit = 1 << 22;
        if let Some(raw) = row[5].as_i64() {
            assert_eq!(
                i64::from(scaled(-limit, limit)),
                raw.clamp(-i64::from(limit), i64::from(limit)),
                "{row:?}"
            );
        }
        let (one, power) = ([scale; COLUMNS], [scale / 4.0; COLUMNS]);
        let scales = [
            Scale::Float { columns: &one, rows: PerRow::One(1.0), small: false },
            // The same product, as dividing by a power of two is exact.
            Scale::Float { columns: &power, rows: PerRow::Each(&[4.0]), small: false },
        ];
        Vector { sum, bias: 0, zero_point, low, high, out }.check(&backends, &scales);
    }
}

/// What a real factor has to become; 2^30 and more is refused.
fn derived(got: Result<Multiplier, Error>, real: f64, m: i32, s: i32) {
    if real >= f64::from(1 << 30) {
        assert_eq!(got, Err(Error::Real { argument: "multiplier", value: real }));
    } else {
        let by = got.unwrap();
        assert_eq!((by.multiplier(), by.shift()), (m, s), "{real:e}");
    }
}

#[test]
fn multipliers() {
    for [real, m, s] in section("multipliers", ["real_f64_bits", "multiplier", "shift"], 428) {
        let real = f64::from_bits(bits(&real));
        derived(Multiplier::from_real(real), real, int(&m), int(&s));
    }
    for real in [f64::from(1 << 30), f64::from(1 << 30) * (1.0 - 1e-11), 1e300, f64::INFINITY, -1.0, -1e-300] {
        assert_eq!(Multiplier::from_real(real), Err(Error::Real { argument: "multiplier", value: real }));
    }
    assert!(Multiplier::from_real(f64::NAN).is_err());
}

#[test]
fn multipliers_from_scales() {
    let names = ["s_in_bits", "s_w_bits", "s_out_bits", "real_f64_bits", "multiplier", "shift"];
    for row in section("multipliers_from_scales", names, 400) {
        let [input, weight, output] = [0, 1, 2].map(|i: usize| float(&row[i]));
        let real = f64::from_bits(bits(&row[3]));
        assert_eq!(f64::from(input) * f64::from(weight) / f64::from(output), real);
        let (m, s) = (int(&row[4]), int(&row[5]));
        derived(Multiplier::from_real(real), real, m, s);
        derived(Multiplier::from_scales(input, weight, output), real, m, s);
    }
}

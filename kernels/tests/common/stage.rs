//! Output stages: every kind there is, with extreme and random numbers.

use zeropoint_kernels::{Dest, Finish, FloatBias, Multiplier, PerRow, Rounding, Scale};

use super::{Arena, Rng};

/// Which lines of a tile have a scale of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    One,
    Row,
    Column,
}

/// How a stage scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    None {
        accumulate: bool,
    },
    Fixed {
        rounding: Rounding,
        axis: Axis,
        near: bool,
    },
    /// One factor a column, and one a row if `rows`.
    Float {
        rows: bool,
    },
}

/// A kind of output stage: each has a loop of its own in a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub dest: Dest,
    pub scaling: Scaling,
}

impl Kind {
    /// Every kind.
    pub fn all() -> Vec<Self> {
        let sums = [false, true].map(|accumulate| (Dest::I32, Scaling::None { accumulate }));
        let floats = [false, true].map(|rows| (Dest::F32, Scaling::Float { rows }));
        let mut kinds = [sums, floats].concat();
        for dest in [Dest::U8, Dest::I8, Dest::I16] {
            for rounding in Rounding::ALL {
                for axis in [Axis::One, Axis::Row, Axis::Column] {
                    kinds.push((dest, Scaling::Fixed { rounding, axis, near: false }));
                }
            }
            for rounding in [Rounding::DoubleAway, Rounding::DoubleUp] {
                kinds.push((dest, Scaling::Fixed { rounding, axis: Axis::Column, near: true }));
            }
            kinds.extend([false, true].map(|rows| (dest, Scaling::Float { rows })));
        }
        kinds.into_iter().map(|(dest, scaling)| Self { dest, scaling }).collect()
    }

    pub fn is_near(&self) -> bool {
        matches!(self.scaling, Scaling::Fixed { near: true, .. })
    }

    /// Smallest and largest output.
    fn range(&self) -> (i32, i32) {
        match self.dest {
            Dest::U8 => (0, 255),
            Dest::I8 => (-128, 127),
            Dest::I16 => (-32768, 32767),
            Dest::I32 | Dest::F32 => (i32::MIN, i32::MAX),
        }
    }
}

/// A scale: what a line of a tile has of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    None,
    Fixed(Rounding, Multiplier),
    Float(f32),
}

impl By {
    /// A scale that turns sums of a few thousand into codes, and every now and then an extreme one.
    pub fn typical(rng: &Rng, scaling: Scaling) -> Self {
        let m = rng.extreme(1 << 30, i32::MAX);
        match scaling {
            Scaling::None { .. } => Self::None,
            Scaling::Float { .. } => Self::Float(rng.real(-14, -2)),
            Scaling::Fixed { rounding: Rounding::IntMulShift, .. } => {
                let (m, right) = if rng.one_in(4) { (m, 31) } else { (rng.within(-500, 500), 16) };
                Self::Fixed(Rounding::IntMulShift, Multiplier::int_mul_shift(m, right).unwrap())
            }
            Scaling::Fixed { rounding, near, .. } => {
                let s = if near || !rng.one_in(4) { rng.within(-14, -2) } else { rng.within(-31, 30) };
                let m = if rng.one_in(16) { 0 } else { m };
                Self::Fixed(rounding, Multiplier::new(m, s).unwrap())
            }
        }
    }

    fn multiplier(self) -> Multiplier {
        match self {
            Self::Fixed(_, by) => by,
            _ => panic!("not a fixed-point scale"),
        }
    }

    fn float(self) -> f32 {
        match self {
            Self::Float(scale) => scale,
            _ => panic!("not a float scale"),
        }
    }
}

/// Makes stages.
pub struct Maker<'a> {
    pub arena: &'a Arena,
    pub rng: &'a Rng,
    pub kind: Kind,
    /// Biases lie within this of zero.
    pub bias: i32,
    /// Rows of the output, and columns in whole panels.
    pub shape: (usize, usize),
}

impl<'a> Maker<'a> {
    /// A stage; `by` is asked for the scale of each line: of each column, of each row, or once.
    pub fn make(&self, mut by: impl FnMut() -> By) -> Finish<'a> {
        let &Self { arena, rng, kind, bias, shape: (rows, columns) } = self;
        let low_bias = if bias == i32::MAX { i32::MIN } else { -bias };
        let per_row = |low, high| match rng.below(3) {
            0 => PerRow::One(0),
            1 => PerRow::One(rng.extreme(low, high)),
            _ => PerRow::Each(&*arena.slice(rows, |_| rng.extreme(low, high))),
        };
        let (zero_point, low, high) = self.clamp();
        Finish {
            bias: arena.slice(columns, |_| rng.extreme(low_bias, bias)),
            row_bias: per_row(low_bias, bias),
            scale: match kind.scaling {
                Scaling::None { .. } => Scale::None,
                Scaling::Fixed { rounding, axis: Axis::Column, near } => {
                    let bys: Vec<_> = (0..columns).map(|_| by().multiplier()).collect();
                    let multipliers = arena.slice(columns, |j| bys[j].multiplier());
                    let shifts = arena.slice(columns, |j| bys[j].shift());
                    Scale::Columns { rounding, multipliers, shifts, near }
                }
                Scaling::Fixed { rounding, axis: Axis::Row, .. } => {
                    Scale::Rows { rounding, multipliers: PerRow::Each(arena.slice(rows, |_| by().multiplier())) }
                }
                Scaling::Fixed { rounding, axis: Axis::One, .. } => {
                    Scale::Rows { rounding, multipliers: PerRow::One(by().multiplier()) }
                }
                Scaling::Float { rows: each } => {
                    // Half of the factors are 1, so that ties made for a column stay ties.
                    let factor = |_| if rng.one_in(2) { 1.0 } else { rng.real(-3, 3) };
                    let factors =
                        if each { PerRow::Each(&*arena.slice(rows, factor)) } else { PerRow::One(factor(0)) };
                    let columns: &[f32] = arena.slice(columns, |_| by().float());
                    let small = |row: f32| columns.iter().all(|column| (row * column).abs() < 1.0);
                    let small = match factors {
                        PerRow::One(row) => small(row),
                        PerRow::Each(rows) => rows.iter().all(|row| small(*row)),
                    };
                    Scale::Float { columns, rows: factors, small: small && rng.one_in(2) }
                }
            },
            float_bias: self.float_bias(),
            zero_point,
            low,
            high,
            accumulate: kind.scaling == Scaling::None { accumulate: true },
        }
    }

    fn float_bias(&self) -> FloatBias<'a> {
        let &Self { arena, rng, shape: (rows, columns), .. } = self;
        let value = |_| rng.pick(&[0.0, -0.0, 1e30, rng.real(-8, 8), -rng.real(-8, 8)]);
        match rng.below(4) {
            0 => FloatBias::Rows(PerRow::One(0.0)),
            1 => FloatBias::Rows(PerRow::One(value(0))),
            2 => FloatBias::Rows(PerRow::Each(arena.slice(rows, value))),
            _ => FloatBias::Columns(arena.slice(columns, value)),
        }
    }

    /// Zero point and clamp: everything, half of it (ReLU), one code more, a window around the zero point (ReLU6), one
    /// value.
    fn clamp(&self) -> (i32, i32, i32) {
        let (rng, (min, max)) = (self.rng, self.kind.range());
        if matches!(self.kind.dest, Dest::I32 | Dest::F32) {
            return (0, min, max);
        }
        let zero = rng.extreme(min, max);
        match rng.below(7) {
            0 => (zero, zero, max),
            // Just below the zero point: where ties of negative numbers go shows.
            4 => (zero, min.max(zero - 1), max),
            1 => (zero, zero, rng.within(zero, max)),
            2 => (zero, rng.within(min, zero), max),
            3 => {
                let only = rng.extreme(min, max);
                (zero, only, only)
            }
            _ => (zero, min, max),
        }
    }
}

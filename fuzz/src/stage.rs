//! Output stages, valid ones and others.

use arbitrary::Arbitrary;
use zeropoint::{Element, Error, FloatScale, Multiplier, PerAxis, Rounding, Stages, reference};

use crate::{Value, cycle};

/// Any int32, and those where something ends.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Int {
    Edge(u8),
    Small(i8),
    Any(i32),
}

impl Int {
    pub fn value(self) -> i32 {
        const EDGES: [i32; 8] = [0, 1, -1, i32::MIN, i32::MAX, i32::MIN + 1, 1 << 30, -(1 << 30)];
        match self {
            Self::Edge(which) => EDGES[usize::from(which) % EDGES.len()],
            Self::Small(value) => value.into(),
            Self::Any(value) => value,
        }
    }
}

/// Any float, and those where something ends.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Real {
    Edge(u8),
    /// A mantissa and an exponent of which products stay finite.
    Usual(u16, u8),
    Any(f32),
}

impl Real {
    fn value(self) -> f32 {
        const EDGES: [f32; 8] = [0.0, -0.0, 1e-45, f32::MIN_POSITIVE, 1.0, 1e18, f32::MAX, f32::INFINITY];
        match self {
            Self::Edge(which) => EDGES[usize::from(which) % EDGES.len()],
            Self::Usual(mantissa, exponent) => f32::from(mantissa) * f32::powi(2.0, -i32::from(exponent % 48)),
            Self::Any(value) => value,
        }
    }
}

/// Where a multiplier comes from.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Factor {
    /// A fraction and an exponent, moved into their ranges.
    Usual(u32, u8),
    /// A tie of the first or the second rounding: a fraction with zeros below.
    Round(u8, u8),
    Int16(u32, u8),
    Real(f64),
    Scales(f32, f32, f32),
    /// Refused, most of the time.
    Parts(i32, i32),
    IntMulShift(i32, u8),
}

impl Factor {
    fn value(self, rounding: Rounding, tame: bool) -> Multiplier {
        let usual = |m: u32, s: u8| Multiplier::new((1 << 30 | m >> 2) as i32, i32::from(s % 62) - 31);
        let by = match self {
            Self::Usual(m, s) => usual(m, s),
            Self::Round(m, s) => usual(u32::from(m) << 24, s),
            Self::Int16(m, s) => usual(m, s).map(Multiplier::to_int16),
            Self::Real(real) => Multiplier::from_real(real),
            Self::Scales(a, b, c) => Multiplier::from_scales(a, b, c),
            Self::Parts(m, s) => Multiplier::new(m, s),
            Self::IntMulShift(m, right) => Multiplier::int_mul_shift(m, u32::from(right % 40)),
        };
        match by {
            Ok(by) if !tame || rounding.accepts(by) => by,
            _ if rounding == Rounding::IntMulShift => Multiplier::int_mul_shift(3, 7).expect("in range"),
            _ => Multiplier::ONE,
        }
    }
}

/// What there is one of.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    One,
    Columns,
    Rows,
    /// For floats; elsewhere as `One`.
    Both,
}

/// A description of output stages. Outputs take from it what they have.
#[derive(Arbitrary, Clone, Debug)]
pub struct Stage {
    /// The float rule instead of a fixed-point one.
    float: bool,
    rounding: u8,
    axis: Axis,
    factors: Vec<Factor>,
    scales: Vec<Real>,
    row_scales: Vec<Real>,
    bias: Option<Vec<Int>>,
    row_bias: Option<Vec<Int>>,
    float_bias: Vec<Real>,
    float_bias_axis: Axis,
    zero_point: Int,
    clamp: Option<(Int, Int)>,
    accumulate: bool,
    /// Two bits a vector: 1 makes it one too long, 2 one too short.
    lengths: u16,
}

/// The numbers of output stages.
pub struct Values {
    float: bool,
    rounding: Rounding,
    axis: Axis,
    multipliers: Vec<Multiplier>,
    scales: Vec<f32>,
    row_scales: Vec<f32>,
    bias: Option<Vec<i32>>,
    row_bias: Option<Vec<i32>>,
    float_bias: Vec<f32>,
    float_bias_axis: Axis,
    zero_point: i32,
    clamp: Option<(i32, i32)>,
    accumulate: bool,
}

impl Stage {
    /// For an output of `m` x `n` elements; `tame` ones are valid.
    pub fn values<O: Element>(&self, m: usize, n: usize, tame: bool) -> Values {
        let rounding = Rounding::ALL[usize::from(self.rounding) % Rounding::ALL.len()];
        let len = |which: usize, right: usize| match self.lengths >> (2 * which) & 3 {
            1 if !tame => right + 1,
            2 if !tame => right.saturating_sub(1),
            _ => right,
        };
        let along = |axis| match axis {
            Axis::One | Axis::Both => 1,
            Axis::Columns => n,
            Axis::Rows => m,
        };
        let ints = |which, right, values: &[Int]| -> Vec<i32> {
            cycle(values, len(which, right), Int::Small(0)).into_iter().map(Int::value).collect()
        };
        let reals = |which, right, values: &[Real], signed: bool| -> Vec<f32> {
            let real = |real: Real| {
                let value = real.value();
                // A product of two scales has to be finite, too.
                let usable = value.is_finite() && (signed || (0.0..=1e18).contains(&value));
                if usable || !tame { value } else { 0.5 }
            };
            cycle(values, len(which, right), Real::Edge(4)).into_iter().map(real).collect()
        };
        let (low, high) = O::RANGE;
        let within = |int: Int| match int.value() {
            value if tame && !(low..=high).contains(&value) => {
                low + value.rem_euclid(high.wrapping_sub(low).max(1))
            }
            value => value,
        };
        let factor = |by: Factor| by.value(rounding, tame);
        Values {
            float: self.float,
            rounding,
            axis: self.axis,
            multipliers: cycle(&self.factors, len(0, along(self.axis)), Factor::Usual(0, 24))
                .into_iter()
                .map(factor)
                .collect(),
            scales: reals(1, if self.axis == Axis::Both { n } else { along(self.axis) }, &self.scales, false),
            row_scales: reals(2, m, &self.row_scales, false),
            bias: self.bias.as_ref().map(|bias| ints(3, n, bias)),
            row_bias: self.row_bias.as_ref().map(|bias| ints(4, m, bias)),
            float_bias: reals(5, along(self.float_bias_axis), &self.float_bias, true),
            float_bias_axis: self.float_bias_axis,
            zero_point: within(self.zero_point),
            clamp: self.clamp.map(|(a, b)| {
                let (a, b) = (within(a), within(b));
                if tame { (a.min(b), a.max(b)) } else { (a, b) }
            }),
            accumulate: self.accumulate,
        }
    }
}

impl Values {
    fn multipliers(&self) -> PerAxis<'_, Multiplier> {
        match self.axis {
            Axis::One | Axis::Both => PerAxis::One(self.multipliers.first().copied().unwrap_or(Multiplier::ONE)),
            Axis::Columns => PerAxis::PerColumn(&self.multipliers),
            Axis::Rows => PerAxis::PerRow(&self.multipliers),
        }
    }

    fn scale(&self) -> FloatScale<'_> {
        match self.axis {
            Axis::One => FloatScale::One(self.scales.first().copied().unwrap_or(1.0)),
            Axis::Columns => FloatScale::PerColumn(&self.scales),
            Axis::Rows => FloatScale::PerRow(&self.scales),
            Axis::Both => FloatScale::Both { rows: &self.row_scales, columns: &self.scales },
        }
    }

    fn biased<'a, O: Element>(&'a self, mut stages: Stages<'a, O>) -> Stages<'a, O> {
        if let Some(bias) = &self.bias {
            stages = stages.bias(bias);
        }
        if let Some(bias) = &self.row_bias {
            stages = stages.row_bias(bias);
        }
        stages
    }
}

/// An output that a target can ask for.
pub trait Output: Value + reference::Output {
    fn stages(values: &Values) -> Stages<'_, Self>;
    /// Others.
    fn plain() -> Stages<'static, Self>;
}

impl Output for i32 {
    fn stages(values: &Values) -> Stages<'_, i32> {
        let stages = values.biased(Stages::raw());
        if values.accumulate { stages.accumulate() } else { stages }
    }

    fn plain() -> Stages<'static, i32> {
        Stages::raw()
    }
}

impl Output for f32 {
    fn stages(values: &Values) -> Stages<'_, f32> {
        let stages = values.biased(Stages::dequantize(values.scale()));
        match values.float_bias_axis {
            Axis::Columns => stages.float_bias(&values.float_bias),
            Axis::Rows => stages.float_row_bias(&values.float_bias),
            Axis::One | Axis::Both => stages,
        }
    }

    fn plain() -> Stages<'static, f32> {
        Stages::dequantize(0.375)
    }
}

macro_rules! codes {
    ($($t:ty),*) => {$(
        impl Output for $t {
            fn stages(values: &Values) -> Stages<'_, $t> {
                let stages = match values.float {
                    true => Stages::float(values.scale()),
                    false => Stages::fixed(values.multipliers()).rounding(values.rounding),
                };
                let stages = stages.zero_point(values.zero_point);
                values.biased(match values.clamp {
                    Some((low, high)) => stages.clamp(low, high),
                    None => stages,
                })
            }

            fn plain() -> Stages<'static, $t> {
                Stages::fixed(Multiplier::ONE).zero_point(1).clamp(1, 2)
            }
        }
    )*};
}
codes!(u8, i8, i16);

/// What a run of hostile stages may do: the same on every backend.
pub fn assert_same_error(first: &Result<(), Error>, other: &Result<(), Error>, how: &dyn std::fmt::Display) {
    assert_eq!(format!("{first:?}"), format!("{other:?}"), "{how} and the first backend disagree");
}

//! Output stages: a description that says which parts there are, and the numbers in them.

use zeropoint::{Element, FloatScale, Multiplier, PerAxis, Rounding, Stages, reference};

use super::Rng;
use super::matrix::Value;

/// What there is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    One,
    Columns,
    Rows,
    /// Rows and columns; only for floats, elsewhere as `One`.
    Both,
}

/// How large numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// There are none.
    None,
    /// As in real networks: outputs lie on both sides of the clamp.
    Usual,
    /// The ends of their ranges, and anything between.
    Any,
}

/// A description of output stages. Outputs take from it what they have.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The fixed-point rule, or none for the float rule.
    pub rounding: Option<Rounding>,
    /// Of multipliers or scales.
    pub axis: Axis,
    /// Of multipliers or scales; `None` as `Usual`.
    pub factors: Size,
    /// Multipliers of 16 bits, as in the paper.
    pub int16: bool,
    pub bias: Size,
    pub row_bias: Size,
    /// `One` for none.
    pub float_bias: Axis,
    pub zero_point: bool,
    pub clamp: bool,
    pub accumulate: bool,
}

impl Stage {
    /// Nothing but the default rule.
    pub const PLAIN: Self = Self {
        rounding: Some(Rounding::DoubleAway),
        axis: Axis::One,
        factors: Size::Usual,
        int16: false,
        bias: Size::None,
        row_bias: Size::None,
        float_bias: Axis::One,
        zero_point: false,
        clamp: false,
        accumulate: false,
    };
}

/// The numbers of output stages.
#[derive(Debug)]
pub struct Values {
    stage: Stage,
    bias: Vec<i32>,
    row_bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    scales: Vec<f32>,
    row_scales: Vec<f32>,
    float_bias: Vec<f32>,
    zero_point: i32,
    clamp: (i32, i32),
}

impl Values {
    pub fn new<O: Element>(stage: Stage, (m, k, n): (usize, usize, usize), rng: &Rng) -> Self {
        let along = |axis| match axis {
            Axis::One | Axis::Both => 1,
            Axis::Columns => n,
            Axis::Rows => m,
        };
        let (low, high) = O::RANGE;
        // About how many bits sums of K random products have beyond those of the output.
        let sum_bits = (f64::from(k.max(1) as u32).sqrt() * 5400.0).log2() as i32;
        let excess = sum_bits - (f64::from(high) - f64::from(low)).log2() as i32;
        let factors = Factors { stage, excess };
        let clamp = if stage.clamp {
            let (a, b) = (rng.within(low, high), rng.extreme(low, high));
            (a.min(b), a.max(b))
        } else {
            (low, high)
        };
        let ints = |size, count| (0..count).map(|_| int(size, k, rng)).collect();
        let scales = if stage.axis == Axis::Both { n } else { along(stage.axis) };
        Self {
            stage,
            bias: ints(stage.bias, n),
            row_bias: ints(stage.row_bias, m),
            multipliers: (0..along(stage.axis)).map(|_| factors.multiplier(rng)).collect(),
            scales: (0..scales).map(|_| factors.scale(rng)).collect(),
            row_scales: (0..m).map(|_| factors.scale(rng)).collect(),
            float_bias: (0..along(stage.float_bias)).map(|_| float_bias(rng)).collect(),
            zero_point: if stage.zero_point { rng.extreme(low, high) } else { 0 },
            clamp,
        }
    }

    fn multipliers(&self) -> PerAxis<'_, Multiplier> {
        match self.stage.axis {
            Axis::One | Axis::Both => PerAxis::One(self.multipliers[0]),
            Axis::Columns => PerAxis::PerColumn(&self.multipliers),
            Axis::Rows => PerAxis::PerRow(&self.multipliers),
        }
    }

    fn scale(&self) -> FloatScale<'_> {
        match self.stage.axis {
            Axis::One => FloatScale::One(self.scales[0]),
            Axis::Columns => FloatScale::PerColumn(&self.scales),
            Axis::Rows => FloatScale::PerRow(&self.scales),
            Axis::Both => FloatScale::Both { rows: &self.row_scales, columns: &self.scales },
        }
    }

    fn biased<'a, O: Element>(&'a self, mut stages: Stages<'a, O>) -> Stages<'a, O> {
        if self.stage.bias != Size::None {
            stages = stages.bias(&self.bias);
        }
        if self.stage.row_bias != Size::None {
            stages = stages.row_bias(&self.row_bias);
        }
        stages
    }
}

/// A bias that is near the sums, or anything.
fn int(size: Size, k: usize, rng: &Rng) -> i32 {
    match size {
        Size::None => 0,
        Size::Usual => rng.within(-30_000, 30_000).wrapping_mul(k as i32 / 8 + 1),
        Size::Any => rng.extreme(i32::MIN, i32::MAX),
    }
}

/// Any finite float, some small ones, some zeros of either sign.
fn float_bias(rng: &Rng) -> f32 {
    match rng.below(4) {
        0 => rng.pick(&[0.0, -0.0, f32::MAX, f32::MIN, 1e-45]),
        1 => Some(f32::from_bits(rng.bits() as u32)).filter(|bias| bias.is_finite()).unwrap_or(1.0),
        _ => rng.within(-1000, 1000) as f32 * rng.fraction(),
    }
}

struct Factors {
    stage: Stage,
    excess: i32,
}

impl Factors {
    /// A power of two by which outputs lie on both sides of the clamp.
    fn exponent(&self, rng: &Rng) -> i32 {
        rng.within(-4, 3) - self.excess
    }

    fn multiplier(&self, rng: &Rng) -> Multiplier {
        let any = self.stage.factors == Size::Any;
        let by = if self.stage.rounding == Some(Rounding::IntMulShift) {
            let (m, shift) = if any {
                (rng.extreme(i32::MIN, i32::MAX), rng.extreme(0, 31))
            } else {
                let bits = rng.within(0, 12);
                (rng.within(-5000, 5000) >> (12 - bits), (bits - self.exponent(rng)).clamp(0, 31))
            };
            Multiplier::int_mul_shift(m, shift as u32)
        } else {
            let m = match rng.below(3) {
                0 => 1 << 30,
                _ => rng.extreme(1 << 30, i32::MAX),
            };
            let m = if any && rng.one_in(8) { 0 } else { m };
            let s = if any { rng.extreme(-31, 30) } else { self.exponent(rng) };
            Multiplier::new(m, s)
        };
        let by = by.unwrap();
        // `to_int16` is for multipliers of 31 bits.
        if self.stage.int16 && self.stage.rounding != Some(Rounding::IntMulShift) { by.to_int16() } else { by }
    }

    /// A scale; with another over the other axis it stays finite.
    fn scale(&self, rng: &Rng) -> f32 {
        let both = self.stage.axis == Axis::Both;
        if self.stage.factors == Size::Any {
            let largest = if both { 1e18 } else { f32::MAX };
            return rng.pick(&[0.0, 1e-45, f32::MIN_POSITIVE, 0.5, 1.0, 1e15, largest]) * 1f32.min(rng.fraction());
        }
        let exponent = self.exponent(rng);
        rng.fraction() * f32::powi(2.0, if both { exponent / 2 } else { exponent })
    }
}

/// An output that tests can ask for.
pub trait Output: Value + reference::Output {
    /// Stages of these numbers.
    fn stages(values: &Values) -> Stages<'_, Self>;
    /// Other stages.
    fn others() -> Stages<'static, Self>;
}

impl Output for i32 {
    fn stages(values: &Values) -> Stages<'_, i32> {
        let stages = values.biased(Stages::raw());
        if values.stage.accumulate { stages.accumulate() } else { stages }
    }
    fn others() -> Stages<'static, i32> {
        Stages::raw()
    }
}

impl Output for f32 {
    fn stages(values: &Values) -> Stages<'_, f32> {
        let stages = values.biased(Stages::dequantize(values.scale()));
        match values.stage.float_bias {
            Axis::Columns => stages.float_bias(&values.float_bias),
            Axis::Rows => stages.float_row_bias(&values.float_bias),
            Axis::One | Axis::Both => stages,
        }
    }
    fn others() -> Stages<'static, f32> {
        Stages::dequantize(0.375)
    }
}

macro_rules! codes {
    ($($t:ty),*) => {$(
        impl Output for $t {
            fn stages(values: &Values) -> Stages<'_, $t> {
                let stages = match values.stage.rounding {
                    Some(rounding) => Stages::fixed(values.multipliers()).rounding(rounding),
                    None => Stages::float(values.scale()),
                };
                let stages = if values.stage.zero_point { stages.zero_point(values.zero_point) } else { stages };
                let (low, high) = values.clamp;
                values.biased(if values.stage.clamp { stages.clamp(low, high) } else { stages })
            }
            fn others() -> Stages<'static, $t> {
                Stages::fixed(Multiplier::ONE).zero_point(1).clamp(1, 2)
            }
        }
    )*};
}
codes!(u8, i8, i16);

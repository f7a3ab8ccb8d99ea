//! Stages to the normal form of the kernels. Pure: numbers in, numbers out.

use alloc::vec::Vec;
use core::marker::PhantomData;

use zeropoint_kernels::{
    Element, Error, Finish, FloatBias, Multiplier, PerRow, Rounding, Scale, bytes::numbers, bytes::numbers_mut,
};

use crate::stages::{FloatScale, PerAxis, Scaling, Stages};

/// Vectors over columns, in whole panels: bias, multipliers, shifts; then scales, float bias.
const VECTORS: usize = 5;

/// Bytes of the column vectors of `columns` columns (in whole panels).
pub(crate) const fn column_bytes(columns: usize) -> Option<usize> {
    match columns.checked_mul(VECTORS * 4) {
        Some(bytes) => bytes.checked_next_multiple_of(64),
        None => None,
    }
}

/// Writes the column vectors of checked stages into `bytes`.
pub(crate) fn write_columns<O: Element>(
    stages: &Stages<'_, O>,
    columns: usize,
    bytes: &mut [u8],
) -> Result<(), Error> {
    /// The given values, then, up to whole panels, anything harmless.
    fn fill<T: Copy>(to: &mut [T], values: impl Iterator<Item = T>, rest: T) {
        let mut values = values.fuse();
        for to in to {
            *to = values.next().unwrap_or(rest);
        }
    }
    fn spread<'v, T: Copy + 'v>(values: Option<&'v [T]>, all: T, count: usize) -> impl Iterator<Item = T> + 'v {
        let every = if values.is_some() { 0 } else { count };
        values.unwrap_or_default().iter().copied().chain(core::iter::repeat_n(all, every))
    }
    let (ints, floats) = bytes
        .split_at_mut_checked(3 * 4 * columns)
        .ok_or(Error::Workspace { needed: VECTORS * 4 * columns, got: 0 })?;
    let ints = numbers_mut::<i32>("columns", ints, 3 * columns)?;
    let floats = numbers_mut::<f32>("columns", floats, 2 * columns)?;
    let (bias, ints) = ints.split_at_mut(columns);
    let (multipliers, shifts) = ints.split_at_mut(columns);
    let (scales, float_bias) = floats.split_at_mut(columns);
    fill(bias, spread(stages.bias, 0, columns), 0);
    let by = match stages.scaling {
        Scaling::Fixed(PerAxis::PerColumn(by)) => (Some(by), Multiplier::ONE),
        Scaling::Fixed(PerAxis::One(by)) => (None, by),
        _ => (None, Multiplier::ONE),
    };
    // Beyond the last column: the last multiplier again, which obeys every bound that the plan has proven.
    let last = by.0.and_then(|by| by.last().copied()).unwrap_or(by.1);
    fill(multipliers, spread(by.0, by.1, columns).map(Multiplier::multiplier), last.multiplier());
    fill(shifts, spread(by.0, by.1, columns).map(Multiplier::shift), last.shift());
    let scale = match stages.scaling {
        Scaling::Float(FloatScale::One(scale)) => (None, scale),
        Scaling::Float(scale) => (scale.axes().1, 1.0),
        _ => (None, 1.0),
    };
    fill(scales, spread(scale.0, scale.1, columns), 0.0);
    let float = match stages.float_bias {
        PerAxis::PerColumn(bias) => Some(bias),
        _ => None,
    };
    fill(float_bias, spread(float, 0.0, columns), 0.0);
    Ok(())
}

/// The normal form of checked stages, whose column vectors were written into `bytes`.
pub(crate) fn finish<'a, O: Element>(
    stages: &Stages<'a, O>,
    near: bool,
    columns: usize,
    bytes: &'a [u8],
) -> Result<Finish<'a>, Error> {
    let (ints, floats) = bytes.split_at_checked(3 * 4 * columns).unwrap_or_default();
    let ints = numbers::<i32>("columns", ints, 3 * columns)?;
    let floats = numbers::<f32>("columns", floats, 2 * columns)?;
    let (low, high) = stages.bounds();
    Ok(Finish {
        bias: &ints[..columns],
        row_bias: stages.row_bias.map_or(PerRow::One(0), PerRow::Each),
        scale: match stages.scaling {
            Scaling::Raw => Scale::None,
            Scaling::Fixed(PerAxis::PerRow(multipliers)) => {
                Scale::Rows { rounding: stages.rounding, multipliers: PerRow::Each(multipliers) }
            }
            Scaling::Fixed(_) => Scale::Columns {
                rounding: stages.rounding,
                multipliers: &ints[columns..2 * columns],
                shifts: &ints[2 * columns..],
                near,
            },
            Scaling::Float(scale) => Scale::Float {
                columns: &floats[..columns],
                rows: scale.axes().0.map_or(PerRow::One(1.0), PerRow::Each),
                small: near,
            },
        },
        float_bias: match stages.float_bias {
            PerAxis::PerColumn(_) => FloatBias::Columns(&floats[columns..]),
            PerAxis::PerRow(bias) => FloatBias::Rows(PerRow::Each(bias)),
            PerAxis::One(bias) => FloatBias::Rows(PerRow::One(bias)),
        },
        zero_point: stages.zero_point,
        low,
        high,
        accumulate: stages.accumulate,
    })
}

/// Whether the shorter form of the default rule, or of its kin, is exact (limits.md 6.1): every shift goes right, by e, and
/// `|x| + 2^(e-1) < 2^31` for every sum x of `k` products of at most 255 * 255 and its biases. Of the float rule: whether
/// every factor is less than 1, so that no sum reaches 2^31 by it.
pub(crate) fn near<O>(stages: &Stages<'_, O>, k: usize) -> bool {
    let multipliers = match &stages.scaling {
        Scaling::Raw => return false,
        Scaling::Float(FloatScale::One(one)) => return one.abs() < 1.0,
        Scaling::Float(scale) => {
            // NaN is not less than anything. Rounding keeps the order of products.
            let largest = |factors: Option<&[f32]>| {
                let larger = |most: f32, factor: &f32| {
                    if factor.abs() <= most || most.is_nan() { most } else { factor.abs() }
                };
                factors.map_or(1.0, |factors| factors.iter().fold(0.0, larger))
            };
            let (rows, columns) = scale.axes();
            return largest(rows) * largest(columns) < 1.0;
        }
        Scaling::Fixed(multipliers) => multipliers,
    };
    let multipliers = match multipliers {
        PerAxis::One(by) => core::slice::from_ref(by),
        PerAxis::PerColumn(by) => by,
        PerAxis::PerRow(_) => return false,
    };
    if !matches!(stages.rounding, Rounding::DoubleAway | Rounding::DoubleUp)
        || multipliers.iter().any(|by| by.shift() >= 0)
    {
        return false;
    }
    let largest = |bias: Option<&[i32]>| {
        u64::from(bias.unwrap_or_default().iter().map(|b| b.unsigned_abs()).max().unwrap_or(0))
    };
    let sums = (k as u64).saturating_mul(255 * 255);
    let sums = sums.saturating_add(largest(stages.bias)).saturating_add(largest(stages.row_bias));
    let half = multipliers.iter().map(|by| 1u64 << (-by.shift() - 1)).max().unwrap_or(0);
    sums.saturating_add(half) < 1 << 31
}

/// Stages that own their vectors, for a prepared product.
#[derive(Clone, Debug)]
pub(crate) struct OwnedStages<O> {
    bias: Option<Vec<i32>>,
    row_bias: Option<Vec<i32>>,
    scaling: OwnedScaling,
    float_bias: OwnedAxis<f32>,
    rounding: Rounding,
    zero_point: i32,
    clamp: Option<(i32, i32)>,
    accumulate: bool,
    element: PhantomData<O>,
}

#[derive(Clone, Debug)]
enum OwnedAxis<T> {
    One(T),
    PerColumn(Vec<T>),
    PerRow(Vec<T>),
}

impl<T: Copy> OwnedAxis<T> {
    fn repeated(axis: PerAxis<'_, T>, times: usize) -> Self {
        match axis {
            PerAxis::One(value) => Self::One(value),
            PerAxis::PerColumn(values) => Self::PerColumn(values.repeat(times)),
            PerAxis::PerRow(values) => Self::PerRow(values.to_vec()),
        }
    }

    fn borrow(&self) -> PerAxis<'_, T> {
        match self {
            Self::One(value) => PerAxis::One(*value),
            Self::PerColumn(values) => PerAxis::PerColumn(values),
            Self::PerRow(values) => PerAxis::PerRow(values),
        }
    }
}

#[derive(Clone, Debug)]
enum OwnedScaling {
    Raw,
    Fixed(OwnedAxis<Multiplier>),
    /// One factor, those of the rows, those of the columns.
    Float(f32, Option<Vec<f32>>, Option<Vec<f32>>),
}

impl<O: Element> OwnedStages<O> {
    /// Copies the vectors; those of the columns so many times, one behind the other.
    pub fn repeated(stages: &Stages<'_, O>, times: usize) -> Self {
        Self {
            bias: stages.bias.map(|bias| bias.repeat(times)),
            row_bias: stages.row_bias.map(<[i32]>::to_vec),
            scaling: match stages.scaling {
                Scaling::Raw => OwnedScaling::Raw,
                Scaling::Fixed(multipliers) => OwnedScaling::Fixed(OwnedAxis::repeated(multipliers, times)),
                Scaling::Float(scale) => {
                    let one = if let FloatScale::One(one) = scale { one } else { 1.0 };
                    let (rows, columns) = scale.axes();
                    OwnedScaling::Float(one, rows.map(<[f32]>::to_vec), columns.map(|scales| scales.repeat(times)))
                }
            },
            float_bias: OwnedAxis::repeated(stages.float_bias, times),
            rounding: stages.rounding,
            zero_point: stages.zero_point,
            clamp: stages.clamp,
            accumulate: stages.accumulate,
            element: PhantomData,
        }
    }

    pub fn borrow(&self) -> Stages<'_, O> {
        Stages {
            bias: self.bias.as_deref(),
            row_bias: self.row_bias.as_deref(),
            scaling: match &self.scaling {
                OwnedScaling::Raw => Scaling::Raw,
                OwnedScaling::Fixed(multipliers) => Scaling::Fixed(multipliers.borrow()),
                OwnedScaling::Float(one, None, None) => Scaling::Float(FloatScale::One(*one)),
                OwnedScaling::Float(_, Some(rows), None) => Scaling::Float(FloatScale::PerRow(rows)),
                OwnedScaling::Float(_, None, Some(columns)) => Scaling::Float(FloatScale::PerColumn(columns)),
                OwnedScaling::Float(_, Some(rows), Some(columns)) => {
                    Scaling::Float(FloatScale::Both { rows, columns })
                }
            },
            rounding: self.rounding,
            float_bias: self.float_bias.borrow(),
            zero_point: self.zero_point,
            clamp: self.clamp,
            accumulate: self.accumulate,
            element: PhantomData,
        }
    }
}

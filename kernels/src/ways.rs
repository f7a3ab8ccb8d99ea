//! The ways to finish: one loop each of the common ones, chosen once a block run, and one for the rest.

use core::marker::PhantomData;

use crate::element::{Dest, Element};
use crate::finish::{Epilogue, Finish, Finisher, FloatBias, PerRow, Scale, TileAt};
use crate::lanes::*;
use crate::microkernel::Microkernel;
use crate::rounding::Rounding;
use crate::scatter::Staged;

/// `i32` sums, stored or added.
pub(crate) struct Sums<const ADD: bool>;
// SAFETY: `put` writes one vector at `p`, and reads it where `READS` says so.
unsafe impl<L: Lanes, const ADD: bool> Finisher<L> for Sums<ADD> {
    type Out = i32;
    const HOT: bool = !ADD;
    const SUMS: bool = !ADD;
    type Common = ();
    type Columns = ();
    type Row = ();
    const READS: bool = ADD;

    #[inline(always)]
    unsafe fn common(_: &Epilogue<'_>) {}

    #[inline(always)]
    unsafe fn columns(_: &Epilogue<'_>, _: usize) {}

    #[inline(always)]
    unsafe fn row(_: &Epilogue<'_>, _: usize) {}

    #[inline(always)]
    unsafe fn put(_: &(), x: L::I, _: &(), _: &(), p: *mut i32) {
        // SAFETY: Out: `p` holds a vector.
        unsafe { L::store(p, if ADD { L::add(L::load(p), x) } else { x }) }
    }
}

/// The float factors of a column vector and a row.
#[inline(always)]
unsafe fn float_columns<L: Lanes>(e: &Epilogue<'_>, col: usize) -> L::F {
    // SAFETY: Finish: the slice exists for float finishers and reaches the end of the panel.
    unsafe {
        let Scale::Float { columns, .. } = &e.finish.scale else { core::hint::unreachable_unchecked() };
        L::load_f(columns.as_ptr().add(col))
    }
}

#[inline(always)]
unsafe fn float_row(e: &Epilogue<'_>, row: usize) -> f32 {
    // SAFETY: Finish: as above, for rows.
    unsafe {
        let Scale::Float { rows, .. } = &e.finish.scale else { core::hint::unreachable_unchecked() };
        rows.at(row)
    }
}

/// `fl32(fl32(fl32(x) * s) + bias)`, s = `fl32(row * column)`.
pub(crate) struct Floats;
// SAFETY: `put` writes one vector at `p`.
unsafe impl<L: Lanes> Finisher<L> for Floats {
    type Out = f32;
    const HOT: bool = true;
    type Common = ();
    type Columns = (L::F, L::F);
    type Row = (f32, f32);

    #[inline(always)]
    unsafe fn common(_: &Epilogue<'_>) {}

    #[inline(always)]
    unsafe fn columns(e: &Epilogue<'_>, col: usize) -> Self::Columns {
        // SAFETY: Finish.
        unsafe {
            let bias = match e.finish.float_bias {
                FloatBias::Columns(bias) => L::load_f(bias.as_ptr().add(col)),
                FloatBias::Rows(_) => L::splat_f(-0.0),
            };
            (float_columns::<L>(e, col), bias)
        }
    }

    #[inline(always)]
    unsafe fn row(e: &Epilogue<'_>, row: usize) -> Self::Row {
        // SAFETY: Finish.
        unsafe {
            let bias = match &e.finish.float_bias {
                FloatBias::Columns(_) => -0.0,
                FloatBias::Rows(bias) => bias.at(row),
            };
            (float_row(e, row), bias)
        }
    }

    #[inline(always)]
    unsafe fn put(_: &(), x: L::I, columns: &Self::Columns, row: &Self::Row, p: *mut f32) {
        // SAFETY: Features; Out: `p` holds a vector. One of the two biases is -0.0, which changes no other.
        unsafe {
            let scale = L::mul_f(L::splat_f(row.0), columns.0);
            let bias = L::add_f(columns.1, L::splat_f(row.1));
            L::store_f(p, L::add_f(L::mul_f(L::to_f(x), scale), bias));
        }
    }
}

/// Storing lanes that hold codes. Clamped codes of both signs are the low bits of their lanes, so `u8` stands for
/// `i8`, too.
pub(crate) trait StoreCodes: Element {
    /// # Safety
    /// Features of `L`; `p` is valid for writes of a vector.
    unsafe fn store<L: Lanes>(p: *mut Self, x: L::I);
}

impl StoreCodes for u8 {
    #[inline(always)]
    unsafe fn store<L: Lanes>(p: *mut Self, x: L::I) {
        // SAFETY: promised by our caller.
        unsafe { L::store_8(p, x) }
    }
}

impl StoreCodes for i16 {
    #[inline(always)]
    unsafe fn store<L: Lanes>(p: *mut Self, x: L::I) {
        // SAFETY: promised by our caller.
        unsafe { L::store_16(p, x) }
    }
}

/// The clamp of codes, and their rule for lanes that choose it for each vector.
#[derive(Clone, Copy)]
pub(crate) struct Clamp<V> {
    low: V,
    high: V,
    zero_point: V,
    rounding: Rounding,
}

impl<V> Clamp<V> {
    #[inline(always)]
    unsafe fn new<L: Lanes<I = V>>(e: &Epilogue<'_>) -> Self {
        let Finish { zero_point, low, high, .. } = *e.finish;
        let (Scale::Columns { rounding, .. } | Scale::Rows { rounding, .. }) = e.finish.scale else {
            // SAFETY: Finish: the scale suits the finisher.
            unsafe { core::hint::unreachable_unchecked() }
        };
        // SAFETY: Features.
        unsafe {
            let (low, high) = (L::splat(low - zero_point), L::splat(high - zero_point));
            Self { low, high, zero_point: L::splat(zero_point), rounding }
        }
    }
}

/// Codes by a fixed-point rule.
pub(crate) struct Fixed<R, T, const BY_ROW: bool>(PhantomData<(R, T)>);
// SAFETY: `put` writes one vector at `p`.
unsafe impl<L: Lanes, R: Rule, T: StoreCodes, const BY_ROW: bool> Finisher<L> for Fixed<R, T, BY_ROW> {
    type Out = T;
    const HOT: bool =
        size_of::<T>() == 1 && (R::NEAR || (!L::NEAR && !BY_ROW && matches!(R::ROUNDING, Rounding::DoubleAway)));
    const OFFSET: i32 = R::OFFSET;
    const CODES: bool = true;
    const MANY: bool = true;
    type Common = Clamp<L::I>;
    type Columns = (L::I, L::I);
    type Row = (L::I, L::I);
    const BY_ROW: bool = BY_ROW;

    #[inline(always)]
    unsafe fn common(e: &Epilogue<'_>) -> Clamp<L::I> {
        // SAFETY: passed on.
        unsafe { Clamp::new::<L>(e) }
    }

    #[inline(always)]
    unsafe fn columns(e: &Epilogue<'_>, col: usize) -> Self::Columns {
        // SAFETY: Finish: the slices exist for this finisher and reach the end of the panel.
        unsafe {
            let Scale::Columns { multipliers, shifts, .. } = &e.finish.scale else {
                return (L::splat(0), L::splat(0));
            };
            (L::load(multipliers.as_ptr().add(col)), L::load(shifts.as_ptr().add(col)))
        }
    }

    #[inline(always)]
    unsafe fn row(e: &Epilogue<'_>, row: usize) -> Self::Row {
        // SAFETY: Finish.
        unsafe {
            let Scale::Rows { multipliers, .. } = &e.finish.scale else {
                return (L::splat(0), L::splat(0));
            };
            let by = multipliers.at(row);
            (L::splat(by.multiplier()), L::splat(by.shift()))
        }
    }

    #[inline(always)]
    unsafe fn code(clamp: &Clamp<L::I>, x: L::I, columns: &Self::Columns, row: &Self::Row) -> L::I {
        let (m, s) = if BY_ROW { *row } else { *columns };
        // SAFETY: Features.
        unsafe {
            if L::RULE_AT_RUN_TIME {
                L::requantize_any(clamp.rounding, x, m, s)
            } else {
                L::requantize::<R>(x, m, s)
            }
        }
    }

    #[inline(always)]
    unsafe fn put(clamp: &Clamp<L::I>, x: L::I, columns: &Self::Columns, row: &Self::Row, p: *mut T) {
        // SAFETY: Features; Out.
        unsafe {
            let y = <Self as Finisher<L>>::code(clamp, x, columns, row);
            // Clamped before the zero point is added, so that the sum cannot wrap.
            let y = L::min(L::max(y, clamp.low), clamp.high);
            T::store::<L>(p, L::add(y, clamp.zero_point));
        }
    }
}

/// Codes by the float rule: `half_even(fl32(fl32(x) * s))` (semantics.md 5.2, f32_even); rows have factors of their
/// own, or all the same.
pub(crate) struct FloatCodes<T, const ROWS: bool>(PhantomData<T>);
// SAFETY: `put` writes one vector at `p`.
unsafe impl<L: Lanes, T: StoreCodes, const ROWS: bool> Finisher<L> for FloatCodes<T, ROWS> {
    type Out = T;
    const HOT: bool = size_of::<T>() == 1 && !ROWS;
    const CODES: bool = true;
    /// The clamp in floats, the zero point, and whether no product reaches 2^31.
    type Common = (L::F, L::F, L::I, bool);
    type Columns = L::F;
    type Row = f32;

    #[inline(always)]
    unsafe fn common(e: &Epilogue<'_>) -> Self::Common {
        let Finish { zero_point, low, high, .. } = *e.finish;
        // SAFETY: Features. The bounds are integers within 2^17 of zero, exact as floats.
        unsafe {
            let (low, high) = ((low - zero_point) as f32, (high - zero_point) as f32);
            let small = matches!(e.finish.scale, Scale::Float { small: true, .. });
            (L::splat_f(low), L::splat_f(high), L::splat(zero_point), small)
        }
    }

    #[inline(always)]
    unsafe fn columns(e: &Epilogue<'_>, col: usize) -> L::F {
        // SAFETY: Finish.
        unsafe {
            let columns = float_columns::<L>(e, col);
            if ROWS { columns } else { L::mul_f(L::splat_f(float_row(e, 0)), columns) }
        }
    }

    #[inline(always)]
    unsafe fn row(e: &Epilogue<'_>, row: usize) -> f32 {
        // SAFETY: Finish.
        unsafe { if ROWS { float_row(e, row) } else { 1.0 } }
    }

    #[inline(always)]
    unsafe fn code(common: &Self::Common, x: L::I, columns: &L::F, row: &f32) -> L::I {
        // SAFETY: Features. Below 2^31, as an integer must be, and beyond any code; NaN stays what it is.
        unsafe {
            let scaled = scaled::<L, ROWS>(x, columns, *row);
            L::to_i(if common.3 { scaled } else { L::min_f(L::splat_f(1e9), scaled) })
        }
    }

    #[inline(always)]
    unsafe fn put(common: &Self::Common, x: L::I, columns: &L::F, row: &f32, p: *mut T) {
        let (low, high, zero_point, _) = *common;
        // SAFETY: Features; Out.
        unsafe {
            let scaled = scaled::<L, ROWS>(x, columns, *row);
            let y = L::to_i(L::min_f(L::max_f(scaled, low), high));
            T::store::<L>(p, L::add(y, zero_point));
        }
    }
}

/// `fl32(x) * (row * column)`, where `columns` has the factor of all rows already unless they differ.
#[inline(always)]
unsafe fn scaled<L: Lanes, const ROWS: bool>(x: L::I, columns: &L::F, row: f32) -> L::F {
    // SAFETY: Features.
    unsafe {
        let factors = if ROWS { L::mul_f(L::splat_f(row), *columns) } else { *columns };
        L::mul_f(L::to_f(x), factors)
    }
}

/// Stands for all ways to finish that have no loop of their own: such a loop asks the epilogue for each tile.
pub(crate) type Rest = Sums<true>;

/// Something to do with the finisher that an epilogue asks for.
pub(crate) trait WithFinisher<L: Lanes> {
    /// # Safety
    /// As the implementation states.
    unsafe fn call<F: Finisher<L>>(self);
}

/// Calls `then` with the finisher that `e` asks for.
///
/// # Safety
/// The clauses of `then`; the scale of `e` suits its destination.
#[inline(always)]
pub(crate) unsafe fn with_finisher<L: Lanes, W: WithFinisher<L>>(e: &Epilogue<'_>, then: W) {
    // SAFETY: passed on.
    unsafe {
        match e.dest {
            Dest::I32 if e.finish.accumulate => then.call::<Sums<true>>(),
            Dest::I32 => then.call::<Sums<false>>(),
            Dest::F32 => then.call::<Floats>(),
            Dest::U8 | Dest::I8 => codes::<L, u8, W>(e.finish, then),
            Dest::I16 => codes::<L, i16, W>(e.finish, then),
        }
    }
}

#[inline(always)]
unsafe fn codes<L: Lanes, T: StoreCodes, W: WithFinisher<L>>(finish: &Finish<'_>, then: W) {
    // SAFETY: passed on.
    unsafe {
        match &finish.scale {
            Scale::Columns { rounding, near: true, .. } if L::NEAR && !L::RULE_AT_RUN_TIME => {
                let from_zero = finish.low >= finish.zero_point;
                match rounding {
                    Rounding::DoubleAway if !from_zero => then.call::<Fixed<DoubleAwayNear, T, false>>(),
                    Rounding::DoubleAway | Rounding::DoubleUp => then.call::<Fixed<DoubleUpNear, T, false>>(),
                    _ => fixed::<L, T, W, false>(*rounding, then),
                }
            }
            Scale::Columns { rounding, .. } => fixed::<L, T, W, false>(*rounding, then),
            Scale::Rows { rounding, .. } => fixed::<L, T, W, true>(*rounding, then),
            Scale::Float { rows: PerRow::Each(_), .. } => then.call::<FloatCodes<T, true>>(),
            Scale::Float { .. } | Scale::None => then.call::<FloatCodes<T, false>>(),
        }
    }
}

#[inline(always)]
unsafe fn fixed<L: Lanes, T: StoreCodes, W: WithFinisher<L>, const BY_ROW: bool>(rounding: Rounding, then: W) {
    // SAFETY: passed on.
    unsafe {
        if L::RULE_AT_RUN_TIME {
            return then.call::<Fixed<AnyRule, T, BY_ROW>>();
        }
        match rounding {
            Rounding::DoubleAway => then.call::<Fixed<DoubleAway, T, BY_ROW>>(),
            Rounding::DoubleAwaySat => then.call::<Fixed<DoubleAwaySat, T, BY_ROW>>(),
            Rounding::DoubleUp => then.call::<Fixed<DoubleUp, T, BY_ROW>>(),
            Rounding::SingleUp => then.call::<Fixed<SingleUp, T, BY_ROW>>(),
            Rounding::SingleAway => then.call::<Fixed<SingleAway, T, BY_ROW>>(),
            Rounding::SingleEven => then.call::<Fixed<SingleEven, T, BY_ROW>>(),
            Rounding::IntMulShift => then.call::<Fixed<IntMulShift, T, BY_ROW>>(),
        }
    }
}

/// Finishes one tile, in a function of its own, which is the base's.
///
/// # Safety
/// As [`tile`], with the lanes of `K`.
pub(crate) unsafe fn finish_tile<K: Microkernel>(e: &Epilogue<'_>, at: &TileAt) {
    struct Once<'a, 'b, K>(&'a Epilogue<'b>, &'a TileAt, PhantomData<K>);
    impl<K: Microkernel> WithFinisher<K::Lanes> for Once<'_, '_, K> {
        #[inline(always)]
        unsafe fn call<F: Finisher<K::Lanes>>(self) {
            // SAFETY: our caller's clauses.
            unsafe { K::enter_finish::<F>(self.0, self.1) }
        }
    }
    // SAFETY: our caller's clauses, those of the base among them.
    unsafe { with_finisher::<<K::Base as Microkernel>::Lanes, _>(e, Once::<K::Base>(e, at, PhantomData)) }
}

/// The table entry: finishes one tile, all the way.
///
/// # Safety
/// As [`tile`], with the lanes of `K`.
pub(crate) unsafe fn finish_out<K: Microkernel>(e: &Epilogue<'_>, at: &TileAt) {
    // SAFETY: our caller's clauses; a tile that was staged lies in `staging`.
    unsafe {
        finish_tile::<K>(e, at);
        if e.col_stride != 1 {
            let TileAt { row, col, rows, cols, .. } = *at;
            K::enter_scatter(e, &Staged { from: at.staging, row, col, rows, cols });
        }
    }
}

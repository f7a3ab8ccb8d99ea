//! Whole products, `block`, against the definitions.

use zeropoint_kernels::{
    Blocking, Dest, Elem, Job, Outlier, Outliers, Rounding, Side, Weights, Windows, WindowsRef, ZeroPoint,
};

use super::matrix::{Fill, Layout, Matrix, TestCode};
use super::oracle::{self, Output};
use super::stage::{Axis, By, Kind, Maker, Scaling};
use super::target::Target;
use super::{Arena, Rng, Run};

/// Zero points of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// The smallest code, for all.
    Low,
    /// The largest code, for all.
    High,
    /// The code in the middle, which is 0 in i8, for all.
    Middle,
    /// Any code, for all.
    Any,
    /// One a row of lhs or a column of rhs.
    Each,
}

impl Zero {
    pub const ALL: [Self; 5] = [Self::Low, Self::High, Self::Middle, Self::Any, Self::Each];

    /// The zero points of `count` members.
    fn points(self, rng: &Rng, (low, high): (i32, i32), count: usize) -> Vec<i32> {
        let any = rng.within(low, high);
        let point = |_| match self {
            Self::Low => low,
            Self::High => high,
            Self::Middle => (low + high + 1) / 2,
            Self::Any => any,
            Self::Each => rng.extreme(low, high),
        };
        (0..count).map(point).collect()
    }
}

/// A product to check: `m` x `k` times `k` x `n`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub shape: (usize, usize, usize),
    /// Whether lhs and rhs are i8.
    pub signed: [bool; 2],
    pub fills: [Fill; 2],
    pub zeros: [Zero; 2],
    /// Of lhs, rhs and out.
    pub layouts: [Layout; 3],
    pub blocking: Blocking,
    /// The row and the panel at which the product is cut, as threads would.
    pub cut: (usize, usize),
    pub kind: Kind,
    /// Where rows of lhs lie, if in an image.
    pub windows: Option<Windows>,
}

impl Product {
    /// A product of this shape, everything else any.
    pub fn any(run: &Run, shape: (usize, usize, usize), kinds: &[Kind]) -> Self {
        let Run { backend, ref rng, .. } = *run;
        let (mr, step) = (backend.mr(), backend.k_step());
        let fill = || if rng.one_in(2) { Fill::Random } else { rng.pick(&Fill::ALL) };
        Self {
            shape,
            signed: [rng.one_in(2), rng.one_in(2)],
            fills: [fill(), fill()],
            zeros: [rng.pick(&Zero::ALL), rng.pick(&Zero::ALL)],
            layouts: [rng.pick(&Layout::ALL), rng.pick(&Layout::ALL), rng.pick(&Layout::DISJOINT)],
            blocking: Blocking {
                rows: rng.pick(&[1, mr + 1, usize::MAX, usize::MAX]),
                depth: rng.pick(&[1, step + 1, 3 * step, usize::MAX, usize::MAX]),
                packed_strides: rng.pick(&[1, 8, usize::MAX]),
                rows_before_tail: rng.pick(&[1, 32, usize::MAX]),
                panels: rng.pick(&[1, 2, 3, usize::MAX]),
                cached: rng.pick(&[0, usize::MAX]),
                fetched: rng.pick(&[0, usize::MAX]),
                far: rng.pick(&[0, usize::MAX]),
                ahead: rng.pick(&[0, 4096, usize::MAX]),
            },
            cut: if rng.one_in(3) { (rng.below(shape.0 + 1), rng.below(3)) } else { (0, 0) },
            kind: rng.pick(kinds),
            windows: None,
        }
    }

    /// A product whose lhs lies in an image: of `rows` rows, `columns` columns, with pieces of so many steps.
    pub fn windows(run: &Run, [rows, n, pieces, steps]: [usize; 4], kinds: &[Kind]) -> Self {
        let Run { backend, ref rng, .. } = *run;
        let (line, piece) = (rng.pick(&[1, 2, 5, 7, 8, 16, 100]), steps * backend.k_step());
        let row_stride = rng.pick(&[0, 1, 3, 4, piece]);
        let piece_stride = rng.pick(&[0, 1, piece, line * row_stride + piece]);
        let line_stride = rng.pick(&[0, 5, piece_stride, 2 * piece_stride + line * row_stride]);
        let windows = Windows { rows, line, row_stride, line_stride, pieces, piece, piece_stride };
        let shape = (rows, n, pieces * piece);
        let any = if rng.one_in(2) { Self::any(run, shape, kinds) } else { Self::plain(run, shape) };
        Self {
            signed: match backend.lhs().elem {
                Elem::U8 => [false, any.signed[1]],
                Elem::I8 => [true, any.signed[1]],
                Elem::I16 => any.signed,
            },
            fills: [Fill::Random, any.fills[1]],
            zeros: [if any.zeros[0] == Zero::Each { Zero::Any } else { any.zeros[0] }, any.zeros[1]],
            layouts: [Layout::Rows, any.layouts[1], any.layouts[2]],
            cut: (0, any.cut.1),
            windows: Some(windows),
            ..any
        }
    }

    /// A product that kernels have short cuts for: finished on registers, K whole, rows contiguous.
    pub fn plain(run: &Run, shape: (usize, usize, usize)) -> Self {
        let near = |rounding| Scaling::Fixed { rounding, axis: Axis::Column, near: true };
        let kinds = [
            (Dest::I32, Scaling::None { accumulate: false }),
            (Dest::I32, Scaling::None { accumulate: true }),
            (Dest::F32, Scaling::Float { rows: true }),
            (Dest::U8, Scaling::Float { rows: false }),
            (Dest::U8, near(Rounding::DoubleAway)),
            (Dest::I8, near(Rounding::DoubleUp)),
        ];
        let kinds = kinds.map(|(dest, scaling)| Kind { dest, scaling });
        let any = Self::any(run, shape, &kinds);
        let [lhs, rhs, _] = any.layouts;
        Self {
            zeros: [run.rng.pick(&[Zero::Low, Zero::Any]), run.rng.pick(&[Zero::Middle, Zero::Any])],
            layouts: [lhs, rhs, run.rng.pick(&[Layout::Rows, Layout::RowGap])],
            blocking: Blocking { depth: usize::MAX, ..any.blocking },
            ..any
        }
    }

    /// Runs and compares.
    pub fn check(&self, run: &Run) {
        match self.kind.dest {
            Dest::U8 => self.signs::<u8>(run),
            Dest::I8 => self.signs::<i8>(run),
            Dest::I16 => self.signs::<i16>(run),
            Dest::I32 => self.signs::<i32>(run),
            Dest::F32 => self.signs::<f32>(run),
        }
    }

    fn signs<O: Output>(&self, run: &Run) {
        match self.signed {
            [false, false] => self.run::<u8, u8, O>(run),
            [false, true] => self.run::<u8, i8, O>(run),
            [true, false] => self.run::<i8, u8, O>(run),
            [true, true] => self.run::<i8, i8, O>(run),
        }
    }

    fn run<L: TestCode, R: TestCode, O: Output>(&self, run: &Run) {
        let Run { backend, ref rng, .. } = *run;
        let Self { shape: (m, n, k), fills, zeros, layouts, blocking, kind, .. } = *self;
        let arena = Arena::new(run.place);
        let mut lhs = Matrix::<L>::new(&arena, rng, (m, k), layouts[0], fills[0]);
        let image = self.windows.map(|windows| {
            let last = |count: usize, step: usize| count.saturating_sub(1) * step;
            let down = m.saturating_sub(1) / windows.line * windows.line_stride;
            let across = last(m.min(windows.line), windows.row_stride);
            let len = down + across + last(windows.pieces, windows.piece_stride) + windows.piece;
            let len = if m == 0 || k == 0 { 0 } else { len };
            let image = &*arena.slice(len, |_| L::of(rng.within(L::RANGE.0, L::RANGE.1)));
            let rows = WindowsRef::new(image, windows, 0).unwrap();
            assert!(len == 0 || WindowsRef::new(&image[1..], windows, 0).is_err());
            lhs.data = arena.slice(m * k, |i| rows.get(i / k, i % k).unwrap());
            let wide = &*arena.slice(len, |i| image[i].into() as i16);
            (image, wide)
        });
        let rhs = Matrix::<R>::new(&arena, rng, (k, n), layouts[1], fills[1]);
        run.case(format_args!("{self:?}, lhs {lhs:?}, rhs {rhs:?}"));

        // Weights: what lies beyond the columns there are is anything.
        let columns = backend.columns(n).unwrap();
        let panels = arena.lines(backend.packed_bytes(Side::Rhs, n, k).unwrap(), |_| rng.bits() as u8);
        let sums = arena.slice(columns, |_| rng.bits() as i32);
        backend.pack(Side::Rhs, rhs.view(), panels, Some(&mut sums[..n])).unwrap();
        // Some weights are more than what is packed; outliers outside of the product are none.
        let outlier = |_| Outlier {
            k: rng.below(k + 2) as u32,
            col: rng.below(n + 2) as u32,
            residual: rng.within(-200, 200),
        };
        let outliers = arena.slice(if rng.one_in(4) { rng.below(5) } else { 0 }, outlier);
        let real = |outlier: &&Outlier| (outlier.k as usize) < k && (outlier.col as usize) < n;
        for outlier in outliers.iter().filter(real) {
            sums[outlier.col as usize] += outlier.residual;
        }
        let rhs_zeros = zeros[1].points(rng, R::RANGE, n);
        let raised = |zero: i32| oracle::packed(backend.rhs().elem, i64::from(zero), R::SIGNED) as i32;
        let rhs_zero = match zeros[1] {
            Zero::Each => {
                let zero = |j: usize| rhs_zeros.get(j).map_or(rng.bits() as i32, |zero| raised(*zero));
                ZeroPoint::Each(arena.slice(columns, zero))
            }
            _ => ZeroPoint::One(rhs_zeros.first().map_or(0, |zero| raised(*zero))),
        };
        let lhs_zeros = zeros[0].points(rng, L::RANGE, m);
        let lhs_zero = match zeros[0] {
            Zero::Each => ZeroPoint::Each(arena.slice(m, |i| lhs_zeros[i])),
            _ => ZeroPoint::One(lhs_zeros.first().copied().unwrap_or(0)),
        };

        // The shorter form has its bound: products of a few hundred k stay within 2^28, and shifts above -15.
        let bias = if kind.is_near() { 1 << 28 } else { i32::MAX };
        // Sums to which nothing is added may have a road of their own.
        let bias = if kind.dest == Dest::I32 && rng.one_in(3) { 0 } else { bias };
        let maker = Maker { arena: &arena, rng, kind, bias, shape: (m, columns) };
        let finish = maker.make(|| By::typical(rng, kind.scaling));
        let mut out = Target::<O>::new(&arena, rng, (m, n), layouts[2]);
        let plan = backend.plan(m, k, blocking).unwrap();
        let workspace = arena.lines(plan.workspace_bytes(), |_| rng.bits() as u8);
        let cut = (self.cut.0, (self.cut.1 * backend.nr()).min(n / backend.nr() * backend.nr()));
        for (row, rows) in [(0, cut.0), (cut.0, m - cut.0)] {
            for (col, cols) in [(0, cut.1), (cut.1, n - cut.1)] {
                let before = backend.packed_bytes(Side::Rhs, col, k).unwrap();
                let (panels, sums) = (&panels[before..], &sums[col..]);
                let lhs_zero = match lhs_zero {
                    ZeroPoint::Each(zeros) => ZeroPoint::Each(&zeros[row..row + rows]),
                    one => one,
                };
                let zero_point = match rhs_zero {
                    ZeroPoint::Each(zeros) => ZeroPoint::Each(&zeros[col..]),
                    one => one,
                };
                let outliers = Outliers { list: outliers, first: col };
                let weights = Weights { k, n: cols, panels, sums, zero_point, outliers };
                let finish = finish.part(row, rows, col);
                let out = out.view().part(row, col, rows, cols).unwrap();
                if let (Some(windows), Some((image, wide)), ZeroPoint::One(zero)) = (self.windows, image, lhs_zero)
                {
                    let windows = Windows { rows, ..windows };
                    if backend.lhs().elem == Elem::I16 {
                        let lhs = WindowsRef::new(wide, windows, zero).unwrap();
                        Job { lhs, weights, finish, out }.run(&plan, workspace).unwrap();
                    } else {
                        let lhs = WindowsRef::new(image, windows, zero).unwrap();
                        Job { lhs, weights, finish, out }.run(&plan, workspace).unwrap();
                    }
                } else {
                    let lhs = lhs.view().part(row, 0, rows, k).unwrap().zero_point(lhs_zero);
                    Job { lhs, weights, finish, out }.run(&plan, workspace).unwrap();
                }
            }
        }
        run.check_margins(&arena);
        let residue = |i: usize, outlier: &Outlier| {
            (lhs.at(i, outlier.k as usize) - i64::from(lhs_zeros[i])) * i64::from(outlier.residual)
        };
        out.check(run, &finish, |i, j| {
            let outliers = outliers.iter().filter(real).filter(|outlier| outlier.col as usize == j);
            oracle::product(&lhs, &rhs, (i, j), lhs_zeros[i], rhs_zeros[j])
                + outliers.map(|outlier| residue(i, outlier)).sum::<i64>()
        });
    }
}

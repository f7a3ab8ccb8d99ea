//! One panel on its way: squares of vectors, copies, element by element.

use core::ops::Range;

use super::{Gather, Packed, Source};
use crate::panel::Strides;

/// In which pieces a vector of one member reaches a panel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pieces {
    /// In one.
    Whole,
    /// In two.
    Halves,
    /// In groups of four bytes.
    Groups,
}

/// One panel on its way.
pub(super) struct Strip<E> {
    pub source: Source,
    /// Members and k there are.
    pub members: usize,
    pub k: usize,
    pub strides: Strides,
    pub out: *mut E,
    pub sums: *mut i32,
}

impl<E: Packed> Strip<E> {
    /// How many members squares take. Where k is contiguous, the last square may have zeros for members that are not there.
    #[inline(always)]
    pub fn squared<G: Gather>(&self) -> usize {
        let whole = self.members / G::N * G::N;
        if self.source.k_stride == 1 && whole < self.members { whole + G::N } else { whole }
    }

    /// Moves squares of `N` x `N` groups, for `ks` in whole squares.
    #[inline(always)]
    pub unsafe fn squares<G: Gather>(&self, ks: Range<usize>, pieces: Pieces) {
        let (square, whole) = (4 / size_of::<E>() * G::N, self.members / G::N * G::N);
        // SAFETY: the clauses of `pack`: every square lies inside the k of source and panel, and the members of the panel.
        unsafe {
            for k in ks.clone().step_by(square) {
                for w in (0..whole).step_by(G::N) {
                    self.square::<G>(w, k, G::N, pieces);
                }
            }
            if self.squared::<G>() > whole {
                for k in ks.step_by(square) {
                    self.square::<G>(whole, k, self.members - whole, pieces);
                }
            }
        }
    }

    /// Moves a square, of which `count` members are there: all, unless k is contiguous.
    #[inline(always)]
    unsafe fn square<G: Gather>(&self, w: usize, k: usize, count: usize, pieces: Pieces) {
        let Source { codes, member_stride, k_stride, signed } = self.source;
        let group = 4 / size_of::<E>();
        let (square, form) = (group * G::N, E::form(signed));
        // SAFETY: our caller's.
        unsafe {
            // Opaque, or the compiler keeps one pointer a row from square to square, all of them spilled.
            let mut from = core::hint::black_box(codes.add(w * member_stride + k * k_stride));
            // One vector a member, or one vector a group of k.
            let mut v = [G::ZERO; 8];
            for (i, v) in v.iter_mut().enumerate().take(G::N) {
                if k_stride != 1 {
                    *v = G::along_members(from, k_stride, form);
                    from = from.wrapping_add(group * k_stride);
                } else if i < count {
                    *v = G::along_k(from, form);
                    from = from.wrapping_add(member_stride);
                }
            }
            // Sums are taken of groups.
            let sums = !self.sums.is_null();
            let mut by_group = k_stride != 1;
            if !by_group && (sums || pieces == Pieces::Groups) {
                G::transpose(&mut v);
                by_group = true;
            }
            if sums && count == G::N {
                G::add_sums(self.sums.add(w), &v, E::ELEM);
            } else if sums {
                let mut some = [0; 8];
                G::add_sums(some.as_mut_ptr(), &v, E::ELEM);
                for (i, sum) in some.iter().enumerate().take(count) {
                    self.add_sum(w + i, *sum);
                }
            }
            if by_group && pieces != Pieces::Groups {
                G::transpose(&mut v);
            }
            if pieces == Pieces::Halves {
                G::halves(&mut v);
            }
            for (i, v) in v.iter().enumerate().take(G::N) {
                let (member, step) = match pieces {
                    Pieces::Whole => (i, 0),
                    Pieces::Halves => (i & !1, (i & 1) * square / 2),
                    Pieces::Groups => (0, i * group),
                };
                G::store(self.out.add(self.strides.offset(w + member, k + step)).cast(), *v);
            }
        }
    }

    /// Copies contiguous codes from k = `start` on, in groups of `group`, a multiple of 4.
    #[inline(always)]
    pub unsafe fn copies<G: Gather>(&self, start: usize, group: usize) {
        if start == self.k {
            return;
        }
        let Source { codes, member_stride, signed, .. } = self.source;
        // SAFETY: the clauses of `pack`.
        unsafe {
            for w in 0..self.members {
                let from = codes.wrapping_add(w * member_stride);
                let (mut k, mut sum) = (start, 0i32);
                while self.k - k >= 4 {
                    let count = group.min(self.k - k) & !3;
                    let out = self.out.add(self.strides.offset(w, k)).cast();
                    sum = sum.wrapping_add(G::copy(from.add(k), out, count, E::form(signed)));
                    k += count;
                }
                // Less than four: contiguous as well.
                let out = self.out.add(self.strides.offset(w, k));
                for i in 0..self.k - k {
                    let value = E::of(*from.add(k + i), signed);
                    *out.add(i) = value;
                    sum = sum.wrapping_add(value.into());
                }
                self.add_sum(w, sum);
            }
        }
    }

    /// Packs a rectangle of members there are element by element; beyond the k there are it writes zeros.
    #[inline(always)]
    pub unsafe fn elements(&self, members: Range<usize>, ks: Range<usize>) {
        if ks.is_empty() {
            return;
        }
        let Source { codes, member_stride, k_stride, signed } = self.source;
        let end = self.k.clamp(ks.start, ks.end);
        // SAFETY: the clauses of `pack`.
        unsafe {
            for w in members {
                let from = codes.wrapping_add(w * member_stride);
                let mut sum = 0i32;
                for k in ks.start..end {
                    let value = E::of(*from.add(k * k_stride), signed);
                    *self.out.add(self.strides.offset(w, k)) = value;
                    sum = sum.wrapping_add(value.into());
                }
                for k in end..ks.end {
                    *self.out.add(self.strides.offset(w, k)) = E::ZERO;
                }
                self.add_sum(w, sum);
            }
        }
    }

    /// Writes zeros for members that are not there, which lie together in a group; `ks` are whole groups.
    #[inline(always)]
    pub unsafe fn zeros(&self, members: Range<usize>, ks: Range<usize>) {
        if members.is_empty() {
            return;
        }
        // SAFETY: the clauses of `pack`.
        unsafe {
            for k in ks.step_by(self.strides.group) {
                let start = self.strides.offset(members.start, k);
                self.out.add(start).write_bytes(0, self.strides.offset(members.end, k) - start);
            }
        }
    }

    /// Adds to the sum of a member, if anybody asks.
    #[inline(always)]
    unsafe fn add_sum(&self, w: usize, sum: i32) {
        if !self.sums.is_null() {
            // SAFETY: the clauses of `pack`.
            unsafe { *self.sums.add(w) = (*self.sums.add(w)).wrapping_add(sum) }
        }
    }
}

//! The packer: any strided codes into any panel layout, with their sums.
//!
//! `pack` takes panels one after another. Where the kernel has a [`Gather`] and the layout has groups of four
//! bytes, whole vectors of groups are moved; the rest, and every other layout, goes element by element.

use crate::matching::Effort;
use crate::microkernel::Microkernel;
use crate::panel::{Elem, Panel};
use crate::proof::{Proof, pairs, strips};

mod strip;

use strip::{Pieces, Strip};

/// Codes to pack: members are rows of lhs or columns of rhs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// The first code.
    pub codes: *const u8,
    /// Codes from a member to the next.
    pub member_stride: usize,
    /// Codes from a k to the next.
    pub k_stride: usize,
    /// Whether codes are two's complement.
    pub signed: bool,
}

impl Source {
    /// The codes from a member on.
    #[inline(always)]
    pub const fn member(self, member: usize) -> Self {
        Self { codes: self.codes.wrapping_add(member * self.member_stride), ..self }
    }
}

/// Which side of the product is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Activations, rows.
    Lhs,
    /// Weights, columns.
    Rhs,
}

/// A packing run: everything checked, types erased.
#[derive(Clone, Copy, Debug)]
pub struct PackRun {
    pub(crate) side: Side,
    pub(crate) source: Source,
    pub(crate) members: usize,
    pub(crate) k: usize,
    pub(crate) padded_k: usize,
    /// Room for all members in whole panels, aligned to 64 bytes; null if only sums are asked for, of codes that are
    /// read in place.
    pub(crate) out: *mut u8,
    /// Bytes from the end of a panel to the next.
    pub(crate) gap: usize,
    /// Where the sum of each member goes, as packed, mod 2^32, times `factor`, plus `constant`; null if nobody asks.
    pub(crate) sums: *mut i32,
    pub(crate) factor: i32,
    pub(crate) constant: i32,
    /// How long to look for orders, if the kernel is proven.
    pub(crate) effort: Effort,
}

/// What codes are and what they become.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Whether the codes are two's complement.
    pub signed: bool,
    /// As what they are packed.
    pub elem: Elem,
}

impl Form {
    /// Whether packing flips the sign bit of each code.
    #[inline(always)]
    pub const fn flips(self) -> bool {
        self.elem.offset(self.signed) != 0
    }
}

/// Moving vectors of groups of four bytes.
///
/// # Safety
/// An implementation reads and writes only what the operations state. A caller upholds Features, and pointers
/// valid for what an operation states.
#[allow(clippy::missing_safety_doc)] // the contract is the trait's
pub unsafe trait Gather: 'static {
    /// Groups of a vector; 0 if there is no vector road. At most 8, and panels of groups are a multiple of it wide.
    const N: usize;
    /// `N` groups.
    type V: Copy;
    /// Groups of zeros.
    const ZERO: Self::V;
    /// `N` consecutive groups of one member whose codes are contiguous.
    unsafe fn along_k(codes: *const u8, form: Form) -> Self::V;
    /// Copies `count` codes of one member, a multiple of 4, contiguous on both sides; returns their sum mod 2^32.
    unsafe fn copy(codes: *const u8, out: *mut u8, count: usize, form: Form) -> i32;
    /// One group of `N` members whose codes are contiguous, `k_stride` from a k to the next.
    unsafe fn along_members(codes: *const u8, k_stride: usize, form: Form) -> Self::V;
    /// Exchanges the groups of `N` vectors: group i of vector j becomes group j of vector i.
    unsafe fn transpose(v: &mut [Self::V; 8]);
    /// Whether there are [`Gather::halves`].
    const HALVES: bool = false;
    /// Exchanges the second half of each even vector with the first half of the one behind it, of `N` vectors.
    unsafe fn halves(v: &mut [Self::V; 8]) {
        let _ = v;
    }
    /// The sum of `count` contiguous codes, a multiple of 32.
    unsafe fn sum(codes: *const u8, count: usize, signed: bool) -> i32;
    /// Sums of rows, as packing takes them where nothing is packed.
    #[inline(always)]
    unsafe fn sums(run: &PackRun)
    where
        Self: Sized,
    {
        // SAFETY: passed on.
        unsafe { sums::<Self>(run) }
    }
    /// Loads `N` groups.
    unsafe fn load(from: *const u8) -> Self::V;
    /// Stores `N` groups.
    unsafe fn store(out: *mut u8, v: Self::V);
    /// Of `N` groups, each four columns of one row, stores the `N` bytes of each column, `col_stride` bytes apart.
    unsafe fn store_columns(out: *mut u8, col_stride: usize, v: Self::V);
    /// Adds the sum of the elements of group i of each of `N` vectors to sum i.
    unsafe fn add_sums(sums: *mut i32, v: &[Self::V; 8], elem: Elem);
}

/// No vector road.
pub struct NoGather;
// SAFETY: with `N` = 0 nothing is ever called.
unsafe impl Gather for NoGather {
    const N: usize = 0;
    type V = ();
    const ZERO: () = ();
    unsafe fn along_k(_: *const u8, _: Form) {}
    unsafe fn copy(_: *const u8, _: *mut u8, _: usize, _: Form) -> i32 {
        0
    }
    unsafe fn along_members(_: *const u8, _: usize, _: Form) {}
    unsafe fn transpose(_: &mut [(); 8]) {}
    unsafe fn sum(_: *const u8, _: usize, _: bool) -> i32 {
        0
    }
    unsafe fn load(_: *const u8) {}
    unsafe fn store(_: *mut u8, (): ()) {}
    unsafe fn store_columns(_: *mut u8, _: usize, (): ()) {}
    unsafe fn add_sums(_: *mut i32, _: &[(); 8], _: Elem) {}
}

/// Packs one side.
///
/// # Safety
/// * **Features** of `K`.
/// * **Source**: `members` x `k` codes are valid for reads at their strides.
/// * **Room**: `out` is valid for writes of `Row::panel_bytes(side, members, padded_k)` bytes, aligned to 64 bytes;
///   `sums`, if not null, of one sum a member.
#[inline(always)]
pub(crate) unsafe fn pack<K: Microkernel>(run: &PackRun) {
    // SAFETY: our caller's clauses. Each layout gets a loop of its own: groups of unknown length cost divisions.
    unsafe {
        if run.out.is_null() {
            return K::Gather::sums(run);
        }
        match (run.side, K::PROOF) {
            (Side::Lhs, _) => {
                layout::<K>(run, &K::LHS);
                let plain = run.sums.is_null() || (run.factor, run.constant) == (1, 0);
                for i in 0..if plain { 0 } else { run.members } {
                    *run.sums.add(i) = run.constant.wrapping_add(run.factor.wrapping_mul(*run.sums.add(i)));
                }
            }
            (Side::Rhs, None) => layout::<K>(run, &K::RHS),
            (Side::Rhs, Some(Proof::Strips)) => strips::pack(run),
            (Side::Rhs, Some(Proof::Pairs)) => {
                let out = run.out.add(pairs::HEAD);
                layout::<K>(&PackRun { out, gap: pairs::HEAD, ..*run }, &K::RHS);
                pairs::prove(&K::RHS, run);
            }
        }
    }
}

/// Sums contiguous codes of rows.
///
/// # Safety
/// The clauses of [`pack`]; `sums` is not null.
#[inline(always)]
pub(crate) unsafe fn sums<G: Gather>(run: &PackRun) {
    let Source { codes, member_stride, signed, .. } = run.source;
    // SAFETY: our caller's.
    unsafe {
        for w in 0..run.members {
            let from = codes.wrapping_add(w * member_stride);
            let whole = if G::N > 0 { run.k & !31 } else { 0 };
            let sum = G::sum(from, whole, signed);
            let code = |k| if signed { i32::from(*from.add(k).cast::<i8>()) } else { i32::from(*from.add(k)) };
            let sum = (whole..run.k).fold(sum, |sum, k| sum.wrapping_add(code(k)));
            *run.sums.add(w) = run.constant.wrapping_add(run.factor.wrapping_mul(sum));
        }
    }
}

#[inline(always)]
unsafe fn layout<K: Microkernel>(run: &PackRun, panel: &Panel) {
    // SAFETY: the clauses of `pack`; the layout is matched to its element type.
    unsafe {
        match panel.elem {
            Elem::U8 => roads::<K, u8>(run, panel),
            Elem::I8 => roads::<K, i8>(run, panel),
            Elem::I16 => roads::<K, i16>(run, panel),
        }
    }
}

#[inline(always)]
unsafe fn roads<K: Microkernel, E: Packed>(run: &PackRun, panel: &Panel) {
    // SAFETY: the clauses of `pack`.
    unsafe {
        if K::Gather::N > 0 && panel.is_rows() && run.source.k_stride == 1 {
            rows::<K, E>(run, panel.strides(run.padded_k).member);
        } else {
            panels::<K, E>(run, panel);
        }
    }
}

/// Packs contiguous members from contiguous codes.
#[inline(always)]
unsafe fn rows<K: Microkernel, E: Packed>(run: &PackRun, step: usize) {
    let PackRun {
        source: Source { mut codes, member_stride, signed, .. }, mut members, mut k, mut padded_k, ..
    } = *run;
    // Members without gaps on both sides are one.
    if run.sums.is_null() && [member_stride, padded_k, step] == [k; 3] {
        (k, padded_k, members) = (k * members, k * members, members.min(1));
    }
    let mut out = run.out.cast::<E>();
    // SAFETY: the clauses of `pack`.
    unsafe {
        for w in 0..members {
            let whole = k & !3;
            let mut sum = K::Gather::copy(codes, out.cast(), whole, E::form(signed));
            for k in whole..k {
                let value = E::of(*codes.add(k), signed);
                *out.add(k) = value;
                sum = sum.wrapping_add(value.into());
            }
            for k in k..padded_k {
                *out.add(k) = E::ZERO;
            }
            if !run.sums.is_null() {
                *run.sums.add(w) = sum;
            }
            (codes, out) = (codes.wrapping_add(member_stride), out.wrapping_add(step));
        }
    }
}

/// An element of packed data.
trait Packed: Copy + Into<i32> + 'static {
    const ELEM: Elem;
    const ZERO: Self;
    #[inline(always)]
    fn form(signed: bool) -> Form {
        Form { signed, elem: Self::ELEM }
    }
    /// The code as packed; see [`Elem::offset`].
    fn of(code: u8, signed: bool) -> Self;
}

impl Packed for u8 {
    const ELEM: Elem = Elem::U8;
    const ZERO: Self = 0;
    #[inline(always)]
    fn of(code: u8, signed: bool) -> Self {
        if signed { code ^ 0x80 } else { code }
    }
}

impl Packed for i8 {
    const ELEM: Elem = Elem::I8;
    const ZERO: Self = 0;
    #[inline(always)]
    fn of(code: u8, signed: bool) -> Self {
        (if signed { code } else { code ^ 0x80 }) as i8
    }
}

impl Packed for i16 {
    const ELEM: Elem = Elem::I16;
    const ZERO: Self = 0;
    #[inline(always)]
    fn of(code: u8, signed: bool) -> Self {
        if signed { i16::from(code as i8) } else { i16::from(code) }
    }
}

#[inline(always)]
unsafe fn panels<K: Microkernel, E: Packed>(run: &PackRun, panel: &Panel) {
    let Source { member_stride, k_stride, .. } = run.source;
    let vector = 4 / size_of::<E>() * K::Gather::N;
    let pieces = if vector == 0 {
        None
    } else if panel.is_rows() || panel.group.is_multiple_of(vector) {
        Some(Pieces::Whole)
    } else if K::Gather::HALVES && 2 * panel.group == vector {
        Some(Pieces::Halves)
    } else if panel.group * size_of::<E>() == 4 {
        Some(Pieces::Groups)
    } else {
        None
    };
    // Codes of one member that lie together on both sides are copied, unless squares do better.
    let copies = k_stride == 1 && matches!(pieces, Some(Pieces::Whole | Pieces::Halves));
    let squares =
        pieces.filter(|pieces| if k_stride == 1 { *pieces != Pieces::Whole } else { member_stride == 1 });
    // Contiguous members make one long strip: nothing marks the end of a panel.
    let width = if panel.is_rows() { run.members.max(1) } else { panel.width };
    // A tile of rhs may cover several panels: all of them are there.
    let tile = if panel.is_rows() || run.side == Side::Lhs { width } else { K::NR };
    let all = run.members.next_multiple_of(tile);
    let strides = panel.strides(run.padded_k);
    // SAFETY: the clauses of `pack`; strip p holds the members from p * width on.
    unsafe {
        if !run.sums.is_null() {
            run.sums.write_bytes(0, run.members);
        }
        let strip = |panel: usize, first: usize| Strip {
            source: run.source.member(first),
            members: width.min(run.members.saturating_sub(first)),
            k: run.k,
            strides,
            out: run.out.cast::<E>().add(panel * (strides.panel + run.gap / size_of::<E>())),
            sums: if run.sums.is_null() { run.sums } else { run.sums.wrapping_add(first) },
        };
        let whole_k = if squares.is_some() { run.k / vector * vector } else { 0 };
        // Where members are contiguous, k goes outermost: a cache line holds members of several panels.
        let chunk = if k_stride == 1 { whole_k } else { 16 * vector };
        let mut k = 0;
        while k < whole_k {
            let end = whole_k.min(k + chunk);
            let (mut panel, mut first) = (0, 0);
            while let Some(pieces) = squares.filter(|_| first < run.members) {
                strip(panel, first).squares::<K::Gather>(k..end, pieces);
                (panel, first) = (panel + 1, first + width);
            }
            k = end;
        }
        let (mut index, mut first) = (0, 0);
        while first < all {
            let strip = strip(index, first);
            let squared = if squares.is_some() { strip.squared::<K::Gather>() } else { 0 };
            let above = squared.min(strip.members);
            if copies {
                strip.copies::<K::Gather>(whole_k, panel.group);
            }
            // What is left: below the squares and beside them, or behind the copies.
            let behind = |k| if copies { run.k } else { k };
            strip.elements(0..above, behind(whole_k)..run.padded_k);
            strip.elements(above..strip.members, behind(0)..run.padded_k);
            // Contiguous members need none beyond the last; other layouts are padded with zeros.
            if strip.members < width && !panel.is_rows() {
                let beside = if squared > strip.members { whole_k } else { 0 };
                strip.zeros(squared..width, 0..beside);
                strip.zeros(strip.members..width, beside..run.padded_k);
            }
            (index, first) = (index + 1, first + width);
        }
    }
}

//! Prepacked weights: one blob of bytes that is its own storage format.
//!
//! ```text
//! header (128 bytes) | column sums | zero points, if one a column | outliers | panels   each aligned to 64 bytes
//! ```
//! Zero points stay outside the panels, unless nearly all weights less the zero point fit i8: then that is what is
//! packed, the outliers are what does not fit, and no run needs the sums of its rows.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout as MemoryLayout;
use core::fmt;

use aligned_vec::{AVec, ConstAlign};
use zeropoint_kernels::bytes::{numbers, numbers_mut};
use zeropoint_kernels::{
    Backend, Code, Dest, Effort, Elem, Error, MatRef, Name, Outlier, Outliers, Quantized, Shares, Side, Weights,
    ZeroPoint,
};

use crate::plan::{self, Finish};
use crate::stages::{Scaling, Stages};
use crate::{Element, dispatch};

/// Elements of which the first starts a cache line.
pub(crate) type Aligned<T> = AVec<T, ConstAlign<64>>;

/// Zeros.
pub(crate) fn aligned<T: Copy + Default>(argument: &'static str, count: usize) -> Result<Aligned<T>, Error> {
    let bytes = count.saturating_mul(size_of::<T>());
    let refused = Error::Memory { argument, bytes };
    // `AVec` counts on this.
    MemoryLayout::from_size_align(bytes, 64).map_err(|_| refused)?;
    let mut memory = Aligned::new(64);
    memory.try_reserve_exact(count).map_err(|_| refused)?;
    memory.resize(count, T::default());
    Ok(memory)
}

/// How to pack.
#[derive(Clone, Copy, Debug, Default)]
pub struct PackOptions {
    /// The kernel to pack for; if `None`, one of the [`selected`](crate::selected) backend that suits shape and weights.
    pub backend: Option<Backend>,
    /// How many rows the other side is expected to have, if known: a hint for the choice of a kernel, and of how many
    /// rows are packed at a time. Fewer need less workspace; runs on more rows take more turns. Stored
    /// weights forget it.
    pub expected_rows: Option<usize>,
    /// How long to look for an order of the weights that allows a faster instruction.
    pub effort: Effort,
}

/// The constant side of products, packed for one kernel. Clones share their storage.
///
/// ```
/// use zeropoint::{MatRef, Packed};
/// let weights = [1u8, 2, 3, 4, 5, 6];
/// let packed = Packed::rhs(MatRef::row_major(&weights, 3, 2)?.zero_point(3))?;
/// assert_eq!((packed.k(), packed.columns()), (3, 2));
/// let stored = packed.as_bytes().to_vec(); // on disk, say
/// assert_eq!(Packed::from_bytes(&stored)?.as_bytes(), packed.as_bytes());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone)]
pub struct Packed<'a> {
    storage: Storage<'a>,
    header: Header,
    layout: Layout,
    shares: Option<Shares>,
    /// As [`PackOptions`] had them.
    expected_rows: Option<usize>,
    forced: bool,
}

#[derive(Clone)]
enum Storage<'a> {
    Owned(Arc<Aligned<u8>>),
    Borrowed(&'a [u8]),
}

/// The fingerprint: what the blob is and for which kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Header {
    backend: Backend,
    side: Side,
    /// Columns have zero points of their own.
    zeros: bool,
    /// The zero point, in packed terms, if they do not.
    zero_point: i32,
    outliers: u32,
    k: usize,
    n: usize,
}

/// Where things lie in a blob.
#[derive(Clone, Copy)]
struct Layout {
    columns: usize,
    sums: usize,
    zeros: usize,
    outliers: usize,
    panels: usize,
    total: usize,
}

const MAGIC: &[u8; 8] = b"ZP-PACK\x03";
/// Written in the byte order of the machine, as are sums and 16-bit panels.
const BYTE_ORDER: u32 = 0x0102_0304;
const HEADER: usize = 128;

impl Header {
    fn layout(&self) -> Result<Layout, Error> {
        let overflow = Error::Overflow { argument: "packed", a: self.k, b: self.n };
        let columns = self.backend.columns(self.n)?;
        let vector = columns.checked_mul(4).and_then(|b| b.checked_next_multiple_of(64)).ok_or(overflow)?;
        let zeros = HEADER.checked_add(vector).ok_or(overflow)?;
        let outliers = zeros.checked_add(if self.zeros { vector } else { 0 }).ok_or(overflow)?;
        let list = (self.outliers as usize).checked_mul(size_of::<Outlier>());
        let list = list.and_then(|bytes| bytes.checked_next_multiple_of(64)).ok_or(overflow)?;
        let panels = outliers.checked_add(list).ok_or(overflow)?;
        let bytes = self.backend.packed_bytes(Side::Rhs, self.n, self.k)?;
        let total = panels.checked_add(bytes).filter(|n| *n <= isize::MAX as usize).ok_or(overflow)?;
        Ok(Layout { columns, sums: HEADER, zeros, outliers, panels, total })
    }

    fn write(&self, blob: &mut [u8]) {
        let mut field = |at: usize, bytes: &[u8]| blob[at..at + bytes.len()].copy_from_slice(bytes);
        field(0, MAGIC);
        field(8, &BYTE_ORDER.to_ne_bytes());
        field(12, &[u8::from(self.side == Side::Lhs), u8::from(self.zeros)]);
        field(16, &self.zero_point.to_ne_bytes());
        field(20, &self.outliers.to_ne_bytes());
        field(24, &(self.k as u64).to_ne_bytes());
        field(32, &(self.n as u64).to_ne_bytes());
        field(48, Name::new(self.backend.kernel()).as_str().as_bytes());
        let sum = checksum(blob);
        blob[40..48].copy_from_slice(&sum.to_ne_bytes());
    }

    fn read(blob: &[u8]) -> Result<(Self, Layout), Error> {
        let foreign = |argument, expected: &dyn fmt::Display, got: &dyn fmt::Display| Error::Packed {
            argument,
            expected: Name::new(expected),
            got: Name::new(got),
        };
        if blob.len() < HEADER {
            return Err(foreign("length", &HEADER, &blob.len()));
        }
        fn field<const N: usize>(blob: &[u8], at: usize) -> [u8; N] {
            core::array::from_fn(|i| blob[at + i])
        }
        if &field(blob, 0) != MAGIC {
            let got = field::<8>(blob, 0);
            return Err(foreign("format", &MAGIC.escape_ascii(), &got.escape_ascii()));
        }
        let order = u32::from_ne_bytes(field(blob, 8));
        if order != BYTE_ORDER {
            return Err(foreign("byte order", &BYTE_ORDER, &order));
        }
        let [side, zeros] = field(blob, 12);
        let name = field::<40>(blob, 48);
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        let kernel = core::str::from_utf8(&name[..end]).unwrap_or("?");
        let backend = Backend::kernel_named(kernel).ok_or_else(|| {
            let first = zeropoint_kernels::available().next().map_or("none", Backend::kernel);
            foreign("kernel", &first, &kernel)
        })?;
        let size = |at| usize::try_from(u64::from_ne_bytes(field(blob, at)));
        let (Ok(k), Ok(n)) = (size(24), size(32)) else {
            return Err(foreign("size", &usize::MAX, &"larger"));
        };
        let zero_point = i32::from_ne_bytes(field(blob, 16));
        let side = if side == 0 { Side::Rhs } else { Side::Lhs };
        let outliers = u32::from_ne_bytes(field(blob, 20));
        let header = Self { backend, side, zeros: zeros != 0, zero_point, outliers, k, n };
        let layout = header.layout()?;
        if blob.len() != layout.total {
            return Err(foreign("length", &layout.total, &blob.len()));
        }
        let (expected, got) = (u64::from_ne_bytes(field(blob, 40)), checksum(blob));
        if expected != got {
            return Err(foreign("checksum", &expected, &got));
        }
        Ok((header, layout))
    }

    /// Checks what a kernel relies on.
    fn verify(&self, blob: &[u8], layout: Layout) -> Result<Option<Shares>, Error> {
        self.backend.verify(self.n, self.k, &blob[layout.panels..])
    }
}

/// FNV-1a over 64-bit words (tail bytes one by one), without the checksum itself. It finds accidents, not attacks;
/// no bytes whatsoever make a product read out of bounds.
fn checksum(blob: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for part in [&blob[..40], &blob[48..]] {
        let (words, tail) = part.as_chunks::<8>();
        hash = words.iter().fold(hash, |hash, word| step(hash, u64::from_ne_bytes(*word)));
        hash = tail.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)));
    }
    hash
}

impl Packed<'static> {
    /// Packs a constant rhs, K x N, for [`selected`](crate::selected).
    ///
    /// # Errors
    /// [`Error::ZeroPoint`] or [`Error::Length`] for its zero points, [`Error::Overflow`] if the packed size
    /// overflows, [`Error::Memory`], [`Error::Backend`] if the environment names no valid one.
    pub fn rhs<'m, C: Code>(rhs: impl Into<Quantized<'m, C>>) -> Result<Self, Error> {
        Self::rhs_with(rhs, PackOptions::default())
    }

    /// Packs a constant rhs, K x N.
    ///
    /// # Errors
    /// As [`Packed::rhs`].
    pub fn rhs_with<'m, C: Code>(rhs: impl Into<Quantized<'m, C>>, options: PackOptions) -> Result<Self, Error> {
        pack(rhs.into(), Side::Rhs, options)
    }

    /// Packs a constant lhs, M x K: products then take rhs as the side that changes.
    ///
    /// # Errors
    /// As [`Packed::rhs`].
    pub fn lhs<'m, C: Code>(lhs: impl Into<Quantized<'m, C>>) -> Result<Self, Error> {
        Self::lhs_with(lhs, PackOptions::default())
    }

    /// Packs a constant lhs, M x K.
    ///
    /// # Errors
    /// As [`Packed::rhs`].
    pub fn lhs_with<'m, C: Code>(lhs: impl Into<Quantized<'m, C>>, options: PackOptions) -> Result<Self, Error> {
        let Quantized { codes, zero_point } = lhs.into();
        // out^T = rhs^T lhs^T: the constant lhs is the rhs of the transposed product.
        pack(Quantized { codes: codes.transposed(), zero_point }, Side::Lhs, options)
    }

    /// Weights from stored bytes, copied.
    ///
    /// # Errors
    /// [`Error::Packed`] if they are of another format, kernel, length or byte order, damaged, or their proof fails;
    /// [`Error::Memory`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, layout) = Header::read(bytes)?;
        let shares = header.verify(bytes, layout)?;
        let mut blob = aligned("packed", bytes.len())?;
        blob.copy_from_slice(bytes);
        Ok(Self::stored(Storage::Owned(Arc::new(blob)), header, layout, shares))
    }
}

fn pack<C: Code>(rhs: Quantized<'_, C>, side: Side, options: PackOptions) -> Result<Packed<'static>, Error> {
    let PackOptions { backend, expected_rows, .. } = options;
    Ok(Packed { expected_rows, forced: backend.is_some(), ..pack_chosen(rhs, side, options)? })
}

fn pack_chosen<C: Code>(
    rhs: Quantized<'_, C>,
    side: Side,
    options: PackOptions,
) -> Result<Packed<'static>, Error> {
    let PackOptions { backend: forced, effort, .. } = options;
    let most = Some(plan::outliers(rhs.codes.rows()));
    let backend = kernel(rhs.codes.rows(), rhs.codes.cols(), options)?;
    if forced.is_some() {
        return pack_for(backend, rhs, side, effort, most);
    }
    // Whether a proof pays is known once it was tried; errors are those of the kernel that needs none.
    if let Some(Ok(packed)) = plan::proven(backend).map(|proven| pack_for(proven, rhs, side, effort, most))
        && let (Some(proof), Some(shares)) = (packed.backend().proof(), packed.shares)
        && plan::proof_pays(backend, proof, shares, packed.k(), packed.columns())
    {
        return Ok(packed);
    }
    pack_for(backend, rhs, side, effort, most)
}

/// A rhs for one call: neither proof nor absorbed zero point would pay.
pub(crate) fn once<C: Code>(rhs: Quantized<'_, C>, rows: usize) -> Result<Packed<'static>, Error> {
    let options = PackOptions { expected_rows: Some(rows), ..PackOptions::default() };
    let backend = kernel(rhs.codes.rows(), rhs.codes.cols(), options)?;
    pack_for(backend, rhs, Side::Rhs, Effort::default(), None)
}

/// The kernel that suits K x N, or that the options name. A proof may choose another one of the same backend, once the weights are
/// known.
pub(crate) fn kernel(k: usize, n: usize, options: PackOptions) -> Result<Backend, Error> {
    let chosen =
        || plan::kernel(dispatch::candidates()?, k, n, options.expected_rows).map_or_else(dispatch::selected, Ok);
    options.backend.map_or_else(chosen, Ok)
}

/// Packs for a kernel; absorbs zero points where weights have 16 bits, or if that leaves at most `most` outliers, but none if that is `None`.
fn pack_for<C: Code>(
    backend: Backend,
    rhs: Quantized<'_, C>,
    side: Side,
    effort: Effort,
    most: Option<usize>,
) -> Result<Packed<'static>, Error> {
    let Quantized { codes, zero_point } = rhs;
    let (k, n) = (codes.rows(), codes.cols());
    let (argument, (low, high)) = (if side == Side::Rhs { "rhs" } else { "lhs" }, C::RANGE);
    zero_point.check(argument, n, low, high)?;
    let mut header = Header { backend, side, zeros: false, zero_point: 0, outliers: 0, k, n };
    if backend.rhs().elem == Elem::I16 && most.is_some() {
        return write(header, codes, zero_point, &[], effort);
    }
    match zero_point {
        ZeroPoint::Each(_) => header.zeros = true,
        // Packing moves codes, so zero points move with them.
        ZeroPoint::One(zero) => header.zero_point = zero + backend.rhs().elem.offset(C::SIGNED),
    }
    if let ZeroPoint::One(zero) = zero_point
        && header.zero_point != 0
        && backend.rhs().elem == Elem::I8
        && let Some((differences, outliers)) = most.and_then(|most| absorbed(codes, zero, most))
    {
        header.zero_point = 0;
        header.outliers = outliers.len() as u32;
        let codes = MatRef::row_major(&differences, k, n)?;
        return write(header, codes, ZeroPoint::One(0), &outliers, effort);
    }
    write(header, codes, zero_point, &[], effort)
}

/// Weights less their zero point as i8, row-major, and what does not fit, if that is no more than `most`; `None` as
/// well where there is no memory for it.
fn absorbed<C: Code>(codes: MatRef<'_, C>, zero: i32, most: usize) -> Option<(Vec<i8>, Vec<Outlier>)> {
    let (mut differences, mut outliers) = (Vec::new(), Vec::new());
    let (k, n) = (u32::try_from(codes.rows()).ok()?, u32::try_from(codes.cols()).ok()?);
    differences.try_reserve_exact(codes.rows().checked_mul(codes.cols())?).ok()?;
    outliers.try_reserve_exact(most).ok()?;
    for row in 0..k {
        for col in 0..n {
            let difference: i32 = codes.get(row as usize, col as usize)?.into() - zero;
            let packed = difference.clamp(-128, 127) as i8;
            differences.push(packed);
            let residual = difference - i32::from(packed);
            if residual != 0 {
                if outliers.len() == most {
                    return None;
                }
                outliers.push(Outlier { k: row, col, residual });
            }
        }
    }
    Some((differences, outliers))
}

/// The blob: the weights of a header packed, with outliers, and with zero points if the header has them; else they are taken from weights
/// of 16 bits.
fn write<C: Code>(
    header: Header,
    codes: MatRef<'_, C>,
    zero_point: ZeroPoint<'_>,
    outliers: &[Outlier],
    effort: Effort,
) -> Result<Packed<'static>, Error> {
    let (backend, n) = (header.backend, header.n);
    let layout = header.layout()?;
    let mut blob = aligned("packed", layout.total)?;
    let (head, panels) = blob.split_at_mut(layout.panels);
    let sums = numbers_mut::<i32>("sums", &mut head[layout.sums..], n)?;
    backend.pack_with(Side::Rhs, codes, panels, Some(&mut *sums), effort)?;
    let taken = !header.zeros && header.zero_point == 0 && !matches!(zero_point, ZeroPoint::One(0));
    if taken && backend.rhs().elem == Elem::I16 {
        backend.absorb(zero_point, header.k, panels, sums)?;
    }
    let shares = backend.verify(n, header.k, panels)?;
    for outlier in outliers {
        let sum = &mut sums[outlier.col as usize];
        *sum = sum.wrapping_add(outlier.residual);
    }
    if header.zeros
        && let ZeroPoint::Each(values) = zero_point
    {
        let offset = backend.rhs().elem.offset(C::SIGNED);
        let to = numbers_mut::<i32>("zero points", &mut head[layout.zeros..], n)?;
        for (to, value) in to.iter_mut().zip(values) {
            *to = value + offset;
        }
    }
    numbers_mut("outliers", &mut head[layout.outliers..], outliers.len())?.copy_from_slice(outliers);
    header.write(&mut blob);
    Ok(Packed::stored(Storage::Owned(Arc::new(blob)), header, layout, shares))
}

impl<'a> Packed<'a> {
    /// Without what only [`PackOptions`] know.
    fn stored(storage: Storage<'a>, header: Header, layout: Layout, shares: Option<Shares>) -> Self {
        Self { storage, header, layout, shares, expected_rows: None, forced: false }
    }

    /// Weights in stored bytes, used where they are: a mapped file, say.
    ///
    /// # Errors
    /// As [`Packed::from_bytes`], and [`Error::Length`] if the bytes are not aligned to 64.
    pub fn borrow(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, layout) = Header::read(bytes)?;
        let shares = header.verify(bytes, layout)?;
        let packed = Self::stored(Storage::Borrowed(bytes), header, layout, shares);
        if !bytes.as_ptr().addr().is_multiple_of(64) {
            let got = bytes.len() - bytes.as_ptr().align_offset(64).min(bytes.len());
            return Err(Error::Length { argument: "aligned bytes", expected: bytes.len(), got });
        }
        Ok(packed)
    }

    /// The bytes to store. They hold kernel, shape, zero points and format, and are refused elsewhere.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Owned(blob) => blob,
            Storage::Borrowed(bytes) => bytes,
        }
    }

    /// The backend that the weights are packed for.
    pub fn backend(&self) -> Backend {
        self.header.backend
    }

    /// Which share of the weights is multiplied how, if the kernel is one for which they carry a proof.
    pub fn shares(&self) -> Option<Shares> {
        self.shares
    }

    /// Which side of the product is packed.
    pub fn side(&self) -> Side {
        self.header.side
    }

    /// K: rows of a packed rhs, columns of a packed lhs.
    pub fn k(&self) -> usize {
        self.header.k
    }

    /// The other dimension: columns of a packed rhs, rows of a packed lhs.
    pub fn columns(&self) -> usize {
        self.header.n
    }

    /// How many rows of the other side runs should be planned for.
    pub(crate) fn planned_rows(&self) -> usize {
        self.expected_rows.map_or(usize::MAX, |rows| rows.max(1))
    }

    /// The kernel for products with these outputs.
    pub(crate) fn kernel_for<O: Element>(&self, stages: &Stages<'_, O>) -> Backend {
        if self.forced || self.side() == Side::Lhs {
            return self.backend();
        }
        let finish = match (O::DEST, &stages.scaling) {
            (Dest::I32, _) => Finish::Sums,
            (_, Scaling::Fixed(_)) => Finish::Fixed,
            _ => Finish::Float,
        };
        plan::tile(self.backend(), self.k(), self.columns(), self.expected_rows, finish)
    }

    /// How many weights do not fit their panels, if runs need no sums of rows; `None` if they do.
    pub(crate) fn outliers(&self) -> Option<usize> {
        let Header { zeros, zero_point, outliers, .. } = self.header;
        (!zeros && zero_point == 0).then_some(outliers as usize)
    }

    /// `columns` in whole panels.
    pub(crate) fn padded_columns(&self) -> usize {
        self.layout.columns
    }

    /// What kernels take.
    pub(crate) fn weights(&self) -> Result<Weights<'_>, Error> {
        let (blob, header, layout) = (self.as_bytes(), self.header, self.layout);
        let vector = |at: usize| numbers::<i32>("packed", &blob[at..], layout.columns);
        let zero_point =
            if header.zeros { ZeroPoint::Each(vector(layout.zeros)?) } else { ZeroPoint::One(header.zero_point) };
        Ok(Weights {
            k: header.k,
            n: header.n,
            panels: &blob[layout.panels..],
            sums: vector(layout.sums)?,
            zero_point,
            outliers: Outliers {
                list: numbers("packed", &blob[layout.outliers..], header.outliers as usize)?,
                first: 0,
            },
        })
    }
}

impl fmt::Debug for Packed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed").field("header", &self.header).field("bytes", &self.as_bytes().len()).finish()
    }
}

//! FlatBuffers, read: every offset and every length is checked before it is followed.
//!
//! ```text
//! table:  [i32 distance back to its field list] [fields ...]
//! list:   [u16 bytes of the list] [u16 bytes of the table] [u16 offset of field 0 in the table, 0 if absent] ...
//! vector: [u32 elements] [elements ...]
//! a field that is a table, a vector or a text holds [u32 distance forward to it]
//! ```
//! Nothing forbids two offsets to lead to one place: a few bytes may unfold to gigabytes. All that is read is
//! therefore charged to a budget of [`UNFOLDED`] times the file's length.

use core::cell::Cell;

use crate::{Error, schema::Field};

/// How many times a file's bytes may be read. Tensors with equal values share a buffer, so once is too strict.
pub(crate) const UNFOLDED: usize = 16;

/// Bytes and what of them may still be read.
pub(crate) struct Flat<'a> {
    bytes: &'a [u8],
    budget: Cell<usize>,
}

impl<'a> Flat<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, budget: Cell::new(bytes.len().saturating_mul(UNFOLDED)) }
    }

    pub(crate) fn root(&self) -> Result<Table<'_>, Error> {
        let what = "root";
        let at = u32::read(self.slice(what, 0, 4)?) as usize;
        Table::at(self, what, at)
    }

    fn slice(&self, what: &'static str, at: usize, bytes: usize) -> Result<&'a [u8], Error> {
        at.checked_add(bytes).and_then(|end| self.bytes.get(at..end)).ok_or(Error::Outside {
            what,
            at,
            bytes,
            length: self.bytes.len(),
        })
    }

    fn charge(&self, bytes: usize) -> Result<(), Error> {
        let left = self.budget.get().checked_sub(bytes).ok_or(Error::Folded { length: self.bytes.len() })?;
        self.budget.set(left);
        Ok(())
    }

    /// Where the forward distance at `at` leads.
    fn follow(&self, what: &'static str, at: usize) -> Result<usize, Error> {
        let distance = u32::read(self.slice(what, at, 4)?) as usize;
        at.checked_add(distance).ok_or(Error::Outside { what, at, bytes: distance, length: self.bytes.len() })
    }

    /// Where the elements of the vector at `at` begin, and how many there are.
    fn vector(&self, what: &'static str, at: usize, element: usize) -> Result<(usize, &'a [u8]), Error> {
        let count = u32::read(self.slice(what, at, 4)?) as usize;
        let bytes = count.saturating_mul(element);
        let elements = self.slice(what, at + 4, bytes)?;
        self.charge(bytes)?;
        Ok((at + 4, elements))
    }
}

/// A number as it lies in the file, little-endian.
pub(crate) trait Scalar: Copy {
    const BYTES: usize;
    /// `bytes` are `BYTES` many.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! scalars {
    ($($kind:ty),*) => {$(
        impl Scalar for $kind {
            const BYTES: usize = size_of::<$kind>();
            fn read(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$kind>()];
                array.copy_from_slice(bytes);
                Self::from_le_bytes(array)
            }
        }
    )*};
}
scalars!(i8, u8, u16, i32, u32, i64, u64, f32);

/// A table whose field list is inside the file.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    flat: &'a Flat<'a>,
    at: usize,
    /// Offsets of the fields, two bytes each.
    fields: &'a [u8],
}

impl<'a> Table<'a> {
    fn at(flat: &'a Flat<'a>, what: &'static str, at: usize) -> Result<Self, Error> {
        let outside = |at, bytes| Error::Outside { what, at, bytes, length: flat.bytes.len() };
        let back = i32::read(flat.slice(what, at, 4)?);
        let list = i64::try_from(at).ok().and_then(|at| usize::try_from(at - i64::from(back)).ok());
        let list = list.ok_or_else(|| outside(at, 4))?;
        let bytes = usize::from(u16::read(flat.slice(what, list, 2)?));
        let fields = flat.slice(what, list, bytes)?.get(4..).ok_or_else(|| outside(list, 4))?;
        flat.charge(4)?;
        Ok(Self { flat, at, fields })
    }

    /// Where a field lies; `None` if it is left out.
    fn field(&self, field: Field) -> Option<usize> {
        let slot = self.fields.get(2 * field.id..2 * field.id + 2)?;
        match u16::read(slot) {
            0 => None,
            // `at` is inside a slice, so that the sum cannot overflow.
            offset => Some(self.at + usize::from(offset)),
        }
    }

    fn follow(&self, field: Field) -> Result<Option<usize>, Error> {
        self.field(field).map(|at| self.flat.follow(field.name, at)).transpose()
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.field(field).is_some()
    }

    pub(crate) fn scalar<T: Scalar>(&self, field: Field, default: T) -> Result<T, Error> {
        match self.field(field) {
            None => Ok(default),
            Some(at) => Ok(T::read(self.flat.slice(field.name, at, T::BYTES)?)),
        }
    }

    pub(crate) fn table(&self, field: Field) -> Result<Option<Self>, Error> {
        self.follow(field)?.map(|at| Self::at(self.flat, field.name, at)).transpose()
    }

    /// The bytes of a vector; none if it is left out.
    pub(crate) fn bytes(&self, field: Field) -> Result<&'a [u8], Error> {
        match self.follow(field)? {
            None => Ok(&[]),
            Some(at) => Ok(self.flat.vector(field.name, at, 1)?.1),
        }
    }

    /// Names are for people: bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self, field: Field) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.bytes(field)?).into_owned())
    }

    /// The numbers of a vector; none if it is left out.
    pub(crate) fn numbers<T: Scalar>(&self, field: Field) -> Result<Vec<T>, Error> {
        match self.follow(field)? {
            None => Ok(Vec::new()),
            Some(at) => {
                Ok(self.flat.vector(field.name, at, T::BYTES)?.1.chunks_exact(T::BYTES).map(T::read).collect())
            }
        }
    }

    /// The tables of a vector; none if it is left out.
    pub(crate) fn tables(&self, field: Field) -> Result<Vec<Self>, Error> {
        let Some(at) = self.follow(field)? else { return Ok(Vec::new()) };
        let (first, elements) = self.flat.vector(field.name, at, 4)?;
        (0..elements.len() / 4)
            .map(|index| Self::at(self.flat, field.name, self.flat.follow(field.name, first + 4 * index)?))
            .collect()
    }
}

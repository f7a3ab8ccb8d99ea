//! Aligned bytes as numbers and back, for packed weights and workspaces that are blobs of memory.

use crate::{Code, Error};

mod sealed {
    pub trait Sealed {}
    impl Sealed for i16 {}
    impl Sealed for i32 {}
    impl Sealed for f32 {}
    impl Sealed for crate::Outlier {}
}

/// A number that may have any bits, or a few of them: `i16`, `i32`, `f32`, [`Outlier`](crate::Outlier).
pub trait Number: sealed::Sealed + Copy + 'static {}
impl Number for i16 {}
impl Number for i32 {}
impl Number for f32 {}
impl Number for crate::Outlier {}

fn check<T: Number>(argument: &'static str, start: usize, len: usize, count: usize) -> Result<(), Error> {
    let room = if start.is_multiple_of(align_of::<T>()) { len / size_of::<T>() } else { 0 };
    if room < count { Err(Error::Length { argument, expected: count, got: room }) } else { Ok(()) }
}

/// The first `count` numbers in `bytes`, which must be aligned for them.
///
/// # Errors
/// [`Error::Length`] if there are fewer, or if they are not aligned.
pub fn numbers<'a, T: Number>(argument: &'static str, bytes: &'a [u8], count: usize) -> Result<&'a [T], Error> {
    check::<T>(argument, bytes.as_ptr().addr(), bytes.len(), count)?;
    // SAFETY: aligned, long enough, any bits are valid, and borrowed for 'a.
    Ok(unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), count) })
}

/// The first `count` numbers in `bytes`, to be written; see [`numbers`].
///
/// # Errors
/// As [`numbers`].
pub fn numbers_mut<'a, T: Number>(
    argument: &'static str,
    bytes: &'a mut [u8],
    count: usize,
) -> Result<&'a mut [T], Error> {
    check::<T>(argument, bytes.as_ptr().addr(), bytes.len(), count)?;
    // SAFETY: aligned, long enough, any bits are valid both ways, and borrowed exclusively for 'a.
    Ok(unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), count) })
}

/// Bytes as codes: every byte is one.
pub fn codes<C: Code>(bytes: &[u8]) -> &[C] {
    // SAFETY: a code is `u8` or `i8`, of which any byte is valid; borrowed as long.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// Bytes as codes, to be written.
pub fn codes_mut<C: Code>(bytes: &mut [u8]) -> &mut [C] {
    // SAFETY: as above, both ways, and borrowed exclusively.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

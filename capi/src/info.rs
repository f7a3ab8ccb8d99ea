//! Version, backends, and multipliers from real numbers.

use std::ffi::c_char;
use std::fmt::{self, Display, Write};

use zp::Multiplier;

use crate::edge::{Caller, call};
use crate::failure::{Failure, zeropoint_status};
use crate::types::zeropoint_multiplier;

/// Where a text goes: a buffer, of which what fits is written, and how many bytes all of it takes, with its zero.
pub(crate) struct Text<'c> {
    buffer: &'c mut [std::mem::MaybeUninit<u8>],
    len: usize,
}

impl<'c> Text<'c> {
    /// Writes a text, and what it needs.
    pub fn write(
        caller: &'c Caller,
        buffer: *mut c_char,
        capacity: usize,
        needed: *mut usize,
        text: &dyn Display,
    ) -> Result<(), Failure> {
        let mut to = Self { buffer: caller.slice_mut("buffer", buffer.cast::<u8>(), capacity)?, len: 0 };
        // Nothing fails but what has no room, which is counted all the same.
        let _ = write!(to, "{text}");
        let end = to.len.min(capacity.saturating_sub(1));
        if let Some(end) = to.buffer.get_mut(end) {
            end.write(0);
        }
        if needed.is_null() { Ok(()) } else { caller.write("needed", needed, to.len.saturating_add(1)) }
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(to) = self.buffer.get_mut(self.len) {
                to.write(byte);
            }
            self.len += 1;
        }
        Ok(())
    }
}

/// The version of the library: "0.1.0". Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn zeropoint_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// How many backends this CPU can run. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_backend_count(count: *mut usize) -> zeropoint_status {
    call!(|caller| caller.write("count", count, names().count()))
}

/// The name of a backend that this CPU can run, best first: what `zeropoint_pack.backend` and the environment
/// variable `ZEROPOINT_BACKEND` take.
///
/// Texts are written to `buffer`, which has `capacity` bytes, with a zero at the end, cut to what fits; `needed`,
/// if it is not null, gets the bytes that all of it takes. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_backend_name(
    index: usize,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> zeropoint_status {
    call!(|caller| {
        let count = names().count();
        let wrong = zp::Error::Limit { argument: "index", value: index, low: 0, high: count.saturating_sub(1) };
        let name = names().nth(index).ok_or(wrong)?;
        Text::write(caller, buffer, capacity, needed, &name)
    })
}

/// What this CPU has, which backends there are, which is selected and why, as a text. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_explain(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> zeropoint_status {
    call!(|caller| Text::write(caller, buffer, capacity, needed, &zp::explain()))
}

/// The name of the backend that is used unless one is forced or a shape suits another better, as a text. Fails if
/// `ZEROPOINT_BACKEND` names none that this CPU can run. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_selected(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> zeropoint_status {
    call!(|caller| Text::write(caller, buffer, capacity, needed, &zp::selected()?.name()))
}

/// The multiplier nearest to a real factor from 0 up to 2^30, as TFLite derives it. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_multiplier_from_real(
    real: f64,
    multiplier: *mut zeropoint_multiplier,
) -> zeropoint_status {
    call!(|caller| {
        let by = Multiplier::from_real(real)?;
        let by = zeropoint_multiplier { multiplier: by.multiplier(), shift: by.shift() };
        caller.write("multiplier", multiplier, by)
    })
}

fn names() -> impl Iterator<Item = &'static str> {
    zp::kernels::names(zp::available())
}

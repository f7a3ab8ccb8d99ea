//! Statuses, and the message of this thread's last error.

use std::cell::RefCell;
use std::ffi::c_char;
use std::fmt::{self, Write};

use zp::Error;

/// What became of a call.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zeropoint_status {
    /// It did what it should.
    Ok = 0,
    /// A pointer is null, or not aligned to its type.
    Pointer = 1,
    /// The field `size` of a struct is none that this library knows.
    StructSize = 2,
    /// A handle is of another kind.
    Handle = 3,
    /// A number that stands for something stands for nothing, or for what does not go with the rest.
    Value = 4,
    /// Shapes or lengths do not go together.
    Shape = 5,
    /// A view reaches beyond its memory.
    Span = 6,
    /// Elements of an output share memory with each other, or with an input.
    Overlap = 7,
    /// A size is larger than the machine's.
    Overflow = 8,
    /// A zero point, clamp, multiplier, scale, or number of a layer is out of its range.
    Range = 9,
    /// A backend is unknown, or this CPU cannot run it.
    Backend = 10,
    /// Stored weights are of another machine or format, or damaged.
    Packed = 11,
    /// The workspace is too small, or another thread is using it.
    Workspace = 12,
    /// Memory could not be allocated.
    Memory = 13,
    /// Lent threads did not do all tasks.
    Threads = 14,
    /// A fault of the library, which it survives.
    Panic = 15,
    /// Another error.
    Other = 16,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Null { argument: &'static str },
    Alignment { argument: &'static str, expected: usize },
    Length { argument: &'static str, length: usize },
    StructSize { argument: &'static str, name: &'static str, size: usize, first: usize, known: usize },
    Text { argument: &'static str },
    Handle { argument: &'static str, expected: &'static str },
    Value { argument: &'static str, value: i64, valid: &'static str },
    Shared { argument: &'static str, with: &'static str },
    Busy,
    Panic,
    Library(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl Failure {
    /// How many bytes so many elements take.
    pub fn bytes<T>(argument: &'static str, length: usize) -> Result<usize, Self> {
        length.checked_mul(size_of::<T>()).ok_or(Self::Length { argument, length })
    }

    const fn status(&self) -> zeropoint_status {
        use zeropoint_status as S;
        match self {
            Self::Null { .. } | Self::Alignment { .. } => S::Pointer,
            Self::StructSize { .. } => S::StructSize,
            Self::Handle { .. } => S::Handle,
            Self::Value { .. } | Self::Text { .. } => S::Value,
            Self::Shared { .. } => S::Overlap,
            Self::Length { .. } => S::Overflow,
            Self::Busy => S::Workspace,
            Self::Panic => S::Panic,
            Self::Library(error) => match error {
                Error::Shape { .. } | Error::TensorShape { .. } | Error::Length { .. } | Error::Divisor { .. } => {
                    S::Shape
                }
                Error::Span { .. } | Error::TensorSpan { .. } | Error::Range { .. } => S::Span,
                Error::Overlap { .. } | Error::TensorOverlap { .. } | Error::TensorGaps { .. } => S::Overlap,
                Error::Overflow { .. } => S::Overflow,
                Error::Params { .. }
                | Error::Limit { .. }
                | Error::ZeroPoint { .. }
                | Error::Clamp { .. }
                | Error::Real { .. }
                | Error::FixedPoint { .. }
                | Error::RealRange { .. }
                | Error::NotFinite { .. } => S::Range,
                Error::Backend { .. } => S::Backend,
                Error::Packed { .. } => S::Packed,
                Error::Workspace { .. } => S::Workspace,
                Error::Memory { .. } => S::Memory,
                Error::Threads { .. } => S::Threads,
                _ => S::Other,
            },
        }
    }

    /// Makes this the last error of the thread.
    pub fn keep(&self) -> zeropoint_status {
        // A thread that ends has no message any more.
        let _ = LAST.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                last.clear();
                // An error means that the message was cut.
                let _ = write!(last, "{self}");
            }
        });
        self.status()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null { argument } => write!(f, "{argument}: a null pointer"),
            Self::Alignment { argument, expected } => {
                write!(f, "{argument}: a pointer that is not aligned to {expected} bytes")
            }
            Self::Length { argument, length } => write!(f, "{argument}: no memory has a length of {length}"),
            Self::StructSize { argument, name, size, first, known } => write!(
                f,
                "{argument}: size is {size}, but a {name} has {first} to {known} bytes, and zeros where it has more"
            ),
            Self::Text { argument } => write!(f, "{argument}: text that is no UTF-8"),
            Self::Handle { argument, expected } => write!(f, "{argument}: a handle that is no {expected}"),
            Self::Value { argument, value, valid } => write!(f, "{argument}: {value} is not one of {valid}"),
            Self::Shared { argument, with } => write!(f, "{argument}: shares memory with {with}"),
            Self::Busy => write!(f, "workspace: another thread is using it"),
            Self::Panic => write!(f, "a fault of the library; please report it"),
            Self::Library(error) => write!(f, "{error}"),
        }
    }
}

/// A text that ends with a zero byte, cut to what fits.
#[repr(C)]
pub(crate) struct Message {
    bytes: [u8; 512],
    len: usize,
}

impl Message {
    fn clear(&mut self) {
        self.len = 0;
        self.bytes[0] = 0;
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let end = self.len + c.len_utf8();
            if end >= self.bytes.len() {
                return Err(fmt::Error);
            }
            c.encode_utf8(&mut self.bytes[self.len..end]);
            (self.len, self.bytes[end]) = (end, 0);
        }
        Ok(())
    }
}

thread_local! {
    static LAST: RefCell<Message> = const { RefCell::new(Message { bytes: [0; 512], len: 0 }) };
}

/// What went wrong in the last call of this thread that failed; empty, if none has. In English, for people.
///
/// The text stays until another call of this thread fails. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn zeropoint_last_error() -> *const c_char {
    LAST.try_with(|last| last.as_ptr().cast_const()).map_or(c"".as_ptr(), |last| {
        // The bytes come first.
        last.cast()
    })
}

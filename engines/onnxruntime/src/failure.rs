//! What goes wrong.

/// Why a kernel cannot be prepared or run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An input that is no constant is wanted while the model is loaded.
    Later,
    /// An input or attribute that does not fit, by name and with the numbers; or what the engine said.
    Refused(String),
}

impl From<zeropoint::Error> for Failure {
    fn from(error: zeropoint::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// `Err` with a formatted message.
macro_rules! refuse {
    ($($message:tt)*) => { Err($crate::failure::Failure::Refused(format!($($message)*))) };
}
pub(crate) use refuse;

//! Why a command gave up.

use core::fmt;
use std::io;
use std::path::Path;

/// Why a command gave up.
pub enum Failure {
    /// An argument, or the file that it names, is wrong.
    Argument(String),
    /// The network refused to run.
    Network(zeropoint_tflite::Error),
    /// Nothing can be written.
    Output(io::Error),
}

impl Failure {
    /// What is wrong with an argument.
    pub fn of(argument: &str, what: impl fmt::Display) -> Self {
        Self::Argument(format!("{argument}: {what}"))
    }

    /// What is wrong with the file that an argument names.
    pub fn file<E: fmt::Display>(argument: &str, path: &Path) -> impl Fn(E) -> Self {
        move |error| Self::Argument(format!("{argument} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(what) => f.write_str(what),
            Self::Network(error) => write!(f, "MODEL: {error}"),
            Self::Output(error) => write!(f, "output: {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<zeropoint_tflite::Error> for Failure {
    fn from(error: zeropoint_tflite::Error) -> Self {
        Self::Network(error)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Argument(error.to_string())
    }
}

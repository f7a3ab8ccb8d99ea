//! Which backend runs: detected once, forced by name, listed, explained.

use core::fmt;

use zeropoint_kernels::{Backend, Error, Features, TABLE, available, names};

/// The environment variable that forces a backend by name.
pub const BACKEND_VARIABLE: &str = "ZEROPOINT_BACKEND";

/// The backend that products use unless told otherwise or a shape suits another one better: the one that [`BACKEND_VARIABLE`] names, else the best
/// of this CPU. The variable is read once; without the feature `std` it is not read.
///
/// # Errors
/// [`Error::Backend`], listing the valid names, if the variable names none of them.
///
/// ```
/// println!("{}", zeropoint::selected()?.name());
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn selected() -> Result<Backend, Error> {
    forced().unwrap_or_else(best)
}

/// The kernels to choose from for a product: those of the selected backend and, unless a name was forced, of the
/// backends behind it.
pub(crate) fn candidates() -> Result<impl Iterator<Item = Backend> + Clone, Error> {
    let name = forced().transpose()?.map(Backend::name);
    Ok(available().filter(move |row| name.is_none_or(|name| row.name() == name)))
}

/// What the environment variable says.
fn forced() -> Option<Result<Backend, Error>> {
    cfg_if::cfg_if! {
        if #[cfg(feature = "std")] {
            static FORCED: std::sync::OnceLock<Option<Result<Backend, Error>>> = std::sync::OnceLock::new();
            *FORCED.get_or_init(|| {
                let name = std::env::var_os(BACKEND_VARIABLE).filter(|name| !name.is_empty())?;
                Some(Backend::named(&name.to_string_lossy()))
            })
        } else {
            None
        }
    }
}

fn best() -> Result<Backend, Error> {
    // The scalar backend is in every table, so there is always a first one.
    available().next().map_or_else(|| Backend::named("scalar"), Ok)
}

/// What there is, what this CPU can run, what was chosen and why.
///
/// ```
/// println!("{}", zeropoint::explain());
/// ```
pub fn explain() -> impl fmt::Display {
    struct Explanation;
    impl fmt::Display for Explanation {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            writeln!(f, "CPU features: {}", Features::detect())?;
            write!(f, "available:")?;
            names(available()).try_for_each(|name| write!(f, " {name}"))?;
            writeln!(f)?;
            for row in TABLE {
                match Backend::detect(row) {
                    Some(backend) => writeln!(f, "  {}: {}", backend.name(), backend.kernel())?,
                    None => writeln!(f, "  {}: needs {}", row.name(), row.needs())?,
                }
            }
            match (selected(), forced()) {
                (Ok(backend), Some(_)) => write!(f, "selected: {}, by {BACKEND_VARIABLE}", backend.name()),
                (Ok(backend), None) => write!(f, "selected: {}, the first available", backend.name()),
                (Err(error), _) => write!(f, "selected: none ({error})"),
            }
        }
    }
    Explanation
}

//! What tract finds: the kernels, and the tier that chooses them. `tract-linalg` collects both with `inventory`.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tract_data::prelude::DatumType;
use tract_linalg::isa::IsaSet;
use tract_linalg::mmm::{MatMatMul, Query, Suitable};
use tract_linalg::mmm_routines::MmmRoutine;
use tract_linalg::mmm_tiers::MmmTier;
use zeropoint::{Error, selected};
use zeropoint_kernels::{Backend, available};

use crate::kernel::Kernel;

static ENABLED: AtomicBool = AtomicBool::new(true);

/// What this process registers, by the backend of `ZEROPOINT_BACKEND` or the best one of this CPU.
struct Registered {
    selected: Result<Backend, Error>,
    products: Kernel,
    /// Not every layout of columns is one that tract's convolutions can write.
    convolutions: Option<Kernel>,
}

static REGISTERED: LazyLock<Registered> = LazyLock::new(|| {
    let forced = std::env::var_os(zeropoint::BACKEND_VARIABLE).is_some_and(|name| !name.is_empty());
    let selected = selected();
    let backend = selected.unwrap_or_else(|_| available().last().expect("scalar is always there"));
    let others = available().filter(|other| !forced && *other != backend);
    Registered {
        selected,
        products: Kernel::products(backend),
        convolutions: std::iter::once(backend).chain(others).find_map(Kernel::convolutions),
    }
});

inventory::submit! {
    MmmRoutine { make: || Box::new(REGISTERED.products.clone()) }
}

inventory::submit! {
    // Without a kernel for convolutions, the other one again: nobody asks for it by this name.
    MmmRoutine { make: || Box::new(REGISTERED.convolutions.as_ref().unwrap_or(&REGISTERED.products).clone()) }
}

inventory::submit! {
    MmmTier {
        arch: None,
        precedence: u8::MAX,
        name: "zeropoint",
        applies: |_| true,
        preferred,
    }
}

/// Products by a vector are left to tract, which has kernels for them; a tile would be padding, nearly all of it.
const LEAST: usize = 2;

fn preferred(_: &IsaSet, sums: DatumType, query: &Query, _: &[Suitable]) -> Option<&'static str> {
    let few = |members: Option<usize>| members.is_some_and(|members| members < LEAST);
    if sums != DatumType::I32 || !enabled() || REGISTERED.selected.is_err() || few(query.m) || few(query.n) {
        return None;
    }
    // Convolutions write their columns themselves, and say so by refusing extractors.
    let kernel = if query.allow_extractor { Some(&REGISTERED.products) } else { REGISTERED.convolutions.as_ref() };
    kernel.map(MatMatMul::name)
}

/// Whether models that tract optimizes from now on get zeropoint's kernels. They do from the start.
pub fn enable(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// What [`enable`] said last.
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// What is registered, for a log.
///
/// # Errors
/// [`Error::Backend`], listing the valid names, if `ZEROPOINT_BACKEND` names none of them; no kernel is chosen then.
pub fn explain() -> Result<String, Error> {
    REGISTERED.selected?;
    let mut text = format!("products: {}; convolutions: ", REGISTERED.products.name());
    match &REGISTERED.convolutions {
        Some(kernel) => text.push_str(kernel.name()),
        None => text.push_str("left to tract, which cannot write the panels of this backend"),
    }
    if !enabled() {
        let _ = write!(text, "; not enabled");
    }
    Ok(text)
}

//! What the comparison knows of a library.

use crate::case::{Case, Output, Variant};
use crate::isa::Isa;

/// Environment variables, set before any library is loaded.
pub type Environment = Vec<(&'static str, String)>;

/// What holds a library to an instruction set and to a number of threads.
pub type Held = Result<Environment, String>;

/// Sets `variable` to a library's name of `isa`; `names` are those of avx2, avx-vnni, avx512 and avx512-vnni.
///
/// # Errors
/// Says so if the library has no such name.
pub fn switch(variable: &'static str, isa: Isa, names: [Option<&str>; 4]) -> Held {
    let Some(at) = Isa::NAMED.iter().position(|named| *named == isa) else { return Ok(vec![]) };
    let name = names[at].ok_or("has no kernel for it")?;
    Ok(vec![(variable, name.into())])
}

/// A product with packed weights, ready to run; or why there is none.
pub type Ready<'c> = Result<Box<dyn Product + 'c>, String>;

/// A library.
pub trait Peer {
    fn name(&self) -> &'static str;

    /// Whether it counts as a rival in the summary; the others are for orientation.
    fn is_rival(&self) -> bool {
        true
    }

    fn has(&self, variant: Variant) -> bool;

    /// What holds it to `isa`, or why nothing does. Unless it says otherwise, it has no switch.
    fn hold(&self, isa: Isa) -> Held {
        isa.by_itself().map(|()| vec![])
    }

    fn prepare<'c>(&'c self, case: &'c Case, variant: Variant, threads: usize) -> Ready<'c>;
}

/// A product that is prepared and owns its output.
pub trait Product {
    fn run(&mut self);

    fn output(&self) -> Output<'_>;

    /// What runs, in the library's own words.
    fn kernel(&self) -> String;
}

//! What the comparison knows of a library.

use crate::case::{Case, Output, Variant};
use crate::isa::Isa;

/// Environment variables, set before any library is loaded.
pub type Environment = Vec<(&'static str, String)>;

/// What holds a library to an instruction set and to a number of threads.
pub type Held = Result<Environment, String>;

/// A library.
pub trait Peer {
    fn name(&self) -> &'static str;

    /// Whether it counts as a rival in the summary; the others are for orientation.
    fn is_rival(&self) -> bool {
        true
    }

    fn has(&self, variant: Variant) -> bool;

    /// What holds it to `isa`, or why nothing does.
    fn hold(&self, isa: Isa) -> Held;

    /// A product with packed weights, ready to run; or why there is none.
    fn prepare<'c>(
        &'c self,
        case: &'c Case,
        variant: Variant,
        threads: usize,
    ) -> Result<Box<dyn Product + 'c>, String>;
}

/// A product that is prepared and owns its output.
pub trait Product {
    fn run(&mut self);

    fn output(&self) -> Output<'_>;

    /// What runs, in the library's own words.
    fn kernel(&self) -> String;
}

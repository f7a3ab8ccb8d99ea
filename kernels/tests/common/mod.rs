//! What the tests of the kernels share: one walk over all backends, seeded data, plain definitions, and the line
//! that repeats a failure.
#![allow(dead_code)] // every test file uses a part of this

pub mod arena;
pub mod block;
pub mod current;
pub mod depthwise;
pub mod fake_quant;
pub mod finish;
pub mod matrix;
pub mod oracle;
#[cfg(all(unix, not(miri)))]
pub mod pages;
pub mod pairwise;
pub mod panels;
pub mod points;
pub mod stage;
pub mod target;
pub mod tiles;

use std::cell::{Cell, RefCell};
use std::fmt::Arguments;
use std::io::Write;
use std::sync::Once;

use zeropoint_kernels::{Backend, TABLE, available};

pub use arena::{Arena, Place};

/// What all data of a test derives from: `ZEROPOINT_SEED`, or always the same.
fn seed() -> u64 {
    match std::env::var("ZEROPOINT_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("ZEROPOINT_SEED: {text:?} is not a number")),
        Err(_) => 1,
    }
}

/// Every backend of the table that runs here.
///
/// Prints the rows that cannot, and fails if `ZEROPOINT_EXPECT` ("scalar,avx2") names one of them.
pub fn table() -> Vec<Backend> {
    static SKIPS: Once = Once::new();
    SKIPS.call_once(|| {
        for row in TABLE.iter().filter(|row| Backend::detect(row).is_none()) {
            // Not by a macro: the test harness would swallow it.
            let (name, kernel) = (row.name(), row.kernel());
            let _ =
                writeln!(std::io::stderr(), "SKIPPED backend {name} ({kernel}): this CPU has no {}", row.needs());
        }
    });
    let covered: Vec<_> = available().collect();
    let expected = std::env::var("ZEROPOINT_EXPECT").unwrap_or_default();
    for name in expected.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let runs = covered.iter().any(|backend| backend.name() == name);
        assert!(runs, "ZEROPOINT_EXPECT: backend {name} cannot run here; those that can: {covered:?}");
    }
    let covered = match std::env::var("ZEROPOINT_ONLY") {
        Ok(only) => restricted(covered, &only),
        Err(_) => covered,
    };
    assert!(!covered.is_empty(), "no backend was covered");
    covered
}

/// The backends that `ZEROPOINT_ONLY` ("amx-int8,avx2") names: for emulators, which are too slow for all of them.
/// Prints what is left out, and fails if one of them cannot run.
fn restricted(covered: Vec<Backend>, only: &str) -> Vec<Backend> {
    static LEFT_OUT: Once = Once::new();
    let names: Vec<_> = only.split(',').map(str::trim).collect();
    for name in &names {
        let runs = covered.iter().any(|backend| backend.name() == *name);
        assert!(runs, "ZEROPOINT_ONLY: backend {name} cannot run here; those that can: {covered:?}");
    }
    let (kept, left): (Vec<_>, Vec<_>) = covered.into_iter().partition(|backend| names.contains(&backend.name()));
    LEFT_OUT.call_once(|| {
        let _ = writeln!(std::io::stderr(), "SKIPPED by ZEROPOINT_ONLY={only}: {left:?} and all twins");
    });
    kept
}

/// Every backend of the table that runs here, then, unless `ZEROPOINT_ONLY` is set, the twins.
pub fn backends() -> Vec<Backend> {
    let mut backends = table();
    if std::env::var_os("ZEROPOINT_ONLY").is_none() {
        backends.extend(zeropoint_twins::TWINS.iter().filter_map(Backend::detect));
    }
    backends
}

/// Runs `body` for every backend, with memory of a kind.
pub fn walk(test: &'static str, place: Place, body: impl Fn(&Run)) {
    for backend in backends() {
        let mut hash = seed();
        for byte in test.bytes().chain(backend.kernel().bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let run =
            Run { backend, place, rng: Rng::new(hash), test, text: RefCell::default(), told: Cell::new(false) };
        run.case(format_args!("before the first case"));
        body(&run);
        current::set("");
    }
}

/// A backend under test, and all that a failure has to tell.
pub struct Run {
    pub backend: Backend,
    pub place: Place,
    pub rng: Rng,
    test: &'static str,
    text: RefCell<String>,
    told: Cell<bool>,
}

impl Run {
    /// Says what is tested from here on.
    pub fn case(&self, what: Arguments<'_>) {
        let mut text = self.text.borrow_mut();
        *text = format!(
            "ZEROPOINT_SEED={} cargo test -p zeropoint-kernels --test {} {} # {} {}, {:?} memory: {what}",
            seed(),
            env!("CARGO_CRATE_NAME"),
            self.test,
            self.backend.name(),
            self.backend.kernel(),
            self.place
        );
        current::set(&text);
    }

    /// Twins are slow, and have neither lanes nor short cuts of their own.
    pub fn is_twin(&self) -> bool {
        self.backend.kernel().starts_with("twin-")
    }

    /// Fails with one line that repeats the failure when pasted into a shell.
    pub fn fail(&self, why: Arguments<'_>) -> ! {
        self.told.set(true);
        panic!("{}: {why}", self.text.borrow());
    }

    /// Fails if something was written beside a slice of the arena.
    pub fn check_margins(&self, arena: &Arena) {
        if let Some(damage) = arena.damage() {
            self.fail(format_args!("{damage}"));
        }
    }
}

impl Drop for Run {
    /// A panic inside a kernel knows nothing of the case it came from.
    fn drop(&mut self) {
        if std::thread::panicking() && !self.told.get() {
            eprintln!("{}: panicked", self.text.borrow());
        }
    }
}

/// SplitMix64: small, and good enough to find errors.
pub struct Rng(Cell<u64>);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub fn bits(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..end`.
    pub fn below(&self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Yes, once in `n` times.
    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number in `low..=high`.
    pub fn within(&self, low: i32, high: i32) -> i32 {
        let count = (i64::from(high) - i64::from(low) + 1) as usize;
        (i64::from(low) + self.below(count) as i64) as i32
    }

    /// A number in `low..=high`, and half of the time one of its ends.
    pub fn extreme(&self, low: i32, high: i32) -> i32 {
        match self.below(4) {
            0 => low,
            1 => high,
            _ => self.within(low, high),
        }
    }

    /// A float of a random exponent, `2^low..2^high`.
    pub fn real(&self, low: i32, high: i32) -> f32 {
        let fraction = 1.0 + (self.bits() >> 40) as f32 / (1u32 << 24) as f32;
        fraction * f32::powi(2.0, self.within(low, high - 1))
    }
}

//! What the integration tests share: the walk over backends, seeded data, problems of any shape, thread pools.
#![allow(dead_code)] // every test file uses a part of this

pub mod image;
pub mod matrix;
pub mod pool;
pub mod problem;
pub mod rng;
pub mod stage;

use std::io::Write;
use std::sync::Once;

use zeropoint::kernels::TABLE;
use zeropoint::{Backend, Rounding, available};

pub use rng::Rng;

/// The rules of layers whose multipliers are those of scales.
pub const RULES: [Rounding; 6] = [
    Rounding::DoubleAway,
    Rounding::DoubleAwaySat,
    Rounding::DoubleUp,
    Rounding::SingleUp,
    Rounding::SingleAway,
    Rounding::SingleEven,
];

/// What all data of the tests derives from: `ZEROPOINT_SEED`, or always the same.
pub fn seed() -> u64 {
    match std::env::var("ZEROPOINT_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("ZEROPOINT_SEED: {text:?} is not a number")),
        Err(_) => 1,
    }
}

/// Every backend that runs here: the rows of the table, then the twins.
///
/// Prints the rows that cannot run here, and fails if `ZEROPOINT_EXPECT` ("scalar,avx2") names one that does not;
/// `ZEROPOINT_ONLY` ("amx-int8,avx2") leaves out all others, and says so.
pub fn backends() -> Vec<Backend> {
    static SKIPS: Once = Once::new();
    SKIPS.call_once(|| {
        for row in TABLE.iter().filter(|row| Backend::detect(row).is_none()) {
            // Not by a macro: the test harness would swallow it.
            let _ =
                writeln!(std::io::stderr(), "SKIPPED backend {}: this CPU has no {}", row.kernel(), row.needs());
        }
    });
    let expected = std::env::var("ZEROPOINT_EXPECT").unwrap_or_default();
    for name in expected.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let names: Vec<_> = available().map(Backend::name).collect();
        assert!(
            names.contains(&name),
            "ZEROPOINT_EXPECT: backend {name} cannot run here; those that can: {names:?}"
        );
    }
    if let Ok(only) = std::env::var("ZEROPOINT_ONLY") {
        let named = |backend: &Backend| only.split(',').any(|name| name.trim() == backend.name());
        let covered: Vec<_> = available().filter(named).collect();
        assert!(!covered.is_empty(), "ZEROPOINT_ONLY={only}: no such backend can run here");
        static ONLY: Once = Once::new();
        ONLY.call_once(|| {
            let _ = writeln!(std::io::stderr(), "SKIPPED by ZEROPOINT_ONLY={only}: all other backends and twins");
        });
        return covered;
    }
    let covered: Vec<_> = available().chain(twins()).collect();
    assert!(covered.iter().any(|backend| backend.name() == "scalar"), "the scalar backend has to run everywhere");
    covered
}

/// The layouts of every backend, and a few odd ones, in plain Rust.
pub fn twins() -> impl Iterator<Item = Backend> {
    zeropoint_twins::TWINS.iter().filter_map(Backend::detect)
}

/// Bytes that start at a multiple of 64, as [`zeropoint::Packed::borrow`] wants them.
pub struct AlignedBytes {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    pub fn new(bytes: &[u8]) -> Self {
        let mut memory = vec![0; bytes.len() + 64];
        let start = memory.as_ptr().align_offset(64);
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        Self { memory, start, len: bytes.len() }
    }

    pub fn get(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    pub fn get_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

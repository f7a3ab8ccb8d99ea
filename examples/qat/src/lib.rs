//! Quantization-aware training of a small network, end to end: trained in candle, folded, quantized in simulation by
//! `zeropoint::training`, converted to `zeropoint::layers`, and run by integers only. `README.md` says how to
//! run it and what came out.
//!
//! ```text
//! data.rs        digits, Fashion-MNIST
//! ops.rs         custom operations of candle; the library's fake quantization among them
//! network.rs     layers; batch normalization and how it is folded; the simulation
//! train.rs       training, calibration, fine tuning
//! integer.rs     conversion, integers against simulation, the file
//! experiment.rs  all of it over bits and seeds;  plot.rs  the pictures
//! ```

pub mod data;
#[allow(clippy::len_without_is_empty)] // no set of pictures is empty
#[path = "../../digits/data.rs"]
pub mod digits;
pub mod experiment;
pub mod integer;
pub mod network;
pub mod ops;
pub mod plot;
#[path = "../../digits/rng.rs"]
pub mod rng;
pub mod train;

/// What can fail fails with a message.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

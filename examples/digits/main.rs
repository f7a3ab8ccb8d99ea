//! Trains a small network on handwritten digits, quantizes it to 8 bits, and runs it in integers on every backend.
//!
//! `cargo run --release --example digits`
//!
//! - `data.rs` reads the pictures and splits them into a training and a test set.
//! - `train.rs` trains the float network; it knows nothing of this library.
//! - `quantized.rs` turns it into integers and runs it with `zeropoint`: **read this one**.
//!
//! Every number but the times is the same on every machine and in every run. The exit code is 1 if the float
//! network is worse than it should be, if quantization costs accuracy, or if any backend differs in one byte.

mod data;
mod quantized;
mod rng;
mod train;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use quantized::Engine;

const SEED: u64 = 1998;
/// A quarter of the pictures.
const TEST_PICTURES: usize = 450;
/// How long each backend is timed.
const TIMED: Duration = Duration::from_millis(300);

/// In percent: below this, the training went wrong.
const LEAST_FLOAT_ACCURACY: f64 = 95.0;
/// In percentage points: what quantization may cost.
const MOST_LOSS: f64 = 1.0;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut rng = rng::Rng::new(SEED);
    let (training, test) = data::load(TEST_PICTURES, &mut rng)?;
    let start = Instant::now();
    let float = train::Network::train(&training, &mut rng);
    let trained = start.elapsed();
    let float_classes = float.classify(&test);

    let network = quantized::Network::new(&float, &training)?;
    let images = network.encode(&test)?;
    // From here to the classes, all is integers.
    let expected = network.reference(&images, test.len())?;
    let classes = expected.last().map_or(Vec::new(), |scores| quantized::classes(scores));

    let float_accuracy = test.accuracy(&float_classes);
    let accuracy = test.accuracy(&classes);
    println!("pictures          {:>8} for training, {} for the test", training.len(), test.len());
    println!("training          {:>8.2} s", trained.as_secs_f64());
    println!("float accuracy    {float_accuracy:>8.2} %");
    println!("integer accuracy  {accuracy:>8.2} %");
    println!("same class        {:>8.2} %", data::percent_equal(&float_classes, &classes));
    println!();

    println!("{:<8} {:<24} {:>9} {:>8}   bytes of all layers", "backend", "kernel", "us/image", "GOP/s");
    let mut identical = true;
    for backend in zeropoint::available() {
        let mut engine = network.prepare(backend, test.len())?;
        engine.run(&images)?;
        let same = engine.outputs().eq(&expected);
        identical &= same;

        let seconds = time(&mut engine, &images)? / test.len() as f64;
        let gops = network.operations() as f64 / seconds / 1e9;
        let verdict = if same { "identical" } else { "DIFFERENT" };
        let (name, kernel, micros) = (backend.name(), backend.kernel(), seconds * 1e6);
        println!("{name:<8} {kernel:<24} {micros:>9.3} {gops:>8.1}   {verdict}");
    }
    println!();

    let verdicts = [
        (float_accuracy >= LEAST_FLOAT_ACCURACY, "float accuracy is at least 95 %"),
        ((float_accuracy - accuracy).abs() <= MOST_LOSS, "integer accuracy is within one point of it"),
        (identical, "all backends gave identical bytes, those of the plain reference"),
    ];
    for (good, claim) in verdicts {
        println!("{}  {claim}", if good { "yes" } else { "NO " });
    }
    let good = verdicts.iter().all(|(good, _)| *good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The seconds that one batch takes: the median of as many runs as fit into `TIMED`.
fn time(engine: &mut Engine<'_>, images: &[u8]) -> Result<f64, zeropoint::Error> {
    let mut seconds = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < TIMED {
        let start = Instant::now();
        engine.run(images)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

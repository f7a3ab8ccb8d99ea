//! `zeropoint-qat digits` or `zeropoint-qat fashion`: see README.md.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use serde::{Deserialize, Serialize};
use zeropoint_qat::Result;
use zeropoint_qat::data::{self, FASHION};
use zeropoint_qat::experiment::{Bits, Experiment, Row};
use zeropoint_qat::plot;
use zeropoint_qat::train::Schedule;

const HELP: &str = "\
Trains a small network, quantizes it after and during training, and runs it in integers.

zeropoint-qat digits|fashion [options]
zeropoint-qat plot --json FILE ... --svg FILE    draws results that were written, of some or several seeds
  --json FILE    write all results
  --svg FILE     draw accuracy over bits
  --save FILE    write the network of 8 bits, a scale a channel, of the first seed
  --seeds N      how often, with other random numbers (1)
  --first N      the first seed (1)
  --bits WHICH   eight, few, lines, all, or pairs as 4/8,4/4: of weights, of activations (lines)
  --epochs N     of training in floats (digits: 40, fashion: 10)
  --tune N       epochs of fine tuning of fewer bits than 8/8 (digits: 8, fashion: 5)
  --failure      fashion: also the constructed failure
  --data DIR     where Fashion-MNIST is";

struct Options {
    /// Only to draw.
    plot: bool,
    fashion: bool,
    json: Vec<PathBuf>,
    svg: Option<PathBuf>,
    save: Option<PathBuf>,
    seeds: Range<u64>,
    bits: Bits,
    epochs: usize,
    tune: usize,
    failure: bool,
    data: PathBuf,
}

fn options() -> Result<Option<Options>> {
    let mut parser = lexopt::Parser::from_env();
    let (mut set, mut seeds, mut first, mut epochs, mut tune) = (None, 1, 1, None, None);
    let (mut json, mut svg, mut save, mut failure, mut bits) = (Vec::new(), None, None, false, Bits::Lines);
    let mut data = PathBuf::from(FASHION);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(name) if set.is_none() => set = Some(name.string()?),
            Long("json") => json.push(parser.value()?.into()),
            Long("svg") => svg = Some(parser.value()?.into()),
            Long("save") => save = Some(parser.value()?.into()),
            Long("seeds") => seeds = parser.value()?.parse::<NonZeroU32>()?.get(),
            Long("first") => first = parser.value()?.parse::<u32>()?,
            Long("epochs") => epochs = Some(parser.value()?.parse::<NonZeroUsize>()?.get()),
            Long("tune") => tune = Some(parser.value()?.parse::<NonZeroUsize>()?.get()),
            Long("failure") => failure = true,
            Long("data") => data = parser.value()?.into(),
            Long("bits") => bits = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    let plot = set.as_deref() == Some("plot");
    let fashion = match set.as_deref() {
        Some("digits" | "plot") => false,
        Some("fashion") => true,
        Some(other) => return Err(format!("{other}: not digits, fashion or plot").into()),
        None => return Ok(None),
    };
    if !plot && json.len() > 1 {
        return Err("--json: once, but for plot".into());
    }
    let seeds = u64::from(first)..u64::from(first) + u64::from(seeds);
    let tune = tune.unwrap_or(if fashion { 5 } else { 8 });
    let epochs = epochs.unwrap_or(if fashion { 10 } else { 40 });
    Ok(Some(Options { plot, fashion, json, svg, save, seeds, bits, epochs, tune, failure, data }))
}

#[derive(Serialize, Deserialize)]
struct Results {
    data: String,
    training_pictures: usize,
    test_pictures: usize,
    epochs: usize,
    seconds: f64,
    rows: Vec<Row>,
}

fn write(path: Option<&Path>, text: &str) -> Result<()> {
    match path {
        Some(path) => Ok(std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?),
        None => Ok(()),
    }
}

fn main() -> Result<ExitCode> {
    let Some(options) = options()? else {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    if options.plot {
        return plot(&options);
    }
    // Small tensors: more threads only wait for each other.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let start = Instant::now();
    let mut results = Results {
        data: if options.fashion { "Fashion-MNIST" } else { "digits" }.to_owned(),
        training_pictures: 0,
        test_pictures: 0,
        epochs: options.epochs,
        seconds: 0.0,
        rows: Vec::new(),
    };
    println!(
        "seed  bits w/a  scales      float     PTQ     QAT  integer   same class  scores  layers, codes off by"
    );
    for seed in options.seeds.clone() {
        let sets = if options.fashion { data::fashion(&options.data)? } else { data::digits(seed)? };
        (results.training_pictures, results.test_pictures) = (sets[0].len(), sets[1].len());
        let batch = if options.fashion { 128 } else { 32 };
        let of = |pictures: usize, rate| Schedule { batch, steps: (pictures / batch).max(1), rate };
        let all = sets[0].len();
        let experiment = if options.fashion {
            Experiment {
                float: of(all * options.epochs, 6e-3),
                tune: of(all / 2, 1e-3),
                tune_fewer: of(all * options.tune, 3e-3),
                stretched: options.failure.then(|| of(all * 3, 6e-3)),
                bits: options.bits.clone(),
            }
        } else {
            let float = of(all * options.epochs, 1e-2);
            let (tune, tune_fewer) = (of(all * 8, 2e-3), of(all * options.tune, 2e-3));
            Experiment { float, tune, tune_fewer, stretched: Some(float), bits: options.bits.clone() }
        };
        let outcome = experiment.run(&sets, seed, tell)?;
        results.rows.extend(outcome.rows);
        if seed == options.seeds.start {
            write(options.save.as_deref(), &outcome.saved)?;
        }
        results.seconds = start.elapsed().as_secs_f64();
        write(options.json.first().map(PathBuf::as_path), &serde_json::to_string_pretty(&results)?)?;
    }
    println!("\n{}", plot::summary(&results.rows));
    println!("{:.0} s", results.seconds);
    if let Some(path) = &options.svg {
        plot::draw(path, &results.data, &results.rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws results that were written, and shows their table.
fn plot(options: &Options) -> Result<ExitCode> {
    let Some(svg) = options.svg.as_ref().filter(|_| !options.json.is_empty()) else {
        return Err("plot: it takes --json FILE, once or more, and --svg FILE".into());
    };
    let (mut data, mut rows) = (String::new(), Vec::new());
    for path in &options.json {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let results: Results = serde_json::from_str(&text)?;
        if !rows.is_empty() && data != results.data {
            return Err(format!("{}: of {}, the others of {data}", path.display(), results.data).into());
        }
        data = results.data;
        rows.extend(results.rows);
    }
    plot::draw(svg, &data, &rows)?;
    println!("{}", plot::summary(&rows));
    Ok(ExitCode::SUCCESS)
}

fn tell(row: &Row) {
    let Row { seed, weight_bits, activation_bits, float, ptq, qat, integer, .. } = row;
    let scales = if row.per_channel { "channel" } else { "tensor" };
    let failure = if row.constructed_failure { "   constructed failure" } else { "" };
    println!(
        "{seed:>4}  {weight_bits:>6}/{activation_bits} {scales:>8} {float:>9.2} {ptq:>8.2}{qat:>8.2} \
         {:>8.2} {:>11.2} {:>8} {:>9} {failure}",
        integer.integer_accuracy, integer.same_class, integer.farthest_score, integer.farthest_of_a_layer
    );
}

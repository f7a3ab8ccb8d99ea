//! zeropoint and other libraries on the same data, side by side, in one run. See `README.md`.

mod args;
mod case;
mod isa;
mod library;
mod measure;
#[path = "../../common/peak.rs"]
mod peak;
mod peer;
mod peers;
mod report;
#[path = "../../common/shape.rs"]
mod shape;
mod svg;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::{env, fs};

use args::{Args, USAGE};
use peers::OURS;

/// Set once the environment is as the libraries need it.
const READY: &str = "ZEROPOINT_PEERS_READY";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("{OURS} is not exact, or not there");
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

/// Whether our own results are all there and right; those of others are their own affair.
fn run() -> Result<bool, String> {
    let args = Args::parse(env::args().skip(1))?;
    if env::var_os(READY).is_none() {
        return Err(again(&args));
    }
    library::set_folder(args.libraries.clone());
    // On a thread of the pool: libraries that use it need not hand their work over.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global();
    pool.map_err(|error| error.to_string())?;
    let results = rayon::scope(|_| measure::run(&args));
    report::print(&args, &results);
    let write = |path, text| fs::write(path, text).map_err(|error| error.to_string());
    match &args.json {
        None => {}
        Some(None) => print!("\n{}", report::json(&args, &results)),
        Some(Some(path)) => write(path, report::json(&args, &results))?,
    }
    if let Some(path) = &args.svg {
        write(path, svg::picture(&args, &results))?;
    }
    let right = results.rows.iter().filter(|row| row.peer == OURS && row.exact).count();
    Ok(right == args.shapes.len() * args.variants.len())
}

/// Runs this program again in the environment that the libraries read when they are loaded.
fn again(args: &Args) -> String {
    let threads = args.threads.to_string();
    let layer = if args.threads > 1 { "GNU" } else { "SEQUENTIAL" };
    let held = measure::wanted(args).filter_map(|peer| peer.hold(args.isa).ok()).flatten();
    let error = env::current_exe().map(|program| {
        Command::new(program)
            .args(env::args_os().skip(1))
            .env(READY, "1")
            .env("LD_LIBRARY_PATH", args.libraries.join("lib"))
            .envs(["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, &threads)))
            .envs([("MKL_THREADING_LAYER", layer), ("MKL_INTERFACE_LAYER", "LP64")])
            .envs(held)
            .exec()
    });
    format!("cannot start again: {error:?}")
}

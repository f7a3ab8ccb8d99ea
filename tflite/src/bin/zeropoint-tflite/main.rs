//! The command: runs, times, checks and shows `.tflite` networks.

mod arguments;
mod bench;
mod compare;
mod failure;
mod inspect;
mod run;
mod setup;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use arguments::{Arguments, USAGE};
use failure::Failure;

/// 0: as it should be; 1: `compare` found a difference; 2: nothing could be done, and why.
fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    match command(&mut out).and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => code,
        // Whoever closes the pipe has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // What was found before comes first; where nobody listens, nothing can be said.
            let _ = out.flush().and_then(|()| writeln!(io::stderr(), "zeropoint-tflite: {failure}"));
            ExitCode::from(2)
        }
    }
}

fn command(out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let Some(arguments) = Arguments::parse(lexopt::Parser::from_env())? else {
        write!(out, "{USAGE}")?;
        return Ok(ExitCode::SUCCESS);
    };
    (arguments.command)(&arguments, out)
}

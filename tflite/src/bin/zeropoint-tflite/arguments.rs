//! What the caller wrote, checked.

use core::ops::RangeInclusive;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::Arg;
use zeropoint::Backend;
use zeropoint_tflite::{Options, Rules};

use crate::failure::Failure;
use crate::{bench, compare, inspect, run};

/// How the command is used.
pub const USAGE: &str = "\
Runs quantized .tflite networks on zeropoint.

zeropoint-tflite run MODEL --image PICTURE [--labels FILE] [--top 5] [--threads 1]
    the classes with the largest outputs; PICTURE is a PNG, JPEG or BMP file, FILE has one label a line
zeropoint-tflite bench MODEL [--threads 1] [--warmup 3] [--runs 30] [--json]
    time of each layer and of the whole, and memory; with --json, on one line, for programs
zeropoint-tflite compare MODEL --golden FILE.npz [--whole] [--threads 1]
    each layer on recorded inputs against its recorded output; with --whole, the network on its recorded input
zeropoint-tflite inspect MODEL
    operators, tensors, plan of the memory

run, bench and compare take
    --rounding RULE   litert-reference (the default), or one rule for all layers: double_away, single_even ...
    --backend NAME    the backend of all layers, instead of the best one of each

Exit status: 0; 1 if compare found a difference; 2 if an argument or a file is wrong.
";

/// What runs a command.
type Command = fn(&Arguments, &mut dyn Write) -> Result<ExitCode, Failure>;

/// A command's name, what runs it, and the options it takes.
const COMMANDS: [(&str, Command, &[&str]); 4] = [
    ("run", run::run, &["image", "labels", "top", "threads", "rounding", "backend"]),
    ("bench", bench::bench, &["threads", "warmup", "runs", "json", "rounding", "backend"]),
    ("compare", compare::compare, &["golden", "whole", "threads", "rounding", "backend"]),
    ("inspect", inspect::inspect, &[]),
];

/// What the caller wrote.
pub struct Arguments {
    pub command: Command,
    pub model: PathBuf,
    pub image: Option<PathBuf>,
    pub labels: Option<PathBuf>,
    pub golden: Option<PathBuf>,
    pub top: usize,
    pub warmup: usize,
    pub runs: usize,
    pub whole: bool,
    pub json: bool,
    pub options: Options,
}

impl Arguments {
    /// `None` if the caller asks for help.
    pub fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, Failure> {
        let names = || COMMANDS.map(|(name, ..)| name).join(", ");
        let name = match parser.next()? {
            None => return Err(Failure::of("COMMAND", format_args!("missing; one of {}, or --help", names()))),
            Some(Arg::Long("help") | Arg::Short('h')) => return Ok(None),
            Some(Arg::Value(name)) if name == "help" => return Ok(None),
            Some(Arg::Value(name)) => name,
            Some(other) => return Err(other.unexpected().into()),
        };
        let Some((name, command, allowed)) = COMMANDS.into_iter().find(|(known, ..)| name == *known) else {
            return Err(Failure::of("COMMAND", format_args!("{name:?} is none of {}", names())));
        };
        let mut model = None;
        let mut arguments = Self {
            command,
            model: PathBuf::new(),
            image: None,
            labels: None,
            golden: None,
            top: 5,
            warmup: 3,
            runs: 30,
            whole: false,
            json: false,
            options: Options::default(),
        };
        while let Some(argument) = parser.next()? {
            let option = match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Long(option) if allowed.contains(&option) => option.to_owned(),
                Arg::Value(path) if model.is_none() => {
                    model = Some(path.into());
                    continue;
                }
                other => {
                    let options = allowed.iter().map(|option| format!(" --{option}")).collect::<String>();
                    let options = if options.is_empty() { " no options".into() } else { options };
                    return Err(Failure::of(name, format_args!("{}; it takes{options}", other.unexpected())));
                }
            };
            arguments.set(&option, &mut parser)?;
        }
        arguments.model = model.ok_or_else(|| Failure::of("MODEL", "missing"))?;
        Ok(Some(arguments))
    }

    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<(), Failure> {
        match option {
            "whole" => self.whole = true,
            "json" => self.json = true,
            _ => return self.set_value(option, parser),
        }
        Ok(())
    }

    fn set_value(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<(), Failure> {
        let value = parser.value()?;
        let number = |range| number(option, &value, range);
        let text = value.to_string_lossy();
        match option {
            "image" => self.image = Some(value.into()),
            "labels" => self.labels = Some(value.into()),
            "golden" => self.golden = Some(value.into()),
            "top" => self.top = number(1..=usize::MAX)?,
            "warmup" => self.warmup = number(0..=usize::MAX)?,
            "runs" => self.runs = number(1..=1_000_000)?,
            "threads" => self.options.threads = number(1..=256)?,
            "rounding" => {
                self.options.rules = Rules::named(&text).ok_or_else(|| {
                    let names = Rules::names().collect::<Vec<_>>().join(", ");
                    Failure::of("--rounding", format_args!("{text:?} is none of {names}"))
                })?;
            }
            _ => {
                // The message begins with the name of the argument.
                let backend = Backend::named(&text).map_err(|error| Failure::Argument(format!("--{error}")))?;
                self.options.backend = Some(backend);
            }
        }
        Ok(())
    }
}

fn number(option: &str, value: &OsString, range: RangeInclusive<usize>) -> Result<usize, Failure> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let least = range.start();
        let most = match *range.end() {
            usize::MAX => " or more".into(),
            most => format!(" to {most}"),
        };
        Failure::of(&format!("--{option}"), format_args!("{value:?} is not a number of {least}{most}"))
    })
}

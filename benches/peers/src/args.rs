//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::case::{Rng, Variant};
use crate::isa::Isa;
use crate::shape::{SHAPES, Shape};

pub const USAGE: &str = "\
usage: zeropoint-peers [OPTION]...
  --isa NAME        native (default), avx2, avx-vnni, avx512 or avx512-vnni: what every library is held to
  --variant LIST    of i32, u8, u8-q31 (default: all)
  --shapes LIST     as 64x64x64,128x768x768: M x K x N (default: 30 shapes)
  --peers LIST      names (default: all); zeropoint is always there
  --weights KIND    uniform (default) over -128..=127, or normal:SIGMA
  --threads N       default 1
  --ms N            time for a product, default 60
  --libraries DIR   where setup.sh put the C libraries
  --json [FILE]     JSON lines, to FILE or after the tables
  --svg FILE        a picture
";

/// How weights are drawn.
#[derive(Clone, Copy)]
pub enum Weights {
    /// All of i8.
    Uniform,
    /// A bell of this standard deviation, rounded, within -127..=127.
    Normal(f64),
}

impl Weights {
    pub fn draw(self, rng: &mut Rng) -> i8 {
        match self {
            Self::Uniform => rng.bits() as i8,
            Self::Normal(sigma) => {
                // Box and Muller; 1 - real is never 0.
                let radius = (-2.0 * (1.0 - rng.real()).ln()).sqrt();
                let angle = std::f64::consts::TAU * rng.real();
                (sigma * radius * angle.cos()).round().clamp(-127.0, 127.0) as i8
            }
        }
    }

    pub fn deviation(self) -> f64 {
        match self {
            Self::Uniform => 74.0,
            Self::Normal(sigma) => sigma,
        }
    }
}

pub struct Args {
    pub isa: Isa,
    pub variants: Vec<Variant>,
    pub shapes: Vec<Shape>,
    pub peers: Option<Vec<String>>,
    pub weights: Weights,
    pub threads: usize,
    pub ms: f64,
    pub libraries: PathBuf,
    /// `Some(None)`: to standard output.
    pub json: Option<Option<PathBuf>>,
    pub svg: Option<PathBuf>,
}

impl Args {
    /// # Errors
    /// Says which argument is wrong.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            isa: Isa::Native,
            variants: Variant::ALL.to_vec(),
            shapes: SHAPES.to_vec(),
            peers: None,
            weights: Weights::Uniform,
            threads: 1,
            ms: 60.0,
            libraries: concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers").into(),
            json: None,
            svg: None,
        };
        let mut args = args.peekable();
        while let Some(option) = args.next() {
            if option == "--json" {
                parsed.json = Some(args.next_if(|next| !next.starts_with("--")).map(Into::into));
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{option} needs a value"))?;
            let wrong = || format!("{option}: not {value}");
            match option.as_str() {
                "--isa" => parsed.isa = *Isa::ALL.iter().find(|isa| isa.name() == value).ok_or_else(wrong)?,
                "--variant" => parsed.variants = list(&value, variant).ok_or_else(wrong)?,
                "--shapes" => parsed.shapes = list(&value, shape).ok_or_else(wrong)?,
                "--peers" => parsed.peers = list(&value, |name| Some(name.into())),
                "--weights" => parsed.weights = weights(&value).ok_or_else(wrong)?,
                "--threads" => parsed.threads = positive(&value).ok_or_else(wrong)?,
                "--ms" => parsed.ms = positive(&value).map(|ms: u32| ms.into()).ok_or_else(wrong)?,
                "--libraries" => parsed.libraries = value.into(),
                "--svg" => parsed.svg = Some(value.into()),
                _ => return Err(format!("no option {option}")),
            }
        }
        Ok(parsed)
    }
}

fn list<T>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(item).collect()
}

fn positive<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number| *number > T::from(0))
}

fn variant(name: &str) -> Option<Variant> {
    Variant::ALL.into_iter().find(|variant| variant.name() == name)
}

fn shape(text: &str) -> Option<Shape> {
    let sizes: Vec<usize> = text.split('x').map(positive).collect::<Option<_>>()?;
    let [m, k, n] = sizes.try_into().ok()?;
    Some(Shape::new(m, k, n))
}

fn weights(text: &str) -> Option<Weights> {
    if text == "uniform" {
        return Some(Weights::Uniform);
    }
    let sigma = text.strip_prefix("normal:")?.parse().ok()?;
    (sigma > 0.0).then_some(Weights::Normal(sigma))
}

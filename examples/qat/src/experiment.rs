//! Float, post-training quantization and quantization-aware training, over bits and seeds.

use core::str::FromStr;

use serde::{Deserialize, Serialize};
use zeropoint::layers::Activation;

use crate::Result;
use crate::data::Pictures;
use crate::integer::{Comparison, Network};
use crate::network::{Folded, Plan, Precision};
use crate::rng::Rng;
use crate::train::{self, Schedule};

/// Bits of weights and of activations that are tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bits {
    /// 8/8 only.
    Eight,
    /// 8/8, and 4 bits of either or both.
    Few,
    /// Each of 8 to 3 bits for weights, for activations and for both.
    Lines,
    /// All pairs of 8 to 3 bits.
    All,
    /// These pairs: of weights, of activations.
    Pairs(Vec<(u32, u32)>),
}

impl FromStr for Bits {
    type Err = String;

    fn from_str(text: &str) -> core::result::Result<Self, String> {
        let pair = |text: &str| {
            let (weights, activations) = text.split_once('/')?;
            let bits = |text: &str| text.parse().ok().filter(|bits| (3..=8).contains(bits));
            Some((bits(weights)?, bits(activations)?))
        };
        match text {
            "eight" => Ok(Self::Eight),
            "few" => Ok(Self::Few),
            "lines" => Ok(Self::Lines),
            "all" => Ok(Self::All),
            _ => text.split(',').map(pair).collect::<Option<_>>().map(Self::Pairs).ok_or_else(|| {
                format!("{text}: not eight, few, lines, all, or pairs of numbers of 3 to 8, as 4/8,4/4")
            }),
        }
    }
}

impl Bits {
    /// Pairs of bits: of weights, of activations.
    fn pairs(&self) -> Vec<(u32, u32)> {
        let all = (3..=8).rev().flat_map(|w| (3..=8).rev().map(move |a| (w, a)));
        let wanted = |(w, a): &(u32, u32)| match self {
            Self::Eight => (*w, *a) == (8, 8),
            Self::Few => [4, 8].contains(w) && [4, 8].contains(a),
            Self::Lines => *w == 8 || *a == 8 || w == a,
            Self::All => true,
            Self::Pairs(pairs) => pairs.contains(&(*w, *a)),
        };
        all.filter(wanted).collect()
    }
}

/// What to do for each seed.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Training in floats.
    pub float: Schedule,
    /// Fine tuning of 8/8.
    pub tune: Schedule,
    /// Fine tuning of all other pairs.
    pub tune_fewer: Schedule,
    /// Training in floats of the network of the constructed failure; none, no such network.
    pub stretched: Option<Schedule>,
    /// The pairs of bits.
    pub bits: Bits,
}

/// Accuracies, in percent, with some bits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Which random numbers.
    pub seed: u64,
    /// Whether this is the constructed failure.
    pub constructed_failure: bool,
    /// Of weights.
    pub weight_bits: u32,
    /// Of activations.
    pub activation_bits: u32,
    /// Whether each output channel has a scale of its own.
    pub per_channel: bool,
    /// The accuracy of the float network.
    pub float: f64,
    /// After training.
    pub ptq: f64,
    /// While training.
    pub qat: f64,
    /// Integers against the simulation, of the latter.
    pub integer: Comparison,
}

/// What a seed gives.
pub struct Outcome {
    /// All accuracies.
    pub rows: Vec<Row>,
    /// The network of 8/8 bits, a scale a channel, as a file.
    pub saved: String,
}

impl Experiment {
    /// Trains, quantizes, converts and runs, telling each row as it comes.
    pub fn run(&self, sets: &[Pictures; 2], seed: u64, mut tell: impl FnMut(&Row)) -> Result<Outcome> {
        let [training, test] = sets;
        let mut rng = Rng::new(seed);
        let network = train::float(Plan::new(training.side, Activation::Relu6), training, self.float, &mut rng)?;
        let mut outcome = Outcome { rows: Vec::new(), saved: String::new() };
        let float = train::accuracy(test, |images| network.forward(images))?;
        for (weight_bits, activation_bits) in self.bits.pairs() {
            for per_channel in [false, true] {
                let precision = Precision { weight_bits, activation_bits, per_channel };
                let (mut row, integers) = self.row(&network, precision, sets, &mut rng)?;
                (row.seed, row.float) = (seed, float);
                tell(&row);
                outcome.rows.push(row);
                if (weight_bits, activation_bits, per_channel) == (8, 8, true) {
                    outcome.saved = integers.save(test)?;
                }
            }
        }
        if let Some(schedule) = self.stretched {
            let plan = Plan::new(training.side, Activation::Relu);
            let network = train::float(plan, training, schedule, &mut rng)?.stretch(&mut rng)?;
            let float = train::accuracy(test, |images| network.forward(images))?;
            for per_channel in [false, true] {
                let precision = Precision { weight_bits: 8, activation_bits: 8, per_channel };
                let (row, _) = self.row(&network, precision, sets, &mut rng)?;
                let row = Row { seed, float, constructed_failure: true, ..row };
                tell(&row);
                outcome.rows.push(row);
            }
        }
        Ok(outcome)
    }

    fn row(
        &self,
        network: &Folded,
        precision: Precision,
        [training, test]: &[Pictures; 2],
        rng: &mut Rng,
    ) -> Result<(Row, Network)> {
        let Precision { weight_bits, activation_bits, per_channel } = precision;
        let calibrated = train::calibrate(network, precision, training)?;
        let ptq = train::accuracy(test, |images| calibrated.forward(images))?;
        let schedule = if (weight_bits, activation_bits) == (8, 8) { self.tune } else { self.tune_fewer };
        let tuned = train::tune(network, precision, training, schedule, rng)?;
        let qat = train::accuracy(test, |images| tuned.forward(images))?;
        let integers = Network::convert(&tuned)?;
        let integer = integers.compare(&tuned, test)?;
        let (seed, float, constructed_failure) = (0, 0.0, false);
        let row =
            Row { seed, constructed_failure, weight_bits, activation_bits, per_channel, float, ptq, qat, integer };
        Ok((row, integers))
    }
}

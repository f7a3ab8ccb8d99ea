//! How long a network takes, layer by layer and as a whole.

use core::time::Duration;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use zeropoint::Threads;
use zeropoint_tflite::{Memory, Model, Network, Operator};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::setup;

/// Prints the time of each layer and of the whole, and memory.
pub fn bench(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let model = setup::model(arguments)?;
    let mut network = setup::network(&model, arguments)?;
    let threads = setup::threads(arguments)?;
    let times = measure(&mut network, arguments, &*threads)?;
    let layers = layers(&model, &network, &times);
    let bench = Bench { layers: &layers, times: &times, memory: network.memory(), threads: threads.threads() };
    if arguments.json { bench.json(out) } else { bench.table(out) }?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed, in one form or the other.
struct Bench<'b> {
    layers: &'b [Layer<'b>],
    times: &'b Times,
    memory: Memory,
    threads: usize,
}

/// A line of the table.
struct Layer<'l> {
    operator: &'l str,
    output: &'l [usize],
    macs: usize,
    time: Duration,
    kernel: &'l str,
}

fn layers<'l>(model: &'l Model, network: &'l Network, times: &Times) -> Vec<Layer<'l>> {
    let layer = |(index, (operator, time)): (usize, (&'l Operator, &Duration))| Layer {
        operator: operator.name,
        output: operator.outputs.first().map_or(&[], |output| &model.tensors[*output].shape),
        macs: model.macs(operator),
        time: *time,
        kernel: network.explain(index).map_or("", |(_, kernel)| kernel),
    };
    model.operators.iter().zip(&times.layers).enumerate().map(layer).collect()
}

impl Bench<'_> {
    fn macs(&self) -> usize {
        self.layers.iter().map(|layer| layer.macs).sum()
    }

    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let layers: Duration = self.layers.iter().map(|layer| layer.time).sum();
        writeln!(
            out,
            "{:>3}  {:<18} {:<16} {:>8} {:>9} {:>6} {:>7}  kernel",
            "#", "operator", "output", "MMAC", "us", "%", "GOP/s"
        )?;
        for (index, &Layer { operator, output, macs, time, kernel }) in self.layers.iter().enumerate() {
            let output = output.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
            let kernel = if kernel.is_empty() { "-" } else { kernel };
            let percent = 100.0 * time.as_secs_f64() / layers.as_secs_f64().max(f64::MIN_POSITIVE);
            let (mmac, us) = (macs as f64 / 1e6, us(time));
            let (mmac, gops) =
                if macs == 0 { ("-".into(), "-".into()) } else { (format!("{mmac:.3}"), gops(macs, time)) };
            writeln!(
                out,
                "{index:>3}  {operator:<18} {output:<16} {mmac:>8} {us:>9.1} {percent:>6.1} {gops:>7}  {kernel}"
            )?;
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (runs, macs) = (self.times.whole.len(), self.macs());
        writeln!(out, "times of layers: the least of {runs} runs by steps, {:.3} ms in all", ms(layers))?;
        writeln!(
            out,
            "latency: min {:.3} ms, median {:.3} ms, of {runs} whole runs on {} threads; {:.3} MMAC, {} GOP/s at the median",
            ms(self.times.least()),
            ms(self.times.median()),
            self.threads,
            macs as f64 / 1e6,
            gops(macs, self.times.median())
        )?;
        let Memory { activations, packed, workspace } = self.memory;
        writeln!(
            out,
            "memory: {} bytes = arena {activations} + packed weights {packed}; workspace {workspace} more",
            activations + packed
        )
    }

    /// One line. Names of operators and kernels have nothing that JSON would escape.
    fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let Memory { activations, packed, workspace } = self.memory;
        write!(
            out,
            r#"{{"threads":{},"runs":{},"min_us":{:.3},"median_us":{:.3},"macs":{},"arena":{activations},"packed":{packed},"workspace":{workspace},"layers":["#,
            self.threads,
            self.times.whole.len(),
            us(self.times.least()),
            us(self.times.median()),
            self.macs()
        )?;
        for (index, &Layer { operator, output, macs, time, kernel }) in self.layers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(
                out,
                r#"{comma}{{"operator":"{operator}","output":{output:?},"macs":{macs},"us":{:.3},"kernel":"{kernel}"}}"#,
                us(time)
            )?;
        }
        writeln!(out, "]}}")
    }
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A multiplication and an addition are two operations.
fn gops(macs: usize, time: Duration) -> String {
    if time.is_zero() { "-".into() } else { format!("{:.1}", 2.0 * macs as f64 / time.as_secs_f64() / 1e9) }
}

/// What was measured.
struct Times {
    /// The least of each layer.
    layers: Vec<Duration>,
    /// Of whole runs, sorted.
    whole: Vec<Duration>,
}

impl Times {
    fn least(&self) -> Duration {
        self.whole[0]
    }

    fn median(&self) -> Duration {
        self.whole[self.whole.len() / 2]
    }
}

/// A whole run and one by steps, in turns: clocks between layers do not count in the whole.
fn measure(network: &mut Network, arguments: &Arguments, threads: &dyn Threads) -> Result<Times, Failure> {
    let mut times = Times { layers: vec![Duration::MAX; network.len()], whole: Vec::new() };
    let progress = io::stderr().is_terminal();
    for run in 0..arguments.warmup.saturating_add(arguments.runs) {
        let measured = run.checked_sub(arguments.warmup);
        if progress {
            let (name, count, of) = match measured {
                Some(run) => ("run", run, arguments.runs),
                None => ("warmup", run, arguments.warmup),
            };
            write!(io::stderr(), "\r\x1b[K{name} {} of {of}", count + 1)?;
        }
        fill(network)?;
        let start = Instant::now();
        network.run(threads)?;
        let whole = start.elapsed();
        fill(network)?;
        for operator in 0..network.len() {
            let start = Instant::now();
            network.step(operator, threads)?;
            if measured.is_some() {
                let least = &mut times.layers[operator];
                *least = start.elapsed().min(*least);
            }
        }
        if measured.is_some() {
            times.whole.push(whole);
        }
    }
    if progress {
        write!(io::stderr(), "\r\x1b[K")?;
    }
    times.whole.sort();
    Ok(times)
}

/// Numbers without a pattern (xorshift) in all inputs: other activations have taken their place since the last run.
fn fill(network: &mut Network) -> Result<(), Failure> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for input in network.inputs().to_vec() {
        for byte in setup::input(network, input)? {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 56) as u8;
        }
    }
    Ok(())
}

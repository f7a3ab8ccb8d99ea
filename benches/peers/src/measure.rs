//! The measurement: for each shape, every product of every peer in turn, a short quantum at a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::case::{Case, Variant};
use crate::peak::Peak;
use crate::peer::{Peer, Product};
use crate::peers::{self, OURS};
use crate::shape::Shape;

/// Short enough that some quanta fall between two visits of a neighbour on the core.
const QUANTUM: Duration = Duration::from_micros(100);
/// No product has fewer quanta.
const ROUNDS: usize = 7;
/// Long enough for the idle threads of one library to stop spinning in the way of the next one's.
const PAUSE: Duration = Duration::from_millis(20);
/// A call this long needs no other one to warm its caches.
const LONG: Duration = Duration::from_millis(10);

/// One product, measured.
pub struct Row {
    pub peer: &'static str,
    pub is_rival: bool,
    pub kernel: String,
    pub variant: Variant,
    pub shape: Shape,
    pub min_ns: f64,
    pub median_ns: f64,
    pub exact: bool,
}

impl Row {
    pub fn gops(&self) -> f64 {
        self.shape.operations() / self.min_ns
    }
}

/// A run.
pub struct Results {
    pub rows: Vec<Row>,
    /// Who was left out, and why.
    pub absent: Vec<(&'static str, String)>,
    /// Of instructions in registers; the first is the one to compare with.
    pub peaks: Vec<(&'static str, Peak)>,
}

/// Measures everything, on the thread that calls.
pub fn run(args: &Args) -> Results {
    let mut absent = vec![];
    let all: Vec<Box<dyn Peer>> = wanted(args).collect();
    let held: Vec<&dyn Peer> = all
        .iter()
        .map(AsRef::as_ref)
        .filter(|peer| peer.hold(args.isa).map_err(|why| absent.push((peer.name(), why))).is_ok())
        .collect();
    let mut peaks = vec![args.isa.peak()];
    if peaks == ["avx2"] {
        peaks.push("avx2-saturating");
    }
    let mut peaks: Vec<(&'static str, Peak)> = peaks.into_iter().map(|name| (name, Peak::of(name))).collect();
    let mut rows = vec![];
    for shape in &args.shapes {
        eprint!("\r{shape:<20}", shape = shape.to_string());
        peaks.iter_mut().for_each(|(_, peak)| peak.refresh());
        let case = Case::new(*shape, args.weights);
        rows.extend(products(args, &held, &case, &mut absent));
    }
    eprintln!();
    absent.sort();
    absent.dedup();
    peaks.retain(|(_, peak)| peak.gops().is_some());
    Results { rows, absent, peaks }
}

/// The peers that were asked for, and ours.
pub fn wanted(args: &Args) -> impl Iterator<Item = Box<dyn Peer>> {
    peers::all().into_iter().filter(|peer| {
        let names = args.peers.as_ref();
        peer.name() == OURS || names.is_none_or(|names| names.iter().any(|name| name == peer.name()))
    })
}

/// A product and its quanta.
struct Entry<'c> {
    row: Row,
    product: Box<dyn Product + 'c>,
    call: Duration,
    ns: Vec<f64>,
}

/// All products of one case, interleaved.
fn products(args: &Args, peers: &[&dyn Peer], case: &Case, absent: &mut Vec<(&'static str, String)>) -> Vec<Row> {
    let mut entries = vec![];
    for (peer, variant) in peers.iter().flat_map(|peer| args.variants.iter().map(move |variant| (peer, *variant)))
    {
        if !peer.has(variant) {
            continue;
        }
        match peer.prepare(case, variant, args.threads) {
            Ok(product) => entries.push(Entry::new(*peer, variant, case, product)),
            Err(why) => absent.push((peer.name(), why)),
        }
    }
    let budget = Duration::from_secs_f64(args.ms / 1e3 * entries.len() as f64);
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS || start.elapsed() < budget {
        for entry in &mut entries {
            if args.threads > 1 {
                sleep(PAUSE);
            }
            entry.quantum();
        }
        rounds += 1;
    }
    entries.into_iter().map(Entry::finish).collect()
}

impl<'c> Entry<'c> {
    /// Runs it twice, checks the first output and times the second run.
    fn new(peer: &dyn Peer, variant: Variant, case: &Case, mut product: Box<dyn Product + 'c>) -> Self {
        product.run();
        let row = Row {
            peer: peer.name(),
            is_rival: peer.is_rival(),
            kernel: product.kernel(),
            variant,
            shape: case.shape,
            min_ns: 0.0,
            median_ns: 0.0,
            exact: case.is_exact(variant, &product.output()),
        };
        let start = Instant::now();
        product.run();
        Self { row, product, call: start.elapsed(), ns: vec![] }
    }

    /// One quantum, after a call that brings the data back into the caches.
    fn quantum(&mut self) {
        if self.call < LONG {
            self.product.run();
        }
        let calls = (QUANTUM.as_nanos() / self.call.as_nanos().max(1)).max(1) as u32;
        let start = Instant::now();
        for _ in 0..calls {
            self.product.run();
        }
        let took = start.elapsed();
        self.call = self.call.min(took / calls);
        self.ns.push(took.as_nanos() as f64 / f64::from(calls));
    }

    fn finish(mut self) -> Row {
        self.ns.sort_by(f64::total_cmp);
        Row { min_ns: self.ns[0], median_ns: self.ns[self.ns.len() / 2], ..self.row }
    }
}

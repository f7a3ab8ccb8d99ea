//! Tables, the closing summary, and JSON lines.

use std::fmt::Write;

use crate::args::Args;
use crate::case::Variant;
use crate::measure::{Results, Row};
use crate::peers::{OURS, WITH_WEIGHT_ZERO};
use crate::shape::Shape;

pub fn print(args: &Args, results: &Results) {
    if !args.isa.is_here() {
        println!(
            "this CPU has no {}: libraries that run all the same fall back to something else",
            args.isa.name()
        );
    }
    for (name, why) in &results.absent {
        println!("left out: {name}: {why}");
    }
    for (name, gops) in results.peaks() {
        println!("peak in registers, {name}: {gops:.0} GOP/s");
    }
    for variant in &args.variants {
        table(args, results, *variant);
    }
    println!();
    for variant in &args.variants {
        summary(results, *variant);
    }
}

/// The names of those who have one of these variants, in order.
pub fn names(results: &Results, variants: &[Variant]) -> Vec<&'static str> {
    let mut names = vec![];
    for row in results.rows.iter().filter(|row| variants.contains(&row.variant)) {
        if !names.contains(&row.peer) {
            names.push(row.peer);
        }
    }
    names
}

impl Results {
    /// Peaks in GOP/s.
    pub fn peaks(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.peaks.iter().filter_map(|(name, peak)| Some((*name, peak.gops()?)))
    }

    pub fn find(&self, peer: &str, variant: Variant, shape: Shape) -> Option<&Row> {
        self.rows.iter().find(|row| row.peer == peer && row.variant == variant && row.shape == shape)
    }

    /// The fastest rival, of all or of those who are exact.
    fn best(&self, variant: Variant, shape: Shape, only_exact: bool) -> Option<&Row> {
        let rivals = self.rows.iter().filter(|row| row.peer != OURS && row.is_rival);
        let rivals =
            rivals.filter(|row| row.variant == variant && row.shape == shape && (row.exact || !only_exact));
        rivals.min_by(|a, b| a.min_ns.total_cmp(&b.min_ns))
    }

    /// Our rate over that of another row of the same shape, wherever there are both.
    fn ratios<'a>(&'a self, variant: Variant, other: impl Fn(Shape) -> Option<&'a Row>) -> Ratios {
        let ours = self.rows.iter().filter(|row| row.peer == OURS && row.variant == variant);
        Ratios(ours.filter_map(|row| Some((row.shape, other(row.shape)?.min_ns / row.min_ns))).collect())
    }
}

fn table(args: &Args, results: &Results, variant: Variant) {
    let names = names(results, &[variant]);
    if names.is_empty() {
        return;
    }
    println!(
        "\n{variant}, {}, {} thread(s), GOP/s by the minimum; ! wrong results",
        args.isa.name(),
        args.threads
    );
    for name in &names {
        let rows = results.rows.iter().filter(|row| row.peer == *name && row.variant == variant);
        let mut kernels: Vec<&str> = rows.map(|row| row.kernel.as_str()).collect();
        kernels.sort_unstable();
        kernels.dedup();
        println!("  {name}: {}", kernels.join("; "));
    }
    print!("\n{:15}", "M x K x N");
    names.iter().for_each(|name| print!(" {name:>9} "));
    println!(" {:>9} {:>8}", if variant == Variant::U8Q31 { "of u8" } else { "/ best" }, "of peak");
    for shape in &args.shapes {
        print!("{:15}", shape.to_string());
        for name in &names {
            let width = name.len().max(9);
            match results.find(name, variant, *shape) {
                None => print!(" {:>width$} ", "-"),
                Some(row) => print!(" {:>width$.1}{}", row.gops(), if row.exact { ' ' } else { '!' }),
            }
        }
        let ours = results.find(OURS, variant, *shape);
        let base = match variant {
            Variant::U8Q31 => results.find(OURS, Variant::U8, *shape),
            _ => results.best(variant, *shape, false),
        };
        let ratio = ours.zip(base).map_or("-".into(), |(ours, base)| format!("{:.3}", base.min_ns / ours.min_ns));
        let share = results.peaks.first().and_then(|(_, peak)| peak.share(ours.map(Row::gops)));
        let share = share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
        println!(" {ratio:>9} {share:>8}");
    }
}

/// Ratios by shape.
struct Ratios(Vec<(Shape, f64)>);

impl Ratios {
    fn geometric_mean(&self) -> f64 {
        (self.0.iter().map(|(_, ratio)| ratio.ln()).sum::<f64>() / self.0.len() as f64).exp()
    }

    fn print(&self, what: &str) {
        let Some((shape, least)) = self.0.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return };
        let (count, won) = (self.0.len(), self.0.iter().filter(|(_, ratio)| *ratio >= 1.0).count());
        let mean = self.geometric_mean();
        println!(
            "{what}: geometric mean {mean:.3}, at least 1 on {won} of {count} shapes, least {least:.3} at {shape}"
        );
    }
}

/// What the project's targets ask for.
fn summary(results: &Results, variant: Variant) {
    if variant == Variant::U8Q31 {
        results.ratios(variant, |shape| results.find(OURS, Variant::U8, shape)).print("u8-q31 / u8");
        return;
    }
    let best = results.ratios(variant, |shape| results.best(variant, shape, false));
    best.print(&format!("{variant}, {OURS} / best peer"));
    let deep = best.0.iter().filter(|(shape, _)| shape.k >= 256).copied().collect();
    Ratios(deep).print(&format!("{variant}, {OURS} / best peer, K >= 256"));
    if results.rows.iter().any(|row| row.is_rival && row.variant == variant && !row.exact) {
        let exact = results.ratios(variant, |shape| results.best(variant, shape, true));
        exact.print(&format!("{variant}, {OURS} / best exact peer"));
    }
    for name in names(results, &[variant]).into_iter().filter(|name| *name != OURS) {
        let one = results.ratios(variant, |shape| results.find(name, variant, shape));
        let note = if name == WITH_WEIGHT_ZERO { " (a weight zero point on both sides)" } else { "" };
        one.print(&format!("{variant}, {OURS} / {name}{note}"));
    }
    if variant == Variant::U8
        && let Some(row) = results.find(OURS, variant, Shape::new(64, 64, 64))
    {
        println!("u8, {OURS}, 64x64x64: {:.0} ns a call", row.min_ns);
    }
}

/// One line a product.
pub fn json(args: &Args, results: &Results) -> String {
    let mut out = String::new();
    for row in &results.rows {
        let Shape { m, k, n } = row.shape;
        let (isa, threads) = (args.isa.name(), args.threads);
        let _ = writeln!(
            out,
            r#"{{"peer":"{}","isa":"{isa}","variant":"{}","threads":{threads},"m":{m},"k":{k},"n":{n},"median_ns":{:.1},"min_ns":{:.1},"gops":{:.2},"exact":{}}}"#,
            row.peer,
            row.variant,
            row.median_ns,
            row.min_ns,
            row.gops(),
            row.exact
        );
    }
    out
}

//! The picture: a panel a variant, a line a shape, a dot a peer, and the peak of the instruction.

use std::fmt::Write;

use crate::args::Args;
use crate::case::Variant;
use crate::measure::Results;
use crate::peers::OURS;
use crate::report::names;

/// Colours that are told apart without seeing red or green (Okabe and Ito).
const COLOURS: [&str; 12] = [
    "#0072b2", "#e69f00", "#f0c419", "#cc79a7", "#009e73", "#7fd6b8", "#56b4e9", "#d55e00", "#6b4c9a", "#8c8c8c",
    "#7a3b10", "#222222",
];
/// Where lines begin, how long they are, and how far apart.
const LEFT: f64 = 130.0;
const WIDTH: f64 = 620.0;
const STEP: f64 = 17.0;
/// Above the first line: title, legend, scale.
const HEAD: f64 = 78.0;
const FOOT: f64 = 34.0;

pub fn picture(args: &Args, results: &Results) -> String {
    let height = HEAD + STEP * args.shapes.len() as f64 + FOOT;
    let variants: Vec<Variant> =
        args.variants.iter().copied().filter(|variant| !names(results, &[*variant]).is_empty()).collect();
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>"#,
        LEFT + WIDTH + 30.0,
        height * variants.len() as f64
    );
    for (index, variant) in variants.into_iter().enumerate() {
        let _ = writeln!(out, r#"<g transform="translate(0 {})">"#, height * index as f64);
        panel(&mut out, args, results, variant);
        out += "</g>\n";
    }
    out + "</svg>\n"
}

fn panel(out: &mut String, args: &Args, results: &Results, variant: Variant) {
    let rows = || results.rows.iter().filter(|row| row.variant == variant);
    let fastest = rows().map(|row| row.gops()).chain(results.peaks().map(|(_, gops)| gops)).fold(1.0, f64::max);
    let x = |gops: f64| LEFT + WIDTH * gops / (1.02 * fastest);
    let bottom = HEAD + STEP * args.shapes.len() as f64;

    let (isa, threads) = (args.isa.name(), args.threads);
    let title = format!("{variant}, {isa}, {threads} thread(s): GOP/s; hollow: wrong results");
    text(out, LEFT, 20.0, "start", &title);
    // A peer has the same colour in every panel.
    let here = names(results, &[variant]);
    let mut all: Vec<_> = names(results, &args.variants).into_iter().zip(COLOURS.iter().cycle()).collect();
    all.retain(|(name, _)| here.contains(name));
    for ((name, colour), place) in all.iter().zip(0..) {
        let (x, y) = (LEFT + 12.0 + 125.0 * f64::from(place % 5), 38.0 + 14.0 * f64::from(place / 5));
        dot(out, (x - 8.0, y - 4.0), colour, true, *name == OURS);
        text(out, x, y, "start", name);
    }
    let step = [10.0, 20.0, 25.0, 50.0, 100.0, 200.0, 500.0, 1000.0].into_iter().find(|step| fastest / step < 9.0);
    let step = step.unwrap_or(2000.0);
    for tick in (0..).map(|tick| f64::from(tick) * step).take_while(|gops| *gops <= fastest) {
        line(out, (x(tick), HEAD - 8.0), (x(tick), bottom), "#ddd");
        text(out, x(tick), bottom + 14.0, "middle", &tick.to_string());
    }
    for ((name, gops), above) in results.peaks().zip([11.0, 23.0]) {
        line(out, (x(gops), HEAD - 8.0), (x(gops), bottom), "#d00");
        text(out, x(gops) - 3.0, HEAD - above, "end", &format!("peak, {name}: {gops:.0}"));
    }
    for (shape, y) in args.shapes.iter().zip((0..).map(|index| HEAD + STEP * (f64::from(index) + 0.5))) {
        text(out, LEFT - 8.0, y + 4.0, "end", &shape.to_string());
        line(out, (LEFT, y), (LEFT + WIDTH, y), "#eee");
        // Ours last: on top.
        for (name, colour) in all.iter().rev() {
            if let Some(row) = results.find(name, variant, *shape) {
                dot(out, (x(row.gops()), y), colour, row.exact, *name == OURS);
            }
        }
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(out, r#"<path d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}" stroke="{colour}"/>"#);
}

fn dot(out: &mut String, at: (f64, f64), colour: &str, filled: bool, large: bool) {
    let ((x, y), radius) = (at, if large { 5.5 } else { 4.0 });
    let fill = if filled { colour } else { "white" };
    let _ = writeln!(
        out,
        r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>"#
    );
}

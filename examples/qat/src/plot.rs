//! What came out: a table of means, and a picture.

use std::fmt::Write;
use std::path::Path;

use crate::Result;
use crate::experiment::Row;

/// Means and deviations over seeds, of both kinds of scales, as a table in Markdown. Of what integers are off by, the worst.
pub fn summary(rows: &[Row]) -> String {
    let mut text = String::from(
        "| bits w/a | float | PTQ tensor | PTQ channel | QAT tensor | QAT channel | integer tensor | integer channel \
         | same class | scores, off by | layers, off by |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut done: Vec<(u32, u32, bool)> = Vec::new();
    for row in rows {
        let key = key(row);
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let (w, a, failure) = key;
        let _ = write!(text, "| {w}/{a}{} ", if failure { " constructed failure" } else { "" });
        let those = || rows.iter().filter(|row| self::key(row) == key);
        let mut mean = |value: fn(&Row) -> f64, channels: &[bool]| {
            for channel in channels {
                let (mean, deviation) = spread(those().filter(|row| row.per_channel == *channel).map(value));
                let _ = write!(text, "| {mean:.2} ±{deviation:.2} ");
            }
        };
        mean(|row| row.float, &[true]);
        mean(|row| row.ptq, &[false, true]);
        mean(|row| row.qat, &[false, true]);
        mean(|row| row.integer.integer_accuracy, &[false, true]);
        let integers = || those().map(|row| row.integer);
        let _ = writeln!(
            text,
            "| {:.2} | {} | {} |",
            integers().map(|of| of.same_class).fold(100.0, f64::min),
            integers().map(|of| of.farthest_score).max().unwrap_or(0),
            integers().map(|of| of.farthest_of_a_layer).max().unwrap_or(0)
        );
    }
    text
}

/// What tells settings apart.
fn key(row: &Row) -> (u32, u32, bool) {
    (row.weight_bits, row.activation_bits, row.constructed_failure)
}

/// Mean and standard deviation of a sample; of one, 0.
pub fn spread(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    (mean, (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt())
}

/// Width and height of a panel's axes, and what surrounds them.
const PANEL: [f64; 2] = [260.0, 220.0];
const MARGIN: f64 = 50.0;
/// What a panel varies: its title, the bits of a row, and whether a row belongs to it.
type Panel = (&'static str, fn(&Row) -> u32, fn(&Row) -> bool);
const PANELS: [Panel; 3] = [
    ("weights, activations 8", |row| row.weight_bits, |row| row.activation_bits == 8),
    ("activations, weights 8", |row| row.activation_bits, |row| row.weight_bits == 8),
    ("both", |row| row.weight_bits, |row| row.weight_bits == row.activation_bits),
];

/// Accuracy over bits, mean over seeds: a panel each for weights, activations and both, and one of the constructed failure, if it was
/// tried.
pub fn draw(path: &Path, data: &str, rows: &[Row]) -> Result<()> {
    let (failed, rows): (Vec<Row>, Vec<Row>) = rows.iter().copied().partition(|row| row.constructed_failure);
    let [width, height] = PANEL;
    let size = [if failed.is_empty() { 3.0 } else { 4.0 } * (width + MARGIN) + MARGIN, height + 3.0 * MARGIN];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        size[0], size[1]
    );
    let least = rows.iter().chain(&failed).map(|row| row.ptq.min(row.qat)).fold(100.0, f64::min);
    let floor = ((least / 10.0).floor() * 10.0).clamp(0.0, 90.0);
    let up = |percent: f64| MARGIN + height * (100.0 - percent) / (100.0 - floor);
    let (float, _) = spread(rows.iter().map(|row| row.float));
    if !failed.is_empty() {
        // Bars, of 8 bits.
        let (left, foot) = (MARGIN + 3.0 * (width + MARGIN), MARGIN + height);
        writeln!(svg, "<text x=\"{left}\" y=\"{}\">{data}, 8 bits, constructed failure</text>", MARGIN - 12.0)?;
        for (number, (_, colour, dash, channel, value)) in LINES.into_iter().enumerate() {
            let (percent, _) = spread(failed.iter().filter(|row| row.per_channel == channel).map(value));
            let (x, y) = (left + 60.0 * number as f64 + 20.0, up(percent));
            let (fill, text) = if dash.is_empty() { (1.0, "white") } else { (0.4, "black") };
            writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y:.1}\" width=\"40\" height=\"{:.1}\" fill=\"{colour}\" \
                 fill-opacity=\"{fill}\"/><text x=\"{}\" y=\"{:.1}\" fill=\"{text}\">{percent:.1}</text>",
                foot - y,
                x + 6.0,
                y + 16.0
            )?;
        }
        let y = up(spread(failed.iter().map(|row| row.float)).0);
        writeln!(svg, "<path d=\"M{left} {y:.1}h{width}\" stroke=\"black\" stroke-dasharray=\"2 3\"/>")?;
    }
    for (number, (title, bits, belongs)) in PANELS.into_iter().enumerate() {
        let left = MARGIN + number as f64 * (width + MARGIN);
        let across = |bits: u32| left + width * f64::from(8 - bits) / 5.0;
        writeln!(svg, "<text x=\"{left}\" y=\"{}\">{data}, bits of {title}</text>", MARGIN - 12.0)?;
        for percent in (floor as u32..=100).step_by(10).map(f64::from) {
            let (y, right) = (up(percent), left + width);
            writeln!(svg, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>")?;
            writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent}</text>", left - 6.0, y + 4.0)?;
        }
        for bits in 3..=8 {
            let (x, y) = (across(bits), MARGIN + height + 16.0);
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{bits}</text>")?;
        }
        let y = up(float);
        writeln!(svg, "<path d=\"M{left} {y:.1}h{width}\" stroke=\"black\" stroke-dasharray=\"2 3\"/>")?;
        for (_, colour, dash, channel, value) in LINES {
            let mut line = String::new();
            for at in (3..=8).rev() {
                let mut of = rows
                    .iter()
                    .filter(|row| belongs(row) && bits(row) == at && row.per_channel == channel)
                    .map(value)
                    .peekable();
                if of.peek().is_some() {
                    write!(line, "{:.1},{:.1} ", across(at), up(spread(of).0))?;
                }
            }
            writeln!(
                svg,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
                 stroke-dasharray=\"{dash}\"/>"
            )?;
        }
    }
    let y = MARGIN + height + 50.0;
    for (number, (name, colour, dash, ..)) in LINES.into_iter().enumerate() {
        let x = MARGIN + 200.0 * number as f64;
        writeln!(
            svg,
            "<path d=\"M{x} {y}h30\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>"
        )?;
        writeln!(svg, "<text x=\"{}\" y=\"{}\">{name}</text>", x + 36.0, y + 4.0)?;
    }
    writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"{}\">Dotted: float. Accuracy on the test set, in percent.</text>",
        y + 24.0
    )?;
    svg.push_str("</svg>\n");
    Ok(std::fs::write(path, svg).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// A line: its name, colour and dashes, the scales of its rows, its value.
type Line = (&'static str, &'static str, &'static str, bool, fn(&Row) -> f64);
const LINES: [Line; 4] = [
    ("PTQ, a scale a tensor", "#c0392b", "6 4", false, |row| row.ptq),
    ("PTQ, a scale a channel", "#2471a3", "6 4", true, |row| row.ptq),
    ("QAT, a scale a tensor", "#c0392b", "", false, |row| row.qat),
    ("QAT, a scale a channel", "#2471a3", "", true, |row| row.qat),
];

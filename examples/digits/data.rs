//! The pictures: 1,797 handwritten digits of 8 x 8 pixels (see ATTRIBUTION.md).

use std::error::Error;
use std::io::Read;

use crate::rng::Rng;

/// Pixels of one picture.
pub const PIXELS: usize = 64;
/// The digits 0 to 9.
pub const CLASSES: usize = 10;

const FILE: &[u8] = include_bytes!("digits.csv.gz");
/// What a pixel full of ink holds; an empty one holds 0.
const FULL: u8 = 16;

/// Pictures and what they show.
#[derive(Default)]
pub struct Dataset {
    /// One row of `PIXELS` values in -1..=1 per picture.
    pub images: Vec<f32>,
    /// The class of each picture.
    pub labels: Vec<u8>,
}

impl Dataset {
    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The pixels of picture `index`.
    pub fn image(&self, index: usize) -> &[f32] {
        &self.images[index * PIXELS..][..PIXELS]
    }

    /// The share of pictures, in percent, whose class is the one in `classes`.
    pub fn accuracy(&self, classes: &[u8]) -> f64 {
        percent_equal(&self.labels, classes)
    }

    fn push(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let (pixels, label) = line.rsplit_once(',').ok_or("a line without a comma")?;
        for pixel in pixels.split(',') {
            let pixel: u8 = pixel.parse()?;
            self.images.push(f32::from(pixel) / f32::from(FULL / 2) - 1.0);
        }
        self.labels.push(label.parse()?);
        Ok(())
    }
}

/// Reads the file and deals it out: `test` pictures, taken at random, to the second set, the rest to the first.
pub fn load(test: usize, rng: &mut Rng) -> Result<(Dataset, Dataset), Box<dyn Error>> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(FILE).read_to_string(&mut text)?;
    let mut lines: Vec<&str> = text.lines().collect();
    rng.shuffle(&mut lines);

    let mut sets = (Dataset::default(), Dataset::default());
    for (index, line) in lines.into_iter().enumerate() {
        let set = if index < test { &mut sets.1 } else { &mut sets.0 };
        set.push(line)?;
    }
    Ok(sets)
}

/// The share, in percent, of places where `a` and `b` agree.
pub fn percent_equal(a: &[u8], b: &[u8]) -> f64 {
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
    100.0 * equal as f64 / a.len() as f64
}

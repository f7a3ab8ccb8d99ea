//! Pictures: the digits of the repository, or Fashion-MNIST from Debian's package.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::rng::Rng;
use crate::{Result, digits};

/// Where the package puts its files.
pub const FASHION: &str = "/usr/share/datasets/fashion-mnist";
/// A quarter of the digits.
const TEST_DIGITS: usize = 450;
/// Of both sets.
pub const CLASSES: usize = 10;

/// Square pictures of one channel, in codes, and what they show.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// Lines of a picture.
    pub side: usize,
    /// The code of 1.
    pub full: u8,
    /// Pixels of all pictures.
    pub codes: Vec<u8>,
    /// The class of each.
    pub labels: Vec<u8>,
}

impl Pictures {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The first ones.
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.len());
        let codes = self.codes[..count * self.side * self.side].to_vec();
        Self { codes, labels: self.labels[..count].to_vec(), ..*self }
    }

    /// Some, as a batch of reals in 0..=1 and their classes.
    pub fn batch(&self, indices: &[usize]) -> Result<(Tensor, Tensor)> {
        let pixels = self.side * self.side;
        let full = f32::from(self.full);
        let images: Vec<f32> = indices
            .iter()
            .flat_map(|i| &self.codes[i * pixels..][..pixels])
            .map(|code| f32::from(*code) / full)
            .collect();
        let labels: Vec<u32> = indices.iter().map(|i| u32::from(self.labels[*i])).collect();
        let images = Tensor::from_vec(images, (indices.len(), self.side, self.side, 1), &Device::Cpu)?;
        Ok((images, Tensor::from_vec(labels, indices.len(), &Device::Cpu)?))
    }
}

/// The digits, for training and for the test, dealt out by a seed.
pub fn digits(seed: u64) -> Result<[Pictures; 2]> {
    let (training, test) = digits::load(TEST_DIGITS, &mut Rng::new(seed))?;
    Ok([training, test].map(|set| {
        // They are in -1..=1, in steps of an eighth.
        let codes = set.images.iter().map(|x| ((x + 1.0) * 8.0) as u8).collect();
        Pictures { side: 8, full: 16, codes, labels: set.labels }
    }))
}

/// Fashion-MNIST, for training and for the test.
pub fn fashion(directory: &Path) -> Result<[Pictures; 2]> {
    Ok([pictures(directory, "train")?, pictures(directory, "t10k")?])
}

fn pictures(directory: &Path, set: &str) -> Result<Pictures> {
    let (codes, labels) = (idx(directory, set, "images-idx3")?, idx(directory, set, "labels-idx1")?);
    let [count, height, width] = codes.0[..] else { return Err("images are not of three dimensions".into()) };
    if labels.0 != [count] || height != width {
        return Err(format!("{count} images of {height} x {width}, and {:?} labels", labels.0).into());
    }
    if let Some(label) = labels.1.iter().find(|label| usize::from(**label) >= CLASSES) {
        return Err(format!("a label of {label}").into());
    }
    Ok(Pictures { side: height, full: 255, codes: codes.1, labels: labels.1 })
}

/// Dimensions and bytes of a compressed IDX file.
fn idx(directory: &Path, set: &str, kind: &str) -> Result<(Vec<usize>, Vec<u8>)> {
    let path = directory.join(format!("{set}-{kind}-ubyte.gz"));
    let file = File::open(&path).map_err(|error| {
        format!(
            "{}: {error}; install the Debian package dataset-fashion-mnist, or give --data DIR",
            path.display()
        )
    })?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?;
    let broken = || format!("{}: no IDX file of bytes", path.display());
    let ([0, 0, 8, rank], rest) = bytes.split_first_chunk().ok_or_else(broken)? else {
        return Err(broken().into());
    };
    let (sizes, data) = rest.split_at_checked(4 * usize::from(*rank)).ok_or_else(broken)?;
    let sizes: Vec<usize> =
        sizes.chunks_exact(4).map(|size| size.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))).collect();
    if sizes.iter().try_fold(1, |all: usize, size| all.checked_mul(*size)) != Some(data.len()) {
        return Err(broken().into());
    }
    Ok((sizes, data.to_vec()))
}

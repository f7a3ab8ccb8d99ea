//! Pictures become input codes: the same bytes as Pillow's `convert` and `resize(size, BILINEAR)` give.

use core::fmt;
use std::path::Path;

use crate::{Kind, Tensor};

/// Rows of pixels of one or three bytes: grey, or red, green and blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

/// Why a picture was refused.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum PictureError {
    /// A file that is not there, or is no picture.
    File { error: image::ImageError },
    /// A tensor that holds no picture: neither u8 nor i8, or not one picture of one or three channels.
    Tensor { kind: Kind, shape: Vec<usize> },
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { error } => write!(f, "{error}"),
            Self::Tensor { kind, shape } => {
                write!(f, "the input is {kind:?} {shape:?}, not one picture in U8 or I8 of 1 or 3 channels")
            }
        }
    }
}

impl core::error::Error for PictureError {}

impl Picture {
    /// Reads a PNG, JPEG or BMP file; transparency is dropped, and a rotation that a camera has noted is
    /// not applied.
    ///
    /// # Errors
    /// [`PictureError::File`].
    pub fn read(path: &Path) -> Result<Self, PictureError> {
        let refuse = |error| PictureError::File { error };
        let reader = image::ImageReader::open(path).map_err(|error| refuse(error.into()))?;
        let reader = reader.with_guessed_format().map_err(|error| refuse(error.into()))?;
        let rgb = reader.decode().map_err(refuse)?.to_rgb8();
        let (width, height) = (rgb.width() as usize, rgb.height() as usize);
        Ok(Self { width, height, channels: 3, pixels: rgb.into_raw() })
    }

    /// A picture of these pixels; `None` if they are not `width * height` of one or three bytes.
    pub fn new([width, height]: [usize; 2], channels: usize, pixels: Vec<u8>) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(channels)?;
        let fits = matches!(channels, 1 | 3) && bytes == pixels.len() && bytes > 0;
        fits.then_some(Self { width, height, channels, pixels })
    }

    /// The bytes of all pixels, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Luma of ITU-R 601 in 16 bits of fraction.
    #[must_use]
    pub fn grey(&self) -> Self {
        let luma = |[r, g, b]: &[u8; 3]| {
            let sum = u32::from(*r) * 19_595 + u32::from(*g) * 38_470 + u32::from(*b) * 7_471;
            ((sum + 0x8000) >> 16) as u8
        };
        let pixels = match self.channels {
            1 => self.pixels.clone(),
            _ => self.pixels.as_chunks().0.iter().map(luma).collect(),
        };
        Self { channels: 1, pixels, ..*self }
    }

    /// Another size, whatever the sides' proportion: first across, then down, with bytes in between.
    #[must_use]
    pub fn resized(&self, [width, height]: [usize; 2]) -> Self {
        let across = Line { from: self.width, to: width, step: self.channels };
        let down = Line { from: self.height, to: height, step: width * self.channels };
        let pixels = down.resample(&across.resample(&self.pixels));
        Self { width, height, pixels, channels: self.channels }
    }

    /// What the tensor of a network's input holds for this picture: bytes as they are, or less 128. The tensor's own
    /// scale and zero point make numbers of them.
    ///
    /// # Errors
    /// [`PictureError::Tensor`].
    pub fn codes(&self, tensor: &Tensor) -> Result<Vec<u8>, PictureError> {
        let refuse = || PictureError::Tensor { kind: tensor.kind, shape: tensor.shape.clone() };
        let [1, height, width, channels @ (1 | 3)] = tensor.shape[..] else { return Err(refuse()) };
        let flip = match tensor.kind {
            Kind::U8 => 0,
            Kind::I8 => 0x80,
            _ => return Err(refuse()),
        };
        let resized = match (self.channels, channels) {
            (3, 1) => self.grey().resized([width, height]),
            (1, 3) => {
                let grey = self.resized([width, height]);
                let pixels = grey.pixels.iter().flat_map(|&byte| [byte; 3]).collect();
                Self { channels: 3, pixels, ..grey }
            }
            _ => self.resized([width, height]),
        };
        Ok(resized.pixels.iter().map(|byte| byte ^ flip).collect())
    }
}

/// One of the two directions: elements of a line lie `step` bytes apart.
struct Line {
    from: usize,
    to: usize,
    step: usize,
}

/// What an element of the result is made of: the first element and the weights of it and its successors.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

impl Line {
    /// Bits of the fraction of a weight: products of bytes with sums of weights up to 2 fit an i32.
    const FRACTION: u32 = 22;

    /// A triangle about the centre of each element, twice as wide as the element, or as a pixel if that is wider.
    fn taps(&self) -> Vec<Tap> {
        let scale = self.from as f64 / self.to as f64;
        let support = scale.max(1.0);
        let tap = |index: usize| {
            let centre = (index as f64 + 0.5) * scale;
            // Truncation, also towards zero.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(self.from);
            let triangle = |at: usize| (1.0 - ((at as f64 - centre + 0.5) * (1.0 / support)).abs()).max(0.0);
            let weights: Vec<f64> = (first..end).map(triangle).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: &f64| (0.5 + weight / sum * f64::from(1 << Self::FRACTION)) as i32;
            Tap { first, weights: weights.iter().map(fixed).collect() }
        };
        (0..self.to).map(tap).collect()
    }

    fn resample(&self, bytes: &[u8]) -> Vec<u8> {
        if self.from == self.to {
            return bytes.to_vec();
        }
        let taps = self.taps();
        let lines = bytes.chunks_exact((self.from * self.step).max(1));
        let mut out = Vec::with_capacity(lines.len() * self.to * self.step);
        for line in lines {
            for Tap { first, weights } in &taps {
                for byte in 0..self.step {
                    let taken = line.iter().skip(first * self.step + byte).step_by(self.step);
                    let sum: i32 = taken.zip(weights).map(|(&byte, weight)| i32::from(byte) * weight).sum();
                    out.push(((sum + (1 << (Self::FRACTION - 1))) >> Self::FRACTION).clamp(0, 255) as u8);
                }
            }
        }
        out
    }
}

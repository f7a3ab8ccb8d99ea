//! Recorded arrays: NumPy's `.npz`, an archive of `.npy` files.

use core::fmt;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};

use crate::Kind;

/// An archive of arrays, in memory.
pub struct Npz {
    archive: ZipSliceArchive<Vec<u8>>,
    entries: BTreeMap<String, (ZipArchiveEntryWayfinder, CompressionMethod)>,
}

/// Why an archive or an array was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum NpzError {
    /// The file is no archive that can be read.
    Archive { error: String },
    /// No array has this name.
    Missing { key: String },
    /// An array that is packed by another method than deflate.
    Method { key: String, method: String },
    /// An array whose bytes cannot be unpacked, or are others than those that were packed.
    Damaged { key: String, error: String },
    /// Not an array, or of a form that is not read: by columns, or not little-endian.
    Header { key: String, what: &'static str },
    /// An array of another type or shape than the caller asked for.
    Form { key: String, found: String, expected: String },
}

impl fmt::Display for NpzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive { error } => write!(f, "not an .npz file: {error}"),
            Self::Missing { key } => write!(f, "array {key:?} is missing"),
            Self::Method { key, method } => write!(f, "array {key:?} is packed by the method {method}"),
            Self::Damaged { key, error } => write!(f, "array {key:?} is damaged: {error}"),
            Self::Header { key, what } => write!(f, "array {key:?}: {what}"),
            Self::Form { key, found, expected } => write!(f, "array {key:?} is {found}, not {expected}"),
        }
    }
}

impl core::error::Error for NpzError {}

impl Npz {
    /// Reads the list of arrays of a file's bytes.
    ///
    /// # Errors
    /// [`NpzError::Archive`].
    pub fn read(file: Vec<u8>) -> Result<Self, NpzError> {
        let refuse = |error: rawzip::Error| NpzError::Archive { error: error.to_string() };
        let archive = ZipArchive::from_slice(file).map_err(refuse)?;
        let mut entries = BTreeMap::new();
        let mut records = archive.entries();
        while let Some(record) = records.next_entry().map_err(refuse)? {
            let path = record.file_path();
            if let Some(key) = path.as_ref().strip_suffix(b".npy") {
                let key = String::from_utf8_lossy(key).into_owned();
                entries.insert(key, (record.wayfinder(), record.compression_method()));
            }
        }
        Ok(Self { archive, entries })
    }

    /// The names of all arrays, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is an array of this name.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The elements of an array, which must be of this type and shape: no more is unpacked than was asked for.
    ///
    /// # Errors
    /// All kinds but [`NpzError::Archive`].
    pub fn array(&self, key: &str, kind: Kind, shape: &[usize]) -> Result<Vec<u8>, NpzError> {
        let damaged = |error: String| NpzError::Damaged { key: key.into(), error };
        let (wayfinder, method) = self.entries.get(key).ok_or_else(|| NpzError::Missing { key: key.into() })?;
        let entry = self.archive.get_entry(*wayfinder).map_err(|error| damaged(error.to_string()))?;
        let bytes: Box<dyn Read + '_> = match *method {
            CompressionMethod::STORE => Box::new(entry.data()),
            CompressionMethod::DEFLATE => Box::new(flate2::bufread::DeflateDecoder::new(entry.data())),
            other => return Err(NpzError::Method { key: key.into(), method: format!("{other:?}") }),
        };
        // Compares the checksum at the end.
        let mut file = BufReader::new(entry.verifying_reader(bytes));
        let header = Header::read(&mut file).map_err(|error| damaged(error.to_string()))?;
        let header = header.map_err(|what| NpzError::Header { key: key.into(), what })?;
        if (header.kind, &header.shape[..]) != (kind, shape) {
            let form = |kind: Kind, shape: &[usize]| format!("{kind:?} {shape:?}");
            let (found, expected) = (form(header.kind, &header.shape), form(kind, shape));
            return Err(NpzError::Form { key: key.into(), found, expected });
        }
        let expected = shape.iter().try_fold(kind.bytes(), |product, extent| product.checked_mul(*extent));
        let expected = expected.ok_or_else(|| damaged("its extents overflow".into()))?;
        let mut data = Vec::new();
        let most = (expected as u64).saturating_add(1);
        file.take(most).read_to_end(&mut data).map_err(|error| damaged(error.to_string()))?;
        if data.len() != expected {
            let more = if data.len() > expected { "more" } else { "fewer" };
            return Err(damaged(format!("{more} than {expected} bytes")));
        }
        Ok(data)
    }
}

/// What an `.npy` file says of itself before its elements.
struct Header {
    kind: Kind,
    shape: Vec<usize>,
}

impl Header {
    /// Fails outside if the bytes cannot be had, inside if they are no such header.
    fn read(file: &mut impl BufRead) -> io::Result<Result<Self, &'static str>> {
        let mut start = [0; 8];
        file.read_exact(&mut start)?;
        if start[..6] != *b"\x93NUMPY" {
            return Ok(Err("not an .npy file"));
        }
        // Version 1 has two bytes of length, later ones have four; no header of ours needs more than two.
        let mut length = [0; 4];
        file.read_exact(&mut length[..if start[6] == 1 { 2 } else { 4 }])?;
        let Ok(length) = u16::try_from(u32::from_le_bytes(length)) else { return Ok(Err("a header too long")) };
        let mut text = vec![0; length.into()];
        file.read_exact(&mut text)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// `{'descr': '|i1', 'fortran_order': False, 'shape': (1, 49, 10, 1), }`, in any order.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let after = |key: &str| text.split_once(key).map(|(_, rest)| rest.trim_start_matches([' ', ':']));
        let kind = after("'descr'").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next());
        let kind = match kind.ok_or("a header without 'descr'")? {
            "|u1" => Kind::U8,
            "|i1" => Kind::I8,
            "|b1" => Kind::Bool,
            "<i2" => Kind::I16,
            "<i4" => Kind::I32,
            "<i8" => Kind::I64,
            "<f4" => Kind::F32,
            _ => return Err("elements of a type that is not read"),
        };
        let order = after("'fortran_order'").ok_or("a header without 'fortran_order'")?;
        if !order.starts_with("False") {
            return Err("elements by columns are not read");
        }
        let shape = after("'shape'").and_then(|rest| Some(rest.strip_prefix('(')?.split_once(')')?.0));
        let extents = shape.ok_or("a header without 'shape'")?.split(',').map(str::trim);
        let extents = extents.filter(|extent| !extent.is_empty()).map(str::parse);
        let shape = extents.collect::<Result<_, _>>().map_err(|_| "an extent that is no number")?;
        Ok(Self { kind, shape })
    }
}

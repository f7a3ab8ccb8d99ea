//! Inputs, with their names.

use zeropoint::kernels::bytes::codes;
use zeropoint::{Code, ZeroPoint};

use crate::failure::{Failure, refuse};

/// A type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    U8,
    I8,
    I32,
    F32,
}

impl Type {
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I32 | Self::F32 => 4,
        }
    }
}

/// Elements of a tensor, all one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data<'c> {
    /// Codes, as bytes.
    Codes {
        signed: bool,
        bytes: &'c [u8],
    },
    I32(&'c [i32]),
    F32(&'c [f32]),
}

/// An input.
#[derive(Debug)]
pub(crate) struct Tensor<'c> {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub data: Data<'c>,
}

/// Where inputs come from: all of them while the model runs, constants while it is loaded.
pub(crate) trait Source {
    /// An input; `None` if it is left out. [`Failure::Later`] if it is not known yet.
    fn get(&self, index: usize) -> Result<Option<Tensor<'_>>, Failure>;

    /// An input that is always there.
    fn need(&self, index: usize) -> Result<Tensor<'_>, Failure> {
        match self.get(index)? {
            Some(tensor) => Ok(tensor),
            None => refuse!("input {index} is left out"),
        }
    }

    /// One zero point, or `count` of them; 0 if left out.
    fn zeros(&self, index: usize, count: usize) -> Result<Vec<i32>, Failure> {
        let Some(tensor) = self.get(index)? else { return Ok(vec![0]) };
        let (signed, bytes) = tensor.bytes()?;
        tensor.check_count(bytes.len(), count)?;
        Ok(if signed {
            codes::<i8>(bytes).iter().map(|code| (*code).into()).collect()
        } else {
            bytes.iter().map(|code| (*code).into()).collect()
        })
    }

    /// One scale, or `count` of them.
    fn scales(&self, index: usize, count: usize) -> Result<Vec<f32>, Failure> {
        let tensor = self.need(index)?;
        let Data::F32(scales) = tensor.data else { return tensor.wrong("float32") };
        tensor.check_count(scales.len(), count)?;
        Ok(scales.to_vec())
    }
}

impl<'c> Tensor<'c> {
    /// Codes as bytes, and whether they are signed.
    pub fn bytes(&self) -> Result<(bool, &'c [u8]), Failure> {
        let Data::Codes { signed, bytes } = self.data else { return self.wrong("uint8 or int8") };
        Ok((signed, bytes))
    }

    /// Codes of a type.
    pub fn codes<C: Code>(&self) -> Result<&'c [C], Failure> {
        match self.bytes()? {
            (signed, bytes) if signed == C::SIGNED => Ok(codes(bytes)),
            _ => self.wrong(if C::SIGNED { "int8" } else { "uint8" }),
        }
    }

    /// A vector of `count` int32.
    pub fn vector(&self, count: usize) -> Result<&'c [i32], Failure> {
        let Data::I32(values) = self.data else { return self.wrong("int32") };
        if values.len() != count {
            return refuse!("{} has {} elements; expected {count}", self.name, values.len());
        }
        Ok(values)
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, Failure> {
        refuse!("{} has elements of another type than {expected}", self.name)
    }

    /// A scalar, or a vector of `count`, which may have dimensions of 1 before it.
    fn check_count(&self, got: usize, count: usize) -> Result<(), Failure> {
        if got == 1 || (got == count && self.shape.last() == Some(&count)) {
            return Ok(());
        }
        refuse!("{} has shape {:?}; expected one element or a vector of {count}", self.name, self.shape)
    }
}

/// Zero points as the library takes them.
pub(crate) fn zero_point(zeros: &[i32]) -> ZeroPoint<'_> {
    match zeros {
        [zero] => ZeroPoint::One(*zero),
        zeros => ZeroPoint::Each(zeros),
    }
}

/// How many elements there are.
pub(crate) fn count(name: &str, shape: &[usize]) -> Result<usize, Failure> {
    // A shape with a 0 may have sizes whose product overflows.
    let count =
        if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1, |a: usize, b| a.checked_mul(*b)) };
    match count {
        Some(count) => Ok(count),
        None => refuse!("{name} of shape {shape:?} is too large"),
    }
}

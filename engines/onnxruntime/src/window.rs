//! The attributes of a convolution.

use zeropoint::layers::{Padding, Window};

use crate::edge::Info;
use crate::failure::{Failure, refuse};

/// How a kernel moves, as the node says it.
pub(crate) struct Attributes {
    kernel: Option<Vec<i64>>,
    strides: Option<Vec<i64>>,
    dilations: Option<Vec<i64>>,
    pads: Option<Vec<i64>>,
    auto_pad: String,
    pub group: usize,
}

impl Attributes {
    pub fn read(info: &Info<'_>) -> Result<Self, Failure> {
        let group = info.int(c"group").unwrap_or(1);
        Ok(Self {
            kernel: info.ints(c"kernel_shape"),
            strides: info.ints(c"strides"),
            dilations: info.ints(c"dilations"),
            pads: info.ints(c"pads"),
            auto_pad: info.text(c"auto_pad").unwrap_or_else(|| "NOTSET".to_owned()),
            group: number("group", group)?,
        })
    }

    /// For a kernel of one or two dimensions; one dimension is a line.
    pub fn window(&self, kernel: &[usize]) -> Result<Window, Failure> {
        if let Some(shape) = &self.kernel
            && numbers("kernel_shape", shape)? != kernel
        {
            return refuse!("kernel_shape is {shape:?}, but w has {kernel:?}");
        }
        let [top, left, bottom, right] = match self.pads.as_deref() {
            None => [0; 4],
            Some(pads) => match (numbers("pads", pads)?.as_slice(), kernel.len()) {
                ([left, right], 1) => [0, *left, 0, *right],
                ([top, left, bottom, right], 2) => [*top, *left, *bottom, *right],
                _ => return refuse!("pads is {pads:?} for {} dimensions", kernel.len()),
            },
        };
        let padding = match &self.auto_pad[..] {
            "NOTSET" | "" => Padding::Explicit { top, bottom, left, right },
            "VALID" => Padding::Valid,
            "SAME_UPPER" => Padding::Same,
            other => return refuse!("auto_pad is {other:?}; expected NOTSET, VALID or SAME_UPPER"),
        };
        Ok(Window {
            stride: pair("strides", self.strides.as_deref(), kernel.len())?,
            dilation: pair("dilations", self.dilations.as_deref(), kernel.len())?,
            padding,
        })
    }
}

fn number(name: &str, value: i64) -> Result<usize, Failure> {
    match usize::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => refuse!("{name} is {value}; expected none below 0"),
    }
}

fn numbers(name: &str, values: &[i64]) -> Result<Vec<usize>, Failure> {
    values.iter().map(|value| number(name, *value)).collect()
}

/// One number a dimension, 1 by default.
fn pair(name: &str, values: Option<&[i64]>, dimensions: usize) -> Result<[usize; 2], Failure> {
    let Some(values) = values else { return Ok([1; 2]) };
    match (numbers(name, values)?.as_slice(), dimensions) {
        ([across], 1) => Ok([1, *across]),
        ([down, across], 2) => Ok([*down, *across]),
        _ => refuse!("{name} is {values:?} for {dimensions} dimensions"),
    }
}

//! What a depthwise kernel looks like, and how its weights are packed.

use super::{MOST, WIDEST};
use crate::Error;
use crate::backend::Backend;
use crate::panel::{Elem, Panel};
use crate::view::{plus, times};

/// What a depthwise kernel looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DepthwiseShape {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Pixels from an output to the next.
    pub stride: usize,
    /// Lines and pixels from a tap to the next.
    pub dilation: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// Codes from a pixel of the input to the next: as many, but where one pixel of the output is two of them.
    pub pixel: usize,
}

/// How weights are packed: down first, each column of taps padded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DepthwiseForm {
    /// In pairs, as i16: any difference of two codes.
    Pairs,
    /// The same, for lines that are woven two by two: codes of line 2 i and line 2 i + 1 take turns. Faster, where a backend takes it:
    /// [`DepthwiseShape::takes_woven`].
    Woven,
    /// In fours, as i8. Faster, where a backend takes it: [`DepthwiseShape::takes_quads`].
    Quads,
}

/// Packed weights: [`DepthwiseShape::weights`] numbers, all 0 but where [`DepthwiseShape::place`] says.
#[derive(Clone, Copy, Debug)]
pub enum DepthwiseWeights<'a> {
    /// [`DepthwiseForm::Pairs`].
    Pairs(&'a [i16]),
    /// [`DepthwiseForm::Woven`].
    Woven(&'a [i16]),
    /// [`DepthwiseForm::Quads`].
    Quads(&'a [i8]),
}

impl DepthwiseWeights<'_> {
    /// How they are packed.
    pub fn form(self) -> DepthwiseForm {
        match self {
            Self::Pairs(_) => DepthwiseForm::Pairs,
            Self::Woven(_) => DepthwiseForm::Woven,
            Self::Quads(_) => DepthwiseForm::Quads,
        }
    }

    pub(super) fn count(self) -> usize {
        match self {
            Self::Pairs(weights) | Self::Woven(weights) => weights.len(),
            Self::Quads(weights) => weights.len(),
        }
    }

    pub(super) fn pointer(self) -> *const u8 {
        match self {
            Self::Pairs(weights) | Self::Woven(weights) => weights.as_ptr().cast(),
            Self::Quads(weights) => weights.as_ptr().cast(),
        }
    }
}

impl DepthwiseForm {
    /// Lines of the input that lie in one.
    pub fn lines(self) -> usize {
        if self == Self::Woven { 2 } else { 1 }
    }

    /// The layout: a tap is a k, a panel a vector of channels.
    pub(super) fn panel(self, backend: Backend) -> Panel {
        let (group, elem) = match self {
            Self::Pairs | Self::Woven => (2, Elem::I16),
            Self::Quads => (4, Elem::I8),
        };
        Panel { width: backend.lanes(), group, elem }
    }

    /// Taps of a column, padded.
    pub(super) fn height(self, taps: usize) -> Result<usize, Error> {
        let group = if self == Self::Quads { 4 } else { 2 };
        taps.checked_next_multiple_of(group).ok_or(Error::Overflow { argument: "kernel", a: taps, b: group })
    }
}

impl DepthwiseShape {
    /// Whether there are loops of their own for it: 3 x 3 taps, side by side, at most two pixels from a window to the next.
    pub(super) fn is_common(&self) -> bool {
        self.kernel == [3, 3] && matches!(self.stride, 1 | 2) && self.dilation[1] == 1
    }

    /// Whether weights may be packed as [`DepthwiseForm::Quads`].
    pub fn takes_quads(&self, backend: Backend) -> bool {
        backend.row().quads && self.is_common()
    }

    /// Whether weights may be packed as [`DepthwiseForm::Woven`].
    pub fn takes_woven(&self, backend: Backend) -> bool {
        backend.row().woven && self.is_common() && self.dilation[0] == 1
    }

    /// Taps of a channel, padded. Woven weights are there twice, for windows that begin with an even line and with an odd one.
    pub(super) fn k(&self, form: DepthwiseForm) -> Result<usize, Error> {
        times("kernel", times("kernel", form.height(self.kernel[0])?, self.kernel[1])?, form.lines())
    }

    /// Numbers that the packed weights take, all 0 but where [`DepthwiseShape::place`] says.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn weights(&self, backend: Backend, form: DepthwiseForm) -> Result<usize, Error> {
        let (k, columns, panel) = (self.k(form)?, backend.columns(self.channels)?, form.panel(backend));
        let bytes = panel.bytes(columns, k).ok_or(Error::Overflow { argument: "weights", a: columns, b: k })?;
        Ok(bytes / panel.elem.size())
    }

    /// Where the weight of a channel and a tap, less its zero point, goes: woven ones to two places, others to one, given twice.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn place(
        &self,
        backend: Backend,
        form: DepthwiseForm,
        channel: usize,
        [y, x]: [usize; 2],
    ) -> Result<[usize; 2], Error> {
        let (strides, height) = (form.panel(backend).strides(self.k(form)?), form.height(self.kernel[0])?);
        let panel = times("weights", channel / backend.lanes(), strides.panel)?;
        let place = |k: usize| plus("weights", panel, strides.offset(channel % backend.lanes(), k));
        let first = x * height + y;
        // The line before an odd one has a weight of 0.
        let second = if form == DepthwiseForm::Woven { self.kernel[1] * height + first + 1 } else { first };
        Ok([place(first)?, place(second)?])
    }

    /// Lines of the input that an output line spans.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn span(&self) -> Result<usize, Error> {
        plus("kernel", times("kernel", self.kernel[0].saturating_sub(1), self.dilation[0])?, 1)
    }

    /// Codes that outputs of `outputs` pixels may read of a line, or of woven ones, of which those beyond the last window may be anything.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn line(&self, form: DepthwiseForm, outputs: usize) -> Result<usize, Error> {
        // The last tile begins at the last pixel.
        let across = times("line", plus("line", outputs, MOST - 2)?, self.stride)?;
        let taps = times("line", self.kernel[1].saturating_sub(1), self.dilation[1])?;
        let pixels = plus("line", plus("line", across, taps)?, 1)?;
        let line = plus("line", plus("line", times("line", pixels, self.pixel)?, self.channels)?, WIDEST)?;
        times("line", line, form.lines())
    }

    /// The same of two output pixels at once, if they fill a vector that one leaves half empty: of twice the channels, of which the
    /// second half has the weights and columns of the first.
    pub fn paired(self, backend: Backend) -> Option<Self> {
        let Self { kernel, stride, dilation, channels, pixel } = self;
        let suits = (kernel, stride, dilation[1], pixel) == ([3, 3], 1, 1, channels);
        let suits = suits && channels > 0 && channels.checked_mul(2) == Some(backend.lanes());
        suits.then_some(Self { stride: 2, channels: 2 * channels, ..self })
    }
}

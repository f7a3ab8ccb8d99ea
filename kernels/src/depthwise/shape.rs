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
    /// In fours, as i8. Faster, where a backend takes it: [`DepthwiseShape::takes_quads`].
    Quads,
}

/// Packed weights: [`DepthwiseShape::weights`] numbers, all 0 but where [`DepthwiseShape::place`] says.
#[derive(Clone, Copy, Debug)]
pub enum DepthwiseWeights<'a> {
    /// [`DepthwiseForm::Pairs`].
    Pairs(&'a [i16]),
    /// [`DepthwiseForm::Quads`].
    Quads(&'a [i8]),
}

impl DepthwiseWeights<'_> {
    pub(super) fn form(self) -> DepthwiseForm {
        match self {
            Self::Pairs(_) => DepthwiseForm::Pairs,
            Self::Quads(_) => DepthwiseForm::Quads,
        }
    }

    pub(super) fn count(self) -> usize {
        match self {
            Self::Pairs(weights) => weights.len(),
            Self::Quads(weights) => weights.len(),
        }
    }

    pub(super) fn pointer(self) -> *const u8 {
        match self {
            Self::Pairs(weights) => weights.as_ptr().cast(),
            Self::Quads(weights) => weights.as_ptr().cast(),
        }
    }
}

impl DepthwiseForm {
    /// The layout: a tap is a k, a panel a vector of channels.
    pub(super) fn panel(self, backend: Backend) -> Panel {
        let (group, elem) = match self {
            Self::Pairs => (2, Elem::I16),
            Self::Quads => (4, Elem::I8),
        };
        Panel { width: backend.lanes(), group, elem }
    }

    /// Taps of a column, padded.
    pub(super) fn height(self, taps: usize) -> Result<usize, Error> {
        let group = if self == Self::Pairs { 2 } else { 4 };
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

    /// Taps of a channel, padded.
    pub(super) fn k(&self, form: DepthwiseForm) -> Result<usize, Error> {
        times("kernel", form.height(self.kernel[0])?, self.kernel[1])
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

    /// Where the weight of a channel and a tap, less its zero point, goes.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn place(
        &self,
        backend: Backend,
        form: DepthwiseForm,
        channel: usize,
        [y, x]: [usize; 2],
    ) -> Result<usize, Error> {
        let strides = form.panel(backend).strides(self.k(form)?);
        let at = strides.offset(channel % backend.lanes(), x * form.height(self.kernel[0])? + y);
        plus("weights", times("weights", channel / backend.lanes(), strides.panel)?, at)
    }

    /// Lines of the input that an output line spans.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn span(&self) -> Result<usize, Error> {
        plus("kernel", times("kernel", self.kernel[0].saturating_sub(1), self.dilation[0])?, 1)
    }

    /// Codes that a line of `outputs` pixels may read, of which those beyond the last window may be anything.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn line(&self, outputs: usize) -> Result<usize, Error> {
        // The last tile begins at the last pixel.
        let across = times("line", plus("line", outputs, MOST - 2)?, self.stride)?;
        let taps = times("line", self.kernel[1].saturating_sub(1), self.dilation[1])?;
        let pixels = plus("line", plus("line", across, taps)?, 1)?;
        plus("line", plus("line", times("line", pixels, self.pixel)?, self.channels)?, WIDEST)
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

//! Convolutions by their sums (semantics.md 10.1): one loop an index.

use zeropoint_kernels::{Code, TensorMut, TensorRef, ZeroPoint};

use super::{Output, wrap32, zero};
use crate::Stages;
use crate::layers::{Padding, Window};

/// Codes of an image and the code of 0, which is also what surrounds it.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a, C> {
    /// The codes.
    pub codes: TensorRef<'a, C>,
    /// Their zero point.
    pub zero_point: i32,
}

/// Weights, their zero points, and how they move.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a, W> {
    /// The weights, in the layout of the layer.
    pub weights: TensorRef<'a, W>,
    /// One, or one an output channel.
    pub zero_point: ZeroPoint<'a>,
    /// How they move.
    pub window: Window,
}

/// Lines or pixels before the first.
fn before(window: &Window, i: usize, kernel: usize, input: usize) -> i64 {
    match window.padding {
        Padding::Valid => 0,
        Padding::Explicit { top, left, .. } => [top, left][i] as i64,
        Padding::Same => {
            let (stride, covered) = (window.stride[i] as i64, ((kernel - 1) * window.dilation[i] + 1) as i64);
            let output = (input as i64 + stride - 1) / stride;
            ((output - 1) * stride + covered - input as i64).max(0) / 2
        }
    }
}

/// Calls `tap` with kernel and image position of each tap that output (y, x) has inside an image of this size.
fn taps(
    window: &Window,
    kernel: [usize; 2],
    size: [usize; 2],
    at: [usize; 2],
    mut tap: impl FnMut([usize; 2], [usize; 2]),
) {
    let place = |i: usize, k: usize| {
        let at =
            (at[i] * window.stride[i] + k * window.dilation[i]) as i64 - before(window, i, kernel[i], size[i]);
        (at >= 0 && at < size[i] as i64).then_some(at as usize)
    };
    for ky in 0..kernel[0] {
        for kx in 0..kernel[1] {
            if let (Some(y), Some(x)) = (place(0, ky), place(1, kx)) {
                tap([ky, kx], [y, x]);
            }
        }
    }
}

/// Writes each output from its sum, which `sum` gives for a position.
fn write<O: Output>(out: &mut TensorMut<'_, O>, stages: &Stages<'_, O>, sum: impl Fn([usize; 4]) -> i128) {
    let [batch, height, width, channels] = out.shape();
    for n in 0..batch {
        for y in 0..height {
            for x in 0..width {
                for c in 0..channels {
                    let at = [n, y, x, c];
                    let bias = stages.bias.map_or(0, |bias| i128::from(bias[c]));
                    let old = if stages.accumulate { out.get(at) } else { None };
                    out.set(at, O::finish(wrap32(sum(at) + bias), (0, c), old, stages));
                }
            }
        }
    }
}

/// A real value without its scale: a code less its zero point.
fn real<C: Code>(codes: &TensorRef<'_, C>, at: [usize; 4], zero: i128) -> i128 {
    codes.get(at).map_or(0, |code| i128::from(code.into()) - zero)
}

/// What [`Conv2d`](crate::layers::Conv2d) computes. Shapes are the caller's business.
///
/// ```
/// use zeropoint::reference::{Image, Kernel, conv2d};
/// use zeropoint::{Stages, TensorMut, TensorRef, ZeroPoint, layers::Window};
/// let (image, weights, mut sums) = ([1u8, 2, 3], [1u8, 10], [0; 2]);
/// let image = Image { codes: TensorRef::nhwc(&image, [1, 1, 3, 1])?, zero_point: 0 };
/// let weights = TensorRef::nhwc(&weights, [1, 1, 2, 1])?;
/// let kernel = Kernel { weights, zero_point: ZeroPoint::One(0), window: Window::default() };
/// conv2d(image, kernel, 1, &Stages::raw(), &mut TensorMut::nhwc(&mut sums, [1, 1, 2, 1])?);
/// assert_eq!(sums, [21, 32]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub fn conv2d<L: Code, W: Code, O: Output>(
    image: Image<'_, L>,
    kernel: Kernel<'_, W>,
    groups: usize,
    stages: &Stages<'_, O>,
    out: &mut TensorMut<'_, O>,
) {
    let [outputs, height, width, channels] = kernel.weights.shape();
    let [_, rows, cols, _] = image.codes.shape();
    write(out, stages, |[n, y, x, o]| {
        let mut sum = 0;
        taps(&kernel.window, [height, width], [rows, cols], [y, x], |[ky, kx], [iy, ix]| {
            for c in 0..channels {
                let channel = o / (outputs / groups) * channels + c;
                let a = real(&image.codes, [n, iy, ix, channel], image.zero_point.into());
                sum += a * real(&kernel.weights, [o, ky, kx, c], zero(kernel.zero_point, o));
            }
        });
        sum
    });
}

/// What [`DepthwiseConv2d`](crate::layers::DepthwiseConv2d) computes, from weights 1 x height x width x output channels: output
/// channel `c` sees input channel `c / multiplier`. Shapes are the caller's business.
pub fn depthwise_conv2d<L: Code, W: Code, O: Output>(
    image: Image<'_, L>,
    kernel: Kernel<'_, W>,
    stages: &Stages<'_, O>,
    out: &mut TensorMut<'_, O>,
) {
    let [_, height, width, outputs] = kernel.weights.shape();
    let [_, rows, cols, channels] = image.codes.shape();
    write(out, stages, |[n, y, x, c]| {
        let mut sum = 0;
        taps(&kernel.window, [height, width], [rows, cols], [y, x], |[ky, kx], [iy, ix]| {
            let a = real(&image.codes, [n, iy, ix, c / (outputs / channels)], image.zero_point.into());
            sum += a * real(&kernel.weights, [0, ky, kx, c], zero(kernel.zero_point, c));
        });
        sum
    });
}

/// What [`TransposeConv2d`](crate::layers::TransposeConv2d) computes: each input goes, through each tap, to the output that a
/// convolution would take it from. Shapes are the caller's business.
pub fn transpose_conv2d<L: Code, W: Code, O: Output>(
    image: Image<'_, L>,
    kernel: Kernel<'_, W>,
    stages: &Stages<'_, O>,
    out: &mut TensorMut<'_, O>,
) {
    let [_, height, width, channels] = kernel.weights.shape();
    let [_, rows, cols, _] = image.codes.shape();
    let [_, out_rows, out_cols, _] = out.shape();
    write(out, stages, |[n, y, x, o]| {
        let mut sum = 0;
        for iy in 0..rows {
            for ix in 0..cols {
                taps(&kernel.window, [height, width], [out_rows, out_cols], [iy, ix], |[ky, kx], at| {
                    for c in 0..if at == [y, x] { channels } else { 0 } {
                        let a = real(&image.codes, [n, iy, ix, c], image.zero_point.into());
                        sum += a * real(&kernel.weights, [o, ky, kx, c], zero(kernel.zero_point, o));
                    }
                });
            }
        }
        sum
    });
}

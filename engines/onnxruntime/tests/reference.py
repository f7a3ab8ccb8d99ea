"""The operators by their definition: sums in 64 bits, then float32 in the order of ONNX Runtime. Slow and plain, and
written without a look at the library."""

import numpy as np


def finish(sums, x_scale, w_scale, y_scale, y_zero, axis):
    """Codes of int32 sums: sum, product and quotient are rounded to float32, the result to the nearest even integer."""
    scale = (np.float32(x_scale) * np.asarray(w_scale, np.float32)) / np.float32(y_scale)
    assert scale.dtype == np.float32
    if scale.size > 1:
        scale = scale.reshape([-1 if i == axis % sums.ndim else 1 for i in range(sums.ndim)])
    else:
        scale = scale.reshape(())
    real = np.rint(wrapped(sums).astype(np.float32) * scale)
    assert real.dtype == np.float32
    limits = np.iinfo(y_zero.dtype)
    codes = np.clip(real.astype(np.float64) + np.float64(y_zero), limits.min, limits.max)
    return codes.astype(y_zero.dtype)


def wrapped(sums):
    return sums.astype(np.int64).astype(np.int32)


def differences(codes, zero, axis=None):
    """Codes less their zero point, one or one along an axis."""
    zero = np.asarray(0 if zero is None else zero, np.int64)
    if zero.size > 1:
        zero = zero.reshape([-1 if i == axis % codes.ndim else 1 for i in range(codes.ndim)])
    else:
        zero = zero.reshape(())
    return codes.astype(np.int64) - zero


def matmul_integer(a, b, a_zero=None, b_zero=None):
    return wrapped(np.matmul(differences(a, a_zero, -2), differences(b, b_zero, -1)))


def qlinear_matmul(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    sums = np.matmul(differences(a, a_zero), differences(b, b_zero, -1))
    return finish(sums, a_scale, b_scale, y_scale, y_zero, -1)


def padding(size, taps, stride, dilation, auto_pad, pads):
    """Before and after, along one axis."""
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        total = max((-(-size // stride) - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        return (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    return (0, 0) if auto_pad == "VALID" else pads


def qlinear_conv(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias=None, *, attributes):
    axes = x.ndim - 2
    get = lambda name, default: attributes.get(name, default)
    strides, dilations, group = get("strides", [1] * axes), get("dilations", [1] * axes), get("group", 1)
    pads, auto_pad = get("pads", [0] * 2 * axes), get("auto_pad", "NOTSET")
    image, kernel = differences(x, x_zero), differences(w, w_zero, 0)
    around = [
        padding(x.shape[2 + i], w.shape[2 + i], strides[i], dilations[i], auto_pad, (pads[i], pads[axes + i]))
        for i in range(axes)
    ]
    image = np.pad(image, [(0, 0), (0, 0), *around])
    sizes = [
        (image.shape[2 + i] - (w.shape[2 + i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(axes)
    ]
    outputs, channels = w.shape[:2]
    each, sums = outputs // group, np.zeros((x.shape[0], outputs, *sizes), np.int64)
    for g in range(group):
        of_group = image[:, g * channels : (g + 1) * channels]
        weights = kernel[g * each : (g + 1) * each]
        for tap in np.ndindex(*w.shape[2:]):
            place = tuple(
                slice(tap[i] * dilations[i], tap[i] * dilations[i] + (sizes[i] - 1) * strides[i] + 1, strides[i])
                for i in range(axes)
            )
            seen = of_group[(slice(None), slice(None), *place)]
            sums[:, g * each : (g + 1) * each] += np.einsum("nc...,oc->no...", seen, weights[(..., *tap)])
    if bias is not None:
        sums = sums + np.asarray(bias, np.int64).reshape([1, -1] + [1] * axes)
    return finish(sums, x_scale, w_scale, y_scale, y_zero, 1)

"""The operators against their definition, bit for bit: all combinations of u8 and i8, full range."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models import codes, feeds, model, run, session
import reference

KINDS = (np.uint8, np.int8)
seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
count = int(sys.argv[2]) if len(sys.argv) > 2 else 150
rng = np.random.default_rng(seed)
done = {}


def compare(label, got, expected, what):
    assert got.dtype == expected.dtype and got.shape == expected.shape, (
        f"seed {seed}: {label} {what}: {got.dtype} {got.shape}, expected {expected.dtype} {expected.shape}"
    )
    if not np.array_equal(got, expected):
        at = tuple(int(i) for i in np.argwhere(got != expected)[0])
        wrong = np.mean(got != expected)
        sys.exit(f"seed {seed}: {label} {what}: {wrong:.2%} wrong, first at {at}: {got[at]}, expected {expected[at]}")
    done[label] = done.get(label, 0) + 1


def zero(kind, count=None):
    return codes(rng, kind, () if count is None else (count,))


def some(count):
    return count if rng.integers(0, 2) else None


def scale(count=None):
    return np.float32(rng.uniform(0.001, 0.1, () if count is None else (count,)))


def output_scale(k, spread=1.0):
    """So that outputs spread over all codes, with both ends met."""
    return np.float32(spread * np.sqrt(k + 1) * rng.uniform(0.02, 0.3))


def shapes():
    """Of A and B."""
    m, k, n = (int(rng.choice([1, 2, 3, 5, 7, 8, 16, 17, 31, 33, 64, 65, 130])) for _ in range(3))
    k = int(rng.choice([k, k, k, 257, 500, 1023]))
    case = rng.integers(0, 12)
    if case == 0:
        return (k,), (k, n)
    if case == 1:
        return (m, k), (k,)
    if case == 2:
        return (k,), (k,)
    if case == 3:
        return (2, 3, m, k), (k, n)
    if case == 4:
        return (2, 3, m, k), (2, 3, k, n)
    if case == 5:
        return (2, 1, m, k), (3, k, n)
    if case == 6:
        return (m, k), (3, k, n)
    if case == 7:
        return (2, 3, m, k), (2, 1, k, n)
    if case == 8:
        return (2, 1, 3, m, k), (4, 1, k, n)
    return (m, k), (k, n)


def products():
    for _ in range(count):
        for a_kind, b_kind in itertools.product(KINDS, KINDS):
            a_shape, b_shape = shapes()
            a, b = codes(rng, a_kind, a_shape), codes(rng, b_kind, b_shape)
            m, n = a_shape[-2] if len(a_shape) > 1 else None, b_shape[-1] if len(b_shape) > 1 else None
            variable = (0,) if rng.integers(0, 3) else (0, 1, 2, 3)
            threads = int(rng.integers(1, 4))
            a_zero = [None, zero(a_kind), zero(a_kind, 1), zero(a_kind, m)][rng.integers(0, 4)]
            b_zero = [None, zero(b_kind), zero(b_kind, 1), zero(b_kind, n), zero(b_kind, n).reshape(1, -1)]
            b_zero = b_zero[rng.integers(0, 5)]
            inputs = [a, b, a_zero, b_zero]
            what = f"{a_kind.__name__} {a_shape} x {b_kind.__name__} {b_shape}, variable {variable}"
            got = run("MatMulInteger", inputs, np.int32, variable, threads=threads)
            compare("MatMulInteger", got, reference.matmul_integer(*inputs), what)

            y_kind = KINDS[rng.integers(0, 2)]
            variable = (0,) if rng.integers(0, 3) else tuple(range(8))
            per_column = n if rng.integers(0, 2) else None
            inputs = [
                a, scale(), zero(a_kind), b, scale(per_column), zero(b_kind, some(per_column)),
                output_scale(a_shape[-1]), zero(y_kind),
            ]
            if rng.integers(0, 4) == 0 and per_column:
                inputs[4] = inputs[4].reshape(1, -1)
            got = run("QLinearMatMul", inputs, y_kind, variable, threads=threads)
            compare("QLinearMatMul", got, reference.qlinear_matmul(*inputs), f"{what} to {y_kind.__name__}")


def convolutions():
    for _ in range(count):
        for x_kind, w_kind, y_kind in itertools.product(KINDS, KINDS, KINDS):
            axes = int(rng.choice([1, 2, 2, 2]))
            group = int(rng.choice([1, 1, 1, 2, 3, 8]))
            channels, each = int(rng.choice([1, 1, 3, 4, 8, 17, 40])), int(rng.choice([1, 1, 2, 5, 16, 33]))
            kernel = [int(rng.choice([1, 1, 2, 3, 3, 5])) for _ in range(axes)]
            strides = [int(rng.choice([1, 1, 2, 3])) for _ in range(axes)]
            dilations = [int(rng.choice([1, 1, 1, 2])) for _ in range(axes)]
            least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
            image = [size + int(rng.choice([0, 1, 4, 9, 20])) for size in least]
            attributes = dict(strides=strides, dilations=dilations, group=group)
            if rng.integers(0, 2):
                attributes["kernel_shape"] = kernel
            choice = rng.integers(0, 5)
            if choice < 2:
                attributes["pads"] = [int(rng.integers(0, 3)) for _ in range(2 * axes)]
            else:
                attributes["auto_pad"] = ["SAME_UPPER", "SAME_LOWER", "VALID"][choice - 2]
            if kernel == [1] * axes and rng.integers(0, 2):
                attributes = dict(group=group)
            outputs, batch = group * each, int(rng.choice([1, 1, 2]))
            per_channel = outputs if rng.integers(0, 2) else None
            x = codes(rng, x_kind, (batch, group * channels, *image))
            w = codes(rng, w_kind, (outputs, channels, *kernel))
            taps = channels * int(np.prod(kernel))
            bias = rng.integers(-30000, 30000, outputs).astype(np.int32) if rng.integers(0, 2) else None
            inputs = [
                x, scale(), zero(x_kind), w, scale(per_channel), zero(w_kind, some(per_channel)),
                output_scale(taps), zero(y_kind), bias,
            ]
            variable = (0,) if rng.integers(0, 4) else tuple(range(8))
            got = run("QLinearConv", inputs, y_kind, variable, threads=int(rng.integers(1, 4)), **attributes)
            expected = reference.qlinear_conv(*inputs, attributes=attributes)
            what = f"{x.dtype} {x.shape} by {w.dtype} {w.shape} to {y_kind.__name__}, {attributes}"
            compare("QLinearConv", got, expected, what)


def large():
    """More than a few blocks, on two threads, in sessions that run twice and at other sizes."""
    for a_kind, b_kind in itertools.product(KINDS, KINDS):
        a, b = codes(rng, a_kind, (301, 2049)), codes(rng, b_kind, (2049, 515))
        inputs = [a, b, zero(a_kind), zero(b_kind)]
        got = run("MatMulInteger", inputs, np.int32, threads=2)
        compare("MatMulInteger", got, reference.matmul_integer(*inputs), "large")
        inputs = [a, scale(), zero(a_kind), b, scale(515), zero(b_kind), output_scale(2049), zero(np.uint8)]
        got = run("QLinearMatMul", inputs, np.uint8, threads=2)
        compare("QLinearMatMul", got, reference.qlinear_matmul(*inputs), "large")
    for group, channels in ((1, 64), (64, 1)):
        x, w = codes(rng, np.uint8, (2, 64, 57, 58)), codes(rng, np.int8, (128, channels, 3, 3))
        bias = rng.integers(-30000, 30000, 128).astype(np.int32)
        inputs = [
            x, scale(), zero(np.uint8), w, scale(128), zero(np.int8), output_scale(9 * channels), zero(np.int8), bias
        ]
        attributes = dict(pads=[1, 1, 1, 1], group=group)
        made = session(model("QLinearConv", inputs, np.int8, **attributes), True, 2)
        for _ in range(2):
            got = made.run(None, feeds(inputs))[0]
            compare("QLinearConv", got, reference.qlinear_conv(*inputs, attributes=attributes), "large")


def extremes():
    """All 255 by all -128 and 127, zero points at both ends; ties; scales whose product is beyond int32."""
    for b_value, a_zero in itertools.product((-128, 127), (0, 255)):
        a, b = np.full((3, 1000), 255, np.uint8), np.full((1000, 40), b_value, np.int8)
        a[1] = 0
        inputs = [a, b, np.uint8(a_zero), np.int8(-b_value - 1)]
        got = run("MatMulInteger", inputs, np.int32)
        compare("MatMulInteger", got, reference.matmul_integer(*inputs), "extremes")
    a, b = codes(rng, np.uint8, (64, 3)), codes(rng, np.int8, (3, 64))
    for y_scale in (2.0, 8.0, 1024.0, 1e-30):
        one = np.float32(1)
        inputs = [a, one, np.uint8(7), b, one, np.int8(-3), np.float32(y_scale), np.int8(5)]
        got = run("QLinearMatMul", inputs, np.int8)
        compare("QLinearMatMul", got, reference.qlinear_matmul(*inputs), f"ties, scale {y_scale}")


def empty():
    for a_shape, b_shape in (((0, 5), (5, 3)), ((4, 0), (0, 3)), ((4, 5), (5, 0)), ((0, 4, 5), (5, 3))):
        a, b = codes(rng, np.uint8, a_shape), codes(rng, np.int8, b_shape)
        got = run("MatMulInteger", [a, b], np.int32, variable=(0, 1))
        compare("MatMulInteger", got, reference.matmul_integer(a, b), f"{a_shape} x {b_shape}")


def ties():
    """Sums that are biases, and scales that bring them as close to ties as float32 can: the last bit decides."""
    bias = rng.integers(-(1 << 22), 1 << 22, 8192).astype(np.int32)
    bias[bias == 0] = 1
    x_scale, y_scale = scale(), scale()
    wanted = np.abs((rng.integers(-120, 120, bias.size) + 0.5) * np.float64(y_scale) / (np.float64(x_scale) * bias))
    w_scale = wanted.astype(np.float32)
    for _ in range(3):
        w, x = np.zeros((bias.size, 1, 1, 1), np.int8), np.zeros((1, 1, 1, 1), np.uint8)
        inputs = [x, x_scale, np.uint8(0), w, w_scale, np.int8(0), y_scale, np.int8(0), bias]
        expected = reference.qlinear_conv(*inputs, attributes={})
        compare("QLinearConv", run("QLinearConv", inputs, np.int8), expected, "ties")
        w_scale = np.nextafter(w_scale, np.float32(1))


def together():
    """Runs of one session on several threads at once."""
    x, w = codes(rng, np.uint8, (8, 1, 16, 20, 20)), codes(rng, np.int8, (24, 16, 3, 3))
    inputs = [x[0], scale(), zero(np.uint8), w, scale(24), zero(np.int8), output_scale(144), zero(np.uint8)]
    made = session(model("QLinearConv", inputs, np.uint8), True, 2)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: made.run(None, {"i0": x[i % 8]})[0], range(200)))
    for i, got in enumerate(results):
        expected = reference.qlinear_conv(x[i % 8], *inputs[1:], attributes={})
        compare("QLinearConv", got, expected, f"run {i} of many at once")


for part in (extremes, ties, empty, large, together, products, convolutions):
    part()
print("equal to the definition:", ", ".join(f"{n} {name}" for name, n in sorted(done.items())))

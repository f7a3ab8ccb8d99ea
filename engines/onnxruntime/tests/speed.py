"""Times of stock operators and ours, in turns in one run: the least of many runs, in microseconds, by one session each.

    speed.py [--threads N] [--cpu native|avx512|avx2] [--ms MILLISECONDS]

All data are full range. Stock with u8 weights is the same function with 128 added to weights and their zero point,
which is exact on any CPU. Times are those of `run_with_iobinding`."""

import argparse
import time

import cpu

arguments = argparse.ArgumentParser()
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--cpu", choices=cpu.LEVELS, default="native")
arguments.add_argument("--ms", type=float, default=150, help="for each contender of a case")
arguments = arguments.parse_args()
cpu.narrow(arguments.cpu)

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

from models import codes, model, session  # noqa: E402

rng = np.random.default_rng(3)
ONE = np.float32(1)


def raised(weights, zero):
    """Weights in u8 that mean the same."""
    return (weights.astype(np.int16) + 128).astype(np.uint8), np.asarray(zero.astype(np.int16) + 128).astype(np.uint8)


def integer(m, k, n):
    a, b, zero = codes(rng, np.uint8, (m, k)), codes(rng, np.int8, (k, n)), np.int8(0)
    high, high_zero = raised(b, zero)
    make = lambda b, zero: ("MatMulInteger", [a, b, np.uint8(3), zero], np.int32, {})
    return f"MatMulInteger {m} x {k} x {n}", make(b, zero), make(high, high_zero)


def product(m, k, n):
    a, b, zero = codes(rng, np.uint8, (m, k)), codes(rng, np.int8, (k, n)), np.int8(0)
    high, high_zero = raised(b, zero)
    scale = np.full(n, 1, np.float32)
    make = lambda b, zero: (
        "QLinearMatMul",
        [a, ONE, np.uint8(3), b, scale, np.full(n, zero), np.float32(5000), np.uint8(128)],
        np.uint8,
        {},
    )
    return f"QLinearMatMul {m} x {k} x {n}", make(b, zero), make(high, high_zero)


def attention(heads, m, k, n):
    """Both sides are inputs."""
    a, b = codes(rng, np.uint8, (heads, m, k)), codes(rng, np.int8, (heads, k, n))
    high, high_zero = raised(b, np.int8(0))
    make = lambda b, zero: (
        "QLinearMatMul", [a, ONE, np.uint8(3), b, ONE, zero, np.float32(5000), np.uint8(128)], np.uint8, {}, (0, 3)
    )
    return f"QLinearMatMul {heads} x ({m} x {k} x {n}), b varies", make(b, np.int8(0)), make(high, high_zero)


def convolution(size, channels, outputs, kernel, stride=1, group=1):
    x = codes(rng, np.uint8, (1, channels, size, size))
    w, zero = codes(rng, np.int8, (outputs, channels // group, kernel, kernel)), np.int8(0)
    high, high_zero = raised(w, zero)
    scale, bias = np.full(outputs, 1, np.float32), np.zeros(outputs, np.int32)
    make = lambda w, zero: (
        "QLinearConv",
        [x, ONE, np.uint8(3), w, scale, np.full(outputs, zero), np.float32(5000), np.uint8(128), bias],
        np.uint8,
        dict(pads=[kernel // 2] * 4, strides=[stride] * 2, group=group),
    )
    label = f"QLinearConv {kernel} x {kernel}" + (" depthwise" if group > 1 else "")
    return f"{label} {channels} -> {outputs} at {size}, stride {stride}", make(w, zero), make(high, high_zero)


CASES = [
    integer(1, 1024, 1001), integer(49, 1024, 1024), integer(256, 256, 256), integer(1024, 1024, 1024),
    product(1, 1024, 1001), product(49, 1024, 1024), product(128, 768, 3072), product(256, 256, 256),
    attention(12, 128, 64, 128),
    convolution(224, 3, 32, 3, 2), convolution(56, 64, 64, 3), convolution(28, 128, 128, 3),
    convolution(56, 128, 128, 1), convolution(14, 512, 512, 1), convolution(7, 1024, 1024, 1),
    convolution(56, 128, 128, 3, 1, 128), convolution(14, 512, 512, 3, 1, 512),
]


class Contender:
    def __init__(self, case, ours):
        operator, inputs, output, attributes, *variable = case
        variable = variable[0] if variable else (0,)
        self.model, self.ours, self.best = model(operator, inputs, output, variable, **attributes), ours, float("inf")
        self.inputs = {f"i{k}": onnxruntime.OrtValue.ortvalue_from_numpy(inputs[k]) for k in variable}

    def turn(self, seconds):
        """In a session of its own: threads of one that is idle go on spinning, and would be in the way of others."""
        made = session(self.model, self.ours, arguments.threads)
        binding = made.io_binding()
        for name, value in self.inputs.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("y")
        made.run_with_iobinding(binding)
        result = onnxruntime.OrtValue.ortvalue_from_numpy(binding.copy_outputs_to_cpu()[0])
        binding.bind_ortvalue_output("y", result)
        end = time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            made.run_with_iobinding(binding)
            now = time.perf_counter()
            self.best = min(self.best, now - start)
            if now > end:
                return


version = onnxruntime.__version__
print(f"onnxruntime {version}, threads of a session: {arguments.threads}, cpu: {arguments.cpu}; microseconds")
print(f"{'':54} {'stock i8':>9} {'stock u8':>9} {'zeropoint':>9}   i8 by ours, u8 by ours")
ratios = []
for label, signed, unsigned in CASES:
    contenders = [Contender(signed, False), Contender(unsigned, False), Contender(signed, True)]
    for _ in range(10):
        for contender in contenders:
            contender.turn(arguments.ms / 1e4)
    times = [contender.best * 1e6 for contender in contenders]
    ratios.append((times[0] / times[2], times[1] / times[2]))
    print(f"{label:54} {times[0]:9.1f} {times[1]:9.1f} {times[2]:9.1f}   {ratios[-1][0]:5.2f} {ratios[-1][1]:5.2f}")
means = np.exp(np.mean(np.log(ratios), axis=0))
print(f"{'geometric mean':84}   {means[0]:5.2f} {means[1]:5.2f}")

#!/usr/bin/env python3
"""Writes tf_sums.json: sums of gradients of fake quantization as TensorFlow has them, of arrays too long to be on record themselves.

    pip install tensorflow-cpu==2.21.0 && python3 tests/golden/tf_sums_gen.py > tests/golden/tf_sums.json

On an x86 CPU. TensorFlow: Apache-2.0.
"""
import json
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy
import tensorflow

# With more threads it splits long sums between them.
tensorflow.config.threading.set_intra_op_parallelism_threads(1)
MIN, MAX = -1.0, 1.0


def reals(seed, count, spread):
    """Floats in -4..4, of 24 bits: the upper ones of a linear congruential generator; if spread, with an exponent of four others, so
    that sums round."""
    state, values = seed, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        exponent = (state >> 32) % 16 if spread else 0
        values.append(((state >> 40) / 2**21 - 4.0) / 2**exponent)
    return numpy.array(values, numpy.float32)


def bits(values):
    return [f"{value:08x}" for value in numpy.asarray(values, numpy.float32).reshape(-1).view(numpy.uint32)]


def case(seed, rows, channels):
    count = rows * max(channels, 1)
    x, dy = reals(seed, count, False), reals(seed + 1, count, True)
    if channels == 0:
        _, low, high = tensorflow.quantization.fake_quant_with_min_max_vars_gradient(dy, x, MIN, MAX)
    else:
        shape = (rows, channels)
        _, low, high = tensorflow.raw_ops.FakeQuantWithMinMaxVarsPerChannelGradient(
            gradients=dy.reshape(shape), inputs=x.reshape(shape), min=[MIN] * channels, max=[MAX] * channels,
            num_bits=8, narrow_range=False)
    return {"seed": seed, "rows": rows, "channels": channels, "dmin": bits(low), "dmax": bits(high)}


SHAPES = [(rows, 0) for rows in (1, 7, 8, 9, 15, 16, 23, 24, 31, 32, 33, 63, 100, 1000, 8192, 8193, 10_000, 20_007, 50_000)]
SHAPES += [(1, 3), (9, 20), (31, 3), (40, 17), (333, 5), (8192, 2), (8193, 2), (20_000, 1)]
cases = [case(10 * i, *shape) for i, shape in enumerate(SHAPES)]
print(json.dumps({"source": f"tensorflow-cpu {tensorflow.__version__}, one thread, x86", "min": MIN, "max": MAX, "cases": cases}, indent=1))

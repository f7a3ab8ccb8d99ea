"""Stock operators and ours on a u8 x i8 model, on this CPU and as on CPUs without VNNI, where `vpmaddubsw` saturates.

Fails if ours are not equal to the definition everywhere, or if a stock operator is right where it should saturate."""

import subprocess
import sys

import cpu

DATA = {"full range": None, "bell, deviation 32": 32}


def parameters(rng, data, weights):
    import numpy as np

    if DATA[data] is None:
        return rng.integers(-128, 128, weights).astype(np.int8)
    return np.clip(np.rint(rng.normal(0, DATA[data], weights)), -128, 127).astype(np.int8)


def narrowed(level):
    """In a process of its own."""
    cpu.narrow(level)
    import numpy as np

    import reference
    from models import codes, run

    one, zero = np.float32(1), np.uint8(0)
    for data in DATA:
        rng = np.random.default_rng(7)
        a, b = codes(rng, np.uint8, (64, 512)), parameters(rng, data, (512, 128))
        x, w = codes(rng, np.uint8, (1, 32, 14, 14)), parameters(rng, data, (64, 32, 3, 3))
        spread = np.float32(60 * (DATA[data] or 74))
        cases = {
            "MatMulInteger": ([a, b], np.int32, reference.matmul_integer, {}),
            "QLinearMatMul": (
                [a, one, zero, b, one, np.int8(0), spread, np.uint8(128)], np.uint8, reference.qlinear_matmul, {},
            ),
            "QLinearConv": (
                [x, one, zero, w, one, np.int8(0), spread, np.uint8(128)],
                np.uint8, lambda *inputs: reference.qlinear_conv(*inputs, attributes={}), {},
            ),
        }
        for operator, (inputs, output, definition, attributes) in cases.items():
            expected = definition(*inputs).astype(np.int64)
            found = [run(operator, inputs, output, ours=ours, **attributes) - expected for ours in (False, True)]
            wrong, most = [np.mean(d != 0) for d in found], [int(np.abs(d).max()) for d in found]
            print(
                f"{level:7} {operator:13} weights {data:19} stock: {wrong[0]:7.2%} wrong, by up to {most[0]:6}"
                f"   zeropoint: {wrong[1]:5.2%} wrong"
            )
            assert wrong[1] == 0, "zeropoint is not exact"
            assert level == "native" or wrong[0] > 0, "the stock operator should saturate"


def mask_holds(level):
    """The library sees the narrow CPU, too: a wider backend is refused."""
    import os

    cpu.narrow(level)
    os.environ["ZEROPOINT_BACKEND"] = "avx512-vnni"
    import numpy as np

    from models import run

    try:
        run("MatMulInteger", [np.ones((1, 1), np.uint8), np.ones((1, 1), np.int8)], np.int32)
    except Exception as error:
        assert "avx512-vnni" in str(error), error
        return
    sys.exit("a backend that this CPU should not have was not refused")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"narrowed": narrowed, "mask": mask_holds}[sys.argv[1]](sys.argv[2])
        sys.exit()
    for level in cpu.LEVELS:
        reason = cpu.why_not(level)
        if reason:
            print(f"SKIP as on a CPU with {level} and without VNNI: {reason}")
            continue
        parts = ["narrowed"] if level == "native" else ["narrowed", "mask"]
        for part in parts:
            subprocess.run([sys.executable, __file__, part, level], check=True)

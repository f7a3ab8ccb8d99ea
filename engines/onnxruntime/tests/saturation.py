"""Stock operators and ours on a u8 x i8 model, on this CPU and as on CPUs without VNNI, where `vpmaddubsw` saturates.

Fails if ours are not equal to the definition everywhere, or if a stock operator is right where it should saturate."""

import subprocess
import sys
import zlib

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


def network(level):
    """In a process of its own: five layers. Prints the sums of the library's answers last."""
    cpu.narrow(level)
    import numpy as np

    from models import codes, network, session

    rng = np.random.default_rng(11)
    proto, images = network(rng, 32), codes(rng, np.uint8, (400, 3, 32, 32))
    stock, ours = (session(proto, ours, moved=5).run(None, {"x": images})[0] for ours in (False, True))
    sums, classes = np.mean(stock != ours), int(np.sum(np.argmax(stock, 1) != np.argmax(ours, 1)))
    print(
        f"{level:7} network of five layers: stock has other sums in {sums:7.2%}, another top class for {classes} of"
        f" {len(images)} images; answers of zeropoint: {zlib.crc32(ours.tobytes()):08x}"
    )
    assert level == "native" or sums > 0, "the stock operators should saturate"


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
        {"narrowed": narrowed, "network": network, "mask": mask_holds}[sys.argv[1]](sys.argv[2])
        sys.exit()
    answers = set()
    for level in cpu.LEVELS:
        reason = cpu.why_not(level)
        if reason:
            print(f"SKIP as on a CPU with {level} and without VNNI: {reason}")
            continue
        for part in ["narrowed", "network"] + (["mask"] if level != "native" else []):
            run = [sys.executable, __file__, part, level]
            printed = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
            print(printed, end="")
            if part == "network":
                answers.add(printed.split()[-1])
    assert len(answers) == 1, "the library answers differently on different CPUs"

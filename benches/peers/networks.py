#!/usr/bin/env python3
"""Whole networks: zeropoint beside LiteRT, in turns, in one run. README.md says how to run it."""

import argparse
import contextlib
import ctypes
import dataclasses
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from ai_edge_litert import interpreter as litert

import twins

HERE = pathlib.Path(__file__).resolve().parent
OURS, XNNPACK, BUILTIN, FLOAT = "zeropoint", "XNNPACK", "builtin", "float"
RESOLVERS = {
    XNNPACK: litert.OpResolverType.BUILTIN,
    BUILTIN: litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    FLOAT: litert.OpResolverType.BUILTIN,
    "reference": litert.OpResolverType.BUILTIN_REF,
}
#: Networks, and how many times as fast as XNNPACK they are to be, on one thread.
NETWORKS = {
    "mobilenet_v2_1.0_224_quant": 2.5,
    "mobilenet_v1_0.25_128_quant": 1.5,
    "tf2_mobilenet_v2_1.0_224_ptq": 1.1,
    "pretrainedResnet_quant": 1.1,
    "kws_ref_model": 1.1,
    "vww_96_int8": 1.1,
}
#: Made of the first of these by repeating its channels; its width is 0.25.
NARROW, WIDER = "mobilenet_v1_0.25_128_quant", {"0.50": 2, "0.75": 3, "1.00": 4}
DEPTHWISE_TARGET = 2.0
WARMUP = 2


@dataclasses.dataclass
class Network:
    name: str
    path: pathlib.Path
    twin: pathlib.Path | None
    target: float | None
    synthetic: bool

    @property
    def label(self):
        return self.name + "*" * self.synthetic


@dataclasses.dataclass
class Row:
    """A network on some threads, and the turns of each contender: least and median, in ms."""

    network: Network
    threads: int
    turns: dict

    @property
    def least(self):
        return {contender: min(turn[0] for turn in turns) for contender, turns in self.turns.items()}

    @property
    def median(self):
        return {contender: statistics.median(turn[1] for turn in turns) for contender, turns in self.turns.items()}

    def ratio(self, contender):
        return self.least[contender] / self.least[OURS]


def networks(models, folder, only):
    """The networks at hand, and those that are made of them in `folder`."""
    paths = {name: models / f"{name}.tflite" for name in NETWORKS}
    found = {name: twins.read(path) for name, path in paths.items() if path.exists()}
    for name in paths.keys() - found.keys():
        print(f"left out: {name} is not in {models}", file=sys.stderr)
    made = {}
    if NARROW in found:
        made = {NARROW.replace("0.25", width): twins.widened(found[NARROW], n) for width, n in WIDER.items()}
    made |= {f"depthwise 3x3, 14x14x512, {kind}": twins.depthwise(kind, 14, 14, 512) for kind in ("u8", "i8")}
    for name, model in (found | made).items():
        if only not in name:
            continue
        layer, twin = name.startswith("depthwise"), None
        path = paths.get(name, folder / f"{name}.tflite")
        if name in made:
            twins.write(model, path)
        if not layer and (real := twins.float_twin(model)) is not None:
            twin = folder / f"{name}.float.tflite"
            twins.write(real, twin)
        yield Network(name, path, twin, DEPTHWISE_TARGET if layer else NETWORKS.get(name), name in made)


def interpreter(path, contender, threads, **more):
    """An interpreter with numbers without a pattern in its input."""
    made = litert.Interpreter(
        str(path), num_threads=threads, experimental_op_resolver_type=RESOLVERS[contender], **more
    )
    made.allocate_tensors()
    random = np.random.default_rng(1)
    for detail in made.get_input_details():
        shape, kind = detail["shape"], detail["dtype"]
        if kind == np.float32:
            values = random.uniform(-1, 1, shape).astype(kind)
        else:
            values = random.integers(0, 256, shape, np.uint8).view(kind)
        made.set_tensor(detail["index"], values)
    return made


def their_turn(path, contender, threads, seconds):
    """Least and median of what fits into the time, in ms. Everything is made anew, as it is in ours."""
    made, times = interpreter(path, contender, threads), []
    for _ in range(WARMUP):
        made.invoke()
    end = time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter_ns()
        made.invoke()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return min(times), statistics.median(times)


def bench(command, path, threads, runs):
    arguments = [command, "bench", path, "--json", "--threads", threads, "--warmup", WARMUP, "--runs", runs]
    return [str(argument) for argument in arguments]


def our_turn(command, path, threads, seconds, guess):
    # Each run comes with another one by steps.
    runs = max(3, int(1e3 * seconds / (2 * guess)))
    said = json.loads(subprocess.run(bench(command, path, threads, runs), check=True, capture_output=True).stdout)
    return said["min_us"] / 1e3, said["median_us"] / 1e3


def take_turns(command, row, seconds):
    """One turn of each contender, on the last of the CPUs that there are."""
    network, threads, cpus = row.network, row.threads, sorted(os.sched_getaffinity(0))
    contenders = {OURS: network.path, XNNPACK: network.path, BUILTIN: network.path}
    if network.twin is not None:
        contenders[FLOAT] = network.twin
    os.sched_setaffinity(0, cpus[-threads:])
    if OURS not in row.turns:
        row.turns[OURS] = [our_turn(command, network.path, threads, 0, 1)]
    for contender, path in contenders.items():
        if contender == OURS:
            turn = our_turn(command, path, threads, seconds, row.least[OURS])
        else:
            turn = their_turn(path, contender, threads, seconds)
        row.turns.setdefault(contender, []).append(turn)
        # Until idle threads stop spinning.
        time.sleep(0.02 if threads > 1 else 0)
    os.sched_setaffinity(0, cpus)


def measure(arguments, found, counts):
    """All networks in each round: a machine that is slow for seconds is slow for a few turns of each."""
    rows = [Row(network, threads, {}) for network in found for threads in counts]
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for row in rows:
            take_turns(arguments.command, row, arguments.ms / 1e3)
    return rows


def check(command, network, folder):
    """How many bytes of all layers differ from LiteRT's reference kernels."""
    made = interpreter(network.path, "reference", 1, experimental_preserve_all_tensors=True)
    made.invoke()
    arrays, first = {}, made.get_input_details()[0]["index"]
    for operator in made._get_ops_details():
        key = f"op{operator['index']:02}_{operator['op_name'].lower()}"
        if first in operator["inputs"]:
            arrays.setdefault(f"{key}_in", made.get_tensor(first))
        arrays[f"{key}_out"] = made.get_tensor(operator["outputs"][0])
    record = folder / "record.npz"
    np.savez(record, **arrays)
    arguments = [command, "compare", network.path, "--golden", record, "--whole"]
    said = subprocess.run(arguments, capture_output=True, text=True)
    if said.returncode == 2:
        raise RuntimeError(said.stderr)
    return said.stdout.splitlines()[-1]


def anonymous(pid="self"):
    """Bytes of a process that are no file's: weights in a mapped model do not count, packed ones do."""
    # Not `status`, whose counters lag behind by 256 KiB.
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return 1024 * int(line.split()[1])
    return 0


def arena(made, model):
    """Bytes that the places of activations and of what kernels use cover: what LiteRT's planner needs."""
    places, end, covered, tensors = [], 0, 0, model.subgraphs[0].tensors
    for detail in made.get_tensor_details():
        index = detail["index"]
        # Those behind the model's are the kernels'.
        if index >= len(tensors) or twins.data(model, tensors[index]) is None:
            view = made.tensor(index)()
            places.append((view.__array_interface__["data"][0], view.nbytes))
    for start, length in sorted(places):
        covered += max(0, start + length - max(start, end))
        end = max(end, start + length)
    return covered


def their_memory(path, contender, tiny):
    """In a process of its own: how much an interpreter and two runs add to it, and its arena."""
    # What the first interpreter of a process brings along is no network's.
    first = interpreter(tiny, contender, 1)
    first.invoke()
    # Else pages that were freed before would be taken again, and not counted.
    ctypes.CDLL(None).malloc_trim(0)
    before = anonymous()
    made = interpreter(path, contender, 1)
    for _ in range(2):
        made.invoke()
    added = anonymous() - before
    print(json.dumps([added, arena(made, twins.read(path)) if contender == BUILTIN else 0]))


def memory(command, network, folder):
    """A row of the table of memory, in bytes."""
    said = json.loads(subprocess.run(bench(command, network.path, 1, 3), check=True, capture_output=True).stdout)
    ours = [said["arena"], said["packed"], said["workspace"]]
    process, most = subprocess.Popen(bench(command, network.path, 1, 100), stdout=subprocess.DEVNULL), 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            most = max(most, anonymous(process.pid))
        time.sleep(0.001)
    tiny, theirs = folder / "tiny.tflite", {}
    twins.write(twins.depthwise("i8", 1, 1, 1), tiny)
    for contender in BUILTIN, XNNPACK:
        child = [sys.executable, __file__, "--memory-of", network.path, "--contender", contender, "--tiny", tiny]
        theirs[contender] = json.loads(subprocess.run(child, check=True, capture_output=True).stdout)
    return [*ours, sum(ours), most, theirs[BUILTIN][1], theirs[BUILTIN][0], theirs[XNNPACK][0]]


def table(heads, rows):
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def ms(value):
    return f"{value:.3f}"


def times(value):
    return f"{value:.2f}"


def latency_table(rows):
    lines = []
    for row in rows:
        best = min(row.least[XNNPACK], row.least[BUILTIN]) / row.least[OURS]
        target = "-"
        if row.network.target is not None and row.threads == 1:
            reached = row.ratio(XNNPACK) >= row.network.target
            target = f"{row.network.target} {'' if reached else '**missed**'}".strip()
        lines.append(
            [row.network.label, str(row.threads), *(ms(row.least[c]) for c in (OURS, XNNPACK, BUILTIN))]
            + [times(best), times(row.ratio(XNNPACK)), target]
            + [" ".join(ms(row.median[c]) for c in (OURS, XNNPACK, BUILTIN))]
        )
    ratios = ["best of LiteRT / ours", "XNNPACK / ours", "target"]
    return table(["network", "threads", OURS, XNNPACK, BUILTIN, *ratios, "medians"], lines)


def float_table(rows):
    """As in the paper: float and integer, one thread and more."""
    lines = []
    for one in (row for row in rows if row.threads == 1 and FLOAT in row.least):
        line = [one.network.label]
        for row in (row for row in rows if row.network is one.network):
            line += [ms(row.least[FLOAT]), ms(row.least[OURS]), times(row.ratio(FLOAT))]
        lines.append(line)
    return table(["network"] + [f"{what}, {n}" for n in (1, 2) for what in ("float", "integer", "ratio")], lines)


def memory_table(rows):
    ours = ["zeropoint: arena", "packed weights", "workspace", "in all", "process"]
    heads = ["network", *ours, "builtin: arena", "in all", "XNNPACK: in all"]
    return table(heads, [[name] + [f"{value / 1024:,.0f}" for value in row] for name, row in rows])


#: Where lines of the picture begin, how long they are, how far apart, and what is above and below them.
LEFT, WIDTH, STEP, HEAD, FOOT = 215, 540, 22, 66, 34
#: Colours as in `src/svg.rs`; ours is the largest dot, and lies on top.
DOTS = [
    (FLOAT, "LiteRT, float", "#8c8c8c", 4.0),
    (XNNPACK, "LiteRT, 8 bits", "#e69f00", 4.0),
    (OURS, "zeropoint, 8 bits", "#0072b2", 5.5),
]


def picture(rows):
    """A panel for each number of threads, a line a network, a dot a contender; milliseconds by their logarithm."""
    rows = [row for row in rows if FLOAT in row.least]
    values = [row.least[contender] for row in rows for contender, *_ in DOTS]
    low, high = math.log10(0.8 * min(values)), math.log10(1.25 * max(values))
    ticks = [step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    height = HEAD + STEP * sum(row.threads == 1 for row in rows) + FOOT
    out = []

    def text(x, y, anchor, words):
        out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>')

    def line(x1, y1, x2, y2, colour):
        out.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>')

    def dot(x, y, colour, radius):
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def place(value):
        return LEFT + WIDTH * (math.log10(value) - low) / (high - low)

    for threads in (1, 2):
        out.append(f'<g transform="translate(0 {height * (threads - 1)})">')
        text(LEFT, 20, "start", f"latency in ms, threads: {threads}; *: synthetic")
        for index, (_, words, colour, radius) in enumerate(DOTS):
            dot(LEFT + 4 + 150 * index, 36, colour, radius)
            text(LEFT + 14 + 150 * index, 40, "start", words)
        for tick in ticks:
            line(place(tick), HEAD - 8, place(tick), height - FOOT, "#ddd")
            text(place(tick), height - FOOT + 14, "middle", f"{tick:g}")
        for index, row in enumerate(row for row in rows if row.threads == threads):
            y = HEAD + STEP * (index + 0.5)
            text(LEFT - 8, y + 4, "end", row.network.label)
            line(LEFT, y, LEFT + WIDTH, y, "#eee")
            for contender, _, colour, radius in DOTS:
                dot(place(row.least[contender]), y, colour, radius)
        out.append("</g>")
    size = f'width="{LEFT + WIDTH + 30}" height="{2 * height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *out, "</svg>\n"])


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    models = os.environ.get("ZEROPOINT_MODELS")
    command = HERE / "../../tflite/target/release/zeropoint-tflite"
    parser.add_argument("--models", default=models, help="folder of .tflite files; by default ZEROPOINT_MODELS")
    parser.add_argument("--command", default=command, help="by default where a release build of tflite/ puts it")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each contender")
    parser.add_argument("--ms", type=float, default=30, help="length of a turn")
    parser.add_argument("--only", default="", help="networks with this in their names")
    parser.add_argument("--svg", type=pathlib.Path, help="where to draw latency in float and in integers")
    for hidden in "--memory-of", "--contender", "--tiny":
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.models is None and arguments.memory_of is None:
        parser.error("--models or ZEROPOINT_MODELS: missing")
    return arguments


def report(arguments, folder):
    """Prints everything; whether all bits were right."""
    found = list(networks(pathlib.Path(arguments.models).resolve(), folder, arguments.only))
    counts = [n for n in (1, 2) if n <= len(os.sched_getaffinity(0))]
    print(f"{datetime.date.today()}: the least of {arguments.rounds} turns of {arguments.ms:g} ms each, in ms\n")
    exact = True
    for network in found:
        said = check(arguments.command, network, folder)
        exact = exact and said.endswith(" 0 bytes differ")
        print(f"{network.name}, beside LiteRT's reference kernels: {said}", flush=True)
    rows = measure(arguments, found, counts)
    print("\n" + latency_table(rows))
    if counts == [1, 2]:
        print(float_table(rows))
        if arguments.svg:
            arguments.svg.write_text(picture(rows))
    memories = [(network.label, memory(arguments.command, network, folder)) for network in found]
    print("Memory in KiB:\n\n" + memory_table(memories))
    return exact


def main():
    arguments = options()
    if arguments.memory_of:
        their_memory(arguments.memory_of, arguments.contender, arguments.tiny)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return 0 if report(arguments, pathlib.Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())

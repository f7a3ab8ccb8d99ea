"""Narrows the CPU of this process: `cpu.narrow(...)` comes before anything that asks what the CPU is."""

import ctypes
import os

#: What `narrow` takes; the first leaves the CPU as it is.
LEVELS = ("native", "avx512", "avx2")


def flags():
    with open("/proc/cpuinfo") as file:
        return next((line.split() for line in file if line.startswith("flags")), [])


def why_not(level):
    """Why this CPU cannot be narrowed to a level; empty if it can."""
    if level == "native":
        return ""
    missing = [flag for flag in ("cpuid_fault", "avx512f" if level == "avx512" else "avx2") if flag not in flags()]
    if missing:
        return f"the CPU has no {', '.join(missing)}"
    return "" if os.environ.get("CPUMASK_LIBRARY") else "there is no C compiler"


def narrow(level):
    if level != "native":
        error = ctypes.CDLL(os.environ["CPUMASK_LIBRARY"]).mask(level.encode())
        assert error == 0, f"CPUID does not fault: {os.strerror(error)}"

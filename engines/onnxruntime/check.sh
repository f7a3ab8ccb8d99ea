#!/usr/bin/env bash
# check.sh [FOLDER]: builds the library and tests it in ONNX Runtime: every operator against its definition, what is
# refused, what stock operators do where they saturate, and the speed of both. FOLDER keeps Python's packages and what
# is built; by default target/check here. Says which tool is missing, and leaves out what needs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$(mkdir -p "${1:-target/check}" && cd "${1:-target/check}" && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$folder/cargo}

echo "-- library"
cargo fmt --check -- --config-path ../..
cargo clippy --locked --release --all-targets -- -D warnings
cargo test --locked --release
cargo build --locked --release
if grep -nE 'unsafe (\{|impl|trait|fn|extern)' src/*.rs | grep -v '^src/edge.rs:'; then
    echo "unsafe code outside of src/edge.rs" && exit 1
fi
export ZEROPOINT_ONNXRUNTIME=$CARGO_TARGET_DIR/release/libzeropoint_onnxruntime.so
if command -v nm >/dev/null; then
    exports=$(nm -D --defined-only "$ZEROPOINT_ONNXRUNTIME" | awk '{ print $3 }')
    [[ $exports == RegisterCustomOps ]] || { echo "exported: $exports" && exit 1; }
fi

python=$folder/venv/bin/python
if ! "$python" -c 'import numpy, onnx, onnxruntime' 2>/dev/null &&
    ! { python3 -m venv "$folder/venv" && "$python" -m pip install --quiet -r tests/requirements.txt; }; then
    echo "SKIP ONNX Runtime: python3 -m venv or pip have no onnxruntime, onnx and numpy to install"
    exit 0
fi
mask=$folder/cpumask.so
if [[ $(uname -sm) != "Linux x86_64" ]]; then
    echo "SKIP saturation: it is that of x86-64, shown on Linux"
elif cc -O2 -Wall -Wextra -Werror -shared -fPIC tests/cpumask.c -o "$mask"; then
    export CPUMASK_LIBRARY=$mask
fi

echo "-- equal to the definition"
"$python" tests/exact.py 1 "${ZEROPOINT_CASES:-20}"
for backend in scalar avx2; do
    if [[ $backend == scalar || " $(grep -m1 ^flags /proc/cpuinfo || true) " == *" $backend "* ]]; then
        echo "-- the same, backend $backend"
        ZEROPOINT_BACKEND=$backend "$python" tests/exact.py 2 5
    fi
done
echo "-- refused, left"
"$python" tests/refused.py
echo "-- saturation"
"$python" tests/saturation.py
echo "-- speed"
"$python" tests/speed.py --ms "${ZEROPOINT_MS:-40}"
if (($(nproc) > 1)); then "$python" tests/speed.py --ms "${ZEROPOINT_MS:-40}" --threads 2; fi
if [[ ${CPUMASK_LIBRARY-} ]] && grep -qw cpuid_fault /proc/cpuinfo && grep -qw avx2 /proc/cpuinfo; then
    "$python" tests/speed.py --ms "${ZEROPOINT_MS:-40}" --cpu avx2
fi

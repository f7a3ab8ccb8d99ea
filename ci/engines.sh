#!/usr/bin/env bash
# Every engine that links zeropoint, tried by the real thing; each says which tool is missing. `ci/engines.sh 'candle|tract'` tries some.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# DIRECTORY: a crate whose tests are the proof.
crate() {
    cd "$1"
    export CARGO_TARGET_DIR=$target/engines
    cargo fmt --check -- --config-path "$OLDPWD"
    cargo clippy --locked --release --all-targets -- -D warnings
    cargo test --locked --release -- --nocapture
}

export show=all limit=3600
if ! ensure capi-tools "command -v cmake && command -v pkg-config && ls /usr/include/gemmlowp/public" \
    debian cmake pkg-config valgrind libgemmlowp-dev; then
    skip capi-tools "not all of cmake, pkg-config, libgemmlowp-dev to be had: the next step says what it leaves out"
fi
step capi ci/capi.sh
step onnxruntime engines/onnxruntime/check.sh "$target/onnxruntime"
step tract crate engines/tract
step candle crate engines/candle

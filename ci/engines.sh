#!/usr/bin/env bash
# Every engine that links zeropoint, tried by the real thing; each says which tool is missing. `ci/engines.sh 'candle|tract'` tries some.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# DIRECTORY: a crate whose tests are the proof; some count what a thread did.
crate() {
    cargo fmt --check --manifest-path "$1/Cargo.toml"
    cargo clippy --locked --all-targets --manifest-path "$1/Cargo.toml" -- -D warnings
    cargo test --locked --release --manifest-path "$1/Cargo.toml" -- --nocapture --test-threads 1
}

if ! ensure capi-tools "command -v cmake && command -v pkg-config && command -v valgrind && ls /usr/include/gemmlowp/public" \
    debian cmake pkg-config valgrind libgemmlowp-dev; then
    skip capi-tools "not all of cmake, pkg-config, valgrind, libgemmlowp-dev to be had: the next step says what it leaves out"
fi
show=all limit=3600
step capi ci/capi.sh
step onnxruntime engines/onnxruntime/check.sh "$target/onnxruntime"
CARGO_TARGET_DIR=$target/engines step tract crate engines/tract
CARGO_TARGET_DIR=$target/engines step candle crate engines/candle

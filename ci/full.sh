#!/usr/bin/env bash
# Everything, before a release: the core, the C interface, then long fuzzing and what it covers, Miri with many
# interleavings, AddressSanitizer over all tests, training, other libraries, and the benches in full. Some hours on two
# cores.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
triple=$(uname -m)-unknown-linux-gnu

asan() {
    CARGO_TARGET_DIR=$target/asan RUSTFLAGS=-Zsanitizer=address \
        cargo +nightly test --tests --features rayon --target "$triple"
}

# Linux without tiles on a CPU that has them: AMX is not offered, and the rest runs.
amx_refused() {
    ci/emulated-x86.sh refused sapphire_rapids avx512-vnni clearcpuid=amx_tile 'check coverage' 'check tiles' | tee "$logs/refused"
    grep 'SKIPPED backend amx-int8' "$logs/refused"
}

coverage() { # TARGET
    local tools
    tools=$(rustc +nightly --print sysroot)/lib/rustlib/$triple/bin
    fuzz coverage "$1"
    "$tools/llvm-cov" report "$target/fuzz/$triple/coverage/$triple/release/$1" \
        -instr-profile="fuzz/coverage/$1/coverage.profdata" -ignore-filename-regex='registry|rustc|fuzz_targets'
}

show=all limit=3600 step core bash ci/run.sh
limit=3600 step test-release-all cargo test --release --features rayon
# What is left without SIMD; the rest of the library is the same.
limit=3600 step scalar-only scalar_only test
if aarch64_installed; then
    limit=3600 step aarch64-cortex-a53-all aarch64 cortex-a53 test
else
    skip aarch64 "no linker, emulator or standard library to be had"
fi

show=all limit=7200 step engines bash ci/engines.sh

fuzz_clippy() {
    (cd fuzz && CARGO_TARGET_DIR=$target/fuzz cargo clippy -- -D warnings)
    (cd tflite/fuzz && CARGO_TARGET_DIR=$target/fuzz cargo clippy -- -D warnings)
}
step fuzz-clippy fuzz_clippy

if fuzz_installed; then
    for name in gemm pack stages layers training; do step "fuzz-$name-long" fuzz run "$name" -- -max_total_time=300; done
    step fuzz-load-long fuzz_tflite run load -- -max_total_time=300
    if ensure llvm-tools "rustup component list --installed --toolchain nightly | grep llvm-tools" \
        rustup component add llvm-tools --toolchain nightly; then
        for name in gemm pack stages layers training; do show=all step "coverage-$name" coverage "$name"; done
    else
        skip coverage "no llvm-tools to be had"
    fi
else
    skip fuzz "no nightly toolchain or cargo-fuzz to be had"
fi

if miri_installed; then
    MIRIFLAGS=-Zmiri-many-seeds=0..16 limit=3600 step miri-many-seeds miri --test miri
    limit=3600 step miri-docs miri --doc
else
    skip miri "not to be had"
fi

if emulator_installed; then
    limit=3600 step emulated-amx-all emulated_amx check guard golden
    limit=3600 step emulated-avx-vnni-all emulated_avx_vnni check guard golden
    limit=600 step emulated-amx-refused amx_refused
else
    skip emulated-x86 "no emulator to be had"
fi

if nightly; then limit=3600 step asan asan; else skip asan "no nightly toolchain to be had"; fi

# Training in candle, down to integers, with all kernels and every optimization.
qat_full() {
    local manifest=examples/qat/Cargo.toml
    cargo fmt --manifest-path $manifest --check
    CARGO_TARGET_DIR=$target/qat cargo clippy --release --all-targets --manifest-path $manifest -- -D warnings
    CARGO_TARGET_DIR=$target/qat cargo test --release --manifest-path $manifest
}
limit=3600 step qat-full qat_full

# The comparison with other libraries, on the shapes of its table: it fails where our own results are not exact.
peers() {
    local manifest=benches/peers/Cargo.toml
    benches/peers/setup.sh "$target/peers-libraries"
    cargo fmt --manifest-path $manifest --check
    CARGO_TARGET_DIR=$target/peers cargo clippy --release --manifest-path $manifest -- -D warnings
    CARGO_TARGET_DIR=$target/peers cargo run --release --manifest-path $manifest -- \
        --libraries "$target/peers-libraries" --ms 20
}
show=all limit=3600 step peers peers

show=all limit=7200 step benches-full cargo bench --features rayon \
    --bench kernel --bench gemm --bench gemv --bench pack --bench finish --bench layers --bench threads --bench training

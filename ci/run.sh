#!/usr/bin/env bash
# The core of CI, every time: installs what is missing, runs each step, prints what ran and what could not.
# Two halves run beside each other, one of this machine and one of others and of fuzzers, about as long: a build seldom
# fills two cores. Where the compiler's flags differ, so does the target directory: nothing is built twice. `ci/run.sh 'test|docs'`
# runs the steps whose names match.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

format() {
    local directory
    for directory in . ci/nostd fuzz benches/instructions examples/qat tflite tflite/fuzz; do (cd "$directory" && cargo fmt --all --check); done
}

clippy() {
    cargo clippy --workspace --all-targets --features rayon -- -D warnings
    cargo clippy --workspace --no-default-features -- -D warnings
    (cd ci/nostd && CARGO_TARGET_DIR=$target/nostd cargo clippy --release -- -D warnings)
    (cd benches/instructions && CARGO_TARGET_DIR=$target cargo clippy -- -D warnings)
    (cd tflite && CARGO_TARGET_DIR=$target cargo clippy --all-targets -- -D warnings)
    (cd tflite && CARGO_TARGET_DIR=$target cargo clippy --no-default-features --all-targets -- -D warnings)
}

# The networks themselves are not here: tflite/README.md names the variables that say where they are.
tflite() {
    (cd tflite && CARGO_TARGET_DIR=$target cargo test -- --nocapture)
}

# Linking is the proof; running shows that what was linked is the product.
nostd() {
    local binary
    CARGO_TARGET_DIR=$target/nostd cargo build --release --manifest-path ci/nostd/Cargo.toml
    for binary in kernels zeropoint; do "$target/nostd/release/$binary"; done
}

# Both packages, checked as they would be published, and neither over 200 kB.
package() {
    local file both=(-p zeropoint-kernels -p zeropoint --allow-dirty) room=$target/package
    rm -rf "$room"
    cargo package "${both[@]}" --list
    cargo package "${both[@]}" --no-verify
    for file in "$room"/*.crate; do
        wc -c "$file"
        (($(wc -c <"$file") < 200000))
        tar -xzf "$file" -C "$room"
    done
    CARGO_TARGET_DIR=$target/nostd cargo check --manifest-path "$room"/zeropoint-[0-9]*/Cargo.toml --features rayon \
        --config "patch.crates-io.zeropoint-kernels.path='$(echo "$room"/zeropoint-kernels-*/)'"
}

# Instructions counted now against those on record.
callgrind() {
    cargo bench --bench callgrind | tee "$logs/callgrind.out"
    awk -f ci/counts.awk benches/callgrind.txt "$logs/callgrind.out"
}

# The same for ARM, counted by an emulator.
arm_counts() {
    instructions calls | tee "$logs/arm-counts.out"
    awk -f ci/counts.awk benches/instructions/counts.txt "$logs/arm-counts.out"
}

# The loops of the ARM kernels, as compiled, on models of cores.
arm_model() {
    instructions loops >"$logs/arm-loops.out"
    bash ci/arm-model.sh <"$logs/arm-loops.out" | tee "$logs/arm-model.out"
    awk -f ci/counts.awk -v loss=5 benches/instructions/model.txt "$logs/arm-model.out"
}

# No vector instruction in the old encoding beside wide registers, in any function of a release build.
legacy_sse() {
    local binary
    binary=$(cargo bench --bench gemm --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
    objdump -d --no-show-raw-insn "$binary" | awk -f ci/legacy_sse.awk
}

# Trains the digits in candle for seconds: what 8 bits cost. Kernels are not in question, so that scalar ones do, in one thread: those of
# candle wait for each other.
qat() {
    RAYON_NUM_THREADS=1 scalar_only test --profile brief --manifest-path examples/qat/Cargo.toml --test digits -- --nocapture
}

# Tests that run kernels: of both packages, of layers, of training.
kernels=(check guard golden properties equivalence proven convolutions layers_golden layers_guard layers_pointwise training)
kernels=("${kernels[@]/#/--test=}")

here() {
    step format format
    step clippy clippy
    step test cargo test
    step docs env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --features rayon
    step package package
    step tflite tflite
    # Optimized: every kernel by itself, and what drives them. Twins are plain Rust, and ran in `test`, as did all other tests, which ci/full.sh
    # runs here, too.
    ZEROPOINT_ONLY=$ZEROPOINT_EXPECT step test-release cargo test --release --features rayon \
        --test check --test guard --test golden --test convolutions --test training --test threads
    show=all step digits cargo run --release --example digits
    show=all step network cargo run --release --example network
    step benches cargo bench --features rayon \
        --bench kernel --bench gemm --bench pack --bench finish --bench layers --bench threads --bench training -- --test
    if [[ $(uname -m) != x86_64 ]]; then
        skip legacy-sse "another architecture"
    elif command -v objdump >/dev/null; then
        show=all step legacy-sse legacy_sse
    else
        skip legacy-sse "no objdump"
    fi
    if callgrind_installed; then
        step callgrind callgrind
    else
        skip callgrind "no valgrind or runner to be had"
    fi
    step nostd nostd
    if oldest_installed; then
        step oldest-compiler oldest check --workspace --features rayon
        step oldest-compiler-tflite oldest check --manifest-path tflite/Cargo.toml
    else
        skip oldest-compiler "not to be had"
    fi
    # What this CPU lacks, in an emulator, with the binaries of `test-release`; ci/full.sh has more of it.
    if emulator_installed; then
        if grep -qw amx_int8 /proc/cpuinfo; then
            skip emulated-amx "this CPU has it, and ran its tests; ci/full.sh emulates it anyway"
        else
            step emulated-amx emulated_amx 'check tiles' 'check block_stages'
        fi
        step emulated-avx-vnni emulated_avx_vnni 'check tiles' 'check block_stages'
    else
        skip emulated-x86 "no emulator to be had"
    fi
}

elsewhere() {
    local cpu name
    if aarch64_installed; then
        # Both packages at once, as their features differ alone: nothing is built twice. No twins: they are plain Rust.
        ZEROPOINT_ONLY=$(aarch64_backends cortex-a53) step aarch64-cortex-a53 aarch64 cortex-a53 test "${kernels[@]}"
        # Every SIMD backend of each; the scalar one is the same code on any core.
        for cpu in cortex-a76 neoverse-n1; do
            ZEROPOINT_ONLY=neon,neon-dotprod step "aarch64-$cpu" aarch64 "$cpu" test --test check
        done
        ZEROPOINT_ONLY=neon-dotprod,neon-i8mm step aarch64-max aarch64 max test "${kernels[@]}"
        if ! qemu-aarch64 -h | grep -q -- -plugin; then
            skip arm-counts "the emulator takes no plugins"
            skip arm-model "the emulator takes no plugins"
        else
            step arm-counts arm_counts
            if mca_installed; then show=all step arm-model arm_model; else skip arm-model "no llvm-mca to be had"; fi
        fi
    else
        skip aarch64 "no linker, emulator or standard library to be had"
    fi
    if [[ ${of_debian-} ]]; then
        skip aarch64-clippy "Debian's compiler has none"
    else
        step aarch64-clippy aarch64 max clippy --all-targets -- -D warnings
    fi
    step qat qat
    # Without a sanitizer, which takes longer to compile than to run; guard pages tell of most that it would. ci/full.sh has it, and Miri.
    sanitizer=none
    if fuzz_installed; then
        step fuzz-build fuzz build
        for name in gemm pack stages layers training; do step "fuzz-$name" fuzz run "$name" -- -max_total_time=10; done
        step fuzz-load fuzz_tflite run load -- -max_total_time=10
    else
        skip fuzz "no nightly toolchain or cargo-fuzz to be had"
    fi
}

together here elsewhere

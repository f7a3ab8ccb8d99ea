# shellcheck shell=bash disable=SC2034 # variables are exported, so none is unused
# Helpers of run.sh and full.sh, sourced: steps with a time limit and a log each, installs, and the closing table.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
unset limit show
only=${1-} # a pattern of the names of the steps to run, all by default
set -o allexport # a step runs in a bash of its own and may be a function of the script
CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 RUST_BACKTRACE=1
target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/ci
mkdir -p "$logs"
rows=$(mktemp) # a line of each step: name|result|seconds|tests

# NAME COMMAND...: runs one step for at most `limit` seconds. Prints the log of a failure, or of a success that is
# worth a `show`, else the counts of tests.
# A step that closes its test runs without having run a test has failed: a filter that matches nothing proves nothing.
step() {
    local name=$1 log=$logs/${1//[^a-z0-9]/-}.log begin=$SECONDS status=0 result=ok tests=-
    shift
    [[ $name =~ ${only-} ]] || return 0
    echo "== $name: $*"
    timeout -k 10 "${limit:-1500}" bash -euo pipefail -c '"$@"' "$name" "$@" >"$log" 2>&1 </dev/null || status=$?
    if grep -q '^test result:' "$log"; then
        tests=$(awk '/^test result:/ { n += $4 } END { print n }' "$log")
        ((tests > 0 || status)) || { status=1 && echo "no test ran" >>"$log"; }
    fi
    if ((status == 124)); then echo "stopped after ${limit:-1500} s" >>"$log"; fi
    if ((status)); then result=FAILED; fi
    if ((status)) || [[ ${show-} ]]; then cat "$log"; else grep -E '^test result:|SKIP' "$log" || true; fi
    echo "$name|$result|$((SECONDS - begin))|$tests" >>"$rows"
    echo "== $name: $result, $((SECONDS - begin)) s"
}

# NAME REASON: says that a step could not run here, now and in the table.
skip() {
    echo "$1|SKIPPED|-|$2" >>"$rows"
    echo "== SKIP $1: $2"
}

# FUNCTION...: each runs its steps in order, all of them beside each other. Steps of two functions share no directory of
# builds, or wait for each other.
together() {
    local function process=()
    for function in "$@"; do
        "$function" &
        process+=("$!|$function")
    done
    for function in "${process[@]}"; do
        wait "${function%|*}" || echo "${function#*|}|FAILED|-|ended before its last step" >>"$rows"
    done
}

# NAME CHECK INSTALL...: whether CHECK holds, after INSTALL if need be, one at a time, which gets `limit` seconds.
ensure() {
    local name=$1 check=$2 log=$logs/install-${1//[^a-z0-9]/-}.log begin=$SECONDS status=0
    shift 2
    bash -c "$check" >/dev/null 2>&1 && return
    {
        flock 9
        bash -c "$check" >/dev/null 2>&1 && return
        timeout -k 10 "${limit:-60}" bash -euo pipefail -c '"$@"' "$name" "$@" >"$log" 2>&1 </dev/null 9>&- || status=$?
    } 9>"$logs/installing"
    ((status == 0)) || tail -n 5 "$log"
    echo "-- install $name: status $status, $((SECONDS - begin)) s"
    bash -c "$check" >/dev/null 2>&1
}

debian() {
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "$@"
}

nightly() {
    ensure nightly "rustc +nightly -vV" rustup toolchain install nightly --profile minimal
}

miri_installed() {
    local parts="rustup component list --installed --toolchain nightly"
    nightly && ensure miri "$parts | grep miri && $parts | grep rust-src" \
        rustup component add miri rust-src --toolchain nightly
}

fuzz_installed() {
    nightly && limit=300 ensure cargo-fuzz "cargo fuzz --version" \
        env CARGO_TARGET_DIR="$target/tools" cargo install --locked cargo-fuzz
}

# The runner has to be of the very version of the library that the benches are linked with.
callgrind_installed() {
    local version
    version=$(awk '$3 == "\"iai-callgrind\"" { getline; gsub("\"", ""); print $3 }' Cargo.lock)
    [[ $version ]] && ensure valgrind "command -v valgrind" debian valgrind &&
        limit=300 ensure callgrind-runner "cargo install --list | grep -x 'iai-callgrind-runner v$version:'" \
            env CARGO_TARGET_DIR="$target/tools" cargo install --locked --version "$version" iai-callgrind-runner
}

# COMMAND [TARGET] [ARGUMENTS...]: cargo fuzz, with the sanitizer of that variable, or that of addresses. New inputs go to a directory of
# their own; the kept corpus is only read.
fuzz() {
    local corpora=()
    if (($# > 1)); then corpora=("fuzz/corpus-new/$2" "fuzz/corpus/$2"); fi
    mkdir -p "${corpora[@]:-fuzz/corpus}"
    CARGO_TARGET_DIR=$target/fuzz cargo +nightly fuzz "$1" --sanitizer "${sanitizer:-address}" "${@:2:1}" "${corpora[@]}" "${@:3}"
}

# The same for the crate in tflite/.
fuzz_tflite() {
    cd tflite && fuzz "$@"
}

# CARGO_ARGUMENTS...: what is left without SIMD.
scalar_only() {
    local flag="--cfg zeropoint_scalar_only"
    CARGO_TARGET_DIR=$target/scalar-only RUSTFLAGS=$flag RUSTDOCFLAGS=$flag ZEROPOINT_EXPECT=scalar \
        ZEROPOINT_ONLY=scalar cargo "$@"
}

# CARGO_ARGUMENTS...: Miri sees a CPU without extensions: it is for what is plain Rust, the twins, the views, the split.
miri() {
    MIRIFLAGS="-Zmiri-strict-provenance ${MIRIFLAGS-}" ZEROPOINT_EXPECT=scalar cargo +nightly miri test "$@"
}

# CARGO_ARGUMENTS...: with the compiler that Cargo.toml promises as the oldest.
oldest() {
    CARGO_TARGET_DIR=$target/oldest cargo "+$(oldest_version)" "$@"
}

oldest_version() {
    awk -F'"' '/^rust-version/ { print $2 }' Cargo.toml
}

oldest_installed() {
    local version
    version=$(oldest_version)
    ensure "rust-$version" "rustc +$version -vV" rustup toolchain install "$version" --profile minimal
}

# A linker, an emulator and a standard library for aarch64: rustup's, else that of Debian's own compiler.
aarch64_installed() {
    local triple=aarch64-unknown-linux-gnu
    ensure aarch64-linker "command -v aarch64-linux-gnu-gcc && ls /usr/aarch64-linux-gnu/lib/libc.a" \
        debian gcc-aarch64-linux-gnu libc6-dev-arm64-cross &&
        ensure qemu "command -v qemu-aarch64" debian qemu-user || return
    ensure aarch64-std "rustup target list --installed | grep -x $triple" rustup target add $triple && return
    of_debian=yes
    limit=180 ensure aarch64-std-of-debian \
        "ls \$(/usr/bin/rustc --print target-libdir --target $triple)/libstd-*" debian_aarch64_std
}

emulator_installed() {
    [[ $(uname -m) == x86_64 ]] && limit=240 ensure emulator "ls '$target/emulator/complete'" ci/emulated-x86.sh install
}

# TEST...: on a CPU with AMX, and a Linux that allows it.
emulated_amx() {
    ci/emulated-x86.sh amx sapphire_rapids amx-int8 setcpuid=324 "$@"
}

# TEST...: on a CPU without AVX-512, where one instruction in EVEX encoding faults.
emulated_avx_vnni() {
    ci/emulated-x86.sh avx-vnni arrow_lake avx-vnni "" "$@"
}

debian_aarch64_std() {
    dpkg --add-architecture arm64
    debian rustc-web libstd-rust-web-dev:arm64
}

# CPU: the backends that an emulated CPU has to run, and all that it can.
aarch64_backends() {
    case $1 in
        cortex-a53) echo scalar,neon ;;
        cortex-a76 | neoverse-n1) echo scalar,neon,neon-dotprod ;;
        max) echo scalar,neon,neon-dotprod,neon-i8mm ;;
    esac
}

# CPU CARGO_ARGUMENTS...: static, because threads hang under qemu with shared libraries.
aarch64() {
    local cpu=$1 command=$2 static="-C target-feature=+crt-static"
    shift 2
    if [[ ${of_debian-} ]]; then export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc; fi
    env CARGO_TARGET_DIR="$target/aarch64" RUSTFLAGS="$static" RUSTDOCFLAGS="$static" \
        ZEROPOINT_EXPECT="$(aarch64_backends "$cpu")" \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $cpu" \
        cargo "$command" --target aarch64-unknown-linux-gnu "$@"
}

# calls|loops: what the crate benches/instructions prints under the emulator of every instruction there is.
instructions() {
    local crate=benches/instructions plugin=$target/aarch64/count.so run=(qemu-aarch64 -cpu max -plugin) binary api
    binary=$target/aarch64/aarch64-unknown-linux-gnu/release/zeropoint-instructions
    aarch64 max build --release --manifest-path $crate/Cargo.toml >&2
    for api in 1 3; do # the older interface, the newer
        cc -O2 -shared -fPIC -DAPI=$api -o "$plugin" $crate/count.c
        if "${run[@]}" "$plugin" "$binary"; then break; fi
    done
    "${run[@]}" "$plugin,loop=$([[ $1 == loops ]] && echo on || echo off)" "$binary" "$1"
}

# Models of cores differ from version to version: that of the record.
mca_installed() {
    local version
    version=$(sed -n 's/.*LLVM version \([0-9]*\).*/\1/p' benches/instructions/model.txt)
    ensure llvm-mca "command -v llvm-mca-$version" debian "llvm-$version" && llvm_mca=llvm-mca-$version
}

# RESULT: how many steps had it. Not by grep, which fails where there is none, and with it the whole run.
count() {
    awk -F'|' -v result="$1" '$2 == result { n++ } END { print n + 0 }' "$rows"
}

report() {
    local status=$? fields passed failed skipped
    passed=$(count ok) failed=$(count FAILED) skipped=$(count SKIPPED)
    printf '\n%-28s %-8s %7s  %s\n' step result seconds "tests, or why not"
    while IFS='|' read -r -a fields; do
        printf '%-28s %-8s %7s  %s\n' "${fields[@]}"
    done <"$rows"
    printf '%s s in all, logs in %s\n' "$SECONDS" "$logs"
    printf 'steps: %s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
    rm "$rows"
    exit $((status || failed || passed == 0))
}
trap report EXIT
ZEROPOINT_EXPECT=$(bash ci/expect-backends)

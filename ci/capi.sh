#!/usr/bin/env bash
# The C interface as its users meet it: tests, an installation in a clean prefix that is then moved, what the library exports,
# and the examples, built by pkg-config and by CMake with all warnings as errors, run plainly, under AddressSanitizer and under valgrind.
# Says which tool is missing, and leaves out what needs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../capi"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings=(-Wall -Wextra -Werror)

have() {
    command -v "$1" >/dev/null || {
        echo "SKIP $2: there is no $1"
        false
    }
}

echo "-- tests"
cargo test --locked
cargo clippy --locked --all-targets -- -D warnings
cargo fmt --check -- --config-path ..
if grep -nE 'unsafe (\{|impl|trait)' src/*.rs | grep -v '^src/edge.rs:'; then
    echo "unsafe code outside of src/edge.rs" && exit 1
fi

echo "-- installation"
./install.sh --prefix "$work/first"
mv "$work/first" "$work/prefix"
prefix=$work/prefix
export LD_LIBRARY_PATH=$prefix/lib PKG_CONFIG_PATH=$prefix/lib/pkgconfig
if have nm exports; then
    if nm -D --defined-only "$prefix/lib/libzeropoint.so" | awk '$3 !~ /^zeropoint_/ { print; n++ } END { exit !n }'; then
        echo "libzeropoint.so exports what is not its own" && exit 1
    fi
    missing=$(grep -oE '^[a-z][a-z_ ]*\*?zeropoint_[a-z_]+\(' include/zeropoint.h | grep -oE 'zeropoint_[a-z_]+\(' | tr -d '(' | sort |
        comm -23 - <(nm -D --defined-only "$prefix/lib/libzeropoint.so" | awk '{ print $3 }' | sort))
    [[ -z $missing ]] || { echo "in the header but not in the library: $missing" && exit 1; }
fi

# DIRECTORY: runs what was built there.
run() {
    for program in gemm layers; do
        echo "-- ${*:2} $1/$program"
        "${@:2}" "$work/$1/$program"
    done
}

# DIRECTORY FLAGS...: builds the examples with what pkg-config says.
build() {
    local flags
    mkdir -p "$work/$1"
    read -ra flags <<<"$(pkg-config --cflags --libs zeropoint)"
    cc -std=c99 -pedantic "${warnings[@]}" "${@:2}" examples/gemm.c -o "$work/$1/gemm" "${flags[@]}"
    c++ -std=c++11 -pedantic "${warnings[@]}" "${@:2}" examples/layers.cpp -o "$work/$1/layers" "${flags[@]}" -pthread
}

if have cc examples && have c++ examples && have pkg-config "examples by pkg-config"; then
    build plain -O2
    run plain
    sanitizers=(-O1 -g -fsanitize=address,undefined -fno-sanitize-recover)
    if echo 'int main(void) { return 0; }' | cc "${sanitizers[@]}" -x c - -o "$work/probe"; then
        build asan "${sanitizers[@]}"
        run asan env ASAN_OPTIONS=detect_leaks=1
    else
        echo "SKIP AddressSanitizer: cc has none"
    fi
    if have valgrind memcheck; then
        run plain valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite
    fi
fi
if have cmake "examples by CMake"; then
    cmake -S examples -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release
    cmake --build "$work/cmake"
    run cmake
fi

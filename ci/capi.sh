#!/usr/bin/env bash
# The C interface as its users meet it, and gemmlowp's over it: tests, an installation in a clean prefix that is
# then moved, what the library exports, and the examples, built by pkg-config and by CMake with all warnings as
# errors, run plainly, under AddressSanitizer and under valgrind. Says which tool is missing, and leaves out what
# needs it.
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
    nm -D --defined-only "$prefix/lib/libzeropoint.so" | awk '{ print $3 }' | sort >"$work/exports"
    if grep -v '^zeropoint_' "$work/exports"; then
        echo "libzeropoint.so exports what is not its own" && exit 1
    fi
    grep -oE '^[a-z].*zeropoint_[a-z_]+\(' include/zeropoint.h | grep -oE 'zeropoint_[a-z_]+\(' | tr -d '(' |
        sort | diff - "$work/exports" || { echo "of the header (<), of the library (>)" && exit 1; }
fi

# DIRECTORY: runs what was built there.
run() {
    for program in gemm layers quantized; do
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
    read -ra other <<<"$(pkg-config --cflags --libs zeropoint-gemmlowp)"
    c++ -std=c++11 -pedantic "${warnings[@]}" "${@:2}" examples/quantized.cpp -o "$work/$1/quantized" "${other[@]}"
    c++ -std=c++11 -pedantic "${warnings[@]}" "${@:2}" tests/gemmlowp.cpp -o "$work/$1/gemmlowp" "${other[@]}"
}

if have cc examples && have c++ examples && have pkg-config "examples by pkg-config"; then
    build plain -O2
    run plain
    sanitizers=(-O1 -g -fsanitize=address,undefined -fno-sanitize-recover)
    if echo 'int main(void) { return 0; }' | cc "${sanitizers[@]}" -x c - -o "$work/probe"; then
        build asan "${sanitizers[@]}"
        run asan env ASAN_OPTIONS=detect_leaks=1
        echo "-- asan: 3000 products through gemmlowp's interface"
        "$work/asan/gemmlowp" 3000 >/dev/null
    else
        echo "SKIP AddressSanitizer: cc has none"
    fi
    if have valgrind memcheck; then
        run plain valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite
        echo "-- valgrind: 200 products through gemmlowp's interface"
        valgrind --quiet --error-exitcode=9 "$work/plain/gemmlowp" 200 >/dev/null
    fi

    echo "-- pipelines that must not compile"
    refused() { # WHICH
        c++ -std=c++11 "${warnings[@]}" -fsyntax-only -DWHICH="$1" -Iinclude/zeropoint/gemmlowp tests/refused.cpp
    }
    refused 0
    count=0
    while IFS='|' read -r which message; do
        if refused "$which" 2>"$work/errors" || ! grep -qF "$message" "$work/errors"; then
            cat "$work/errors"
            echo "pipeline $which should be refused with: $message" && exit 1
        fi
        count=$((count + 1))
    done < <(sed -n 's|^#elif WHICH == \([0-9]*\) // |\1\||p' tests/refused.cpp)
    echo "$count refused"
    ((count == 10))

    # The reference: its portable code for the results, its SIMD code for the speed. Signed sums that overflow are
    # meant to wrap.
    theirs=/usr/include/gemmlowp
    legacy=$(find /usr/lib -name libeight_bit_int_gemm.a -print -quit)
    if [[ -e $theirs/public/gemmlowp.h && $legacy ]]; then
        compile=(c++ -std=c++11 -w -fwrapv tests/gemmlowp.cpp "-I$theirs" -pthread)
        echo "-- 20000 products with gemmlowp's headers and with ours"
        "${compile[@]}" -O1 -DGEMMLOWP_ALLOW_SLOW_SCALAR_FALLBACK "$legacy" -o "$work/theirs"
        "$work/theirs" 20000 >"$work/theirs.txt"
        "$work/plain/gemmlowp" 20000 >"$work/ours.txt"
        diff "$work/theirs.txt" "$work/ours.txt" | head -20
        echo "$(wc -l <"$work/ours.txt") results are the same"

        echo "-- corners: how many of 1000 results of each are not those of the portable code"
        c++ -std=c++11 -pedantic "${warnings[@]}" -O1 tests/corners.cpp -o "$work/corners" "${other[@]}"
        "$work/corners" 1000 >"$work/corners.ours"
        corners=(c++ -std=c++11 -w -fwrapv -O1 tests/corners.cpp "-I$theirs" -pthread -o "$work/corners")
        "${corners[@]}" -DGEMMLOWP_ALLOW_SLOW_SCALAR_FALLBACK && "$work/corners" 1000 >"$work/corners.portable"
        "${corners[@]}" -msse4.1 && "$work/corners" 1000 >"$work/corners.sse4"
        for code in ours sse4; do
            { diff "$work/corners.portable" "$work/corners.$code" || true; } | awk -v code=$code '
                /^</ { n[$2]++ }
                END { for (c in n) print code ":", c, n[c]; if (!length(n)) print code ": none" }'
        done
        cmp "$work/corners.portable" "$work/corners.ours"

        echo "-- speed, GOP/s: ours, gemmlowp SSE4, gemmlowp AVX2"
        "$work/plain/gemmlowp" --speed >"$work/ours.txt"
        "${compile[@]}" -O3 -DSPEED_ONLY -msse4.1 -o "$work/sse4" && "$work/sse4" --speed >"$work/sse4.txt"
        echo - >"$work/avx2.txt"
        if grep -qw avx2 /proc/cpuinfo; then
            "${compile[@]}" -O3 -DSPEED_ONLY -mavx2 -DGEMMLOWP_ENABLE_AVX2 -o "$work/avx2"
            "$work/avx2" --speed >"$work/avx2.txt"
        fi
        paste -d' ' "$work/ours.txt" "$work/sse4.txt" "$work/avx2.txt" |
            awk '{ printf "%-16s %-16s %8s %8s %8s\n", $1, $2, $3, $6, $9 }'
    else
        echo "SKIP comparison with gemmlowp: libgemmlowp-dev is not installed"
    fi
fi
if have cmake "examples by CMake"; then
    cmake -S examples -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release
    cmake --build "$work/cmake"
    run cmake
fi

#!/usr/bin/env bash
# Builds the library and installs it with its header, and with what pkg-config and CMake look for.
# The prefix may be moved afterwards. DESTDIR goes before it, as is usual.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
prefix=/usr/local
while (($#)); do
    case $1 in
        --prefix) prefix=${2?--prefix needs a directory} && shift 2 ;;
        --prefix=*) prefix=${1#*=} && shift ;;
        *) echo "usage: [DESTDIR=DIR] capi/install.sh [--prefix DIR]" >&2 && exit 2 ;;
    esac
done
version=$(awk -F'"' '/^version/ { print $2; exit }' Cargo.toml)
cargo build --locked --release
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

to=${DESTDIR-}$prefix
install -d "$to"/{include,lib/pkgconfig,lib/cmake/zeropoint}
(cd include && find . -type f -exec install -Dm 644 {} "$(realpath "$to")/include/{}" \;)
install -m 755 "$target/release/libzeropoint.so" "$to/lib/libzeropoint.so.$version"
interface=${version%.*}
ln -sf "libzeropoint.so.$version" "$to/lib/libzeropoint.so.$interface"
ln -sf "libzeropoint.so.$interface" "$to/lib/libzeropoint.so"
install -m 644 "$target/release/libzeropoint.a" "$to/lib"
for file in zeropoint.pc:pkgconfig zeropoint-gemmlowp.pc:pkgconfig cmake/zeropoint-config.cmake:cmake/zeropoint \
    cmake/zeropoint-config-version.cmake:cmake/zeropoint; do
    sed "s/@VERSION@/$version/; s/@INTERFACE@/$interface/" "${file%:*}" >"$to/lib/${file#*:}/$(basename "${file%:*}")"
done
echo "installed zeropoint $version in $to"

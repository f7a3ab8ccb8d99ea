#!/bin/sh
# Installs the C libraries of the comparison into a folder of its own, and says what is there.
# usage: setup.sh [FOLDER]     (default: target/peers beside this script)
set -eu
here=$(dirname "$0")
folder=${1:-$here/target/peers}
python3 -m venv "$folder"

# One by one: a package that cannot be had leaves out one peer. LiteRT's older interfaces have other arguments.
for package in onednn-cpu-gomp mkl onnxruntime 'ai-edge-litert>=2.1.6'; do
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$package" || echo "left out: $package"
done

"$folder/bin/python" -m pip list --disable-pip-version-check | grep -E '^(onednn|mkl|onnxruntime|ai-edge-litert)' || true
for library in libdnnl.so libmkl_rt.so libonnxruntime.so libLiteRt.so; do
    file=$(find "$folder" -name "$library*" | sort | head -n 1)
    echo "$library: ${file:-not found}"
done
echo "now: cargo run --release --manifest-path $here/Cargo.toml -- --libraries $folder"

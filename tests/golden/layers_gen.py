"""Writes layers.json from whole-layer golden tensors: NAME.npz beside NAME.json, as recorded from reference kernels.

    layers_gen.py DIRECTORY           the layers that the tests keep
    layers_gen.py DIRECTORY --all     every layer
"""
import json
import struct
import sys
import zipfile

# Of the larger networks: few layers, and of element-wise ones few lines.
KEPT = {
    "kws_ref_model": None,
    "pretrainedResnet_quant": {"ADD", "AVERAGE_POOL_2D", "FULLY_CONNECTED", "SOFTMAX", 4, 6},
    "mobilenet_v1_0.25_128_quant": {"AVERAGE_POOL_2D", "SOFTMAX", 21, 22, 23, 24, 25},
}
LINES = 2


def array(blob):
    """Little-endian bytes of an .npy file."""
    length = struct.unpack("<H", blob[8:10])[0]
    assert blob[:6] == b"\x93NUMPY" and b"'fortran_order': False" in blob[: 10 + length]
    return blob[10 + length :]


def tensor(entry, files, lines):
    data, shape = array(files.read(entry["key"] + ".npy")), list(entry["shape"])
    if lines and len(shape) == 4 and shape[1] > lines:
        data, shape[1] = data[: len(data) // shape[1] * lines], lines
    quantization = entry.get("quantization") or {}
    record = {"type": entry["dtype"], "shape": shape}
    if quantization.get("scale_bits"):
        record["scales"] = quantization["scale_bits"]
        zeros = quantization["zero_point"]
        record["zero_points"] = zeros if any(z != zeros[0] for z in zeros) else zeros[:1]
    if entry["dtype"] == "int32":
        record["data"] = list(struct.unpack("<%di" % (len(data) // 4), data))
    else:
        record["data"] = data.hex()
    return record


rows = []
for name, kept in KEPT.items():
    everything = "--all" in sys.argv
    description = json.load(open(f"{sys.argv[1]}/{name}.json"))
    files = zipfile.ZipFile(f"{sys.argv[1]}/{name}.npz")
    for operator in description["operators"]:
        op = operator["op"]
        if op == "RESHAPE" or not (everything or kept is None or op in kept or operator["index"] in kept):
            continue
        lines = LINES if op == "ADD" and not everything else 0
        tensors = {
            role: tensor(entry, files, lines) for role, entry in operator["tensors"].items() if role != "acc"
        }
        row = {"network": name, "index": operator["index"], "op": op, "options": operator["options"]}
        if "clamp" in operator:
            row["clamp"] = operator["clamp"]
        rows.append(json.dumps(row | {"tensors": tensors}, separators=(",", ":")))
print('{"source":"three quantized networks by the reference kernels of LiteRT 2.3.0","licence":"Apache-2.0","layers":[')
print(",\n".join(rows))
print("]}")

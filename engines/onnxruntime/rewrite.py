#!/usr/bin/env python3
"""Moves the quantized operators of a model to the domain of zeropoint's library, where they are exact on every CPU.

    rewrite.py MODEL.onnx REWRITTEN.onnx

What is not supported there stays as it is, and is printed with the reason. Needs the package `onnx`."""

import sys

import onnx
from onnx import AttributeProto, TensorProto, helper

DOMAIN = "zeropoint"
CODES = (TensorProto.UINT8, TensorProto.INT8)
#: Of each operator, its inputs that are no codes, scales (float32) and the int32 bias; those that hold one element,
#: those that may hold one a row or column, and those of them that may have dimensions of 1 before it.
OPERATORS = {
    "MatMulInteger": dict(scales=(), bias=None, one=(), vector=(2, 3), columns=(3,)),
    "QLinearMatMul": dict(scales=(1, 4, 6), bias=None, one=(1, 2, 6, 7), vector=(4, 5), columns=(4, 5)),
    "QLinearConv": dict(scales=(1, 4, 6), bias=8, one=(1, 2, 6, 7), vector=(4, 5), columns=()),
}


class Unsupported(Exception):
    """Why a node stays."""


class Values:
    """Types and shapes by name, as far as they are known; `None` where not."""

    def __init__(self, graph, outer=None):
        self.types = dict(outer.types) if outer else {}
        self.shapes = dict(outer.shapes) if outer else {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self.types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
                self.shapes[value.name] = sizes
            else:
                self.shapes.pop(value.name, None)
        for constant in graph.initializer:
            self.types[constant.name], self.shapes[constant.name] = constant.data_type, list(constant.dims)
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                tensor = node.attribute[0].t
                self.types[node.output[0]], self.shapes[node.output[0]] = tensor.data_type, list(tensor.dims)


def check_types(node, values, operator):
    for index, name in enumerate(node.input):
        if not name:
            continue
        found, allowed = values.types.get(name), CODES
        if index in operator["scales"]:
            allowed = (TensorProto.FLOAT,)
        elif index == operator["bias"]:
            allowed = (TensorProto.INT32,)
        if found not in allowed:
            known = TensorProto.DataType.Name(found) if found else "unknown"
            raise Unsupported(f"input {index} ({name}) is of type {known}")


def check_counts(node, values, operator):
    for index, name in enumerate(node.input):
        if not name or index not in operator["one"] + operator["vector"]:
            continue
        shape = values.shapes.get(name)
        if shape is None:
            raise Unsupported(f"input {index} ({name}) has an unknown shape")
        single = all(size == 1 for size in shape)
        if not single and index in operator["one"]:
            raise Unsupported(f"input {index} ({name}) has shape {shape}: one element is supported")
        # Dimensions of 1 may come before columns, not before rows.
        columns = all(size == 1 for size in shape[:-1]) and index in operator["columns"]
        if not single and len(shape) != 1 and not columns:
            raise Unsupported(f"input {index} ({name}) has shape {shape}: one element or a vector is supported")


def attribute(node, name, default):
    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def convolution(node, values):
    """Checks a convolution; returns attributes to set, for a padding that depends on the size of the image."""
    weights, image = (values.shapes.get(node.input[i]) for i in (3, 0))
    if weights is None or len(weights) not in (3, 4):
        raise Unsupported(f"weights of shape {weights}: one or two dimensions and channels are supported")
    if min(attribute(node, "pads", [0])) < 0:
        raise Unsupported("negative pads")
    if attribute(node, "auto_pad", b"NOTSET") != b"SAME_LOWER":
        return {}
    kernel, sizes = weights[2:], (image or [])[2:]
    if not sizes or None in sizes + kernel:
        raise Unsupported("auto_pad SAME_LOWER of an image of unknown size")
    ones = [1] * len(kernel)
    before, after = [], []
    for size, taps, stride, dilation in zip(
        sizes, kernel, attribute(node, "strides", ones), attribute(node, "dilations", ones)
    ):
        total = max((-(-size // stride) - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
        before.append(total - total // 2)
        after.append(total // 2)
    return {"auto_pad": "NOTSET", "pads": before + after}


def is_quantized(node):
    """Whether a node is of those that one could expect to be moved."""
    name = node.op_type
    products = "Conv" in name or "MatMul" in name or "Gemm" in name
    return products and (name.startswith(("QLinear", "QGemm", "DynamicQuantize")) or "Integer" in name)


def rewrite_graph(graph, report, outer=None):
    """Moves nodes of a graph and of those inside of it; returns how many."""
    values, moved = Values(graph, outer), 0
    for node in graph.node:
        for each in node.attribute:
            if each.type == AttributeProto.GRAPH:
                moved += rewrite_graph(each.g, report, values)
        if not is_quantized(node):
            continue
        label = f"{node.op_type} {node.name or node.output[0]}"
        operator = OPERATORS.get(node.op_type)
        try:
            if node.domain not in ("", "ai.onnx") or operator is None:
                raise Unsupported("no such operator")
            check_types(node, values, operator)
            check_counts(node, values, operator)
            changes = convolution(node, values) if node.op_type == "QLinearConv" else {}
        except Unsupported as reason:
            report(f"left: {label}: {reason}")
            continue
        kept = [each for each in node.attribute if each.name not in changes]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in changes.items())
        node.domain = DOMAIN
        moved += 1
    return moved


def rewrite(model, report=print):
    """Moves what is supported, in place; returns how many nodes. `report` is called with a line for each that stays."""
    try:
        # Types and shapes behind the nodes that are moved cannot be inferred afterwards: they are kept.
        inferred = onnx.shape_inference.infer_shapes(model)
        del model.graph.value_info[:]
        model.graph.value_info.extend(inferred.graph.value_info)
    except (ValueError, onnx.shape_inference.InferenceError):
        report("types are not inferred: the model is too large, or has operators that onnx does not know")
    moved = rewrite_graph(model.graph, report)
    if moved and not any(each.domain == DOMAIN for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return moved


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    loaded = onnx.load(sys.argv[1])
    count = rewrite(loaded)
    onnx.save(loaded, sys.argv[2])
    print(f"{count} nodes moved to the domain {DOMAIN}")

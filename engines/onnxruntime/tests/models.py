"""Models of one node, and sessions with and without the library."""

import os
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import onnxruntime  # noqa: E402
from rewrite import rewrite  # noqa: E402

LIBRARY = os.environ.get("ZEROPOINT_ONNXRUNTIME", "")


def model(operator, inputs, output, variable=(0,), **attributes):
    """One node. `inputs` are arrays, None if left out; those in `variable` are the model's inputs, others constants."""
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(inputs)]
    while not names[-1]:
        names.pop()
    graph_inputs, constants = [], []
    for k, name in enumerate(names):
        if not name:
            continue
        array = np.asarray(inputs[k])
        if k in variable:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            graph_inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
        else:
            constants.append(numpy_helper.from_array(array, name))
    node = helper.make_node(operator, names, ["y"], "node", **attributes)
    result = helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(output)), None)
    graph = helper.make_graph([node], "graph", graph_inputs, [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def network(rng, deviation):
    """Five layers, u8 activations from 0 up, i8 weights of a bell: 3 x 32 x 32 codes to 10 int32 sums."""
    constants, nodes, last = [], [], "x"

    def constant(array):
        constants.append(numpy_helper.from_array(np.asarray(array), f"c{len(constants)}"))
        return constants[-1].name

    def weights(*shape):
        return constant(np.clip(np.rint(rng.normal(0, deviation, shape)), -128, 127).astype(np.int8))

    one, zero, zero_weight = constant(np.float32(1)), constant(np.uint8(0)), constant(np.int8(0))
    for outputs, channels, size, attributes in [
        (16, 3, 3, dict(strides=[2, 2], pads=[1] * 4)),
        (16, 1, 3, dict(group=16, pads=[1] * 4)),
        (32, 16, 1, {}),
        (64, 32, 3, dict(strides=[2, 2], pads=[1] * 4)),
    ]:
        spread = constant(np.float32(deviation * np.sqrt(channels * size * size)))
        inputs = [last, one, zero, weights(outputs, channels, size, size), one, zero_weight, spread, zero]
        last = f"t{len(nodes)}"
        nodes.append(helper.make_node("QLinearConv", inputs, [last], **attributes))
    nodes.append(helper.make_node("Flatten", [last], ["flat"]))
    nodes.append(helper.make_node("MatMulInteger", ["flat", weights(64 * 8 * 8, 10)], ["y"]))
    ends = [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["batch", 3, 32, 32])]
    result = [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)]
    graph = helper.make_graph(nodes, "network", ends, result, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def session(proto, ours, threads=1, moved=1):
    """A session; with the library, and the model rewritten, which moves so many nodes, if `ours`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are exceptions
    if ours:
        options.register_custom_ops_library(LIBRARY)
        proto = onnx.ModelProto.FromString(proto.SerializeToString())
        left = []
        assert rewrite(proto, left.append) == moved, left
    return onnxruntime.InferenceSession(proto.SerializeToString(), options)


def feeds(inputs, variable=(0,)):
    return {f"i{k}": np.asarray(inputs[k]) for k in variable if inputs[k] is not None}


def run(operator, inputs, output, variable=(0,), ours=True, threads=1, **attributes):
    made = session(model(operator, inputs, output, variable, **attributes), ours, threads)
    return made.run(None, feeds(inputs, variable))[0]


def codes(rng, kind, shape):
    """The full range."""
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max + 1, shape).astype(kind)

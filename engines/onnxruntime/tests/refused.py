"""What does not fit: errors name the argument and the numbers; the rewriter leaves nodes and says why."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from models import LIBRARY, feeds, model
from rewrite import DOMAIN, rewrite

U8, I8, ONE = np.uint8(0), np.int8(0), np.float32(1)
A, B = np.ones((2, 3), np.uint8), np.ones((3, 4), np.int8)
X, W = np.ones((1, 4, 5, 5), np.uint8), np.ones((6, 4, 3, 3), np.int8)


def product(a=A, b=B, a_scale=ONE, b_scale=ONE, y_scale=ONE, b_zero=I8):
    return [a, a_scale, U8, b, b_scale, b_zero, y_scale, U8]


def convolution(x=X, w=W, w_scale=ONE, bias=None):
    return [x, ONE, U8, w, w_scale, I8, ONE, U8, bias]


def two(values, kind=np.float32):
    return np.array(values, kind)


#: Operator, inputs, attributes, what the message has.
ERRORS = [
    ("MatMulInteger", [A, np.ones((5, 4), np.int8)], {}, "A of shape [2, 3] has K = 3, but B has K = 5"),
    ("MatMulInteger", [A, np.int8(3)], {}, "B has no dimensions"),
    ("MatMulInteger", [np.uint8(3), B], {}, "A has no dimensions"),
    ("MatMulInteger", [np.ones((2, 2, 3), np.uint8), np.ones((5, 3, 4), np.int8)], {}, "does not broadcast"),
    ("MatMulInteger", [A, B, two([1, 2, 3], np.uint8)], {}, "a_zero_point has shape [3]; expected one"),
    ("MatMulInteger", [A, B, U8, two([1, 2], np.int8)], {}, "b_zero_point has shape [2]; expected one"),
    ("QLinearMatMul", product(a_scale=two([1, 1])), {}, "a_scale has shape [2]; expected one element or a vector of 1"),
    ("QLinearMatMul", product(b_scale=two([1, 1])), {}, "b_scale has shape [2]; expected one element or a vector of 4"),
    ("QLinearMatMul", product(b_scale=np.ones((4, 1), np.float32)), {}, "b_scale has shape [4, 1]"),
    ("QLinearMatMul", product(y_scale=np.float32(0)), {}, "scale"),
    ("QLinearMatMul", product(a_scale=np.float32(-1)), {}, "scale"),
    ("QLinearMatMul", product(b_scale=two([1, np.nan, 1, 1])), {}, "scale"),
    ("QLinearConv", convolution(w=np.ones((6, 4, 3, 3, 3), np.int8)), {}, "w has shape [6, 4, 3, 3, 3]"),
    ("QLinearConv", convolution(w=np.ones((6, 3, 3, 3), np.int8)), {}, "but w has [6, 3, 3, 3] and takes 3"),
    ("QLinearConv", convolution(x=np.ones((4, 5), np.uint8)), {}, "x has shape [4, 5], but w has"),
    ("QLinearConv", convolution(x=np.ones((1, 4, 5), np.uint8)), {}, "x has shape [1, 4, 5], but w has"),
    ("QLinearConv", convolution(w_scale=two([1, 1])), {}, "w_scale has shape [2]; expected one"),
    ("QLinearConv", convolution(bias=two([1, 1], np.int32)), {}, "B has 2 elements; expected 6"),
    ("QLinearConv", convolution(), dict(group=4), "groups"),
    ("QLinearConv", convolution(), dict(group=0), "groups"),
    ("QLinearConv", convolution(), dict(group=-1), "group is -1"),
    ("QLinearConv", convolution(), dict(strides=[1]), "strides is [1] for 2 dimensions"),
    ("QLinearConv", convolution(), dict(strides=[0, 1]), "stride"),
    ("QLinearConv", convolution(), dict(dilations=[1, -1]), "dilations is -1"),
    ("QLinearConv", convolution(), dict(pads=[1, 1]), "pads is [1, 1] for 2 dimensions"),
    ("QLinearConv", convolution(), dict(kernel_shape=[5, 3]), "kernel_shape is [5, 3], but w has [3, 3]"),
    ("QLinearConv", convolution(), dict(auto_pad="SAME_LOWER"), "auto_pad is \"SAME_LOWER\""),
]

half = np.float16
#: Operator, inputs, inputs of the model, attributes, why it is left.
LEFT = [
    ("QLinearMatMul", product(a_scale=two([1, 1])), (0,), {}, "input 1 (i1) has shape [2]: one element"),
    ("QLinearMatMul", product(b_scale=np.ones((4, 1), np.float32)), (0,), {}, "input 4 (i4) has shape [4, 1]"),
    ("MatMulInteger", [A, B, two([[1], [2]], np.uint8)], (0,), {}, "input 2 (i2) has shape [2, 1]"),
    ("QLinearMatMul", product(b_scale=half(1)), (0,), {}, "input 4 (i4) is of type FLOAT16"),
    ("ConvInteger", [X, W], (0,), {}, "no such operator"),
    ("QLinearConv", convolution(w=np.ones((6, 4, 3, 3, 3), np.int8)), (0,), {}, "weights of shape [6, 4, 3, 3, 3]"),
    ("QLinearConv", convolution(), (0,), dict(pads=[-1, 0, 0, 0]), "negative pads"),
]


def message_of(proto, inputs, variable):
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(LIBRARY)
    options.log_severity_level = 4
    try:
        made = onnxruntime.InferenceSession(proto.SerializeToString(), options)
        made.run(None, feeds(inputs, variable))
    except Exception as error:
        return str(error)
    return "no error"


# While the model is loaded, where all but the first input are constants, and while it runs, where none are.
for operator, inputs, attributes, expected in ERRORS:
    for variable in ((0,), tuple(k for k, value in enumerate(inputs) if value is not None)):
        proto = model(operator, inputs, np.int32 if operator == "MatMulInteger" else np.uint8, variable, **attributes)
        proto.graph.node[0].domain = DOMAIN
        proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        message = message_of(proto, inputs, variable)
        assert expected in message and "zeropoint: " in message, (operator, attributes, variable, expected, message)
print(f"refused: {len(ERRORS)} nodes, each with constants and without")

for operator, inputs, variable, attributes, expected in LEFT:
    proto, lines = model(operator, inputs, np.uint8, variable, **attributes), []
    before = proto.graph.node[0].SerializeToString()
    assert rewrite(proto, lines.append) == 0 and expected in lines[-1], (expected, lines)
    assert proto.graph.node[0].SerializeToString() == before
unknown = model("QLinearConv", convolution(), np.uint8, auto_pad="SAME_LOWER")
unknown.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
lines = []
assert rewrite(unknown, lines.append) == 0 and "SAME_LOWER of an image of unknown size" in lines[-1], lines
print(f"left: {len(LEFT) + 1} nodes")

# A node inside of a branch, beside one that is left.
inner = model("MatMulInteger", [A, B], np.int32).graph
outer = helper.make_graph(
    [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "outer",
    [helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])],
    [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)],
)
for branch in (each.g for each in outer.node[0].attribute):
    del branch.input[:]
    branch.initializer.append(onnx.numpy_helper.from_array(A, "i0"))
nested = helper.make_model(outer, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
assert rewrite(nested) == 2
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(LIBRARY)
got = onnxruntime.InferenceSession(nested.SerializeToString(), options).run(None, {"c": np.array(True)})[0]
assert np.array_equal(got, A.astype(np.int32) @ B.astype(np.int32))
print("moved: nodes inside of branches")

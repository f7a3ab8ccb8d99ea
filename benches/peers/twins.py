"""Networks made of other networks: in float, wider, or of one operator."""

import copy

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

CONV, DEPTHWISE, QUANTIZE = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.QUANTIZE,
)
TYPES = schema.TensorType
#: NumPy's names of the elements that occur.
ELEMENTS = {TYPES.FLOAT32: np.float32, TYPES.UINT8: np.uint8, TYPES.INT8: np.int8, TYPES.INT32: np.int32}


class Aligned(flatbuffers.Builder):
    """Puts bytes, which are all tensors' data, where readers want them."""

    def StartVector(self, size, count, alignment):
        return super().StartVector(size, count, 16 if size == 1 else alignment)


def read(path):
    with open(path, "rb") as file:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read(), 0))


def write(model, path):
    builder = Aligned(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    with open(path, "wb") as file:
        file.write(builder.Output())


def operator_code(model, operator):
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def data(model, tensor):
    """The elements of a constant; None of an activation."""
    raw = model.buffers[tensor.buffer].data
    if raw is None or len(raw) == 0:
        return None
    return np.frombuffer(bytes(raw), ELEMENTS[tensor.type]).reshape(tensor.shape)


def hold(model, tensor, values):
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer, tensor.shape = len(model.buffers) - 1, list(values.shape)


def float_twin(model):
    """The same graph with real numbers; None of networks that quantize inside of the graph."""
    if any(operator_code(model, operator) == QUANTIZE for operator in model.subgraphs[0].operators):
        return None
    source, model = model, copy.deepcopy(model)
    model.buffers, model.metadata = [schema.BufferT()], None
    for old, tensor in zip(source.subgraphs[0].tensors, model.subgraphs[0].tensors):
        codes, tensor.buffer, quantization = data(source, old), 0, old.quantization
        if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
            if codes is not None:
                hold(model, tensor, codes)
            continue
        tensor.type, tensor.quantization = TYPES.FLOAT32, None
        if codes is not None:
            along = [1] * codes.ndim
            along[quantization.quantizedDimension] = -1
            scale, zero = (np.reshape(v, along) for v in (quantization.scale, quantization.zeroPoint))
            hold(model, tensor, ((codes.astype(np.float64) - zero) * scale).astype(np.float32))
    return model


def widened(model, times):
    """A network of convolutions in a row with each channel between input and classes repeated: the same function,
    with weights of the same distribution, at `times` the width."""
    model = copy.deepcopy(model)
    tensors = model.subgraphs[0].tensors
    layers = [o for o in model.subgraphs[0].operators if operator_code(model, o) in (CONV, DEPTHWISE)]
    for layer in layers:
        weights, bias = (tensors[index] for index in layer.inputs[1:3])
        codes, biases = data(model, weights), data(model, bias)
        if operator_code(model, layer) == DEPTHWISE:
            hold(model, weights, np.tile(codes, (1, 1, 1, times)))
        else:
            out, of = (1 if layer is layers[-1] else times), (1 if layer is layers[0] else times)
            hold(model, weights, np.tile(codes, (out, 1, 1, of)))
            # Each sum has `of` times the terms: a scale that many times smaller.
            for tensor in weights, bias:
                tensor.quantization.scale = (np.array(tensor.quantization.scale) / of).astype(np.float32)
            biases = biases * np.int32(of)
        hold(model, bias, biases if layer is layers[-1] else np.tile(biases, times))
    classes = [int(index) for index in layers[-1].outputs]
    for operator in model.subgraphs[0].operators:
        for index in (int(index) for index in operator.outputs):
            if index in classes:
                return model
            shape = [int(extent) for extent in tensors[index].shape]
            tensors[index].shape = shape[:-1] + [shape[-1] * times]


def depthwise(kind, height, width, channels):
    """One depthwise convolution, 3 x 3, with ReLU: i8 with a scale a channel, or u8 with one scale and a zero point."""
    random = np.random.default_rng(1)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs, model.description = 3, [schema.BufferT()], [graph], b"depthwise"
    byte, low = (TYPES.INT8, -127) if kind == "i8" else (TYPES.UINT8, 0)

    def tensor(name, element, shape, scale, zero, axis=0):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.buffer = name.encode(), element, shape, 0
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.float32(scale)
        tensor.quantization.zeroPoint = np.full(len(scale), zero, np.int64)
        tensor.quantization.quantizedDimension = axis
        return tensor

    per = 0.002 * random.uniform(0.5, 1.5, channels) if kind == "i8" else np.array([0.002])
    extents, zero = [1, height, width, channels], low + 127
    graph.tensors = [
        tensor("in", byte, extents, [0.02], low + 120),
        tensor("weights", byte, [1, 3, 3, channels], per, zero, 3),
        tensor("bias", TYPES.INT32, [channels], 0.02 * per, 0),
        tensor("out", byte, extents, [0.02], low + 3),
    ]
    hold(model, graph.tensors[1], random.integers(low, low + 255, (1, 3, 3, channels)).astype(ELEMENTS[byte]))
    hold(model, graph.tensors[2], random.integers(-2000, 2000, channels).astype(np.int32))
    code, operator, options = schema.OperatorCodeT(), schema.OperatorT(), schema.DepthwiseConv2DOptionsT()
    code.builtinCode = code.deprecatedBuiltinCode = DEPTHWISE
    code.version = 3 if kind == "i8" else 1
    options.padding, options.fusedActivationFunction = schema.Padding.SAME, schema.ActivationFunctionType.RELU
    options.strideW = options.strideH = options.depthMultiplier = 1
    operator.inputs, operator.outputs, operator.builtinOptions = [0, 1, 2], [3], options
    operator.builtinOptionsType = schema.BuiltinOptions.DepthwiseConv2DOptions
    model.operatorCodes, graph.operators, graph.inputs, graph.outputs = [code], [operator], [0], [3]
    return model

"""Writes tests/data/operators: int8 networks of one operator each, noise, and what LiteRT makes of it; and
tests/data/refused, of operators that are not run;
tests/operators.rs says what for.

    python -P tests/operators.py       needs tensorflow and ai-edge-litert
"""
import pathlib
import subprocess
import sys

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

FOLDER = pathlib.Path(__file__).parent / "data/operators"
REFUSALS = pathlib.Path(__file__).parent / "data/refused"
LITERT = pathlib.Path(__file__).parent / "litert.py"
SIDE, CHANNELS, PICTURES = 8, 3, 3
PICTURE = [1, SIDE, SIDE, CHANNELS]
KINDS, OPTIONS, INT8, INT32 = schema.BuiltinOperator, schema.BuiltinOptions, schema.TensorType.INT8, schema.TensorType.INT32
RELU6, RELU1 = schema.ActivationFunctionType.RELU6, schema.ActivationFunctionType.RELU_N1_TO_1
CODE = (0.04, -7)
HALF, THIRD = SIDE // 2, SIDE + 3
OTHER = (0.031, 20)

rng = np.random.default_rng(1)


class Writer:
    """A file in the making: its input is a picture."""

    def __init__(self):
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs = [self.tensor(PICTURE, CODE)]

    def tensor(self, shape, code=None, data=None):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"t{len(self.graph.tensors)}", list(shape), 0
        tensor.type = INT8 if code else INT32
        if code:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [code[0]], [code[1]]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def numbers(self, *numbers):
        """A constant of INT32, a matrix if its numbers are rows."""
        numbers = np.array(numbers, np.int32)
        return self.tensor(numbers.shape, None, numbers)

    def truths(self, shape):
        tensor = self.tensor(shape)
        self.graph.tensors[tensor].type = schema.TensorType.BOOL
        return tensor

    def weights(self, shape, axis=0):
        """A constant of INT8, with a scale for each of an axis, and a bias for it."""
        tensor, count = self.codes(shape, (0.01, 0)), shape[axis]
        bias = self.tensor([count], CODE, rng.integers(-900, 900, count, np.int32))
        self.graph.tensors[bias].type = INT32
        code = self.graph.tensors[tensor].quantization
        code.scale, code.zeroPoint = list(rng.uniform(0.005, 0.01, count)), [0] * count
        code.quantizedDimension = axis
        code = self.graph.tensors[bias].quantization
        code.scale = [CODE[0] * scale for scale in self.graph.tensors[tensor].quantization.scale]
        code.zeroPoint = [0] * count
        return [tensor, bias]

    def open(self, tensor, axes):
        """Leaves these axes of a tensor to whoever runs the file."""
        tensor = self.graph.tensors[tensor]
        tensor.shapeSignature = [-1 if i in axes else side for i, side in enumerate(tensor.shape)]
        tensor.shape = [1 if i in axes else side for i, side in enumerate(tensor.shape)]

    def codes(self, shape, code):
        """A constant of INT8."""
        return self.tensor(shape, code, rng.integers(-128, 128, shape, np.int8))

    def operator(self, kind, inputs, outputs, version, options_type=0, options=None):
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), version
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes), inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self.model.operatorCodes.append(code)
        self.graph.operators.append(operator)

    def operator_of(self, kind, x, shape, more, options=(0, None)):
        """The output, of the input's code, of one operator."""
        given = self.tensor(shape, CODE)
        self.operator(getattr(KINDS, kind), [x, *more], [given], 2, *options)
        return given

    def reshaped(self, tensor, shape):
        code = self.graph.tensors[tensor].quantization
        output = self.tensor(shape, (code.scale[0], code.zeroPoint[0]))
        self.operator(KINDS.RESHAPE, [tensor, self.numbers(*shape)], [output], 1)
        return output

    def bytes(self, output):
        """The file that gives all codes of a value, in a row."""
        count = int(np.prod(self.graph.tensors[output].shape))
        self.graph.outputs = [self.reshaped(output, [1, count])]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options_of(name, **fields):
    """Options of this name, and their type."""
    options = getattr(schema, name + "T")()
    for field, value in fields.items():
        setattr(options, field, value)
    return getattr(OPTIONS, name), options


def one(kind, shape, more=lambda w, x: [], options=(0, None), version=2, code=CODE, of=PICTURE, outputs=1):
    """The file of one operator: what it reads besides the picture, its output, which may be the last of several."""
    writer = Writer()
    x = writer.graph.inputs[0] if of == PICTURE else writer.reshaped(writer.graph.inputs[0], of)
    inputs = more(writer, x)
    inputs = inputs if x in inputs else [x, *inputs]
    given = [writer.tensor(shape, code) for _ in range(outputs)]
    writer.operator(getattr(KINDS, kind), inputs, given, version, *options)
    return writer.bytes(given[-1])


def of_two(kind, shape, options, version, first=False, code=OTHER):
    def more(writer, x):
        constant = writer.codes(shape, CODE if code == CODE else (0.027, 4))
        return [constant, x] if first else [x, constant]

    return one(kind, PICTURE, more, options, version, code)


def of_positive(kind, code):
    """Of what an ABS leaves."""
    writer = Writer()
    positive, given = writer.tensor(PICTURE, (0.05, -128)), writer.tensor(PICTURE, code)
    writer.operator(KINDS.ABS, writer.graph.inputs, [positive], 2)
    writer.operator(getattr(KINDS, kind), [positive], [given], 2)
    return writer.bytes(given)


def softmax():
    """Of pixels, which are weighed by it: shares alone are no logits."""
    writer = Writer()
    shares, given = writer.tensor(PICTURE, (1 / 256, -128)), writer.tensor(PICTURE, CODE)
    writer.operator(KINDS.SOFTMAX, writer.graph.inputs, [shares], 2, *options_of("SoftmaxOptions", beta=1.0))
    options = options_of("MulOptions")
    writer.operator(KINDS.MUL, [*writer.graph.inputs, shares], [given], 2, *options)
    return writer.bytes(given)


def transposed(given, side, stride, padding, activation=RELU1, bias=True):
    """A transposed convolution by windows of 3 pixels, or of 2."""
    def more(writer, x):
        weights, of_channels = writer.weights([5, side, side, CHANNELS])
        inputs = [writer.numbers(1, given, given, 5), weights, x]
        return inputs + [of_channels] if bias else inputs

    options = options_of(
        "TransposeConvOptions", strideH=stride, strideW=stride, padding=padding, fusedActivationFunction=activation)
    return one("TRANSPOSE_CONV", [1, given, given, 5], more, options, 3 if bias else 2, OTHER)


def dilated(kind, side, cut, padding):
    """A convolution of blocks two rows and three columns apart."""
    writer = Writer()
    x, pads = writer.graph.inputs[0], [[2, 2 + cut[0]], [3, 4 + cut[1]]]
    high, wide = SIDE + sum(pads[0]), SIDE + sum(pads[1])
    blocks = writer.tensor([6, high // 2, wide // 3, CHANNELS], CODE)
    writer.operator(KINDS.SPACE_TO_BATCH_ND, [x, writer.numbers(2, 3), writer.numbers(*pads)], [blocks], 2)
    lost = 0 if padding == schema.Padding.SAME else side - 1
    sides = [high // 2 - lost, wide // 3 - lost]
    given = writer.tensor([6, *sides, CHANNELS], OTHER)
    if kind == "CONV_2D":
        weights = writer.weights([CHANNELS, side, side, CHANNELS])
        options = options_of("Conv2DOptions", strideH=1, strideW=1, padding=padding)
    else:
        weights = writer.weights([1, side, side, CHANNELS], 3)
        options = options_of("DepthwiseConv2DOptions", strideH=1, strideW=1, padding=padding, depthMultiplier=1)
    writer.operator(getattr(KINDS, kind), [blocks, *weights], [given], 3, *options)
    joined = writer.tensor([1, 2 * sides[0] - cut[0], 3 * sides[1] - cut[1], CHANNELS], OTHER)
    crops = writer.numbers([0, cut[0]], [0, cut[1]])
    writer.operator(KINDS.BATCH_TO_SPACE_ND, [given, writer.numbers(2, 3), crops], [joined], 2)
    for tensor in blocks, given, joined:
        writer.open(tensor, [0])
    return writer.bytes(joined)


def dilated_line(cut, padding):
    """A convolution of every third pixel of a line, as of a picture of one row."""
    writer, count = Writer(), SIDE * SIDE
    line, long = writer.reshaped(writer.graph.inputs[0], [1, count, CHANNELS]), count + 5 + cut
    apart, sides = writer.numbers(3), writer.numbers([2, 3 + cut])
    blocks = writer.tensor([3, long // 3, CHANNELS], CODE)
    writer.operator(KINDS.SPACE_TO_BATCH_ND, [line, apart, sides], [blocks], 2)
    row = writer.tensor([3, 1, long // 3, CHANNELS], CODE)
    writer.operator(KINDS.EXPAND_DIMS, [blocks, writer.numbers(-3)], [row], 1, *options_of("ExpandDimsOptions"))
    length = long // 3 if padding == schema.Padding.SAME else long // 3 - 2
    given, flat = writer.tensor([3, 1, length, 5], OTHER), writer.tensor([3, length, 5], OTHER)
    options = options_of("Conv2DOptions", strideH=1, strideW=1, padding=padding)
    writer.operator(KINDS.CONV_2D, [row, *writer.weights([5, 1, 3, CHANNELS])], [given], 3, *options)
    writer.operator(KINDS.RESHAPE, [given, writer.numbers(-1, length, 5)], [flat], 1)
    joined = writer.tensor([1, 3 * length - cut, 5], OTHER)
    writer.operator(KINDS.BATCH_TO_SPACE_ND, [flat, apart, writer.numbers([0, cut])], [joined], 2)
    for tensor in blocks, row, given, flat, joined:
        writer.open(tensor, [0])
    return writer.bytes(joined)


def forgetful(forget):
    """An ABS of whose output or code the file says little; what runs it finds out."""
    writer = Writer()
    x, given = writer.graph.inputs[0], writer.tensor(PICTURE, OTHER)
    writer.operator(KINDS.ABS, [x], [given], 2)
    forget(writer, writer.graph.tensors[given])
    writer.graph.outputs = [writer.reshaped(given, [1, int(np.prod(PICTURE))])]
    builder = flatbuffers.Builder(1024)
    builder.Finish(writer.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def enlarged():
    """To sides that the file computes: half as much again, and one more."""
    writer = Writer()
    x, vector = writer.graph.inputs[0], lambda count: writer.tensor([count])
    sides, both, more, given = vector(4), vector(2), vector(2), writer.tensor([1, 13, 13, CHANNELS], CODE)
    writer.operator(KINDS.SHAPE, [x], [sides], 1, *options_of("ShapeOptions", outType=INT32))
    writer.operator(
        KINDS.STRIDED_SLICE, [sides, writer.numbers(1), writer.numbers(3), writer.numbers(1)], [both], 1,
        *options_of("StridedSliceOptions"))
    three, halves = vector(2), vector(2)
    writer.operator(KINDS.MUL, [both, writer.numbers(3, 3)], [three], 1, *options_of("MulOptions"))
    writer.operator(KINDS.FLOOR_DIV, [three, writer.numbers(2, 2)], [halves], 1, *options_of("FloorDivOptions"))
    writer.operator(KINDS.ADD, [halves, writer.numbers(1, 1)], [more], 1, *options_of("AddOptions"))
    writer.operator(
        KINDS.RESIZE_NEAREST_NEIGHBOR, [x, more], [given], 2, *options_of("ResizeNearestNeighborOptions"))
    writer.open(given, [0, 1, 2])
    last, flat, shape = vector(1), writer.tensor([1, 13 * 13 * CHANNELS], CODE), vector(2)
    writer.operator(KINDS.SHAPE, [given], [after := vector(4)], 1, *options_of("ShapeOptions", outType=INT32))
    writer.operator(
        KINDS.REDUCE_PROD, [after, writer.numbers(0)], [last], 2, *options_of("ReducerOptions", keepDims=True))
    writer.operator(
        KINDS.CONCATENATION, [writer.numbers(1), last], [shape], 1, *options_of("ConcatenationOptions", axis=0))
    writer.operator(KINDS.RESHAPE, [given, shape], [flat], 1)
    writer.open(flat, [0, 1])
    writer.graph.tensors[flat].shape = [1, 13 * 13 * CHANNELS]
    return writer.bytes(flat)


def computed_sides():
    """A transposed convolution to sides that the file computes, where LiteRT rounds twice."""
    writer = Writer()
    x, weights = writer.graph.inputs[0], writer.weights([5, 3, 3, CHANNELS])
    sides, more, given = writer.tensor([4]), writer.tensor([4]), writer.tensor([1, 2 * SIDE, 2 * SIDE, 5], OTHER)
    writer.operator(KINDS.SHAPE, [x], [sides], 1, *options_of("ShapeOptions", outType=INT32))
    writer.operator(
        KINDS.ADD, [sides, writer.numbers(0, SIDE, SIDE, 2)], [more], 1, *options_of("AddOptions"))
    options = options_of("TransposeConvOptions", strideH=2, strideW=2, padding=schema.Padding.SAME)
    writer.operator(KINDS.TRANSPOSE_CONV, [more, weights[0], x, weights[1]], [given], 3, *options)
    writer.open(given, [0, 1, 2, 3])
    flat = writer.tensor([1, 4 * SIDE * SIDE * 5], OTHER)
    writer.operator(KINDS.RESHAPE, [given, writer.numbers(1, 4 * SIDE * SIDE * 5)], [flat], 1)
    return writer.bytes(flat)


def dense_of_five_axes():
    """Of each of the last axis, in a file for any number of pictures, which leaves the axes to who runs it."""
    writer = Writer()
    axes = [1, 2, HALF, SIDE, CHANNELS]
    x = writer.reshaped(writer.graph.inputs[0], axes)
    given, turned = writer.tensor([*axes[:4], 7], OTHER), writer.tensor([1, HALF, SIDE, 7, 2], OTHER)
    options = options_of("FullyConnectedOptions", keepNumDims=True)
    writer.operator(KINDS.FULLY_CONNECTED, [x, *writer.weights([7, CHANNELS])], [given], 9, *options)
    writer.operator(KINDS.TRANSPOSE, [given, writer.numbers(0, 2, 3, 4, 1)], [turned], 4)
    for tensor in given, turned:
        writer.open(tensor, [0])
    return writer.bytes(turned)


def chosen(kind, options, code=CODE):
    """The picture where it is less or the like than a constant, which has its code, else twice as much."""
    writer = Writer()
    quantization = writer.graph.tensors[writer.graph.inputs[0]].quantization
    quantization.scale, quantization.zeroPoint = [code[0]], [code[1]]
    x, other = writer.graph.inputs[0], writer.codes(PICTURE, code)
    truths, twice, given = writer.truths(PICTURE), writer.tensor(PICTURE, code), writer.tensor(PICTURE, code)
    writer.operator(getattr(KINDS, kind), [x, other], [truths], 2, *options_of(options))
    writer.operator(KINDS.LOGICAL_NOT, [truths], [nots := writer.truths(PICTURE)], 1)
    writer.operator(KINDS.LOGICAL_OR, [truths, nots], [all_ := writer.truths(PICTURE)], 1)
    writer.operator(KINDS.LOGICAL_AND, [truths, all_], [both := writer.truths(PICTURE)], 1)
    writer.operator(KINDS.ADD, [x, x], [twice], 2, *options_of("AddOptions"))
    writer.operator(KINDS.SELECT_V2, [both, twice, x], [given], 1)
    return writer.bytes(given)


def chosen_rows():
    """Twice each row of the picture whose least code is below a constant, else the row."""
    writer = Writer()
    x = writer.reshaped(writer.graph.inputs[0], [SIDE, SIDE, CHANNELS])
    least, twice = writer.tensor([SIDE], CODE), writer.tensor([SIDE, SIDE, CHANNELS], CODE)
    writer.operator(
        KINDS.REDUCE_MIN, [x, writer.numbers(1, 2)], [least], 2, *options_of("ReducerOptions"))
    truths, given = writer.truths([SIDE]), writer.tensor([SIDE, SIDE, CHANNELS], CODE)
    limit = writer.tensor([1], CODE, np.array([-121], np.int8))
    writer.operator(KINDS.LESS, [least, limit], [truths], 2, *options_of("LessOptions"))
    writer.operator(KINDS.ADD, [x, x], [twice], 2, *options_of("AddOptions"))
    writer.operator(KINDS.SELECT, [truths, twice, x], [given], 1)
    return writer.bytes(given)


def reduced(kind, shape, axes, keep, code=OTHER):
    options = options_of("ReducerOptions", keepDims=keep)
    return one(kind, shape, lambda w, x: [w.numbers(*axes)], options, code=code)


def plain(kind, version=2, options=(0, None), code=OTHER):
    return one(kind, PICTURE, options=options, version=version, code=code)


ADD = options_of("AddOptions", fusedActivationFunction=RELU6)
SUB = options_of("SubOptions", fusedActivationFunction=RELU6)
MUL = options_of("MulOptions", fusedActivationFunction=RELU6)
LEAKY = options_of("LeakyReluOptions", alpha=0.2)

FILES = {
    # What the engine has arithmetic for.
    "add_row": of_two("ADD", [CHANNELS], ADD, 2),
    "sub_row": of_two("SUB", [1, 1, 1, CHANNELS], SUB, 3),
    "sub_picture": of_two("SUB", PICTURE[1:], SUB, 3),
    "sub_from_number": of_two("SUB", [], SUB, 3, first=True),
    "mul_number": of_two("MUL", [1], MUL, 2),
    "prelu_row": of_two("PRELU", [1, 1, CHANNELS], (0, None), 1),
    "prelu_picture": of_two("PRELU", PICTURE[1:], (0, None), 1),
    "relu": plain("RELU"),
    "relu6": plain("RELU6"),
    "relu_0_to_1": plain("RELU_0_TO_1", 1),
    "relu_n1_to_1": plain("RELU_N1_TO_1", 1),
    "leaky_relu": plain("LEAKY_RELU", 2, LEAKY),
    "leaky_relu_steep": plain("LEAKY_RELU", 2, options_of("LeakyReluOptions", alpha=0.001)),
    "abs": plain("ABS"),
    "elu": plain("ELU", 1),
    "hard_swish": plain("HARD_SWISH", 1),
    "mean": reduced("MEAN", [1, CHANNELS], [1, 2], False),
    "squeeze": one("SQUEEZE", PICTURE[1:], options=options_of("SqueezeOptions", squeezeDims=[0]), version=1),
    "max": reduced("REDUCE_MAX", [1, 1, 1, CHANNELS], [1, 2], True, CODE),
    "logistic": plain("LOGISTIC", 2, code=(1 / 256, -128)),
    "tanh": plain("TANH", 2, code=(1 / 128, 0)),
    "quantize": plain("QUANTIZE", 2),
    "expand_dims": one("EXPAND_DIMS", [1, SIDE, 1, SIDE, CHANNELS], lambda w, x: [w.numbers(2)], version=1),
    "add_to_one": of_two("ADD", PICTURE, options_of("AddOptions", fusedActivationFunction=RELU1), 2),
    "transpose_conv": transposed(2 * SIDE, 3, 2, schema.Padding.SAME),
    "transpose_conv_valid": transposed(2 * SIDE + 1, 3, 2, schema.Padding.VALID, bias=False),
    "transpose_conv_apart": transposed(2 * SIDE - 1, 2, 2, schema.Padding.SAME, schema.ActivationFunctionType.RELU),
    "transpose_conv_dense": transposed(SIDE, 3, 1, schema.Padding.SAME, bias=False),
    "dilated": dilated("CONV_2D", 3, [0, 0], schema.Padding.VALID),
    "dilated_same": dilated("CONV_2D", 3, [2, 0], schema.Padding.SAME),
    "dilated_depthwise": dilated("DEPTHWISE_CONV_2D", 2, [0, 3], schema.Padding.VALID),
    # What the file computes of shapes.
    "enlarged": enlarged(),
    # What tract moves.
    "transpose": one("TRANSPOSE", [1, CHANNELS, SIDE, SIDE], lambda w, x: [w.numbers(0, 3, 1, 2)]),
    "transpose_five": one(
        "TRANSPOSE", [1, HALF, 2, CHANNELS, SIDE], lambda w, x: [w.numbers(0, 2, 1, 4, 3)], version=4,
        of=[1, 2, HALF, SIDE, CHANNELS]),
    "slice": one("SLICE", [1, 5, 6, 2], lambda w, x: [w.numbers(0, 1, 2, 0), w.numbers(1, 5, -1, 2)]),
    "strided_slice": one(
        "STRIDED_SLICE", [1, 3, 3, CHANNELS],
        lambda w, x: [w.numbers(0, 1, 0, 0), w.numbers(0, -1, 0, 0), w.numbers(1, 2, 3, 1)],
        options_of("StridedSliceOptions", beginMask=0b1101, endMask=0b1101)),
    "strided_slice_back": one(
        "STRIDED_SLICE", [1, SIDE, 3, CHANNELS],
        lambda w, x: [w.numbers(0, 0, 6, 0), w.numbers(1, SIDE, 0, CHANNELS), w.numbers(1, 1, -2, 1)],
        options_of("StridedSliceOptions")),
    "strided_slice_one": one(
        "STRIDED_SLICE", [1, SIDE, CHANNELS],
        lambda w, x: [w.numbers(0, -2, 0, 0), w.numbers(1, -1, SIDE, CHANNELS), w.numbers(1, 1, 1, 1)],
        options_of("StridedSliceOptions", shrinkAxisMask=0b10)),
    "strided_slice_offset": one(
        "STRIDED_SLICE", [1, 3, 2, CHANNELS],
        lambda w, x: [w.numbers(0, -5, 1, 0), w.numbers(1, 3, 4, CHANNELS), w.numbers(1, 1, 2, 1)],
        options_of("StridedSliceOptions", offset=True), version=8),
    "strided_slice_axes": one(
        "STRIDED_SLICE", [1, 3, SIDE, 1, CHANNELS],
        lambda w, x: [w.numbers(0, 1, 9, 7, 0), w.numbers(1, 4, 9, 7, CHANNELS), w.numbers(1, 1, 9, 1, 1)],
        options_of("StridedSliceOptions", ellipsisMask=0b100, newAxisMask=0b1000), version=5),
    "strided_slice_first": one(
        "STRIDED_SLICE", [SIDE, 4, CHANNELS], lambda w, x: [w.numbers(0, 0, 2), w.numbers(1, 0, 6), w.numbers(1, 1, 1)],
        options_of("StridedSliceOptions", shrinkAxisMask=0b1, endMask=0b10), version=5),
    "split": one(
        "SPLIT", [1, SIDE, 2, CHANNELS], lambda w, x: [w.numbers(2), x], options_of("SplitOptions", numSplits=4),
        outputs=4),
    "split_v": one(
        "SPLIT_V", [1, HALF, SIDE, CHANNELS], lambda w, x: [x, w.numbers(HALF, -1), w.numbers(1)],
        options_of("SplitVOptions", numSplits=2), outputs=2),
    "reverse": one("REVERSE_V2", PICTURE, lambda w, x: [w.numbers(2)], version=2),
    "unpack": one("UNPACK", PICTURE[:3], options=options_of("UnpackOptions", num=3, axis=3), outputs=3),
    "pack": one(
        "PACK", [1, SIDE, 2, SIDE, CHANNELS], lambda w, x: [x, x], options_of("PackOptions", valuesCount=2, axis=2)),
    "concatenation": one(
        "CONCATENATION", [1, THIRD, SIDE, CHANNELS], lambda w, x: [x, w.codes([1, 3, SIDE, CHANNELS], CODE)],
        options_of("ConcatenationOptions", axis=1)),
    "pad": one(
        "PAD", [1, SIDE + 1, SIDE + 2, CHANNELS + 4],
        lambda w, x: [w.numbers([0, 0], [1, 0], [0, 2], [3, 1])], options_of("PadOptions")),
    "padv2": one(
        "PADV2", [1, SIDE + 1, SIDE + 2, CHANNELS],
        lambda w, x: [w.numbers([0, 0], [1, 0], [0, 2], [0, 0]), w.codes([1], CODE)], options_of("PadV2Options")),
    "mirror_pad_symmetric": one(
        "MIRROR_PAD", [1, THIRD, SIDE + 5, CHANNELS],
        lambda w, x: [w.numbers([0, 0], [1, 2], [3, 2], [0, 0])], options_of("MirrorPadOptions", mode=1)),
    "mirror_pad": one(
        "MIRROR_PAD", [1, THIRD, SIDE + 5, CHANNELS],
        lambda w, x: [w.numbers([0, 0], [1, 2], [3, 2], [0, 0])], options_of("MirrorPadOptions", mode=0)),
    "broadcast_to": one(
        "BROADCAST_TO", [1, SIDE, SIDE, 4, CHANNELS], lambda w, x: [w.numbers(1, SIDE, SIDE, 4, CHANNELS)], version=3,
        of=[1, SIDE, SIDE, 1, CHANNELS]),
    "tile": one("TILE", [1, 2 * SIDE, SIDE, 3 * CHANNELS], lambda w, x: [w.numbers(1, 2, 1, 3)]),
    "gather": one(
        "GATHER", [1, SIDE, SIDE, 4], lambda w, x: [w.numbers(2, 0, 0, 1)], options_of("GatherOptions", axis=3)),
    "depth_to_space": one(
        "DEPTH_TO_SPACE", PICTURE, options=options_of("DepthToSpaceOptions", blockSize=2),
        of=[1, HALF, HALF, 4 * CHANNELS]),
    "space_to_depth": one(
        "SPACE_TO_DEPTH", [1, HALF, HALF, 4 * CHANNELS], options=options_of("SpaceToDepthOptions", blockSize=2)),
    "resize_nearest": one(
        "RESIZE_NEAREST_NEIGHBOR", [1, THIRD, 5, CHANNELS], lambda w, x: [w.numbers(THIRD, 5)],
        options_of("ResizeNearestNeighborOptions", halfPixelCenters=True)),
    "maximum": of_two("MAXIMUM", PICTURE, options_of("MaximumMinimumOptions"), 2, code=CODE),
    "minimum": of_two("MINIMUM", [CHANNELS], options_of("MaximumMinimumOptions"), 2, code=CODE),
    "reduce_max": reduced("REDUCE_MAX", PICTURE[:3] + [1], [3], True, CODE),
    "reduce_min": reduced("REDUCE_MIN", [1, CHANNELS], [1, 2], False, CODE),
    "less": chosen("LESS", "LessOptions"),
    "less_equal": chosen("LESS_EQUAL", "LessEqualOptions"),
    "greater": chosen("GREATER", "GreaterOptions"),
    "greater_equal": chosen("GREATER_EQUAL", "GreaterEqualOptions"),
    "equal": chosen("EQUAL", "EqualOptions"),
    "not_equal": chosen("NOT_EQUAL", "NotEqualOptions"),
    "select_rows": chosen_rows(),
    # What tract computes in single precision.
    "near_add": of_two("ADD", PICTURE[:3] + [1], ADD, 2),
    "near_mul": of_two("MUL", PICTURE[:3] + [1], MUL, 2),
    "near_squared_difference": of_two(
        "SQUARED_DIFFERENCE", PICTURE, options_of("SquaredDifferenceOptions"), 2, code=(0.1, -120)),
    "near_mean": reduced("MEAN", [1, SIDE, CHANNELS], [-2], False),
    "near_reduce_prod": reduced("REDUCE_PROD", PICTURE[:3] + [1], [3], True, (0.3, 3)),
    "near_sum": reduced("SUM", PICTURE[:3] + [1], [3], True, (0.1, 3)),
    "near_softmax": softmax(),
    "near_log_softmax": plain("LOG_SOFTMAX", 2, options_of("LogSoftmaxOptions"), (1 / 16, 127)),
    "near_l2_normalization": plain("L2_NORMALIZATION", 2, options_of("L2NormOptions"), (1 / 128, 0)),
    "near_batch_matmul": one(
        "BATCH_MATMUL", PICTURE[:3] + [SIDE], lambda w, x: [x, x], options_of("BatchMatMulOptions", adjY=True),
        code=(0.2, 5)),
    "near_resize_bilinear": one(
        "RESIZE_BILINEAR", [1, THIRD, 5, CHANNELS], lambda w, x: [w.numbers(THIRD, 5)],
        options_of("ResizeBilinearOptions", halfPixelCenters=True)),
    "near_prelu": of_two("PRELU", [1, SIDE, 1], (0, None), 1),
    "near_gelu_tanh": plain("GELU", 2, options_of("GeluOptions", approximate=True)),
    "near_gelu": plain("GELU", 2, options_of("GeluOptions", approximate=False)),
    "near_exp": plain("EXP", code=(0.2, -128)),
    "near_log": of_positive("LOG", (0.05, 0)),
    "near_rsqrt": of_positive("RSQRT", (0.05, 0)),
    "near_sqrt": of_positive("SQRT", (0.05, 0)),
    "mean_other_order": reduced("MEAN", [1, CHANNELS], [2, -3], False),
    "dense_of_five_axes": dense_of_five_axes(),
    "less_fine": chosen("LESS", "LessOptions", (0.002, -7)),
    "resize_nearest_many": one(
        "RESIZE_NEAREST_NEIGHBOR", [1, 37, 79, CHANNELS], lambda w, x: [w.numbers(37, 79)],
        options_of("ResizeNearestNeighborOptions", halfPixelCenters=True)),
    "near_transpose_conv": computed_sides(),
    "near_logistic": plain("LOGISTIC"),
    "near_quantize": plain("QUANTIZE", code=(40.0, 3)),
    "dilated_pixels": dilated("CONV_2D", 1, [0, 0], schema.Padding.VALID),
    "dilated_line": dilated_line(0, schema.Padding.VALID),
    "dilated_line_same": dilated_line(3, schema.Padding.SAME),
    "shape_unsaid": forgetful(lambda writer, tensor: setattr(tensor, "shape", [1])),
    "code_by_its_new_name": forgetful(
        lambda writer, tensor: setattr(writer.model.operatorCodes[0], "deprecatedBuiltinCode", 0)),
}


def constant(kind, given, *more):
    """Of a constant of one code, which tract would compute at once, however large that gets."""
    writer = Writer()
    x = writer.codes([1, 1, 1, 1], CODE)
    output = writer.tensor(given, CODE)
    writer.operator(getattr(KINDS, kind), [x, *(writer.numbers(*numbers) for numbers in more)], [output], 2)
    writer.open(output, [1, 2])
    return writer.bytes(output)


def products(count, side=256):
    """A chain of products with one constant, of which each operator would keep its own."""
    writer = Writer()
    x = writer.reshaped(writer.graph.inputs[0], [1, 1, 1, int(np.prod(PICTURE))])
    x = writer.operator_of("PAD", x, [1, 1, 1, side], [writer.numbers([0, 0], [0, 0], [0, 0], [0, side - 192])])
    constant = writer.tensor([1, 1, side, side], CODE, np.zeros([1, 1, side, side], np.int8))
    for _ in range(count):
        x = writer.operator_of("BATCH_MATMUL", x, [1, 1, 1, side], [constant], options_of("BatchMatMulOptions"))
    return writer.bytes(x)


def misfit_dense():
    """A dense layer that keeps axes of which the last is not what it sums over."""
    def more(writer, x):
        return [x, *writer.weights([5, 2 * CHANNELS])]

    options = options_of("FullyConnectedOptions", keepNumDims=True)
    return one("FULLY_CONNECTED", [1, SIDE, SIDE, 5], more, options, 5)


MUCH = 1 << 25
# Refused by the name of the operator.
REFUSED = {
    "PAD": constant("PAD", [1, 1, 1, 1], ([0, 0], [MUCH, 0], [MUCH, 0], [0, 0])),
    "TILE": constant("TILE", [1, 1, 1, 1], (1, MUCH, MUCH, 1)),
    "RESIZE_NEAREST_NEIGHBOR": one(
        "RESIZE_NEAREST_NEIGHBOR", [1, 1, 1, CHANNELS], lambda w, x: [w.numbers(MUCH, MUCH)],
        options_of("ResizeNearestNeighborOptions")),
    "PACK": one(
        "PACK", [300, *PICTURE], lambda w, x: [x] * 300, options_of("PackOptions", valuesCount=300, axis=0)),
    "BATCH_MATMUL": products(70),
    "FULLY_CONNECTED": misfit_dense(),
    "LESS": plain("LESS", 2, options_of("LessOptions"), CODE),
    "NEG": plain("NEG", 1, options_of("NegOptions"), CODE),
    # One place backwards, which TensorFlow refuses and LiteRT takes for another.
    "STRIDED_SLICE": one(
        "STRIDED_SLICE", [1, SIDE, CHANNELS],
        lambda w, x: [w.numbers(0, 3, 0, 0), w.numbers(1, 2, SIDE, CHANNELS), w.numbers(1, -1, 1, 1)],
        options_of("StridedSliceOptions", shrinkAxisMask=0b10)),
}

for name, file in REFUSED.items():
    (REFUSALS / f"{name}.tflite").write_bytes(file)
FOLDER.mkdir(exist_ok=True)
pictures = np.random.default_rng(2).integers(-128, 128, (PICTURES, *PICTURE[1:]), np.int8)
pictures.tofile(FOLDER / "inputs.i8")
for name, file in FILES.items():
    path = FOLDER / f"{name}.tflite"
    path.write_bytes(file)
    subprocess.run([sys.executable, LITERT, path, FOLDER / "inputs.i8", path.with_suffix(".outputs.i8")], check=True)

"""An int8 .tflite file of ours in the forms that other runtimes read.

Of the operators that the engine's benchmark meets: convolutions, max pools, sums.
"""
import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
# ONNX Runtime is quicker with unsigned activations, so an activation's codes are ours + 128.
FLIP = 128
OPERATORS = {schema.BuiltinOperator.CONV_2D: "Conv",
             schema.BuiltinOperator.DEPTHWISE_CONV_2D: "Conv",
             schema.BuiltinOperator.MAX_POOL_2D: "MaxPool",
             schema.BuiltinOperator.ADD: "Add"}
ACTIVATIONS = {schema.ActivationFunctionType.NONE: None,
               schema.ActivationFunctionType.RELU: "Relu"}


class Int8File:
    """What the file holds, as tables of the schema."""

    def __init__(self, content):
        self.model = schema.ModelT.InitFromPackedBuf(content, 0)
        (self.graph,) = self.model.subgraphs

    def stored(self, tensor):
        """The codes of a weight or a bias; None of an activation."""
        data = self.model.buffers[tensor.buffer].data
        kind = {schema.TensorType.INT8: "i1", schema.TensorType.INT32: "<i4"}[tensor.type]
        return None if data is None else data.view(kind).reshape(tensor.shape)

    def operators(self):
        """Kind, options, indices of inputs, index of the output."""
        for operator in self.graph.operators:
            kind = self.model.operatorCodes[operator.opcodeIndex].builtinCode
            yield kind, operator.builtinOptions, operator.inputs, operator.outputs[0]


    def macs(self):
        """Multiply-accumulates for one picture."""
        convs = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
        shape = [tensor.shape for tensor in self.graph.tensors]
        return sum(int(shape[output][1:3].prod() * shape[inputs[1]].prod())
                   for kind, _, inputs, output in self.operators() if kind in convs)


def dequantized(codes, quantization):
    shape = [1] * codes.ndim
    shape[quantization.quantizedDimension] = -1
    zero_points, scales = (np.reshape(x, shape if len(x) > 1 else ())
                           for x in (quantization.zeroPoint, quantization.scale))
    return ((codes - zero_points) * scales).astype("<f4")


def float_file(content):
    """The same .tflite network in floats, its weights the dequantized."""
    file = Int8File(content)
    for tensor in file.graph.tensors:
        codes = file.stored(tensor)
        if codes is not None:
            values = dequantized(codes, tensor.quantization)
            file.model.buffers[tensor.buffer].data = values.reshape(-1).view(np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder()
    builder.Finish(file.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def onnx_file(content, batch):
    """The same network as ONNX with QuantizeLinear and DequantizeLinear, for `batch` pictures."""
    return OnnxGraph(Int8File(content), batch).content()


class OnnxGraph:
    """Values by the index of their tensor: `q3` are codes, `x3` what they stand for."""

    def __init__(self, file, batch):
        self.file, self.batch = file, batch
        self.tensors = file.graph.tensors
        self.nodes, self.constants = [], []

    def content(self):
        (source,), (sink,) = self.file.graph.inputs, self.file.graph.outputs
        self.quantization(source)
        for kind, options, inputs, output in self.file.operators():
            self.operator(kind, options, inputs, output)
        graph = helper.make_graph(self.nodes, "network", [self.interface(source)],
                                  [self.interface(sink)], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                                  ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()

    def interface(self, tensor):
        _, height, width, channels = map(int, self.tensors[tensor].shape)
        return helper.make_tensor_value_info(f"q{tensor}", TensorProto.UINT8,
                                             [self.batch, channels, height, width])

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.array(values, order="C"), name))

    def quantization(self, tensor):
        """An activation's scale and zero point."""
        code = self.tensors[tensor].quantization
        self.constant(f"scale{tensor}", np.float32(code.scale[0]))
        self.constant(f"zero{tensor}", np.uint8(code.zeroPoint[0] + FLIP))

    def dequantize(self, tensor):
        """The floats of an activation; each reader has its own node, as ONNX Runtime wants it."""
        name = f"x{tensor}_{len(self.nodes)}"
        codes = [f"q{tensor}", f"scale{tensor}", f"zero{tensor}"]
        self.nodes.append(helper.make_node("DequantizeLinear", codes, [name]))
        return name

    def parameter(self, tensor, axes):
        """The floats of a weight or a bias, its axes turned so that the first is the channels'."""
        codes, scales = self.file.stored(self.tensors[tensor]), self.tensors[tensor].quantization.scale
        self.constant(f"q{tensor}", codes.transpose(axes))
        self.constant(f"scale{tensor}", scales.astype(np.float32))
        self.constant(f"zero{tensor}", np.zeros(len(scales), codes.dtype))
        names = [f"q{tensor}", f"scale{tensor}", f"zero{tensor}"]
        self.nodes.append(helper.make_node("DequantizeLinear", names, [f"x{tensor}"], axis=0))
        return f"x{tensor}"

    def operator(self, kind, options, inputs, output):
        names, attributes = [self.dequantize(inputs[0])], {}
        if kind == schema.BuiltinOperator.MAX_POOL_2D:
            kernel = [options.filterHeight, options.filterWidth]
            attributes = self.window(options, kernel, inputs[0], output)
        elif kind == schema.BuiltinOperator.ADD:
            names.append(self.dequantize(inputs[1]))
        else:
            depthwise = kind == schema.BuiltinOperator.DEPTHWISE_CONV_2D
            weight = self.tensors[inputs[1]]
            axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
            names += [self.parameter(inputs[1], axes), self.parameter(inputs[2], (0,))]
            attributes = self.window(options, list(weight.shape[1:3]), inputs[0], output)
            attributes["group"] = int(weight.shape[3]) if depthwise else 1
        result = f"y{output}"
        self.nodes.append(helper.make_node(OPERATORS[kind], names, [result], **attributes))
        if activation := ACTIVATIONS[options.fusedActivationFunction]:
            self.nodes.append(helper.make_node(activation, [result], [f"{result}_limited"]))
            result = f"{result}_limited"
        self.quantization(output)
        codes = [result, f"scale{output}", f"zero{output}"]
        self.nodes.append(helper.make_node("QuantizeLinear", codes, [f"q{output}"]))

    def window(self, options, kernel, source, output):
        """Attributes of a window; TFLite's SAME has the odd row and column of padding at the end."""
        strides, before, after = [options.strideH, options.strideW], [], []
        for side, slid, length, stride in zip(self.tensors[source].shape[1:3],
                                              self.tensors[output].shape[1:3], kernel, strides):
            padding = 0
            if options.padding == schema.Padding.SAME:
                padding = max(0, int(slid - 1) * stride + length - int(side))
            before.append(padding // 2)
            after.append(padding - padding // 2)
        return {"kernel_shape": [int(n) for n in kernel], "strides": strides,
                "pads": before + after}

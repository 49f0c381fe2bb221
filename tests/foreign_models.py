"""Writes tests/data/foreign: small int8 networks of random weights as TensorFlow's converter makes them,
noise, and what LiteRT makes of it; tests/engine_parity.rs says what for.

    python -P tests/foreign_models.py       needs tensorflow and ai-edge-litert
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

FOLDER = pathlib.Path(__file__).parent / "data/foreign"
LITERT = pathlib.Path(__file__).parent / "litert.py"
SHAPE, PICTURES = (16, 16, 1), 8
layers, ops = tf.keras.layers, tf.keras.ops


def dilated(x):
    """Taps that lie two pixels apart, depthwise ones among them."""
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(8, 3, dilation_rate=2)(x)
    x = layers.DepthwiseConv2D(2, dilation_rate=(1, 2))(x)
    return layers.Conv2D(9, (3, 2))(x)


def dense(x):
    """After VGG: scalars, average pools, a picture made a row, dense layers with and without bias, softmax."""
    x = layers.Rescaling(2.0, offset=0.5)(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.AveragePooling2D(3, 2, padding="same")(x)
    x = layers.Conv2D(8, 3, activation="relu6")(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(20, use_bias=False)(x)
    x = layers.ReLU()(x)
    return layers.Dense(7, activation="softmax")(x)


def xception(x):
    """After the reference network and mini-XCEPTION: padding by a layer, batch norm after a ReLU, sums of
    values of their own scales, the mean of all."""
    random = tf.keras.initializers
    x = layers.ZeroPadding2D(((0, 1), (1, 2)))(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.BatchNormalization(
        gamma_initializer=random.RandomUniform(-1, 2), beta_initializer=random.RandomNormal())(x)
    shortcut = layers.Conv2D(12, 1, strides=2, padding="same")(x)
    x = layers.SeparableConv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.SeparableConv2D(12, 3, padding="same")(x)
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.Add()([x, shortcut])
    x = layers.Conv2D(9, 3, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Softmax()(x)


def several_filters(x):
    """Several filters for each channel, filters of groups, values joined, pools over all."""
    x = layers.DepthwiseConv2D(3, depth_multiplier=5, padding="same")(x)
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(x)
    y = layers.ZeroPadding2D(1)(y)
    x = layers.Concatenate()([layers.MaxPooling2D(2)(x), layers.MaxPooling2D(2)(y)])
    x = layers.ReLU()(layers.MaxPooling2D(2)(x))
    x = layers.Conv2D(12, 2, padding="same", groups=3)(x)
    x = layers.Concatenate()([layers.GlobalMaxPooling2D(keepdims=True)(x), layers.AveragePooling2D(4, 12)(x)])
    return layers.Conv2D(9, 1)(x)


def squeezed(x):
    """After networks with squeeze and excitation: functions of one value, products, rescaled values."""
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(8, 3, strides=2)(x))
    x = layers.Activation("swish")(layers.Conv2D(8, 1)(x))
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Dense(8, activation="sigmoid")(layers.Dense(4, activation="tanh")(y))
    y = layers.Concatenate()([layers.Multiply()([x, y]), layers.Activation("sigmoid")(layers.Conv2D(3, 1)(x))])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.AveragePooling2D(2)(y)))
    return layers.Dense(9)(x)


def shuffled(x):
    """After ShuffleNet and the networks of face recognition: channels parted, joined and shuffled, slopes that are
    learned, hard swish."""
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    x, y = ops.split(x, 2, axis=-1)
    y = layers.Conv2D(6, 1, activation="hard_swish")(layers.DepthwiseConv2D(3, padding="same")(y))
    x = layers.Concatenate()([x, y])
    x = ops.transpose(ops.reshape(x, (-1, 8, 8, 2, 6)), (0, 1, 2, 4, 3))
    x = layers.Conv2D(10, 3, strides=2)(ops.reshape(x, (-1, 8, 8, 12)))
    slopes = tf.keras.initializers.RandomUniform(-0.5, 0.5)
    x = layers.PReLU(alpha_initializer=slopes, shared_axes=[1, 2])(x)
    x = layers.PReLU(alpha_initializer=slopes)(layers.Conv2D(8, 2)(x))
    return layers.Dense(9)(layers.GlobalAveragePooling2D()(1.0 - x))


def attended(x):
    """Attention: of pixels by their channels' mean and greatest, and of all pixels to all."""
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.Concatenate()([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)])
    x = layers.Multiply()([x, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(y)])
    x = ops.reshape(x, (-1, 64, 8))
    y = layers.Softmax()(ops.matmul(x, ops.transpose(x, (0, 2, 1))))
    x = ops.reshape(ops.matmul(y, x), (-1, 8, 8, 8))
    return layers.Dense(9)(layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="gelu")(x)))


def opened(x):
    """What files for any number of pictures compute of shapes: dilation by blocks, sides of what grows."""
    x = layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu")(x)
    y = layers.DepthwiseConv2D(3, dilation_rate=3)(layers.Conv2D(8, 3, strides=2, padding="same")(x))
    x = layers.DepthwiseConv2D(3, dilation_rate=2)(x)
    y = layers.Conv2DTranspose(6, 3, strides=2, activation="relu6")(layers.UpSampling2D(3)(y))
    x = layers.Conv2D(9, 3, strides=3)(layers.Concatenate()([x, layers.Cropping2D(((0, 1), (1, 0)))(y)]))
    return layers.Dense(9)(layers.Flatten()(x))


def converted(network):
    """The file's bytes."""
    rng = np.random.default_rng(1)
    # One picture at a time where tract is to run it; else as Keras has it, which makes the file compute shapes.
    source = layers.Input(batch_shape=(1, *SHAPE)) if network is dilated else layers.Input(SHAPE)
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(source, network(source)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.normal(size=(1, *SHAPE)).astype(np.float32)] for _ in range(20))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def without_softmax(file):
    """The file that gives the logits."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(file))
    (graph,) = model.subgraphs
    last = graph.operators[-1]
    if model.operatorCodes[last.opcodeIndex].builtinCode != schema.BuiltinOperator.SOFTMAX:
        return file
    graph.operators.pop()
    graph.outputs = list(last.inputs)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


for network in (dilated, dense, xception, several_filters, squeezed, shuffled, attended, opened):
    tf.keras.utils.set_random_seed(1)
    file = converted(network)
    pictures = np.random.default_rng(2).integers(-128, 128, (PICTURES, *SHAPE), np.int8)
    (FOLDER / f"{network.__name__}.tflite").write_bytes(file)
    pictures.tofile(FOLDER / "inputs.i8")
    with tempfile.NamedTemporaryFile() as logits:
        pathlib.Path(logits.name).write_bytes(without_softmax(file))
        outputs = FOLDER / f"{network.__name__}.outputs.i8"
        subprocess.run([sys.executable, LITERT, logits.name, FOLDER / "inputs.i8", outputs], check=True)

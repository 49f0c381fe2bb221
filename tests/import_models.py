"""Writes tests/data/import/: small look-alikes, with random weights, of networks that people publish
for FER2013, as their frameworks export them, and the logits they give for two pictures of noise.
tests/import.rs holds the readers to these.

    python tests/import_models.py torch       needs torch, onnx, onnxscript
    python tests/import_models.py keras       needs tensorflow, tf2onnx
"""
import json
import pathlib
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "data" / "import"
SIDE, CLASSES, PICTURES = 48, 7, 2


def pictures(channels):
    """Pictures × height × width × channels in eighths, so that JSON holds them exactly. tests/import.rs
    makes the same."""
    n = PICTURES * SIDE * SIDE * channels
    state, values = 1, []
    for _ in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append((state >> 24) / 128 - 1)
    return np.array(values, np.float32).reshape(PICTURES, SIDE, SIDE, channels)


def write_logits(name, channels, logits):
    logits = np.asarray(logits, np.float64).reshape(PICTURES, -1)
    assert np.abs(logits).max() > 0.1, "logits that say nothing"
    text = json.dumps({"channels": channels, "logits": logits.round(7).tolist()})
    (FOLDER / f"{name}.json").write_text(text + "\n")


def with_torch():
    import torch
    from torch import nn
    import torch.nn.functional as F

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Sequential()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = F.relu(self.norm1(self.conv1(x)))
            return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    class ResNet(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(channels, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
            self.blocks = nn.Sequential(Block(6, 6, 1), Block(6, 10, 2), Block(10, 12, 2))
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(12, CLASSES)

        def forward(self, x):
            return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))

    class Mobile(nn.Module):
        """Depthwise blocks with ReLU6, an average pool, channels joined, a view of the batch's size."""

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 5, 2, 2)
            self.deep = nn.Conv2d(6, 6, 3, 1, 1, groups=6)
            self.wide = nn.Conv2d(6, 5, 1)
            self.pool = nn.AvgPool2d(2)
            self.fc = nn.Linear(11 * 12 * 12, CLASSES)

        def forward(self, x):
            x = F.relu6(self.stem(x) * 4)
            x = self.pool(torch.cat([x, F.relu6(self.wide(self.deep(x)) * 4)], 1))
            return self.fc(x.view(x.size(0), -1))

    vgg = nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(),
        nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3),
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(8 * 6 * 6, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, CLASSES),
        nn.Softmax(1))

    torch.manual_seed(5)
    for name, model, channels in [
            ("torch_vgg", vgg, 1), ("torch_resnet", ResNet(1), 1),
            ("torch_resnet_rgb", ResNet(3), 3), ("torch_mobile", Mobile(), 3)]:
        model.eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.1, 1.0)
        headless = model[:-1] if name == "torch_vgg" else model
        # A copy: a view's strides would show in the exported graph.
        x = torch.tensor(pictures(channels).transpose(0, 3, 1, 2).tolist())
        with torch.no_grad():
            write_logits(name, channels, headless(x).numpy())
        export(torch, model, x[:1], f"{name}", dynamo=False, opset_version=13,
               dynamic_axes={"x": {0: "n"}}, input_names=["x"])
        if name != "torch_mobile":
            export(torch, model, x[:1], f"{name}_dynamo", dynamo=True, external_data=False)


def export(torch, model, x, name, **options):
    torch.onnx.export(model, (x,), FOLDER / f"{name}.onnx", **options)
    import onnx
    # What says where each node came from is longer than the model.
    model = onnx.load(FOLDER / f"{name}.onnx")
    for part in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]:
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.value_info[:]
    del model.functions[:]
    onnx.save(model, FOLDER / f"{name}.onnx")


def with_keras():
    import keras
    import tensorflow as tf
    import tf2onnx
    from keras import layers

    def xception():
        """As mini-XCEPTION, with fewer channels."""
        x = inputs = keras.Input((SIDE, SIDE, 1))
        for width in [4, 5]:
            x = layers.Conv2D(width, 3, use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        for width in [6, 8, 10]:
            residual = layers.Conv2D(width, 1, strides=2, padding="same", use_bias=False)(x)
            residual = layers.BatchNormalization()(residual)
            x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
            x = layers.add([x, residual])
        x = layers.Conv2D(CLASSES, 3, padding="same")(x)
        logits = layers.GlobalAveragePooling2D()(x)
        return keras.Model(inputs, logits), keras.Model(inputs, layers.Softmax()(logits))

    def vgg(channels=1):
        x = inputs = keras.Input((SIDE, SIDE, channels))
        for width in [4, 6, 8]:
            x = layers.Conv2D(width, 3, padding="same")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.Dropout(0.25)(layers.MaxPooling2D(2)(x))
        x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
        logits = layers.Dense(CLASSES)(layers.Dropout(0.5)(x))
        return keras.Model(inputs, logits), keras.Model(inputs, layers.Softmax()(logits))

    def mobile():
        x = inputs = keras.Input((SIDE, SIDE, 3))
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.ReLU(6.0)(layers.Conv2D(6, 3, strides=2)(x))
        y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        x = layers.BatchNormalization()(layers.Concatenate()([x, y]))
        x = layers.AveragePooling2D(2)(x)
        x = layers.ReLU()(layers.Conv2D(8, 1)(x))
        logits = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D(keepdims=True)(x))
        logits = layers.Reshape((CLASSES,))(logits)
        return keras.Model(inputs, logits), keras.Model(inputs, layers.Softmax()(logits))

    keras.utils.set_random_seed(5)
    random = np.random.default_rng(5)
    for name, (headless, model), channels in [
            ("keras_xception", xception(), 1), ("keras_vgg", vgg(), 1),
            ("keras_vgg_rgb", vgg(3), 3), ("keras_mobile", mobile(), 3)]:
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                shape = layer.gamma.shape
                layer.set_weights([random.uniform(0.5, 1.5, shape), random.normal(0, 0.3, shape),
                                   random.normal(0, 0.2, shape), random.uniform(0.1, 1.0, shape)])
            elif layer.weights and getattr(layer, "use_bias", False):
                kernels = layer.get_weights()
                kernels[-1] = random.normal(0, 0.2, kernels[-1].shape)
                layer.set_weights(kernels)
        write_logits(name, channels, headless(pictures(channels)).numpy())
        batch_of_one = keras.Input((SIDE, SIDE, channels), batch_size=1)
        converter = tf.lite.TFLiteConverter.from_keras_model(
            keras.Model(batch_of_one, model(batch_of_one)))
        (FOLDER / f"{name}.tflite").write_bytes(converter.convert())
        signature = tf.TensorSpec((None, SIDE, SIDE, channels), tf.float32, name="face")
        tf2onnx.convert.from_function(
            tf.function(lambda x, model=model: model(x, training=False)), [signature],
            opset=13, output_path=str(FOLDER / f"{name}.onnx"))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    {"torch": with_torch, "keras": with_keras}[sys.argv[1]]()

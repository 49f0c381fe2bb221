"""Writes the models that import_keras.rs reads: import_keras.py FOLDER

Small look-alikes of networks published for FER2013, with random weights, and what they answer:
NAME.json has two pictures (height × width × channels) and their logits. Needs keras, tensorflow
(its CPU build will do), tf_keras, h5py.
"""

import json
import os
import sys
import warnings
import zipfile
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import keras
import numpy as np
import tf_keras

folder = Path(sys.argv[1])
# Longer archives are deflated, to keep the repository small.
MAX_LEN = 100 << 10
random = np.random.default_rng(1)


def residual_module(layers, x, filters):
    """Of mini-XCEPTION."""
    conv = {"padding": "same", "use_bias": False}
    shortcut = layers.Conv2D(filters, 1, strides=2, **conv)(x)
    shortcut = layers.BatchNormalization()(shortcut)
    x = layers.SeparableConv2D(filters, 3, **conv)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    x = layers.SeparableConv2D(filters, 3, **conv)(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    return layers.add([x, shortcut])


def mini_xception(k):
    """Convolutions, residual modules, an average over what a last convolution gives.

    Two of the modules: with four, what HDF5 keeps about each weight would outweigh the weights.
    """
    layers = k.layers
    picture = layers.Input((24, 24, 1))
    x = picture
    for _ in range(2):
        x = layers.Conv2D(4, 3, use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
    for filters in [4, 6]:
        x = residual_module(layers, x, filters)
    x = layers.Conv2D(7, 3, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return k.Model(picture, layers.Activation("softmax", name="predictions")(x))


def vgg(k):
    """A list: pairs of convolutions with batch norm, then dense layers with and without."""
    layers = k.layers
    model = k.Sequential()
    for block, filters in enumerate([4, 8]):
        for i in range(2):
            shape = {"input_shape": (24, 24, 1)} if block == i == 0 else {}
            model.add(layers.Conv2D(filters, 3, padding="same", **shape))
            model.add(layers.BatchNormalization())
            model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(2))
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(12))
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(8, activation="relu"))
    model.add(layers.Dense(7, activation="softmax"))
    return model


def mixed(k):
    """The other layers, models in a model, one channel to several, layers named by hand."""
    layers = k.layers
    augmentation = k.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    stem = k.Sequential(
        [
            layers.DepthwiseConv2D(3, depth_multiplier=4, padding="same"),
            layers.BatchNormalization(scale=False, name="stem_norm"),
            layers.ReLU(6.0),
        ],
        name="stem",
    )
    picture = layers.Input((20, 18, 1), name="face")
    x = layers.Rescaling(1 / 127.5, offset=-1)(picture)
    x = augmentation(x)
    x = layers.Normalization(axis=-1)(x)
    x = stem(x)
    a = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    a = layers.Conv2D(6, 3, strides=2, activation="relu6", name="strided")(a)
    b = layers.Conv2D(6, (1, 3), strides=2, padding="same", name="wide")(x)
    b = layers.BatchNormalization(center=False)(b)
    c = layers.MaxPooling2D(padding="same")(x)
    c = layers.Conv2D(6, 1)(c)
    d = layers.Add()([a, b, c])
    inner_picture = layers.Input((10, 9, 6))
    y = layers.DepthwiseConv2D(3, activation="relu", use_bias=False)(inner_picture)
    z = layers.SeparableConv2D(5, 3, padding="same", activation="relu")(y)
    inner = k.Model(inner_picture, layers.Concatenate()([y, z]), name="inner")
    x = inner(d)
    x = layers.SpatialDropout2D(0.2)(layers.GaussianNoise(0.1)(x))
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(8, 2, activation="relu")(x)
    x = layers.Concatenate()(
        [layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)]
    )
    x = layers.Reshape((1, 1, 16))(x)
    x = layers.Conv2D(10, 1)(x)
    x = layers.Reshape((-1,))(x)
    x = layers.Dense(7)(x)
    return k.Model(picture, layers.Softmax()(x))


def randomize(model):
    """Random weights, positive where they are variances, and small enough for float32 logits."""
    for weight in model.weights:
        name = getattr(weight, "path", weight.name)
        value = np.asarray(weight.numpy())
        if value.dtype != np.float32:
            continue
        if "variance" in name:
            value = random.uniform(0.5, 1.5, value.shape)
        elif "gamma" in name:
            value = random.uniform(0.7, 1.3, value.shape)
        elif value.ndim > 1:
            each = value.size // value.shape[-1] if "depthwise" not in name else 9
            value = random.normal(0, (2 / each) ** 0.5, value.shape)
        else:
            value = random.normal(0, 0.2, value.shape)
        weight.assign(value.astype(np.float32))


def logits(k, model, pictures):
    """What goes into the softmax at the end."""
    last = model.layers[-1]
    if type(last).__name__ != "Dense":
        return k.Model(model.inputs, last.input)(pictures, training=False).numpy()
    before = k.Model(model.inputs, last.input)(pictures, training=False).numpy()
    kernel, bias = (weight.numpy() for weight in last.weights)
    return before @ kernel + bias


def deflate(path):
    """Packs an archive's files, which Keras only stores."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def write(name, model, k, suffixes):
    """Files of a model, and its answers."""
    randomize(model)
    h, w, c = model.inputs[0].shape[1:]
    scale = 255.0 if name.startswith("mixed") else 1.0
    pictures = (random.random((2, h, w, c)) * scale).round(3).astype(np.float32)
    for suffix in suffixes:
        path = folder / f"{name}.{suffix}"
        model.save(path)
        if suffix == "keras" and path.stat().st_size > MAX_LEN:
            deflate(path)
    # Of the file: a Normalization computes by its new weights only once they are loaded.
    loaded = k.models.load_model(folder / f"{name}.{suffixes[-1]}", compile=False)
    if k is keras:
        # For any number of pictures, whose shapes it computes.
        converted = tf.lite.TFLiteConverter.from_keras_model(loaded).convert()
        (folder / f"{name}.tflite").write_bytes(converted)
    answers = logits(k, loaded, pictures)
    (folder / f"{name}.json").write_text(
        json.dumps(
            {
                # As JSON has them: the shortest digits that give the same float32.
                "pictures": [float(str(value)) for value in pictures.flatten()],
                "logits": [float(str(value)) for value in answers.flatten()],
            }
        )
    )


for build in [mini_xception, vgg, mixed]:
    for version, k in [("keras2", tf_keras), ("keras3", keras)]:
        k.backend.clear_session()
        write(f"{build.__name__}_{version}", build(k), k, ["h5", "keras"])

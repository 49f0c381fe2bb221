"""Compares our int8 files with what TensorFlow's converter makes of the same float networks.

    python benches/quantize_vs_tensorflow.py fer2013.csv.xz CHECKPOINT...

Needs tensorflow-cpu and ai-edge-litert. Both sides calibrate on the same faces, both files answer the
same standardized faces of PublicTest in LiteRT (which gives the codes that tract gives for ours). The
Keras network is built from the checkpoint and must give our float logits within 1e-3 first.

Fails unless ours agrees with the float network's expressions at least as often as TensorFlow's and
its logits are no further off. Where accuracies differ by less than their noise, ours may be lower: by
one standard error of the difference.
"""
import contextlib
import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDE, EXPRESSIONS, LOGITS, NORM_EPSILON = 48, 7, 9, 1e-3
FLOAT_TOLERANCE = 1e-3


def checkpoint(path):
    """A safetensors file's tensors and metadata."""
    data = pathlib.Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, about in header.items():
        assert about["dtype"] == "F32", name
        start, end = (8 + length + offset for offset in about["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], "<f4").reshape(about["shape"])
    return tensors, metadata


def network(tensors, preset):
    """The network family of src/lab/network.rs, with a checkpoint's weights."""
    layers, weights = tf.keras.layers, {}

    def conv(name, x, kernel, stride, bias=False, activation=None):
        weight = tensors[f"{name}.weight"].transpose(1, 2, 3, 0)
        weights[name] = [weight] + ([tensors[f"{name}.bias"]] if bias else [])
        return layers.Conv2D(weight.shape[3], kernel, stride, "same", use_bias=bias,
                             activation=activation, name=name)(x)

    def depthwise(name, x, stride):
        weights[name] = [tensors[f"{name}.weight"][..., None]]
        return layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=name)(x)

    def norm(name, x, relu):
        weights[name] = [tensors[f"{name}.{part}"] for part in ("gamma", "beta", "mean", "variance")]
        x = layers.BatchNormalization(epsilon=NORM_EPSILON, name=name)(x)
        return layers.ReLU()(x) if relu else x

    def pool(x):
        return layers.MaxPool2D(3, 2, "same")(x)

    x = pictures = layers.Input((SIDE, SIDE, 1))
    after = preset["stem_norm_after_relu"]
    for name, stride in (("a", preset["stem_stride"]), ("b", 1)):
        x = conv(name, x, 3, stride, bias=after, activation="relu" if after else None)
        x = norm(f"{name}_norm", x, not after)
    x = pool(x) if preset["stem_pool"] else x
    for number, block in enumerate(preset["blocks"], 1):
        name, before = f"block{number}", x
        for i in range(1, block["depth"] + 1):
            last = i == block["depth"]
            x = depthwise(f"{name}_depthwise{i}", x, 2 if last and block["down"] == "stride" else 1)
            x = conv(f"{name}_pointwise{i}", x, 1, 1)
            x = norm(f"{name}_norm{i}", x, not last)
        x = pool(x) if block["down"] == "maxpool" else x
        if f"{name}_residual.weight" in tensors:
            before = conv(f"{name}_residual", before, 1, 1 if block["down"] == "no" else 2)
            before = norm(f"{name}_residual_norm", before, False)
        x = layers.Add()([x, before])
        x = layers.ReLU()(x) if preset.get("relu_after_add") else x
    x = layers.GlobalAveragePooling2D()(conv("head", x, 3, 1, bias=True))
    model = tf.keras.Model(pictures, x)
    for name, values in weights.items():
        model.get_layer(name).set_weights(values)
    return model


def converted(model, calibration):
    """Full int8, by TensorFlow's converter."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([face[None]] for face in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    # It lists every tensor that it saves on the way.
    with contextlib.redirect_stdout(io.StringIO()):
        return converter.convert()


def run(file, faces):
    """Logits of an int8 file in LiteRT."""
    interpreter = Interpreter(model_content=file, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero), (out_scale, out_zero) = source["quantization"], sink["quantization"]
    codes = np.clip(np.rint(faces / scale) + zero, -128, 127).astype(np.int8)
    outputs = []
    for code in codes:
        interpreter.set_tensor(source["index"], code.reshape(source["shape"]))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink["index"]).reshape(LOGITS))
    return (np.array(outputs, np.float32) - out_zero) * out_scale


def score(logits, float_logits, labels):
    """What is compared: right answers, expressions and genders as the float network's, rms error."""
    own, theirs = logits[:, :EXPRESSIONS], float_logits[:, :EXPRESSIONS]
    # About their means, which softmax does not see.
    error = (own - own.mean(1, keepdims=True)) - (theirs - theirs.mean(1, keepdims=True))
    genders = logits[:, EXPRESSIONS:].argmax(1) == float_logits[:, EXPRESSIONS:].argmax(1)
    return {"right": own.argmax(1) == labels, "alike": (own.argmax(1) == theirs.argmax(1)).mean(),
            "genders": genders.mean(), "rms": np.sqrt((error ** 2).mean())}


def compare(source, data):
    """Prints the table of one checkpoint; what ours is less accurate in."""
    with tempfile.TemporaryDirectory() as folder:
        # The features that the tests are built with, so that nothing is compiled once more.
        subprocess.run(["cargo", "run", "--quiet", "--locked", "--release", "--features", "lab,mqtt",
                        "--example", "quantize_sides", "--", source, data, folder],
                       cwd=ROOT, check=True)

        def read(name, kind):
            return np.fromfile(pathlib.Path(folder, name), kind)

        shape = (-1, SIDE, SIDE, 1)
        calibration, faces = (read(f"{name}.f32", "<f4").reshape(shape)
                              for name in ("calibration", "faces"))
        labels, float_logits = read("labels.u8", "u1"), read("logits.f32", "<f4").reshape(-1, LOGITS)
        ours = pathlib.Path(folder, "ours.tflite").read_bytes()

    tensors, metadata = checkpoint(source)
    model = network(tensors, json.loads(metadata["preset"]))
    difference = np.abs(model.predict(faces, verbose=0) - float_logits).max()
    print(f"float logits of {len(faces)} faces: Keras's are within {difference:.1e} of ours")
    assert difference < FLOAT_TOLERANCE, "the Keras network is another one"
    files = {"ours": ours, f"TensorFlow {tf.__version__}": converted(model, calibration)}
    scores = {name: score(run(file, faces), float_logits, labels) for name, file in files.items()}

    print("| | right | expressions as float | genders as float | rms error of a logit | bytes |")
    print("|---|---|---|---|---|---|")
    float_right = (float_logits[:, :EXPRESSIONS].argmax(1) == labels).mean()
    print(f"| float | {100 * float_right:.2f} % | | | | {os.path.getsize(source)} |")
    for name, s in scores.items():
        print(f"| {name} | {100 * s['right'].mean():.2f} % | {100 * s['alike']:.2f} % "
              f"| {100 * s['genders']:.2f} % | {s['rms']:.4f} | {len(files[name])} |")
    ours, theirs = scores.values()
    differs = ours["right"] != theirs["right"]
    standard_error = np.sqrt(differs.sum()) / len(labels)
    behind = theirs["right"].mean() - ours["right"].mean()
    return [f"{source.name}: {why}" for why, fails in (
        ("agrees with float less often", ours["alike"] < theirs["alike"]),
        ("logits are further off", ours["rms"] > theirs["rms"]),
        ("answers fewer right, beyond a standard error", behind > standard_error)) if fails]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    data, *sources = (pathlib.Path(path).resolve() for path in sys.argv[1:])
    failures = []
    for source in sources:
        print(f"{source.name}:")
        failures += compare(source, data)
    if failures:
        sys.exit(f"ours is less accurate than TensorFlow's: {'; '.join(failures)}")


if __name__ == "__main__":
    main()

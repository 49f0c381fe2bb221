"""Writes tests/data/dilated.tflite, a small int8 network of random weights with a convolution whose taps
lie two pixels apart, by TensorFlow's converter; tests/engine_parity.rs says what for.

    python -P tests/dilated_model.py       needs tensorflow, which must not find tests/litert.py
    python tests/litert.py tests/data/dilated.tflite tests/data/dilated_inputs.i8 tests/data/dilated_outputs.i8
"""
import pathlib

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent / "data"
SHAPE, PICTURES = (16, 16, 1), 8

tf.keras.utils.set_random_seed(1)
layers = tf.keras.layers
x = source = layers.Input(batch_shape=(1, *SHAPE))
x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
x = layers.Conv2D(8, 3, dilation_rate=2)(x)
x = layers.Conv2D(9, 4)(x)

rng = np.random.default_rng(1)
converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(source, x))
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([rng.normal(size=(1, *SHAPE)).astype(np.float32)] for _ in range(20))
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
(FOLDER / "dilated.tflite").write_bytes(converter.convert())
rng.integers(-128, 128, (PICTURES, *SHAPE), np.int8).tofile(FOLDER / "dilated_inputs.i8")

"""Runs a .tflite model in LiteRT: litert.py MODEL INPUTS OUTPUTS (raw int8 files, one picture after another)."""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

model, inputs, outputs = sys.argv[1:]
# One thread and the default kernels (XNNPACK): what tract is compared with.
interpreter = Interpreter(model_path=model, num_threads=1)
interpreter.allocate_tensors()
(source,) = interpreter.get_input_details()
(sink,) = interpreter.get_output_details()
pictures = np.fromfile(inputs, np.int8).reshape(-1, *source["shape"])
with open(outputs, "wb") as file:
    for picture in pictures:
        interpreter.set_tensor(source["index"], picture)
        interpreter.invoke()
        file.write(interpreter.get_tensor(sink["index"]).tobytes())

"""LiteRT's side of `benches/engine_aarch64.py`, which runs it emulated: litert_aarch64.py MODEL

Takes lines `litert PICTURES RUNS` from stdin and answers each when done, with one thread and the default
kernels (XNNPACK), as `benches/engine` does for the engine.
"""
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
(source,) = interpreter.get_input_details()
resized_to = None
for line in sys.stdin:
    _, pictures, runs = line.split()
    shape = [int(pictures), *source["shape"][1:]]
    if shape != resized_to:
        interpreter.resize_tensor_input(source["index"], shape)
        interpreter.allocate_tensors()
        resized_to = shape
    codes = np.arange(np.prod(shape)) * 37 % 251
    interpreter.set_tensor(source["index"], codes.astype(np.uint8).view(np.int8).reshape(shape))
    for _ in range(int(runs)):
        interpreter.invoke()
    sys.stdout.write("done\n")
    sys.stdout.flush()

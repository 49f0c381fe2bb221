"""Compares the engine's speed on one thread with stock tract's and LiteRT's, in CPU time a face.

    cargo build --release --features lab --example engine
    python benches/engine_vs_litert.py          needs PyPI's ai-edge-litert and numpy

On the shipped network and on `reference` (random weights), one face and thirty at a time. Rounds
interleave the three, so that a machine that gets slower slows all of them; a ratio is taken within its
round. The last lines are the medians of the rounds with their least and greatest. CPU time, so that
other programs on the core count as little as they can; caches they do share.
"""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDE = 48
# Faces a round and contestant; tract gets less, or a round would take minutes.
FACES, FACES_OF_TRACT = 300, 3


class Engine:
    def __init__(self, program, file):
        self.process = subprocess.Popen([program, "run", file], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.runs_on = self.process.stdout.readline().strip()

    def cpu_s(self):
        # The CPU clock of another process, as clock_getcpuclockid(3) makes it of a process id.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def ms_a_face(self, engine, batch, faces):
        runs = max(1, faces // batch)
        started = self.cpu_s()
        self.process.stdin.write(f"{engine} {batch} {runs}\n")
        assert self.process.stdout.readline() == "done\n"
        return (self.cpu_s() - started) * 1e3 / (runs * batch)


class LiteRT:
    def __init__(self, file, batch):
        self.interpreter = Interpreter(model_path=str(file), num_threads=1)
        (source,) = self.interpreter.get_input_details()
        shape = [batch, SIDE, SIDE, 1]
        self.interpreter.resize_tensor_input(source["index"], shape)
        self.interpreter.allocate_tensors()
        codes = np.arange(batch * SIDE * SIDE) * 37 % 251
        codes = codes.astype(np.uint8).view(np.int8).reshape(shape)
        self.interpreter.set_tensor(source["index"], codes)
        self.batch = batch

    def ms_a_face(self, faces):
        runs = max(1, faces // self.batch)
        started = time.process_time()
        for _ in range(runs):
            self.interpreter.invoke()
        return (time.process_time() - started) * 1e3 / (runs * self.batch)


def spread(values):
    median, least, greatest = statistics.median(values), min(values), max(values)
    return f"{median:.3f} ({least:.3f}–{greatest:.3f})"


def compare(program, name, file, rounds):
    engine = Engine(program, file)
    print(f"{name}: {engine.runs_on}", flush=True)
    for batch in [1, 30]:
        litert = LiteRT(file, batch)
        times = []
        for i in range(rounds + 1):
            round_times = (engine.ms_a_face("engine", batch, FACES), litert.ms_a_face(FACES),
                           engine.ms_a_face("tract", 1, FACES_OF_TRACT))
            if i > 0:  # the first warms caches
                times.append(round_times)
        ours, theirs, tracts = zip(*times)
        print(f"  {batch} at a time, ms a face: engine {spread(ours)}, LiteRT {spread(theirs)}, "
              f"tract {spread(tracts)}")
        print(f"  engine / LiteRT {spread([a / b for a, b in zip(ours, theirs)])}, "
              f"tract / engine {statistics.median(b / a for a, b in zip(ours, tracts)):.0f}",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "target/release/examples/engine")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        reference = pathlib.Path(directory) / "reference.tflite"
        subprocess.run([args.program, "reference", reference], check=True)
        compare(args.program, "slim", ROOT / "models/mien-slim.tflite", args.rounds)
        compare(args.program, "reference", reference, args.rounds)


main()

"""Compares the engine's speed with other runtimes' and with the CPU's peak, on one thread.

    cargo build --release --features lab --example engine
    pip install ai-edge-litert==2.3.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
    python benches/engine_vs_peers.py

Networks: the shipped one, `reference` and one like MobileNet v1, the last two with random weights; one
face and thirty at a time (tract always one, which on most of them is quicker). Runtimes: LiteRT int8
(its XNNPACK), ONNX Runtime int8 (the same codes, weights and scales, as QDQ), tract on the same network
in floats, and stock tract int8.

Each answers the same faces first: LiteRT and stock tract with our codes, ONNX Runtime with codes at
most 2 off, the floats near. Then rounds interleave them all, so that a machine that gets slower slows
all of them; a ratio is taken within its round. Printed are the medians of the rounds with their least
and greatest. CPU time, so that other programs on the core count as little as they can; caches they do
share.
"""
import argparse
import collections
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

import peer_models

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDE = 48
# Faces a round, about so many; who is slow gets less, or a round would take minutes.
FACES, FACES_OF_TRACT_FLOAT, FACES_OF_TRACT_INT8 = 300, 30, 3
# Million products a round whose time is the CPU's peak.
PEAK_MMACS = 10_000
ONNX_TOLERANCE = 2  # codes
FLOAT_TOLERANCE = 0.1  # of the root mean square of the logits
# What ONNX Runtime makes of a network when it fuses all of it.
FUSED = {"QLinearConv", "QLinearAdd", "MaxPool", "NhwcMaxPool", "Transpose"}


def faces(batch):
    """What benches/engine gives its networks."""
    codes = np.fromfile(ROOT / "tests/data/golden_inputs.i8", "i1")
    return np.resize(codes, (batch, SIDE, SIDE, 1))


class Rust:
    """The engine and tract."""

    def __init__(self, program, file, float_file):
        self.process = subprocess.Popen([program, "run", file, float_file], text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.runs_on, self.peak = (self.process.stdout.readline().strip() for _ in range(2))

    def cpu_s(self):
        # The CPU clock of another process, as clock_getcpuclockid(3) makes it of a process id.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def logits(self, what, batch, runs=1):
        self.process.stdin.write(f"{what} {batch} {runs}\n")
        return np.array(self.process.stdout.readline().split(), np.float32)

    def ms(self, what, batch, runs):
        started = self.cpu_s()
        self.logits(what, batch, runs)
        return (self.cpu_s() - started) * 1e3

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class LiteRT:
    def __init__(self, content, batch):
        self.interpreter = Interpreter(model_content=content, num_threads=1)
        (source,), (self.sink,) = (self.interpreter.get_input_details(),
                                   self.interpreter.get_output_details())
        self.interpreter.resize_tensor_input(source["index"], [batch, SIDE, SIDE, 1])
        self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(source["index"], faces(batch))

    def codes(self):
        self.run()
        return self.interpreter.get_tensor(self.sink["index"]).reshape(-1).astype(int)

    def run(self):
        self.interpreter.invoke()


class OnnxRuntime:
    def __init__(self, content, batch, directory):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        optimized = pathlib.Path(directory) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3  # A warning says that the optimized file is for this CPU only.
        self.session = onnxruntime.InferenceSession(peer_models.onnx_file(content, batch), options,
                                                    providers=["CPUExecutionProvider"])
        nodes = onnx.load(optimized).graph.node
        self.operators = collections.Counter(node.op_type for node in nodes)
        assert set(self.operators) <= FUSED, f"ONNX Runtime left some apart: {self.operators}"
        # One channel: the order of a picture's axes is the same.
        codes = (faces(batch).astype(int) + peer_models.FLIP).astype(np.uint8)
        (source,) = self.session.get_inputs()
        self.inputs = {source.name: codes.reshape(source.shape)}

    def codes(self):
        (output,) = self.run()
        return output.reshape(-1).astype(int) - peer_models.FLIP

    def run(self):
        return self.session.run(None, self.inputs)


def ms(runtime, runs):
    started = time.process_time()
    for _ in range(runs):
        runtime.run()
    return (time.process_time() - started) * 1e3


def spread(values, digits):
    median, least, greatest = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{median} ({least}–{greatest})"


class Contest:
    """All runtimes on one network, so many faces at a time."""

    def __init__(self, program, name, content, batch, directory):
        self.name, self.batch = name, batch
        self.mmacs = peer_models.Int8File(content).macs() / 1e6
        files = [pathlib.Path(directory) / f"{kind}.tflite" for kind in ("int8", "float")]
        for file, written in zip(files, (content, peer_models.float_file(content))):
            file.write_bytes(written)
        self.rust = Rust(program, *files)
        self.litert = LiteRT(content, batch)
        self.onnx = OnnxRuntime(content, batch, directory)
        self.check()

    def check(self):
        scale, zero = self.litert.sink["quantization"]
        ours = self.rust.logits("engine", self.batch)
        codes = np.rint(ours / scale).astype(int) + zero
        assert (self.rust.logits("tract", self.batch) == ours).all(), "tract has other codes"
        assert (self.litert.codes() == codes).all(), "LiteRT has other codes"
        off = np.abs(self.onnx.codes() - codes).max()
        assert off <= ONNX_TOLERANCE, f"ONNX Runtime's codes are up to {off} off"
        floats = self.rust.logits("float", 1)
        error = floats - ours[:len(floats)]
        error = np.sqrt((error ** 2).mean() / (floats ** 2).mean())
        assert error < FLOAT_TOLERANCE, f"float logits are {error:.3f} off"
        print(f"{self.name}, {self.batch}: {self.rust.runs_on}; {self.mmacs:.1f} MMAC; peak by "
              f"{self.rust.peak}; ONNX Runtime runs {dict(self.onnx.operators)}, codes at most {off} off; "
              f"float logits {error:.3f} off", flush=True)

    def round(self):
        """ms a face of each, and ms of a million products at the CPU's peak."""
        batch = self.batch
        runs = max(1, FACES // batch)
        return {
            "peak": self.rust.ms("peak", 1, PEAK_MMACS) / PEAK_MMACS,
            "engine": self.rust.ms("engine", batch, runs) / (runs * batch),
            "LiteRT": ms(self.litert, runs) / (runs * batch),
            "ORT": ms(self.onnx, runs) / (runs * batch),
            "tract float": self.rust.ms("float", 1, FACES_OF_TRACT_FLOAT) / FACES_OF_TRACT_FLOAT,
            "tract int8": self.rust.ms("tract", 1, FACES_OF_TRACT_INT8) / FACES_OF_TRACT_INT8,
        }

    def measure(self, rounds):
        self.round()  # warms caches
        self.times = [self.round() for _ in range(rounds)]
        self.rust.close()

    def time(self, what, digits=3):
        return spread([times[what] for times in self.times], digits)

    def ratio(self, over, under, digits):
        return spread([times[over] / times[under] for times in self.times], digits)

    def title(self):
        return f"{self.name}, {self.batch}"

    def times_row(self):
        return [self.title(), *(self.time(what) for what in ("engine", "LiteRT", "ORT")),
                self.time("tract float", 1), self.time("tract int8", 0)]

    def ratios_row(self):
        return [self.title(), self.ratio("engine", "LiteRT", 2), self.ratio("engine", "ORT", 2),
                self.ratio("tract float", "engine", 1), self.ratio("tract int8", "engine", 0)]

    def roofline_row(self):
        # A million products a millisecond are 10⁹ a second.
        achieved = [self.mmacs / times["engine"] for times in self.times]
        peak = [1 / times["peak"] for times in self.times]
        share = [100 * a / b for a, b in zip(achieved, peak)]
        return [self.title(), f"{self.mmacs:.1f}", spread(achieved, 0), spread(peak, 0),
                f"{spread(share, 0)} %"]


def table(header, rows):
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    print(lines[0], "|---" * len(header) + "|", *lines[1:], "", sep="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "target/release/examples/engine")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        networks = {"slim": ROOT / "models/mien-slim.tflite"}
        for name in ("reference", "mobilenet"):
            networks[name] = pathlib.Path(directory) / f"{name}.tflite"
            subprocess.run([args.program, name, networks[name]], check=True)
        contests = []
        for name, file in networks.items():
            for batch in (1, 30):
                contest = Contest(args.program, name, file.read_bytes(), batch, directory)
                contest.measure(args.rounds)
                contests.append(contest)
    first = "network, faces at a time"
    print("\nms a face:\n")
    table([first, "engine", "LiteRT int8", "ONNX Runtime int8", "tract float", "tract int8"],
          [contest.times_row() for contest in contests])
    table([first, "engine / LiteRT", "engine / ONNX Runtime", "tract float / engine",
           "tract int8 / engine"], [contest.ratios_row() for contest in contests])
    table([first, "MMAC a face", "GMAC/s", "the CPU's peak", "share of it"],
          [contest.roofline_row() for contest in contests])


main()

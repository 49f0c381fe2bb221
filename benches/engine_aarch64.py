"""Counts the instructions that a face takes on a Raspberry Pi's CPUs: engine, LiteRT and stock tract.

    cargo build --release --features lab --example engine
    python benches/engine_aarch64.py

Needs what cross/env.sh names, gcc and PyPI; fetches Debian's Python for arm64 and LiteRT's wheel into
~/.cache/mien-bench. All three run under QEMU's user emulation with the plugin insn_classes.c, one thread
each, on the shipped network and on `reference` (random weights). A face's count is what runs add to a
program that has run, so that start and answers drop out; the codes of engine and LiteRT must be the same.

From the counts by class it estimates cycles: what the busiest of the CPU's pipelines needs if nothing
ever waits, by Arm's software optimization guides for the Cortex-A72 (UAN 0016A) and the Cortex-A76
(PJDOC-466751330-7215). No CPU does it in less; caches, dependencies and branches make it more. There is
no such guide for the Cortex-A53.
"""
import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path.home() / ".cache/mien-bench"
# What the emulated programs find in place of this machine's: a C library, LiteRT's Python and, in a folder
# for each CPU, its name.
SYSROOT = CACHE / "arm64-python-3.11-ai-edge-litert-2.3.0-numpy-2.4.6"
WHEELS = ["ai-edge-litert==2.3.0", "numpy==2.4.6"]
DEBS = ["libc6", "libexpat1", "libffi8", "libgcc-s1", "libpython3.11-minimal", "libpython3.11-stdlib",
        "libstdc++6", "python3.11-minimal", "zlib1g"]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = TARGET / "aarch64-unknown-linux-gnu/release/examples/engine"
# QEMU's name and the part number by which XNNPACK tells its kernels.
CPUS = {"cortex-a53": 0xD03, "cortex-a72": 0xD08, "cortex-a76": 0xD0B}
PICTURE = 48 * 48


def run(*command, **options):
    return subprocess.run(command, check=True, cwd=ROOT, **options)


def make_sysroot():
    if SYSROOT.exists():
        return
    new, apt = CACHE / "new", CACHE / "apt"
    run("rm", "-rf", new, apt)
    for directory in [new, apt / "state/lists/partial", apt / "cache/archives/partial"]:
        directory.mkdir(parents=True)
    # Lists of its own: the machine's apt need not know of arm64.
    get = ["apt-get", "-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64",
           "-o", f"Dir::State={apt}/state", "-o", "Dir::State::status=/dev/null",
           "-o", f"Dir::Cache={apt}/cache", "-o", "APT::Sandbox::User=root"]
    run(*get, "update")
    subprocess.run([*get, "download", *DEBS], check=True, cwd=apt)
    for package in apt.glob("*.deb"):
        run("dpkg", "-x", package, new)
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-compile", "--only-binary=:all:", "--platform=manylinux_2_27_aarch64",
        "--python-version=3.11", f"--target={new}/wheels", *WHEELS)
    run("rm", "-r", apt)
    for cpu, part in CPUS.items():
        # XNNPACK asks this file which CPU it is on, and crashes on that of a PC.
        (new / cpu / "proc").mkdir(parents=True)
        (new / cpu / "proc/cpuinfo").write_text(
            f"processor : 0\nCPU implementer : 0x41\nCPU architecture: 8\nCPU part : {part:#x}\n")
        for shared in ["lib", "usr"]:
            (new / cpu / shared).symlink_to(f"../{shared}")
    new.rename(SYSROOT)


def emulate(cpu, command, plugin=None, **options):
    libraries = f"{SYSROOT}/lib/aarch64-linux-gnu:{SYSROOT}/usr/lib/aarch64-linux-gnu"
    guest = [f"LD_LIBRARY_PATH={libraries}", f"PYTHONPATH={SYSROOT}/wheels", "OPENBLAS_NUM_THREADS=1",
             "PYTHONDONTWRITEBYTECODE=1"]
    return run("qemu-aarch64", "-cpu", cpu, "-L", SYSROOT / cpu, *(["-plugin", plugin] if plugin else []),
               *(word for setting in guest for word in ["-E", setting]), *command, **options)


def python(script, *arguments):
    return [SYSROOT / "usr/bin/python3.11", script, *arguments]


def check_codes(cpu, network, scratch):
    """Engine and LiteRT must compute the same, or counts say nothing."""
    inputs, outputs = scratch / "inputs", scratch / "outputs"
    inputs.write_bytes(random.Random(1).randbytes(4 * PICTURE))
    with inputs.open() as file:
        ours = emulate(cpu, [PROGRAM, "codes", network], stdin=file, stdout=subprocess.PIPE).stdout
    emulate(cpu, python(ROOT / "tests/litert.py", network, inputs, outputs),
            stderr=subprocess.DEVNULL)
    assert ours == outputs.read_bytes(), f"{cpu}: other codes than LiteRT's for {network}"


def count(cpu, command, engine, jobs, scratch):
    """Instructions a face by class, for each (pictures, runs) of `jobs`."""
    # The first line of each warms, the second says what a line takes besides its runs.
    runs_of = [(pictures, runs) for pictures, more in jobs for runs in [1, 0, more]]
    lines = "".join(f"{engine} {pictures} {runs}\n" for pictures, runs in runs_of)
    counts = scratch / "counts"
    answers = emulate(cpu, command, f"{scratch}/insn_classes.so,out={counts}", input=lines, text=True,
                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    names, *rows = [line.split() for line in counts.read_text().splitlines()]
    assert len(rows) == answers.count("\n") >= len(runs_of), "not one write a line"
    # What a program says before its first answer is part of its start.
    rows = [[0] * len(names), *(list(map(int, row)) for row in rows)][-len(runs_of) - 1:]
    spent = [[b - a for a, b in zip(before, after)] for before, after in zip(rows, rows[1:])]
    of_runs = [[a - b for a, b in zip(spent[3 * i + 2], spent[3 * i + 1])] for i in range(len(jobs))]
    return [{name: count / (pictures * more) for name, count in zip(names, counts)}
            for counts, (pictures, more) in zip(of_runs, jobs)]


def pipelines_of_a72(n):
    """Cycles by pipeline: three instructions a cycle, one load, one store, vectors on F0 and F1."""
    f0 = n["multiply_long"] + 2 * n["multiply"] + 2 * n["convert"]
    f1 = n["add_pairs"] + n["shift"]
    either = n["vector"] + n["move"] + n["load_replicate"]
    return {"front end": sum(n.values()) / 3, "load": loads(n), "store": stores(n),
            "F0": f0, "F1": f1, "F0 and F1": (f0 + f1 + either) / 2}


def pipelines_of_a76(n):
    """Four instructions a cycle, two loads or stores, vectors on V0 and V1."""
    v0 = n["multiply_long"] + 2 * n["multiply"] + 2 * n["convert"]
    v1 = n["add_pairs"] + n["shift"]
    either = n["vector"] + n["move"] + n["load_replicate"] + n["dot"]
    return {"front end": sum(n.values()) / 4, "load and store": (loads(n) + stores(n)) / 2,
            "V0": v0, "V1": v1, "V0 and V1": (v0 + v1 + either) / 2}


def loads(n):
    """By sixteen bytes."""
    return n["load"] + n["load_replicate"] + 2 * n["load_2"] + 4 * n["load_4"]


def stores(n):
    return n["store"] + 2 * n["store_2"]


# Pipelines and GHz, a Pi 4's and a Pi 5's.
ESTIMATES = {"cortex-a72": (pipelines_of_a72, 1.5), "cortex-a76": (pipelines_of_a76, 2.4)}


def estimate(cpu, n):
    pipelines, ghz = ESTIMATES[cpu]
    name, cycles = max(pipelines(n).items(), key=lambda bound: bound[1])
    return f"{cycles / 1e6:.2f} M cycles ({name}), {cycles / ghz / 1e6:.2f} ms at {ghz} GHz"


def compare(cpu, name, network, scratch, by_class):
    check_codes(cpu, network, scratch)
    ours = count(cpu, [PROGRAM, "run", network], "engine", [(1, 5), (30, 1)], scratch)
    theirs = count(cpu, python(ROOT / "benches/litert_aarch64.py", network), "litert",
                   [(1, 5), (30, 1)], scratch)
    tracts, optimized = (count(cpu, [PROGRAM, "run", network], how, [(1, 1)], scratch)[0]
                         for how in ("tract", "optimized"))
    for faces, a, b in zip([1, 30], ours, theirs):
        of_a, of_b, of_tract, of_optimized = (sum(n.values()) for n in (a, b, tracts, optimized))
        print(f"{cpu}, {name}, {faces} at a time, M instructions a face: engine {of_a / 1e6:.3f}, "
              f"LiteRT {of_b / 1e6:.3f}, tract {of_tract / 1e6:.1f}, optimized {of_optimized / 1e6:.1f}; "
              f"engine / LiteRT {of_a / of_b:.2f}, tract / engine {of_tract / of_a:.0f}, "
              f"optimized {of_optimized / of_a:.0f}", flush=True)
        for who, n in [("engine", a), ("LiteRT", b)]:
            if cpu in ESTIMATES:
                print(f"  {who}, estimated, at least: {estimate(cpu, n)}")
            if by_class:
                print(f"  {who}, k:", ", ".join(f"{k} {v / 1e3:.0f}" for k, v in n.items() if v >= 500))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--by-class", action="store_true", help="print the counts of each class")
    args = parser.parse_args()
    make_sysroot()
    run("bash", "-euo", "pipefail", "-c", ". cross/env.sh; "
        '"$cross_cargo" build --locked --release --example engine --target "$cross_target"')
    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        run("gcc", "-O2", "-shared", "-fPIC", "-o", scratch / "insn_classes.so",
            ROOT / "benches/insn_classes.c")
        reference = scratch / "reference.tflite"
        run(TARGET / "release/examples/engine", "reference", reference)
        for cpu in CPUS:
            compare(cpu, "slim", ROOT / "models/mien-slim.tflite", scratch, args.by_class)
            compare(cpu, "reference", reference, scratch, args.by_class)


main()

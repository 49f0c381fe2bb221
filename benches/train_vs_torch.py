"""Compares the trainer's speed on the CPU with PyTorch's, in images a second.

    cargo build --release --features lab
    python benches/train_vs_torch.py            needs torch and an otherwise idle machine

Both run the same networks (src/lab/network.rs) on the same batches with the same threads, whole
training steps: augmentation, forward, backward, AdamW, moving average of the weights. PyTorch runs
eagerly, channels last, in fp32 and under bf16 autocast. Rounds interleave the three, so that a
machine that gets slower slows all of them; a ratio is taken within its round. The last lines are
the medians of the rounds with their least and greatest.
"""
import argparse
import os
import pathlib
import re
import statistics
import subprocess
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SIDE, EXPRESSIONS, LOGITS = 48, 7, 9
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Preset::named, said once more: blocks are (width, depth, how the block halves its resolution).
PRESETS = {
    "reference": dict(stem=(64, 64), norm_after_relu=True, stem_pool=False, dropout=0.0,
                      blocks=[(128, 1, "maxpool"), (256, 1, "maxpool")], relu_after_add=True),
    "slim": dict(stem=(16, 24), norm_after_relu=False, stem_pool=True, dropout=0.1,
                 relu_after_add=False,
                 blocks=[(64, 2, "stride")] + [(64, 2, "no")] * 3
                 + [(128, 2, "stride")] + [(128, 2, "no")] * 3
                 + [(112, 2, "stride"), (112, 2, "no")]),
}


def conv(inputs, outputs, kernel, stride=1, groups=1, bias=False):
    # Padding is PyTorch's own, symmetric: as many products as TensorFlow's, and no copy.
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


class Block(nn.Module):
    def __init__(self, inputs, width, depth, down):
        super().__init__()
        layers = []
        for i in range(depth):
            channels, last = inputs if i == 0 else width, i == depth - 1
            stride = 2 if last and down == "stride" else 1
            layers += [conv(channels, channels, 3, stride, groups=channels),
                       conv(channels, width, 1), norm(width)]
            layers += [] if last else [nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(3, 2, 1)] if down == "maxpool" else []
        self.main = nn.Sequential(*layers)
        stride = 1 if down == "no" else 2
        keeps = stride == 1 and inputs == width
        self.shortcut = nn.Identity() if keeps else nn.Sequential(
            conv(inputs, width, 1, stride), norm(width))

    def forward(self, x):
        return self.main(x) + self.shortcut(x)


def network(preset):
    layers, channels = [], 1
    for width in preset["stem"]:
        relu, after = nn.ReLU(inplace=True), preset["norm_after_relu"]
        layers += [conv(channels, width, 3, bias=after)]
        layers += [relu, norm(width)] if after else [norm(width), relu]
        channels = width
    layers += [nn.MaxPool2d(3, 2, 1)] if preset["stem_pool"] else []
    for width, depth, down in preset["blocks"]:
        layers.append(Block(channels, width, depth, down))
        layers += [nn.ReLU(inplace=True)] if preset["relu_after_add"] else []
        channels = width
    layers += [nn.Dropout2d(preset["dropout"])] if preset["dropout"] else []
    layers += [conv(channels, LOGITS, 3, bias=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def augment(faces):
    """Flip, turn, scale, shift, contrast, brightness and cutout, within augment.rs' limits."""
    n = len(faces)

    def within(limit, *shape):
        return (torch.rand(n, *shape) * 2 - 1) * limit

    turn, scale = within(0.25), 1 + within(0.15)
    flip = torch.randint(0, 2, (n,)) * 2 - 1
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(turn) * scale * flip, -torch.sin(turn) * scale
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(turn) * scale * flip, torch.cos(turn) * scale
    theta[:, :, 2] = within(3 / (SIDE / 2), 2)
    grid = F.affine_grid(theta, (n, 1, SIDE, SIDE), align_corners=False)
    views = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    views = views * (1 + within(0.2, 1, 1, 1)) + within(0.2, 1, 1, 1)
    for i in (torch.rand(n) < 0.3).nonzero().flatten().tolist():
        side = int(torch.randint(6, 15, ()))
        top, left = torch.randint(0, SIDE - side + 1, (2,)).tolist()
        views[i, 0, top:top + side, left:left + side] = 0
    return views.contiguous(memory_format=torch.channels_last)


class Torch:
    def __init__(self, preset, batch, bf16):
        torch.manual_seed(1)
        self.net, self.bf16 = network(PRESETS[preset]).train(), bf16
        self.weights = list(self.net.parameters())
        self.average = [weight.detach().clone() for weight in self.weights]
        self.optimizer = torch.optim.AdamW(self.weights, lr=1e-3, weight_decay=0.0, fused=True)
        self.faces = torch.randn(batch, 1, SIDE, SIDE)
        self.target = torch.full((batch, EXPRESSIONS), 1 / EXPRESSIONS)
        self.step()  # allocates

    def step(self):
        pictures = augment(self.faces)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.net(pictures)
        F.cross_entropy(logits.float()[:, :EXPRESSIONS], self.target).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 0.002)

    def images_per_second(self, steps):
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        return steps * len(self.faces) / (time.perf_counter() - started)


class Mien:
    def __init__(self, program, preset, batch, threads):
        self.command = [program, "speed", "--preset", preset, "--batch", str(batch), "--steps"]
        self.environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}

    def images_per_second(self, steps):
        said = subprocess.run(self.command + [str(steps)], env=self.environment, check=True,
                              capture_output=True, text=True).stdout
        return float(re.search(r"([\d.]+) images/s", said)[1])


def spread(values, digits):
    median, least, greatest = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f}–{greatest:.{digits}f})"


def compare(preset, args):
    sides = {
        "mien-lab": Mien(args.mien_lab, preset, args.batch, args.threads),
        "PyTorch fp32": Torch(preset, args.batch, bf16=False),
        "PyTorch bf16": Torch(preset, args.batch, bf16=True),
    }
    weights = sum(weight.numel() for weight in sides["PyTorch fp32"].weights)
    print(f"{preset}: {weights:,} parameters, batch {args.batch}, {args.threads} threads", flush=True)
    # A first short measurement sets how many steps last as long as asked for.
    steps = {name: max(2, round(args.seconds * side.images_per_second(2) / args.batch))
             for name, side in sides.items()}
    rates = {name: [] for name in sides}
    for i in range(args.rounds):
        for name, side in sides.items():
            rates[name].append(side.images_per_second(steps[name]))
        line = ", ".join(f"{name} {rates[name][-1]:.1f}" for name in sides)
        print(f"  round {i + 1}: {line} images/s", flush=True)
    for name in sides:
        print(f"  {name}: {spread(rates[name], 1)} images/s")
    for name in list(sides)[1:]:
        ratios = [ours / theirs for ours, theirs in zip(rates["mien-lab"], rates[name])]
        print(f"  mien-lab / {name}: {spread(ratios, 2)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mien-lab", default=str(ROOT / "target/release/mien-lab"), metavar="PROGRAM")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5, help="length of one measurement")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    for preset in args.presets:
        compare(preset, args)


if __name__ == "__main__":
    main()

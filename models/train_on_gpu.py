"""The recipe of `mien-lab train` in PyTorch, for a GPU: minutes for what takes a CPU hours.

    mien-lab export models/mien-slim.recipe.toml --data-dir DATA --out faces.safetensors
    python models/train_on_gpu.py faces.safetensors --network resnet --seed 2 --out runs/teacher-2
    python models/train_on_gpu.py --average runs/teacher-*/answers.safetensors --out runs/teachers
    python models/train_on_gpu.py faces.safetensors --network reference --out runs/reference \\
        --answers runs/teachers/answers.safetensors --views gentle --seconds 415

A teacher that has learned a face by heart says little about it. With --folds N, one of N networks, --fold
0 to N - 1, learns from all but a part of the faces (near-duplicates together) and answers for that part:

    for k in 0 1 2 3 4; do python models/train_on_gpu.py faces.safetensors --folds 5 --fold $k --out runs/fold-$k; done
    python models/train_on_gpu.py --average runs/fold-?/answers.safetensors --out runs/teachers

Writes model.safetensors, for a network of the family a checkpoint that `mien-lab` takes, and
answers.safetensors, the network's answers to the faces to learn from, which can teach
(`train.teacher.answers` in a recipe). Needs torch and safetensors.
"""
import argparse
import copy
import json
import math
import pathlib
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EPSILON, MOMENTUM = 1e-3, 0.1  # as src/lab/network.rs and executor.rs have them
GENDER_WEIGHT, GENDER_SMOOTHING, WEIGHT_DECAY, WARM_UP, CLIP_NORM = 0.5, 0.05, 0.02, 0.1, 1.0
AVERAGE_STEPS = 600

# Greatest turn in degrees, change of scale, shift in pixels, change of contrast and of brightness;
# share of views with a square cut out. `strong` is the default of `train.augment`.
VIEWS = {"strong": (14, 0.15, 3, 0.2, 0.2, 0.3), "gentle": (6, 0.06, 2, 0.1, 0.1, 0)}


def blocks(*widths_depths_downs):
    return [dict(width=w, depth=d, down=down) for w, d, down in widths_depths_downs]


def slim(name, stem, widths, dropout):
    a, b, c = widths
    rows = [(a, 2, "stride")] + [(a, 2, "no")] * 3 + [(b, 2, "stride")] + [(b, 2, "no")] * 3
    rows += [(c, 2, "stride"), (c, 2, "no")]
    return dict(name=name, stem=stem, stem_norm_after_relu=False, stem_pool=True,
                blocks=blocks(*rows), dropout=dropout)


# Presets of the family, as a checkpoint has them.
FAMILY = {
    "reference": dict(
        name="reference", stem=[64, 64], stem_norm_after_relu=True, stem_pool=False,
        blocks=blocks((128, 1, "maxpool"), (256, 1, "maxpool")), relu_after_add=True, dropout=0.0),
    "slim": slim("slim", [16, 24], (64, 128, 112), 0.1),
    "wide": slim("wide", [32, 48], (192, 384, 384), 0.2),
}
RATES = {"reference": 8e-3, "slim": 8e-3, "wide": 4e-3, "resnet": 2e-3}


class Family(nn.Module):
    """A preset's network; its modules have the names of the checkpoint's nodes."""

    def __init__(self, preset):
        super().__init__()
        self.preset, self.nodes = preset, nn.ModuleDict()
        norm_last, channels = preset["stem_norm_after_relu"], 1
        for name, width in zip("ab", preset["stem"]):
            self.conv(name, channels, width, 3, bias=norm_last)
            self.norm(f"{name}_norm", width)
            channels = width
        for i, block in enumerate(preset["blocks"], 1):
            name, source, width = f"block{i}", channels, block["width"]
            for d in range(1, block["depth"] + 1):
                stride = 2 if d == block["depth"] and block["down"] == "stride" else 1
                self.conv(f"{name}_depthwise{d}", channels, channels, 3, stride, groups=channels)
                self.conv(f"{name}_pointwise{d}", channels, width, 1)
                self.norm(f"{name}_norm{d}", width)
                channels = width
            if block["down"] != "no" or source != width:
                self.conv(f"{name}_residual", source, width, 1, 1 if block["down"] == "no" else 2)
                self.norm(f"{name}_residual_norm", width)
        self.conv("head", channels, 9, 3, bias=True, gain=1)

    def conv(self, name, inputs, outputs, kernel, stride=1, groups=1, bias=False, gain=2):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=bias)
        nn.init.normal_(conv.weight, std=(gain * groups / (inputs * kernel**2)) ** 0.5)
        if bias:
            nn.init.zeros_(conv.bias)
        self.nodes[name] = conv

    def norm(self, name, channels):
        self.nodes[name] = nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)

    def same(self, name, x):
        """The convolution with TensorFlow's padding: the odd row and column go below and right."""
        conv = self.nodes[name]
        kernel, stride, side = conv.kernel_size[0], conv.stride[0], x.shape[2]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        return conv(F.pad(x, (before, after, before, after)))

    def forward(self, x):
        preset, nodes = self.preset, self.nodes
        for name in "ab":
            norm = nodes[f"{name}_norm"]
            x = self.same(name, x)
            x = norm(F.relu(x)) if preset["stem_norm_after_relu"] else F.relu(norm(x))
        pool = lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2)
        if preset["stem_pool"]:
            x = pool(x)
        for i, block in enumerate(preset["blocks"], 1):
            name, y = f"block{i}", x
            for d in range(1, block["depth"] + 1):
                y = self.same(f"{name}_pointwise{d}", self.same(f"{name}_depthwise{d}", y))
                y = nodes[f"{name}_norm{d}"](y)
                y = F.relu(y) if d < block["depth"] else y
            if block["down"] == "maxpool":
                y = pool(y)
            if f"{name}_residual" in nodes:
                x = nodes[f"{name}_residual_norm"](self.same(f"{name}_residual", x))
            x = F.relu(x + y) if preset.get("relu_after_add") else x + y
        x = F.dropout2d(x, preset["dropout"], self.training)
        return self.same("head", x).float().mean((2, 3))

    def checkpoint(self):
        tensors = {}
        for name, node in self.nodes.items():
            if isinstance(node, nn.Conv2d):
                w = node.weight
                tensors[f"{name}.weight"] = (
                    w.squeeze(1).permute(1, 2, 0) if node.groups > 1 else w.permute(0, 2, 3, 1))
                if node.bias is not None:
                    tensors[f"{name}.bias"] = node.bias
            else:
                tensors |= {f"{name}.gamma": node.weight, f"{name}.beta": node.bias,
                            f"{name}.mean": node.running_mean, f"{name}.variance": node.running_var}
        return tensors, {"preset": json.dumps(self.preset)}


class ResNet(nn.Module):
    """A residual network of full convolutions (He et al. 2016), too large to ship: a teacher."""

    def __init__(self, stem=48, widths=(96, 192, 384), dropout=0.3):
        super().__init__()
        conv = lambda i, o, k, stride: nn.Sequential(
            nn.Conv2d(i, o, k, stride, k // 2, bias=False), nn.BatchNorm2d(o))
        self.stem = nn.Sequential(conv(1, stem, 3, 1), nn.ReLU(), conv(stem, stem, 3, 1),
                                  nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.blocks, channels = nn.ModuleList(), stem
        for width in widths:
            for j in range(2):
                stride = 2 if j == 0 and len(self.blocks) else 1
                main = nn.Sequential(conv(channels, width, 3, stride), nn.ReLU(),
                                     conv(width, width, 3, 1))
                side = (conv(channels, width, 1, stride)
                        if stride > 1 or channels != width else nn.Identity())
                self.blocks.append(nn.ModuleDict({"main": main, "side": side}))
                channels = width
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(channels, 9)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = F.relu(block["main"](x) + block["side"](x))
        return self.head(self.dropout(x.mean((2, 3)))).float()

    def checkpoint(self):
        return self.state_dict(), {}


def random_views(faces, views):
    """Views [n, 1, 48, 48] of faces [n, 48, 48], as src/lab/augment.rs draws them."""
    turn, scale, shift, contrast, brightness, cutout = views
    n = len(faces)
    within = lambda most: (torch.rand(n, device=DEVICE) * 2 - 1) * most
    angle, size = within(math.radians(turn)), 1 + within(scale)
    cos, sin = angle.cos() * size, angle.sin() * size
    flip = (torch.rand(n, device=DEVICE) < 0.5).float() * 2 - 1
    rows = [torch.stack([cos * flip, -sin, within(shift) / 24], 1),
            torch.stack([sin * flip, cos, within(shift) / 24], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), (n, 1, 48, 48), align_corners=False)
    view = F.grid_sample(faces.unsqueeze(1), grid, padding_mode="border", align_corners=False)
    view = view * (1 + within(contrast)).view(-1, 1, 1, 1) + within(brightness).view(-1, 1, 1, 1)
    side = torch.randint(6, 15, (n, 1), device=DEVICE)
    at = torch.arange(48, device=DEVICE)
    inside = []
    for _ in range(2):
        start = (torch.rand(n, 1, device=DEVICE) * (49 - side)).long()
        inside.append((at >= start) & (at < start + side))
    is_cut = torch.rand(n, 1, 1, device=DEVICE) < cutout
    return view.masked_fill((inside[0].unsqueeze(2) & inside[1].unsqueeze(1) & is_cut)[:, None], 0)


def cross_entropy(logits, targets):
    return -(targets * F.log_softmax(logits, 1)).sum(1).mean()


@torch.no_grad()
def infer(network, faces):
    network.eval()
    with torch.autocast(DEVICE, torch.bfloat16):
        parts = [network(part.unsqueeze(1).contiguous(memory_format=torch.channels_last))
                 for part in faces.split(1024)]
    return torch.cat(parts)


def is_left_out(args, data, kind):
    """Which of the faces a network does not learn from, but answers for."""
    if args.folds == 1:
        return torch.zeros(len(data[f"{kind}_faces"]), dtype=torch.bool, device=DEVICE)
    # A multiplicative hash: neighbours in the data are dealt to different parts.
    return (data[f"{kind}_groups"].long() * 2654435761 % 2**32 * args.folds >> 32) == args.fold


def train(args, data, crc):
    """The weights' average after `args.epochs`, or `args.seconds` if those are over sooner."""
    torch.manual_seed(args.seed)
    network = ResNet() if args.network == "resnet" else Family(FAMILY[args.network])
    network = network.to(DEVICE, memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    keep, keep_genders = (~is_left_out(args, data, kind) for kind in ("expression", "gender"))
    faces, genders = data["expression_faces"][keep], data["gender_faces"][keep_genders]
    if len(faces) < args.batch or len(genders) < args.gender_batch:
        raise SystemExit(f"{len(faces)} expression and {len(genders)} gender faces do not fill a batch")
    gender_labels = data["gender_labels"][keep_genders]
    of_genders = gender_labels * (1 - GENDER_SMOOTHING) + GENDER_SMOOTHING / 2
    of_faces, answers = data["expression_labels"][keep], None
    if args.answers:
        with safe_open(args.answers, "pt") as file:
            assert file.metadata()["faces_crc32"] == crc, "these answers are to other faces"
            answers = file.get_tensor("answers").to(DEVICE)
        assert answers[:, :7].sum(1).min() > 0.99, "a face has no answer: average all folds first"
        answers = answers[torch.cat([keep, keep_genders])]
        blend = lambda labels, told: (1 - args.share) * labels + args.share * told
        of_faces = blend(of_faces, answers[: len(faces), :7])
        of_genders = (blend(gender_labels, answers[len(faces):, 7:])
                      * (1 - GENDER_SMOOTHING) + GENDER_SMOOTHING / 2)
    weights = [m.weight for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    decayed = {id(weight) for weight in weights}
    others = [p for p in network.parameters() if id(p) not in decayed]
    groups = [dict(params=weights, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0)]
    optimizer = torch.optim.AdamW(groups, lr=0, fused=DEVICE == "cuda")
    batches, step, started = len(faces) // args.batch, 0, time.time()
    deal = iter(())
    for epoch in range(1, args.epochs + 1):
        network.train()
        for batch in torch.randperm(len(faces), device=DEVICE)[: batches * args.batch].split(args.batch):
            progress = max((step + 0.5) / (args.epochs * batches),
                           (time.time() - started) / args.seconds)
            share = (progress / WARM_UP if progress < WARM_UP else
                     0.5 + 0.5 * math.cos(math.pi * min(1, (progress - WARM_UP) / (1 - WARM_UP))))
            for group in optimizer.param_groups:
                group["lr"] = args.rate * (0.01 + 0.99 * share)
            of_gender = next(deal, None)
            if of_gender is None or len(of_gender) < args.gender_batch:
                deal = iter(torch.randperm(len(genders), device=DEVICE).split(args.gender_batch))
                of_gender = next(deal)
            pictures = random_views(torch.cat([faces[batch], genders[of_gender]]), VIEWS[args.views])
            with torch.autocast(DEVICE, torch.bfloat16):
                logits = network(pictures.contiguous(memory_format=torch.channels_last))
            expressions, sexes = of_faces[batch], of_genders[of_gender]
            if answers is None:
                loss = (cross_entropy(logits[: args.batch, :7], expressions)
                        + GENDER_WEIGHT * cross_entropy(logits[args.batch:, 7:], sexes))
            else:  # A teacher answers for both heads.
                told = answers[batch, 7:] * (1 - GENDER_SMOOTHING) + GENDER_SMOOTHING / 2
                expressions = torch.cat([expressions, answers[len(faces) + of_gender, :7]])
                loss = (cross_entropy(logits[:, :7], expressions)
                        + GENDER_WEIGHT * cross_entropy(logits[:, 7:], torch.cat([told, sexes])))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimizer.step()
            step += 1
            towards = min(1, max(1 / AVERAGE_STEPS, 10 / (step + 10)))
            with torch.no_grad():
                for kept, now in zip(average.state_dict().values(), network.state_dict().values()):
                    if kept.dtype.is_floating_point:
                        kept.lerp_(now, towards)
        logits = infer(average, data["validation_expression_faces"])[:, :7]
        right = logits.argmax(1) == data["validation_expression_labels"].argmax(1)
        print(f"epoch {epoch}: loss {loss.item():.3f}, validation accuracy {right.float().mean():.4f}, "
              f"{time.time() - started:.0f} s", flush=True)
        if time.time() - started > args.seconds:
            break
    return average


def write_answers(path, answers, crc):
    save_file({"answers": answers.clamp(0, 1).contiguous().cpu()}, path, {"faces_crc32": crc})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("faces", nargs="?", help="what `mien-lab export` wrote")
    parser.add_argument("--average", nargs="+", help="files of answers to average, in place of training")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder to write to")
    parser.add_argument("--network", choices=[*FAMILY, "resnet"], default="resnet")
    parser.add_argument("--answers", help="a teacher's answers to the same faces")
    parser.add_argument("--share", type=float, default=0.6, help="the teacher's share in a label")
    parser.add_argument("--views", choices=VIEWS, default="strong")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=180, help="the rate has fallen by then")
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--gender-batch", type=int, default=64)
    parser.add_argument("--rate", type=float, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folds", type=int, default=1, help="parts of the faces, see above")
    parser.add_argument("--fold", type=int, default=0, help="the part to answer for")
    args = parser.parse_args()
    if not 0 <= args.fold < args.folds:
        parser.error("--fold counts from 0 to one less than --folds")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.average:
        crcs = {safe_open(path, "pt").metadata()["faces_crc32"] for path in args.average}
        assert len(crcs) == 1, "these answers are to different faces"
        answers = torch.stack([load_file(path)["answers"] for path in args.average])
        voices = (answers.sum(2) > 0).sum(0)  # Of each face; a fold's network answers for its own alone.
        assert voices.min() > 0, f"nobody answers for {(voices == 0).sum()} faces: a fold is missing"
        mean = answers.sum(0) / voices[:, None]
        return write_answers(args.out / "answers.safetensors", mean, *crcs)
    args.rate = args.rate or RATES[args.network]
    crc = safe_open(args.faces, "pt").metadata()["faces_crc32"]
    data = {name: tensor.to(DEVICE) for name, tensor in load_file(args.faces).items()}
    torch.backends.cudnn.benchmark = True
    network = train(args, data, crc)
    tensors, metadata = network.checkpoint()
    tensors = {name: t.detach().float().contiguous().cpu() for name, t in tensors.items()}
    save_file(tensors, args.out / "model.safetensors", metadata)
    faces, answers = torch.cat([data["expression_faces"], data["gender_faces"]]), 0
    for view in (faces, faces.flip(2)):
        logits = infer(network, view)
        answers = answers + torch.cat([logits[:, :7].softmax(1), logits[:, 7:].softmax(1)], 1) / 2
    if args.folds > 1:
        mine = torch.cat([is_left_out(args, data, kind) for kind in ("expression", "gender")])
        answers = answers * mine[:, None]
    write_answers(args.out / "answers.safetensors", answers, crc)


if __name__ == "__main__":
    main()

"""Writes tests/data/torch_*.safetensors: a training step's logits, loss gradients and running
statistics as PyTorch computes them, which tests/gradients.rs holds the Rust trainer to.

    python tests/torch_gradients.py            needs torch, numpy, safetensors
"""
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

EPSILON, MOMENTUM, PICTURES = 1e-3, 0.1, 10  # more than one run of 8 pictures


def block(width, depth, down):
    return dict(width=width, depth=depth, down=down)


PRESETS = [
    dict(name="post", stem=[5, 6], stem_norm_after_relu=True, stem_pool=False,
         blocks=[block(9, 1, "maxpool"), block(18, 1, "maxpool")], relu_after_add=True,
         dropout=0.0),
    dict(name="deep", stem=[4, 16], stem_norm_after_relu=False, stem_pool=True,
         blocks=[block(20, 2, "stride"), block(20, 2, "no"), block(17, 1, "maxpool")], dropout=0.0),
]


class Network:
    """The family's definition (src/lab/network.rs), said once more in PyTorch."""

    def __init__(self, preset):
        self.preset, self.params, self.stats = preset, {}, {}

    def tensor(self, name, *shape, scale=1.0, offset=0.0):
        if name not in self.params:
            value = (torch.randn(*shape) * scale + offset).requires_grad_()
            self.params[name] = value
        return self.params[name]

    def same(self, x, kernel, stride, value=0.0):
        side = x.shape[2]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        return F.pad(x, (before, after, before, after), value=value)

    def conv(self, name, x, out, kernel, stride=1, bias=False):
        inputs = x.shape[1]
        w = self.tensor(f"{name}.weight", out, kernel, kernel, inputs, scale=(2 / (kernel * kernel * inputs)) ** 0.5)
        b = self.tensor(f"{name}.bias", out, scale=0.1) if bias else None
        return F.conv2d(self.same(x, kernel, stride), w.permute(0, 3, 1, 2), b, stride)

    def depthwise(self, name, x, stride):
        c = x.shape[1]
        w = self.tensor(f"{name}.weight", 3, 3, c, scale=(2 / 9) ** 0.5)
        return F.conv2d(self.same(x, 3, stride), w.permute(2, 0, 1).unsqueeze(1), None, stride, groups=c)

    def norm(self, name, x):
        c = x.shape[1]
        gamma = self.tensor(f"{name}.gamma", c, scale=0.2, offset=1.0)
        beta = self.tensor(f"{name}.beta", c, scale=0.2)
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        self.stats[f"{name}.mean"] = MOMENTUM * mean.detach()
        self.stats[f"{name}.variance"] = 1 + MOMENTUM * (variance.detach() - 1)
        shape = (1, c, 1, 1)
        x = (x - mean.reshape(shape)) / (variance.reshape(shape) + EPSILON).sqrt()
        return x * gamma.reshape(shape) + beta.reshape(shape)

    def pool(self, x):
        return F.max_pool2d(self.same(x, 3, 2, float("-inf")), 3, 2)

    def __call__(self, x):
        p = self.preset
        for name, width in zip("ab", p["stem"]):
            if p["stem_norm_after_relu"]:
                x = self.norm(f"{name}_norm", F.relu(self.conv(name, x, width, 3, bias=True)))
            else:
                x = F.relu(self.norm(f"{name}_norm", self.conv(name, x, width, 3)))
        if p["stem_pool"]:
            x = self.pool(x)
        for i, b in enumerate(p["blocks"], 1):
            n, y = f"block{i}", x
            for d in range(1, b["depth"] + 1):
                last = d == b["depth"]
                y = self.depthwise(f"{n}_depthwise{d}", y, 2 if last and b["down"] == "stride" else 1)
                y = self.norm(f"{n}_norm{d}", self.conv(f"{n}_pointwise{d}", y, b["width"], 1))
                y = y if last else F.relu(y)
            if b["down"] == "maxpool":
                y = self.pool(y)
            stride = 1 if b["down"] == "no" else 2
            if stride == 2 or x.shape[1] != b["width"]:
                x = self.norm(f"{n}_residual_norm", self.conv(f"{n}_residual", x, b["width"], 1, stride))
            x = F.relu(x + y) if p.get("relu_after_add") else x + y
        return self.conv("head", x, 9, 3, bias=True).mean((2, 3))


torch.backends.mkldnn.enabled = False  # its backward crashes on permuted weights
torch.manual_seed(7)
for preset in PRESETS:
    network, pictures = Network(preset), torch.randn(PICTURES, 48, 48)
    logits = network(pictures.unsqueeze(1))
    dlogits = torch.randn_like(logits) / PICTURES
    (logits * dlogits).sum().backward()
    tensors = {"pictures": pictures, "logits": logits.detach(), "dlogits": dlogits}
    tensors |= {f"value.{name}": value.detach() for name, value in network.params.items()}
    tensors |= {f"gradient.{name}": value.grad for name, value in network.params.items()}
    tensors |= {f"running.{name}": value for name, value in network.stats.items()}
    path = pathlib.Path(__file__).parent / "data" / f"torch_{preset['name']}.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, {"preset": json.dumps(preset)})
    print(path, path.stat().st_size, "bytes")

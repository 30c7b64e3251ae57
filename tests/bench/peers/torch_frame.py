#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The network frame by frame in PyTorch on the CPU: the peer of bench-frame.

Runs FRAMES frames of noise through the streaming form (one frame in, one frame out, all state
kept) with convolutions in channels_last, on all cores, and prints the median milliseconds of a
frame. In bfloat16 the convolutions and linear layers run in bfloat16, as the "bfloat16" precision
of the elements does. --check solves the Mesa layers to 1e-6, compares the frames with the oracle's
and fails above 1e-4.
"""

import argparse
import json
import os
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

MESA_ITERATIONS = 30


def read(path):
    raw = open(path, "rb").read()
    size = struct.unpack("<Q", raw[:8])[0]
    head, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    meta = head.pop("__metadata__")
    kind = {"F32": np.float32, "F16": np.float16}
    tensors = {
        name: torch.from_numpy(
            np.frombuffer(data[slice(*entry["data_offsets"])], kind[entry["dtype"]])
            .reshape(entry["shape"])
            .astype(np.float32)
        )
        for name, entry in head.items()
    }
    return json.loads(meta["config"]), tensors


class Side:
    """Encoder or decoder: stem, blocks with one frame of memory, last convolution, linear skip."""

    def __init__(self, net, side, first, last):
        self.kinds = net.config[side]["blocks"]
        conv = lambda name: net.conv_weights(f"{side}.{name}")
        self.first, self.last = conv(first), conv(last)
        self.blocks = [
            (conv(f"block{i}.conv1"), conv(f"block{i}.conv2")) for i in range(len(self.kinds))
        ]
        self.skip = net.w[f"{side}.skip.weight"][:, :, None, None].contiguous(
            memory_format=torch.channels_last
        )
        self.dtype = net.dtype
        self.past = [None] * len(self.kinds)

    def conv(self, weights, x):
        return F.conv2d(x, *weights, padding=1)

    def block(self, i, y):
        past = self.past[i] if self.past[i] is not None else torch.zeros_like(y)
        x, kind = y, self.kinds[i]
        if kind == "M":
            x = torch.cat([y, past], 1)
        elif kind == "S":
            quarter = y.shape[1] // 4
            x = torch.cat([past[:, :quarter], y[:, quarter:]], 1)
        if kind != "2":
            self.past[i] = y
        return y + self.conv(self.blocks[i][1], F.relu_(self.conv(self.blocks[i][0], x)))

    def __call__(self, x):
        y = self.conv(self.first, x.to(self.dtype))
        for i in range(len(self.kinds)):
            y = self.block(i, y)
        return self.conv(self.last, F.relu(y)).float() + F.conv2d(x, self.skip)


class Attention:
    """What both layers share: norms, projections, gated output. Tokens are (sequences, dim)."""

    def __init__(self, net, name):
        self.net, self.name, self.heads = net, name, net.config["heads"]
        self.qkv, self.z, self.o = (net.linear_weights(f"{name}.{n}") for n in ("qkv", "z", "o"))
        self.gate = net.linear_weights(f"{name}.gate")

    def weight(self, name):
        return self.net.w[f"{self.name}.{name}"]

    def __call__(self, x):
        n, d = x.shape
        y = F.layer_norm(x, (d,), self.weight("norm.weight"), self.weight("norm.bias"), 1e-5).to(
            self.net.dtype
        )
        q, k, v = F.linear(y, *self.qkv).float().view(n, 3, self.heads, d // self.heads).unbind(1)
        q, k = F.normalize(q, dim=-1, eps=1e-6), F.normalize(k, dim=-1, eps=1e-6)
        o = self.step(y, q, k, v, F.linear(y, *self.gate).float())
        o = o * torch.rsqrt((o * o).mean(-1, keepdim=True) + 1e-5)
        o = o.reshape(n, d) * self.weight("onorm.weight") * F.silu(F.linear(y, *self.z).float())
        return x + F.linear(o.to(self.net.dtype), *self.o).float()


class Fenwick(Attention):
    def __init__(self, net, name):
        super().__init__(net, name)
        self.levels, self.level = net.config["levels"], net.linear_weights(f"{name}.level")
        self.states, self.t = {}, 0

    def step(self, y, q, k, v, gate):
        n = q.shape[0]
        lam = F.softplus(F.linear(y, *self.level).float()).view(n, self.heads, self.levels)
        self.carry()
        decay = torch.sigmoid(gate)[..., None, None]
        o = lam[..., :1] * (q * k).sum(-1, keepdim=True) * v
        for level, state in self.states.items():
            state.mul_(decay)
            o += lam[..., level : level + 1] * (q.unsqueeze(-2) @ state).squeeze(-2)
        self.token = k.unsqueeze(-1) * v.unsqueeze(-2)
        self.t += 1
        return o

    def carry(self):
        """Merges the last token and the levels below the lowest set bit of t, before t is read."""
        if self.t == 0:
            return
        low = (self.t & -self.t).bit_length()
        merged = self.token
        for level in sorted(l for l in self.states if l <= min(low, self.levels - 1)):
            merged = merged.add_(self.states.pop(level))
        self.states[min(low, self.levels - 1)] = merged


class Mesa(Attention):
    def __init__(self, net, name):
        super().__init__(net, name)
        self.beta = net.linear_weights(f"{name}.beta")
        self.lam = F.softplus(self.weight("lambda")) + 0.25
        self.H = self.G = None

    def step(self, y, q, k, v, gate):
        gamma = torch.sigmoid(gate)[..., None, None]
        bk = (torch.sigmoid(F.linear(y, *self.beta).float())[..., None] * k).unsqueeze(-1)
        if self.H is None:
            self.H, self.G = bk * k.unsqueeze(-2), bk * v.unsqueeze(-2)
        else:
            self.H = self.H.mul_(gamma).addcmul_(bk, k.unsqueeze(-2))
            self.G = self.G.mul_(gamma).addcmul_(bk, v.unsqueeze(-2))
        return (self.solve(q).unsqueeze(-2) @ self.G).squeeze(-2)

    def solve(self, b):
        """Conjugate gradient on all rows at once, until the last one has converged."""
        x, r, p = torch.zeros_like(b), b.clone(), b.clone()
        rr = (r * r).sum(-1, keepdim=True)
        stop = rr * self.net.cg_tolerance**2
        for _ in range(MESA_ITERATIONS):
            if bool((rr <= stop).all()):
                break
            Ap = (p.unsqueeze(-2) @ self.H).squeeze(-2) + self.lam * p
            a = rr / (p * Ap).sum(-1, keepdim=True).clamp_min(1e-30)
            x.addcmul_(a, p)
            r.addcmul_(a, Ap, value=-1)
            new = (r * r).sum(-1, keepdim=True)
            p = r + new / rr.clamp_min(1e-30) * p
            rr = new
        return x


class Net:
    def __init__(self, path, dtype, cg_tolerance):
        self.config, self.w = read(path)
        self.dtype, self.cg_tolerance = dtype, cg_tolerance
        self.encoder = Side(self, "encoder", "stem", "to_latent")
        self.decoder = Side(self, "decoder", "from_latent", "to_pixels")
        self.into, self.out = self.linear_weights("model.in"), self.linear_weights("model.out")
        self.layers = []
        for i in range(self.config["layers"]):
            self.layers += [
                Fenwick(self, f"model.layer{i}.fenwick"),
                Mesa(self, f"model.layer{i}.mesa"),
            ]

    def conv_weights(self, name):
        weight = (
            self.w[name + ".weight"].to(self.dtype).contiguous(memory_format=torch.channels_last)
        )
        return weight, self.w[name + ".bias"].to(self.dtype)

    def linear_weights(self, name):
        bias = self.w.get(name + ".bias")
        return self.w[name + ".weight"].to(self.dtype), (
            None if bias is None else bias.to(self.dtype)
        )

    def temporal(self, z):
        p, channels = self.config["patch"], self.config["latent_channels"]
        h, w = z.shape[2] // p, z.shape[3] // p
        t = z.view(channels, h, p, w, p).permute(1, 3, 0, 2, 4).reshape(h * w, channels * p * p)
        m = F.linear(t.to(self.dtype), *self.into).float()
        for layer in self.layers:
            m = layer(m)
        t = t + F.linear(m.to(self.dtype), *self.out).float()
        z = t.view(h, w, channels, p, p).permute(2, 0, 3, 1, 4).reshape(1, channels, h * p, w * p)
        return z.contiguous(memory_format=torch.channels_last)

    def frame(self, rgb):
        """One frame (H, W, 3) uint8 to float RGB in 0..1."""
        height, width = rgb.shape[:2]
        pad = 2 * self.config["patch"]
        x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        x = F.pad(x, (0, -width % pad, 0, -height % pad), mode="replicate") * 2 - 1
        u = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        y = self.decoder(self.temporal(self.encoder(u)))
        return ((F.pixel_shuffle(y, 2) + 1) / 2).clamp(0, 1)[0, :, :height, :width].permute(1, 2, 0)


def check(path, oracle_dir, frames, outputs):
    sys.path.insert(0, oracle_dir)
    import oracle

    x = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    want = oracle.Oracle(path).run(x).permute(0, 2, 3, 1)
    worst = max(float((a - b).abs().max()) for a, b in zip(outputs, want))
    print(f"largest difference from the oracle: {worst:.2e}")
    return worst <= 1e-4


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights")
    for name in ("width", "height", "frames"):
        parser.add_argument(name, type=int)
    parser.add_argument("precision", nargs="?", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--check", metavar="ORACLE_DIR")
    args = parser.parse_args()
    width, height, count = args.width, args.height, args.frames
    if args.check and count > 8:
        sys.exit("torch_frame: --check takes at most 8 frames")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rng = np.random.default_rng(1)
    frames = [
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(min(count, 8))
    ]
    net, times, outputs = (
        Net(args.weights, getattr(torch, args.precision), 1e-6 if args.check else 1e-4),
        [],
        [],
    )
    with torch.no_grad():
        for i in range(count):
            start = time.perf_counter()
            out = net.frame(frames[i % len(frames)])
            codes = (out * 255 + 0.5).to(torch.uint8)
            times.append(time.perf_counter() - start)
            assert codes.shape == (height, width, 3)
            if args.check:
                outputs.append(out.clone())
        if args.check and not check(args.weights, args.check, frames, outputs):
            sys.exit("torch_frame: not the oracle's network")
    steady = sorted(times[min(3, count - 1) :])
    print(f"torch {torch.__version__} ms_per_frame {1e3 * steady[len(steady) // 2]:.3f}")


if __name__ == "__main__":
    main()

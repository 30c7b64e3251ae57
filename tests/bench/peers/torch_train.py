#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A training step of the network in PyTorch on the CPU: the peer of bench-train.

Forward, Charbonnier loss, backward, clipping by the norm, AdamW, all in float32, on a batch of
noisy clips; prints the median of the steps after a warm-up, in the faster of the two layouts of
images that PyTorch has. The attention layers take a whole clip at once, which is the fastest way
for short ones; Mesa solves its systems by a fixed number of steps of the conjugate gradient,
through which the gradient is taken.
"""

import argparse
import os
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

LATENTS, LEVELS = 32, 12
PRESETS = {  # widths and blocks of both sides; patch, dim, heads, layers; latents
    "thin": (64, "M2M", 64, "M2M2", 4, 128, 4, 1, LATENTS),
    "full": (64, "M2M", 256, "M2M2", 4, 128, 4, 1, LATENTS),
    "tiny": (32, "S2", 32, "S2", 4, 64, 4, 1, LATENTS),
    "seed": (32, "M2", 8, "M2", 32, 128, 4, 1, LATENTS),
    "large": (64, "M2M", 64, "M2M2", 4, 512, 8, 2, 64),
}


def conv(inputs, outputs, zero=False):
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    if zero:
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """y + conv2(ReLU(conv1(y and, as the kind says, the frame before)))."""

    def __init__(self, width, kind):
        super().__init__()
        self.kind = kind
        self.conv1 = conv(2 * width if kind == "M" else width, width)
        self.conv2 = conv(width, width, zero=True)

    def forward(self, y, clips):
        past, x = torch.cat([torch.zeros_like(y[:clips]), y[:-clips]]), y
        if self.kind == "M":
            x = torch.cat([y, past], 1)
        elif self.kind == "S":
            quarter = y.shape[1] // 4
            x = torch.cat([past[:, :quarter], y[:, quarter:]], 1)
        return y + self.conv2(F.relu(self.conv1(x)))


class Side(nn.Module):
    """Encoder or decoder. Images are in the order (time, clip)."""

    def __init__(self, inputs, width, kinds, outputs):
        super().__init__()
        self.first, self.last = conv(inputs, width), conv(width, outputs, zero=True)
        self.blocks = nn.ModuleList(Block(width, kind) for kind in kinds)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        with torch.no_grad():
            self.skip.weight.copy_(torch.eye(outputs, inputs)[:, :, None, None])

    def forward(self, x, clips):
        y = self.first(x)
        for block in self.blocks:
            y = block(y, clips)
        return self.last(F.relu(y)) + self.skip(x)


class Attention(nn.Module):
    """What both layers share: norms, projections, gated output. x: (sequence, time, dim)."""

    def __init__(self, dim, heads, extra):
        super().__init__()
        self.heads = heads
        self.norm, self.onorm = nn.LayerNorm(dim), nn.Parameter(torch.ones(dim))
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.gate, self.extra = nn.Linear(dim, heads), nn.Linear(dim, extra)
        self.z, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        nn.init.constant_(self.gate.bias, 3.0)

    def forward(self, x):
        n, t, d = x.shape
        y = self.norm(x)
        q, k, v = self.qkv(y).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = F.normalize(q, dim=-1, eps=1e-6), F.normalize(k, dim=-1, eps=1e-6)
        gate = F.logsigmoid(self.gate(y)).transpose(1, 2).cumsum(-1)
        later = torch.ones(t, t, dtype=torch.bool).triu(1)
        decay = (gate[..., :, None] - gate[..., None, :]).masked_fill(later, float("-inf")).exp()
        o = self.attend(q, k, v, decay, self.extra(y))
        o = o * torch.rsqrt((o * o).mean(-1, keepdim=True) + 1e-5)
        return x + self.o(o.transpose(1, 2).reshape(n, t, d) * self.onorm * F.silu(self.z(y)))


class Fenwick(Attention):
    def __init__(self, dim, heads):
        super().__init__(dim, heads, heads * LEVELS)

    def attend(self, q, k, v, decay, extra):
        n, heads, t, _ = q.shape
        level = torch.tensor(
            [[min((i ^ j).bit_length(), LEVELS - 1) for j in range(t)] for i in range(t)]
        )
        weight = F.softplus(extra).view(n, t, heads, LEVELS).transpose(1, 2)
        weight = weight.gather(-1, level.expand(n, heads, t, t))
        return ((q @ k.transpose(-1, -2)) * weight * decay) @ v


class Mesa(Attention):
    def __init__(self, dim, heads, iterations):
        super().__init__(dim, heads, heads)
        self.iterations = iterations
        self.lam = nn.Parameter(torch.full((heads, 1, dim // heads), 0.75).exp().sub(1).log())

    def attend(self, q, k, v, decay, extra):
        weight = decay * torch.sigmoid(extra).transpose(1, 2)[..., None, :]
        lam = F.softplus(self.lam) + 0.25
        x, r, p = torch.zeros_like(q), q, q
        rr = (r * r).sum(-1, keepdim=True)
        for _ in range(self.iterations):
            step = ((p @ k.transpose(-1, -2)) * weight) @ k + p * lam
            a = rr / ((p * step).sum(-1, keepdim=True) + 1e-12)
            x, r = x + a * p, r - a * step
            new = (r * r).sum(-1, keepdim=True)
            p, rr = r + new / (rr + 1e-12) * p, new
        return ((x @ k.transpose(-1, -2)) * weight) @ v


class Net(nn.Module):
    def __init__(self, preset, iterations, layout):
        super().__init__()
        self.layout = layout
        encoder, kinds, decoder, back, self.patch, dim, heads, layers, latents = PRESETS[preset]
        self.encoder = Side(12, encoder, kinds, latents)
        self.decoder = Side(latents, decoder, back, 12)
        size = latents * self.patch**2
        self.into, self.out = nn.Linear(size, dim), nn.Linear(dim, size)
        nn.init.zeros_(self.out.weight), nn.init.zeros_(self.out.bias)
        pairs = [[Fenwick(dim, heads), Mesa(dim, heads, iterations)] for _ in range(layers)]
        self.layers = nn.Sequential(*sum(pairs, []))

    def temporal(self, z, clips):
        n, c, height, width = z.shape
        t, p = n // clips, self.patch
        h, w = height // p, width // p
        x = z.reshape(t, clips, c, h, p, w, p).permute(1, 3, 5, 0, 2, 4, 6)
        x = x.reshape(clips * h * w, t, c * p * p)
        x = x + self.out(self.layers(self.into(x)))
        x = x.view(clips, h, w, t, c, p, p).permute(3, 0, 4, 1, 5, 2, 6)
        return x.reshape(n, c, height, width).contiguous(memory_format=self.layout)

    def forward(self, u, clips):
        return self.decoder(self.temporal(self.encoder(u, clips), clips), clips)


def step(net, optimizer, clean, clips):
    noisy = (clean + 0.2 * torch.randn_like(clean)).clamp(-1, 1)
    error = net(noisy, clips) - clean
    loss = (error * error + 1e-6).sqrt().mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 0.2)
    optimizer.step()
    return loss.item()


def measure(args, layout):
    """Median seconds of a step."""
    torch.manual_seed(1)
    net = Net(args.preset, args.iterations, layout).to(memory_format=layout)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=1e-4)
    pixels = torch.rand(args.frames * args.batch, 3, args.crop, args.crop) * 2 - 1
    clean = F.pixel_unshuffle(pixels, 2).contiguous(memory_format=layout)
    times = []
    for _ in range(args.steps + 3):
        start = time.perf_counter()
        loss = step(net, optimizer, clean, args.batch)
        times.append(time.perf_counter() - start)
        assert loss == loss, "the loss is not finite"
    return sorted(times[3:])[args.steps // 2]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="tiny", choices=PRESETS)
    for name, value in (("batch", 4), ("frames", 8), ("crop", 64), ("steps", 20)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--iterations", type=int, default=6, help="of Mesa's solver (default 6)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    best = min(measure(args, layout) for layout in (torch.channels_last, torch.contiguous_format))
    print(
        f"torch {torch.__version__} {args.preset} batch {args.batch} frames {args.frames} crop "
        f"{args.crop} ms_per_step {1e3 * best:.2f} steps_per_s {1 / best:.2f}"
    )


if __name__ == "__main__":
    main()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares the network with the oracle in the shared folder: the same weights file, the same frames.

    oracle.py SHARED RANDOM_WEIGHTS RUN_NETWORK [DEVICE...]

Ends with 77 where the shared folder or PyTorch is missing.
"""
import os
import subprocess
import sys
import tempfile

WIDTH, HEIGHT, FRAMES, TOLERANCE = 60, 46, 8, 1e-4

shared, random_weights, run_network = sys.argv[1:4]
devices = sys.argv[4:] or ["cpu"]
oracle = os.path.join(shared, "prototype", "oracle.py")
if not os.path.exists(oracle):
    print("oracle.py: skipped, no shared folder")
    sys.exit(77)
try:
    import numpy as np
    import torch
except ImportError:
    print("oracle.py: skipped, no PyTorch")
    sys.exit(77)


def scene():
    """A moving gradient with a moving box and noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    frames = []
    for t in range(FRAMES):
        f = np.stack([(x * 3 + t * 5) % 256, (y * 4 + t * 9) % 256, (x + y) * 2 % 256], -1).astype(float)
        f[8 + t : 20 + t, 10 + 2 * t : 30 + 2 * t] = (220, 40, 90)
        frames.append(np.clip(f + rng.normal(0, 12, f.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        scene().tofile(path("in.rgb"))
        size = [str(WIDTH), str(HEIGHT)]
        for preset in ("thin", "tiny", "full", "seed"):
            subprocess.run([random_weights, preset, "7", path("w.safetensors")], check=True)
            subprocess.run([sys.executable, oracle, path("w.safetensors"), path("in.rgb"), path("want.f32"), *size], check=True)
            want = np.fromfile(path("want.f32"), np.float32)
            inside = float(((want > 0) & (want < 1)).mean())
            for device in devices:
                for frames in ("1", "4"):
                    subprocess.run([run_network, path("w.safetensors"), path("in.rgb"), path("got.f32"), *size, device, frames], check=True)
                    got = np.fromfile(path("got.f32"), np.float32)
                    same = got.shape == want.shape
                    worst = float(np.abs(got - want).max()) if same else float("nan")
                    ok = same and worst <= TOLERANCE and inside > 0.5
                    bad += not ok
                    print(f"{preset:5} {device:4} {frames} frames a run: max difference {worst:.2e}, "
                          f"{100 * inside:.0f} % not clamped {'ok' if ok else 'FAILED'}", flush=True)
    return 1 if bad else 0


sys.exit(main())

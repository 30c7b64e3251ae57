#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares the network with the oracle in the shared folder: same weights file, same frames.

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
        ramps = (x * 3 + t * 5) % 256, (y * 4 + t * 9) % 256, (x + y) * 2 % 256
        f = np.stack(ramps, -1).astype(float)
        f[8 + t : 20 + t, 10 + 2 * t : 30 + 2 * t] = (220, 40, 90)
        frames.append(np.clip(f + rng.normal(0, 12, f.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)


def compare(want, got, what):
    """Prints and judges; a comparison of clamped values only would say nothing."""
    inside = float(((want > 0) & (want < 1)).mean())
    worst = float(np.abs(got - want).max()) if got.shape == want.shape else float("nan")
    ok = worst <= TOLERANCE and inside > 0.5
    print(f"{what}: max difference {worst:.2e}, {100 * inside:.0f} % not clamped "
          f"{'ok' if ok else 'FAILED'}", flush=True)
    return ok


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        weights, frames, want, got = (
            os.path.join(folder, name) for name in ("w.safetensors", "in.rgb", "want", "got"))
        size = [str(WIDTH), str(HEIGHT)]
        scene().tofile(frames)
        for preset in ("thin", "tiny", "full", "seed"):
            subprocess.run([random_weights, preset, "7", weights], check=True)
            subprocess.run([sys.executable, oracle, weights, frames, want, *size], check=True)
            for device in devices:
                for run in ("1", "4"):
                    command = [run_network, weights, frames, got, *size, device, run]
                    subprocess.run(command, check=True)
                    bad += not compare(np.fromfile(want, np.float32), np.fromfile(got, np.float32),
                                       f"{preset:5} {device:4} {run} frames a run")
    return 1 if bad else 0


sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares 50 steps of the operation adamw with PyTorch's AdamW on the same gradients.

    adamw.py ADAMW_RUN

Ends with 77 where PyTorch is missing.
"""
import subprocess
import sys

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"adamw.py: skipped, {error}")
    sys.exit(77)

COUNT, STEPS, RATE, DECAY, BETAS, EPSILON, SCALE = 4096, 50, 3e-3, 0.05, (0.9, 0.99), 1e-8, 0.5
random = np.random.default_rng(1)
start = random.normal(0, 0.1, COUNT).astype(np.float32)
# of all sizes, some of them hardly above epsilon
size = 10.0 ** random.uniform(-9, 1, COUNT)
grads = (random.normal(0.3, 1, (STEPS, COUNT)) * size).astype(np.float32)

want = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
optimizer = torch.optim.AdamW([want], lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
for grad in grads:
    want.grad = torch.tensor(grad, dtype=torch.float64) * SCALE
    optimizer.step()
want = want.detach().numpy()

bad = 0
for device in ("ref", "cpu"):
    numbers = [COUNT, STEPS, RATE, DECAY, *BETAS, EPSILON, SCALE]
    run = subprocess.run(
        [sys.argv[1], device, *map(str, numbers)],
        input=start.tobytes() + grads.tobytes(),
        stdout=subprocess.PIPE,
        check=True,
    )
    error = float(np.abs(np.frombuffer(run.stdout, np.float32) - want).max())
    moved = float(np.abs(want - start).max())
    print(f"{device}: largest difference {error:.2e} after steps that add up to {moved:.2e}")
    bad += not error <= 2e-6
sys.exit(1 if bad else 0)

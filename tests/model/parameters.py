#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares names and shapes of weights files with parameters() of the oracle in the shared folder.

    parameters.py SHARED RANDOM_WEIGHTS

Ends with 77 where the shared folder or PyTorch (which the oracle imports) is missing.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

shared, random_weights = sys.argv[1:3]
if not os.path.exists(os.path.join(shared, "prototype", "oracle.py")):
    print("parameters.py: skipped, no shared folder")
    sys.exit(77)
sys.path.insert(0, os.path.join(shared, "prototype"))
try:
    import oracle
except ImportError as error:
    print(f"parameters.py: skipped, {error}")
    sys.exit(77)

OPTIONAL = {"latent.scale", "model.mask"}
bad = 0
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "w.safetensors")
    for preset in ("thin", "full", "tiny", "seed", "large"):
        subprocess.run([random_weights, preset, "1", path], check=True)
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        config = json.loads(header.pop("__metadata__")["config"])
        have = {name: tuple(entry["shape"]) for name, entry in header.items()}
        want = oracle.parameters(config)
        names = sorted(set(want) | set(have) - OPTIONAL)
        wrong = [name for name in names if have.get(name) != want.get(name)]
        for name in wrong:
            print(f"{preset}: {name} is {have.get(name)}, not {want.get(name)}")
        print(f"{preset}: {len(want)} tensors, {len(wrong)} wrong")
        bad += len(wrong)
sys.exit(1 if bad else 0)

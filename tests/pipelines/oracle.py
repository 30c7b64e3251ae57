#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real clips through fenwickfilter precision=float32 against the oracle in the shared folder.

    oracle.py SHARED RANDOM_WEIGHTS PLUGIN_FOLDER

RGB frames may differ by 1 of 255 at most. Ends with 77 without the shared folder or PyTorch.
"""

import os
import subprocess
import sys
import tempfile

WIDTH, HEIGHT, FRAMES = 96, 70, 10
CLIPS = {"thin": "crystal.mp4", "tiny": "asl_book.mkv", "full": "flower.mp4", "seed": "frog.mp4"}

shared, random_weights, plugin = sys.argv[1:]
if not os.path.exists(os.path.join(shared, "prototype", "oracle.py")):
    print("oracle.py: skipped, no shared folder")
    sys.exit(77)
try:
    import numpy as np
    import torch  # noqa: F401, which the oracle needs
except ImportError:
    print("oracle.py: skipped, no PyTorch")
    sys.exit(77)


def launch(line):
    env = dict(os.environ, GST_PLUGIN_PATH=plugin)
    subprocess.run(["gst-launch-1.0", "-q", *line.split()], check=True, env=env)


def compare(preset, clip, folder):
    weights, source, filtered, want = (
        os.path.join(folder, f"{preset}.{end}") for end in ("safetensors", "in", "out", "want")
    )
    subprocess.run([random_weights, preset, "11", weights], check=True)
    raw = f"rawvideoparse format=rgb width={WIDTH} height={HEIGHT} framerate=25/1"
    launch(
        f"filesrc location={os.path.join(shared, 'video', clip)} ! decodebin ! videoconvert ! "
        f"videoscale add-borders=false ! video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},"
        f"pixel-aspect-ratio=1/1 ! identity eos-after={FRAMES + 2} ! filesink location={source}"
    )
    os.truncate(source, FRAMES * WIDTH * HEIGHT * 3)
    launch(
        f"filesrc location={source} ! {raw} ! fenwickfilter weights={weights} device=cpu "
        f"precision=float32 ! filesink location={filtered}"
    )
    subprocess.run(
        [
            sys.executable,
            os.path.join(shared, "prototype", "oracle.py"),
            weights,
            source,
            want,
            str(WIDTH),
            str(HEIGHT),
        ],
        check=True,
    )
    exact = np.fromfile(want, np.float32)
    inside = float(((exact > 0) & (exact < 1)).mean())
    got = np.fromfile(filtered, np.uint8).astype(int)
    frames = exact.size / (WIDTH * HEIGHT * 3)
    same_size = exact.size == got.size and frames == FRAMES
    worst = int(np.abs(np.rint(exact * 255).astype(int) - got).max()) if same_size else 255
    ok = same_size and worst <= 1 and inside > 0.5
    print(
        f"{preset}, {clip}: {frames:g} frames, largest difference {worst} of 255, "
        f"{100 * inside:.0f} % not clamped: {'ok' if ok else 'FAILED'}",
        flush=True,
    )
    return ok


def main():
    with tempfile.TemporaryDirectory() as folder:
        results = [compare(preset, clip, folder) for preset, clip in CLIPS.items()]
    sys.exit(0 if all(results) else 1)


main()

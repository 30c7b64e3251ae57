#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""PSNR of clips with Gaussian noise, before and after fenwickfilter with given weights.

    denoise.py WEIGHTS SIGMA CLIP...

Clips are read at half size (so that what their own compression left does not count as truth), 41
frames each; noise is added to 8-bit RGB and rounded; PSNR is the mean over frames 5 to 40. Prints a
line per clip and the means. Needs numpy and gst-launch-1.0 with the fenwick plugin in its path.
"""
import json
import subprocess
import sys
import tempfile

import numpy as np

FRAMES = 41
FIRST = 5


def launch(*words):
    subprocess.run(["gst-launch-1.0", "-q", *words], check=True)


def size_of(clip):
    found = subprocess.run(
        ["gst-launch-1.0", "-v", "filesrc", f"location={clip}", "!", "decodebin", "!",
         "fakesink", "num-buffers=1"], check=True, capture_output=True, text=True).stdout
    caps = [w for w in found.replace(" ", "").split(",") if w.startswith(("width=", "height="))]
    value = {w.split("=")[0]: int(w.split(")")[1]) for w in caps}
    return value["width"] // 4 * 2, value["height"] // 4 * 2


def read_clip(clip, folder):
    width, height = size_of(clip)
    raw = f"{folder}/clean.rgb"
    launch("filesrc", f"location={clip}", "!", "decodebin", "!", "videoconvertscale", "!",
           f"video/x-raw,format=RGB,width={width},height={height},pixel-aspect-ratio=1/1", "!",
           "identity", f"eos-after={FRAMES + 1}", "!", "filesink", f"location={raw}")
    # rows of packed RGB are padded to four bytes
    stride = (3 * width + 3) // 4 * 4
    frames = np.fromfile(raw, np.uint8)
    frames = frames[: len(frames) // (stride * height) * stride * height]
    return frames.reshape(-1, height, stride)[:FRAMES], width


def psnr(a, b, width):
    d = a[FIRST:, :, : 3 * width].astype(np.float64) - b[FIRST:, :, : 3 * width]
    return 10 * np.log10(255**2 / (d * d).mean())


def restore(noisy, width, weights, folder):
    noisy.tofile(f"{folder}/noisy.rgb")
    height = noisy.shape[1]
    launch("filesrc", f"location={folder}/noisy.rgb", f"blocksize={noisy[0].size}", "!",
           "rawvideoparse", "format=rgb", f"width={width}", f"height={height}", "framerate=30/1",
           "!", "fenwickfilter", f"weights={weights}", "!", "video/x-raw,format=RGB", "!",
           "filesink", f"location={folder}/restored.rgb")
    return np.fromfile(f"{folder}/restored.rgb", np.uint8).reshape(noisy.shape)


def main(weights, sigma, *clips):
    rows = []
    for clip in clips:
        with tempfile.TemporaryDirectory() as folder:
            clean, width = read_clip(clip, folder)
            noise = np.random.default_rng(1).normal(0, float(sigma), clean.shape)
            noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
            restored = restore(noisy, width, weights, folder)
            rows.append((psnr(noisy, clean, width), psnr(restored, clean, width)))
        print(f"{clip.split('/')[-1]:40} noisy {rows[-1][0]:6.2f} dB  restored {rows[-1][1]:6.2f} "
              f"dB  gain {rows[-1][1] - rows[-1][0]:6.2f} dB", flush=True)
    noisy, restored = np.mean(rows, 0)
    print(json.dumps({"sigma": float(sigma), "clips": len(rows), "noisy_db": round(noisy, 2),
                      "restored_db": round(restored, 2), "gain_db": round(restored - noisy, 2)}))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Trains on real clips as a user would, in gst-launch-1.0 lines, and fails where training does not
# do what is said of it:
#
#   training.sh overfit CLIPS     one noisy clip of 64x64x8 is learned: mean square / 100
#   training.sh restore CLIPS     preset tiny, at most ten minutes: 10 dB above the noisy input at
#                                 sigma 25, mean of four clips that it has not seen
#   training.sh stability CLIPS   5,000 steps: the loss, averaged over 100 steps, is never again
#                                 above its value at step 500, in no window after that one
#   training.sh memory CLIPS      the process stays within reservoir-bytes and what stats adds up
#
# CLIPS: a folder of video files. Ends with 77 (skipped) without it. restore needs numpy.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${FENWICK_BUILD:-$root/build}
export GST_PLUGIN_PATH=$build/plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
export GST_REGISTRY=${GST_REGISTRY:-$build/tests/quality-registry.bin}
part=${1:-} clips=${2:-}
case "$part" in
  overfit | restore | stability | memory) ;;
  *) sed -n '3,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
[ -d "$clips" ] || { echo "training: no folder of clips: $clips"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unseen=(asl_thanks.mkv asl_want.mkv one-by-one-person-detection.mp4 rabbit.mp4)
caps() { echo "video/x-raw,format=RGB,width=$1,height=$2,pixel-aspect-ratio=1/1"; }

# The words of all inputs of "concat name=c" but the unseen clips, at about half size.
sources() {
  local clip size
  for clip in "$clips"/*.m[kp]*; do
    case " ${unseen[*]} " in *" ${clip##*/} "*) continue ;; esac
    case "${clip##*/}" in
      asl_* | friday*) size="320 240" ;;
      bottle*) size="320 180" ;;
      bigbuck*) size="640 360" ;;
      flower*) size="480 268" ;;
      *) size="360 240" ;;
    esac
    # shellcheck disable=SC2086 # two words
    printf '%s\n' filesrc "location=$clip" ! decodebin ! videoconvertscale ! "$(caps $size)" ! c.
  done
}

# train PROPERTY...: on all clips but the unseen ones.
train() {
  local -a words
  mapfile -t words < <(sources)
  gst-launch-1.0 concat name=c ! fenwicktrain preset=tiny reservoir-bytes=4000000000 \
    "location=$work/out.safetensors" "metrics-location=$work/metrics.csv" "$@" "${words[@]}" |
    grep -v "Redistribute latency"
}

overfit() {
  gst-launch-1.0 -q filesrc "location=$clips/rabbit.mp4" ! decodebin ! videoconvertscale ! \
    "$(caps 360 240)" ! videocrop left=150 right=146 top=88 bottom=88 ! identity eos-after=9 ! \
    filesink "location=$work/clip.rgb"
  head -c $((8 * 64 * 64 * 3)) "$work/clip.rgb" >"$work/eight.rgb"
  gst-launch-1.0 -q filesrc "location=$work/eight.rgb" blocksize=12288 ! rawvideoparse format=rgb \
    width=64 height=64 framerate=30/1 ! matroskamux ! filesink "location=$work/clip.mkv"
  gst-launch-1.0 -q filesrc "location=$work/clip.mkv" ! matroskademux ! fenwicktrain preset=seed \
    loss=mean-square augment=false fixed-noise=true noise-min=25 noise-max=25 batch-size=1 \
    clip-length=8 crop-size=64 steps=1500 warmup=50 learning-rate=2e-3 temporal-learning-rate=1 \
    report-interval=1 "location=$work/out.safetensors" "metrics-location=$work/metrics.csv"
  python3 - "$work/metrics.csv" <<'PYTHON'
import csv, sys
rows = [float(r["mean_square"]) for r in csv.DictReader(open(sys.argv[1]))]
print(f"mean square {rows[0]:.3g} at step 1, {rows[-1]:.3g} at step {len(rows)}: "
      f"{rows[0] / rows[-1]:.0f}-fold")
sys.exit(not rows[0] >= 100 * rows[-1])
PYTHON
}

restore() {
  local python=python3 begin=$SECONDS
  if /usr/bin/python3 -c 'import numpy' 2>/dev/null; then python=/usr/bin/python3; fi
  "$python" -c 'import numpy' 2>/dev/null || { echo "training: no numpy"; exit 77; }
  train batch-size=2 crop-size=64 steps=5500 learning-rate=2e-3 ema=0.999 report-interval=500 \
    validation-interval=2750
  echo "trained in $((SECONDS - begin)) s on $(nproc) processors"
  "$python" "$root/tests/quality/denoise.py" "$work/out.safetensors" 25 \
    "${unseen[@]/#/$clips/}" | tee "$work/gain"
  [ $((SECONDS - begin)) -le 600 ]
  python3 -c 'import json, sys
sys.exit(not json.loads(open(sys.argv[1]).read().splitlines()[-1])["gain_db"] >= 10)' "$work/gain"
}

stability() {
  train batch-size=4 crop-size=32 steps=5000 noise-min=25 noise-max=25 report-interval=1 \
    >"$work/log"
  python3 - "$work/metrics.csv" <<'PYTHON'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
loss = [float(r["loss"]) for r in rows]
mean = [sum(loss[i - 100 : i]) / 100 for i in range(100, len(loss) + 1)]
worst = max(mean[500:])  # windows that share a step with the one at 500 say little beside it
print(f"{len(loss)} steps, {rows[-1]['skipped']} skipped; mean loss {mean[400]:.5f} at step 500, "
      f"{mean[-1]:.5f} at the end; highest after step 500: {worst:.5f}, "
      f"overlapping windows included {max(mean[401:]):.5f}")
sys.exit(not (len(loss) == 5000 and worst <= mean[400]))
PYTHON
}

# Peak of the process against the same line with a smaller reservoir: decoders cost the same.
memory() {
  local size peak small=0
  for size in 50000000 400000000; do
    peak=$(/usr/bin/env python3 - "$clips/bottle-detection.mp4" "$work/out.safetensors" "$size" \
      <<'PYTHON'
import resource, subprocess, sys
subprocess.run(["gst-launch-1.0", "-q", "filesrc", f"location={sys.argv[1]}", "!", "decodebin", "!",
                "videoconvert", "!", "fenwicktrain", "preset=tiny", f"location={sys.argv[2]}",
                f"reservoir-bytes={sys.argv[3]}", "steps=400", "batch-size=1", "crop-size=16"],
               check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
PYTHON
    )
    echo "reservoir-bytes=$size: peak of the process $peak bytes"
    [ "$small" = 0 ] && small=$peak
  done
  # half a clip of room for rounding up to whole pages and arenas of malloc
  [ $((peak - small)) -le $((400000000 - 50000000 + 32000000)) ]
}

"$part"

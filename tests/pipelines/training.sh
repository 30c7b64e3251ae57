#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# train.sh and resume.sh with the smallest network: a run, a run that is killed and resumed, one
# that is ended with Ctrl-C, several videos of different size, and the curves.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

small="crop-size=16 clip-length=2 batch-size=2 warmup=2 threads=1 report-interval=5"
small+=" checkpoint-interval=5"
hash_of() { sha256sum "$1" | cut -d ' ' -f 1; }
train() { # train FOLDER STEPS VIDEO ...
  "$scripts/train.sh" --output "$1" --steps "$2" --properties "$small" "${@:3}"
}

make_video a.mkv 40 32 I420 40
make_video b.mkv 32 48 I420 24
make_video "c d.mkv" 64 24 I420 24

# A run: weights that the filter takes, checkpoints, figures, curves.
quietly train run 20 a.mkv
grep -q '^gst-launch-1.0 ' log.txt || fail "train.sh does not show its pipeline"
grep -q '^Progress: (training) step 20/20, loss ' log.txt || fail "no progress: $(cat log.txt)"
same "checkpoints" "$(cd run/checkpoints && echo *)" \
  "step-00000010.safetensors step-00000015.safetensors step-00000020.safetensors"
same "rows of metrics" "$(wc -l <run/metrics.csv)" 6 # a header, steps 1, 5, 10, 15, 20
head -n 1 run/metrics.csv | grep -q '^step,.*loss' || fail "no header: $(head -n 1 run/metrics.csv)"
quietly "$scripts/file-to-file.sh" --weights run/weights.safetensors a.mkv out.mkv
same "frames" "$(digest out.mkv frames)" 40
if train run 20 a.mkv >log.txt 2>&1; then fail "a second run in the same folder"; fi
grep -q 'resume.sh' log.txt || fail "$(cat log.txt)"

# Killed after a checkpoint and resumed: the same bits.
for attempt in 1 2 3 4 5; do
  rm -rf killed
  mkdir killed
  set -m
  train killed 20 a.mkv >killed.txt 2>&1 &
  job=$!
  set +m
  until [ -f killed/checkpoints/step-00000005.safetensors ] || ! kill -0 $job 2>/dev/null; do
    sleep 0.01
  done
  kill -9 -- -$job 2>/dev/null || true
  wait $job 2>/dev/null || true
  [ -f killed/weights.safetensors ] || break
  [ "$attempt" != 5 ] || fail "the run is always over before it can be killed"
done
[ -f killed/checkpoints/step-00000005.safetensors ] || fail "no checkpoint: $(cat killed.txt)"
quietly "$scripts/resume.sh" killed
same "resumed weights" "$(hash_of killed/weights.safetensors)" "$(hash_of run/weights.safetensors)"
cut -d , -f 1 killed/metrics.csv | tail -n +2 >steps.txt
same "rows of resumed metrics" "$(sort -n -u steps.txt | tr '\n' ' ')" "$(tr '\n' ' ' <steps.txt)"
same "last row" "$(tail -n 1 steps.txt)" 20

# Ctrl-C: the weights so far, EOS, and resuming leads to the same end.
set -m
train stopped 1000000 a.mkv >stopped.txt 2>&1 &
job=$!
set +m
until grep -q 'step 5/' stopped.txt 2>/dev/null || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
kill -INT -- -$job
wait $job || true
grep -q 'Got EOS' stopped.txt || fail "no EOS after Ctrl-C: $(cat stopped.txt)"
[ -s stopped/weights.safetensors ] || fail "Ctrl-C loses the weights: $(cat stopped.txt)"
quietly "$scripts/file-to-file.sh" --weights stopped/weights.safetensors b.mkv out.mkv

# Videos of different size in one line, more than one pass over them; the program ends by itself.
timeout -s KILL 60 "$scripts/train.sh" --output several --steps 60 --properties "$small" \
  a.mkv b.mkv "c d.mkv" >log.txt 2>&1 || fail "several videos: $(cat log.txt)"
grep -q 'step 60/60' log.txt || fail "several videos: $(cat log.txt)"
grep -q '^ERROR' log.txt && fail "several videos: $(cat log.txt)"

# What is in the file, as anybody may read it.
if command -v python3 >/dev/null; then
  python3 - run/weights.safetensors <<'PYTHON' || fail "not a safetensors file"
import json, struct, sys
with open(sys.argv[1], "rb") as file:
    data = file.read()
length, = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + length])
meta = header.pop("__metadata__")
assert meta["task"] == "restore", meta
end = 0
for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
    begin, stop = entry["data_offsets"]
    count = 1
    for n in entry["shape"]:
        count *= n
    assert begin == end and stop - begin == 4 * count and entry["dtype"] == "F32", (name, entry)
    end = stop
assert end == len(data) - 8 - length
try:
    import safetensors
except ImportError:
    sys.exit(0)
with safetensors.safe_open(sys.argv[1], framework="numpy") as file:
    assert set(file.keys()) == set(header)
PYTHON
  for svg in run/metrics.svg killed/metrics.svg; do
    grep -q '<polyline' "$svg" || fail "$svg has no curve"
  done
  python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' run/metrics.svg ||
    fail "run/metrics.svg is not XML"
  printf 'step,loss\n1,0.5\n' >one.csv
  quietly python3 "$scripts/plot-training.py" one.csv
  printf 'step,loss\n' >none.csv
  if python3 "$scripts/plot-training.py" none.csv 2>/dev/null; then fail "plots nothing"; fi
fi

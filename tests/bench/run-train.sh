#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Prints the speed of a training step on this CPU beside that of the same network and optimiser in
# PyTorch, in turn and in one run, and the time from PLAYING to the first step of fenwicktrain.
#
#   tests/bench/run-train.sh [--presets "tiny thin"] [--batch B] [--frames T] [--crop S]
#                            [--steps N] [--python PYTHON]
#
# PYTHON needs torch (default: the first of $PYTHON, /usr/bin/python3 and python3 that has it).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${FENWICK_BUILD:-$root/build}
presets="tiny thin" batch=4 frames=8 crop=64 steps=15 python=${PYTHON:-}

usage() { sed -n '3,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
while [ $# -gt 0 ]; do
  case "$1" in
    --presets) presets=$2; shift 2 ;;
    --batch) batch=$2; shift 2 ;;
    --frames) frames=$2; shift 2 ;;
    --crop) crop=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
if [ -z "$python" ]; then
  for candidate in /usr/bin/python3 python3; do
    if "$candidate" -c 'import torch' 2>/dev/null; then python=$candidate; break; fi
  done
fi
export GST_PLUGIN_PATH=$build/plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
field() { awk -v key="$1" '{for (i = 1; i < NF; i++) if ($i == key) print $(i + 1)}'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {if (a == "none") print a; else printf "%.2f", a / b}'; }
row='%-6s %14s %10s %14s %8s %16s\n'
# shellcheck disable=SC2059 # the format is the row above
print_row() { printf "$row" "$@"; }

shape() { echo "--batch $batch --frames $frames --crop $crop --steps $steps"; }

# Milliseconds of a step in PyTorch, or "none".
torch_ms() {
  [ -n "$python" ] || { echo none; return; }
  # shellcheck disable=SC2046 # words are wanted
  "$python" "$root/tests/bench/peers/torch_train.py" --preset "$1" $(shape) | field ms_per_step
}

# Seconds from PLAYING to the first step, the source's first clips included.
first_step() {
  gst-launch-1.0 videotestsrc "num-buffers=$((frames * 2))" pattern=ball ! \
    "video/x-raw,width=320,height=240" ! fenwicktrain "preset=$1" steps=1 report-interval=1 \
    "batch-size=$batch" "clip-length=$frames" "crop-size=$crop" \
    "location=$work/first.safetensors" |
    while read -r line; do
      case "$line" in
        *"to PLAYING"*) begin=$(date +%s%N) ;;
        *"step 1/1"*) awk -v ns=$(($(date +%s%N) - begin)) 'BEGIN {printf "%.2f\n", ns * 1e-9}' ;;
      esac
    done
}

# ours before and after the peer, the better of the two
measure() {
  local lines torch ours
  # shellcheck disable=SC2046
  lines=$("$build/tests/bench/bench-train" --preset "$1" $(shape))
  torch=$(torch_ms "$1")
  # shellcheck disable=SC2046
  lines+=$'\n'$("$build/tests/bench/bench-train" --preset "$1" $(shape))
  ours=$(field ms_per_step <<<"$lines" | sort -n | head -1)
  print_row "$1" "$ours" "$(ratio 1000 "$ours")" "$torch" "$(ratio "$torch" "$ours")" \
    "$(first_step "$1")"
}

processor=$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs)
echo "$processor, $(nproc) cores, batch $batch, $frames frames, crop $crop, float32"
print_row preset 'ms a step' 'steps/s' 'torch ms' speedup 'first step s'
for preset in $presets; do measure "$preset"; done
[ -z "$python" ] || "$python" -c 'import torch; print("torch", torch.__version__)'

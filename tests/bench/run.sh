#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Prints the speed of the whole frame on this CPU as ratios measured in one run: against the sum of
# the bare oneDNN primitives of its layers, against the same network in PyTorch frame by frame, and
# of the element in a pipeline against the bare model call.
#
#   tests/bench/run.sh [--size WxH] [--frames N] [--presets "tiny thin"] [--python PYTHON]
#
# PYTHON needs torch and numpy (default: the first of $PYTHON, /usr/bin/python3 and python3 that
# has both).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${FENWICK_BUILD:-$root/build}
size=640x480 frames=39 presets="tiny thin" python=${PYTHON:-}

usage() { sed -n '3,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
while [ $# -gt 0 ]; do
  case "$1" in
    --size) size=$2; shift 2 ;;
    --frames) frames=$2; shift 2 ;;
    --presets) presets=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

if [ -z "$python" ]; then
  for candidate in /usr/bin/python3 python3; do
    if "$candidate" -c 'import torch, numpy' 2>/dev/null; then python=$candidate; break; fi
  done
fi
export GST_PLUGIN_PATH=$build/plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
field() { awk -v key="$1" '{for (i = 1; i < NF; i++) if ($i == key) print $(i + 1)}'; }

printf '%s\n' "$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(nproc) cores, $size"
row='%-6s %-9s %10s %10s %8s %10s %8s %10s\n'
# shellcheck disable=SC2059 # the format is the row above
print_row() { printf "$row" "$@"; }

# Milliseconds of a frame in PyTorch, or "none".
torch_ms() {
  [ -n "$python" ] || { echo none; return; }
  "$python" "$root/tests/bench/peers/torch_frame.py" "$1" "${size%x*}" "${size#*x}" 15 "$2" |
    field ms_per_frame
}

# measure PRESET PRECISION WEIGHTS: ours before and after the peer, the better of the two.
measure() {
  local options=(--weights "$3" --precision "$2" --size "$size") lines torch frame bare overhead
  lines=$("$build/tests/bench/bench-frame" "${options[@]}" --frames "$frames")
  torch=$(torch_ms "$3" "$2")
  lines+=$'\n'$("$build/tests/bench/bench-frame" "${options[@]}" --frames "$frames")
  overhead=$("$build/tests/bench/bench-element" "${options[@]}" --frames 6 | field overhead)
  frame=$(field frame_ms <<<"$lines" | sort -n | head -1)
  bare=$(field bare_ms <<<"$lines" | sort -n | head -1)
  print_row "$1" "$2" "$frame" "$bare" "$(ratio "$bare" "$frame")" "$torch" \
    "$(ratio "$torch" "$frame")" "$overhead%"
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {if (a == "none") print a; else printf "%.2f", a / b}'; }

print_row preset precision 'frame ms' 'bare ms' ratio 'torch ms' speedup overhead
for preset in $presets; do
  weights=$work/$preset.safetensors
  "$build/tests/random-weights" "$preset" 1 "$weights" >"$work/log"
  for precision in float32 bfloat16; do measure "$preset" "$precision" "$weights"; done
done
[ -z "$python" ] || "$python" -c 'import torch; print("torch", torch.__version__)'

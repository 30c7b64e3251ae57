#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Prints the speed of the whole frame on this CPU as ratios measured in one run:
#   against the sum of the bare oneDNN primitives of its layers, against the same network in PyTorch frame by
#   frame, and of the element in a pipeline against the bare model call.
#
#   tests/bench/run.sh [--size WxH] [--frames N] [--presets "tiny thin"] [--python PYTHON]
#
# PYTHON needs torch and numpy (default: the first of $PYTHON, /usr/bin/python3, python3 that has both).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${FENWICK_BUILD:-$root/build}
size=640x480 frames=39 presets="tiny thin" python=${PYTHON:-}

usage() { sed -n '3,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
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
printf '%-6s %-9s %10s %10s %8s %10s %8s %10s\n' preset precision 'frame ms' 'bare ms' ratio 'torch ms' speedup overhead
for preset in $presets; do
  "$build/tests/random-weights" "$preset" 1 "$work/$preset.safetensors" > "$work/log" || { cat "$work/log" >&2; exit 1; }
  for precision in float32 bfloat16; do
    common=(--weights "$work/$preset.safetensors" --precision "$precision" --size "$size")
    line=$("$build/tests/bench/bench-frame" "${common[@]}" --frames "$frames")
    torch=none speedup=none
    if [ -n "$python" ]; then
      torch=$("$python" "$root/tests/bench/peers/torch_frame.py" "$work/$preset.safetensors" "${size%x*}" "${size#*x}" 15 "$precision" | field ms_per_frame)
    fi
    again=$("$build/tests/bench/bench-frame" "${common[@]}" --frames "$frames")
    frame=$(printf '%s\n%s\n' "$line" "$again" | field frame_ms | sort -n | head -1)
    bare=$(printf '%s\n%s\n' "$line" "$again" | field bare_ms | sort -n | head -1)
    [ "$torch" = none ] || speedup=$(awk -v a="$torch" -v b="$frame" 'BEGIN {printf "%.2f", a / b}')
    overhead=$("$build/tests/bench/bench-element" "${common[@]}" --frames 6 | field overhead)
    printf '%-6s %-9s %10s %10s %7.0f%% %10s %8s %9s%%\n' "$preset" "$precision" "$frame" "$bare" \
      "$(awk -v a="$bare" -v b="$frame" 'BEGIN {print 100 * a / b}')" "$torch" "$speedup" "$overhead"
  done
done
[ -z "$python" ] || "$python" -c 'import torch; print("torch", torch.__version__)'

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every other script of pipelines/: each runs, and the three ways through the network (one element,
# three elements, a file of latents in between) give the same video bit for bit.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run() { # run SCRIPT ARGUMENT ...
  quietly "$scripts/$1" "${@:2}"
  grep -q '^gst-launch-1.0 ' log.txt || fail "$1 does not show its pipeline"
}

make_weights w.safetensors
make_video "in put.mkv" 67 45 I420 6

run file-to-file.sh --weights w.safetensors "in put.mkv" filter.mkv
run split.sh --weights w.safetensors "in put.mkv" split.mkv
run latents-save.sh --weights w.safetensors "in put.mkv" l.gdp
run latents-load.sh --weights w.safetensors l.gdp latents.mkv
same "frames" "$(digest filter.mkv frames)" 6
same "enc ! model ! dec" "$(digest split.mkv)" "$(digest filter.mkv)"
same "through a file of latents" "$(digest latents.mkv)" "$(digest filter.mkv)"
[ "$(digest filter.mkv sha256)" != "$(digest "in put.mkv" sha256)" ] || fail "nothing changed"

run compare.sh --weights w.safetensors "in put.mkv" both.mkv
same "width of both" "$(digest both.mkv width)" $((2 * 67))
run compare.sh --weights w.safetensors "in put.mkv" both.png
same "size of the picture" "$(png_size both.png)" "$((2 * 67)) 45"

run live.sh --seconds 1 test live.mkv
[ "$(digest live.mkv frames)" -ge 2 ] || fail "live: $(digest live.mkv frames) frames"
run live.sh --seconds=1

quietly "$FENWICK_BUILD/pipelines/embed" --frames 5 --properties "preset=tiny precision=float32"
grep -q '5 frames in, 5 frames out, mean change 0.000' log.txt || fail "embed: $(cat log.txt)"
quietly "$FENWICK_BUILD/pipelines/embed" --frames 5 --properties weights=w.safetensors
if grep -q 'change 0.000' log.txt; then fail "embed: random weights changed nothing"; fi

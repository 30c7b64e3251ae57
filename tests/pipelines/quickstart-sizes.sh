#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# quickstart.sh on sizes that nothing divides.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for size in 641x359 33x17 1x1 1x9 31x1 2x400; do
  make_video in.mkv "${size%x*}" "${size#*x}" I420 4
  quickstart --preset tiny in.mkv out.mkv
  same "frames at $size" "$(report frames)" 4
  same "size" "$(report size)" "$size I420"
  same "frames in the file at $size" "$(digest out.mkv frames)" 4
  same "size of the file" "$(digest out.mkv width)x$(digest out.mkv height)" "$size"
  [ -s out.png ] || fail "no picture at $size"
done

quickstart --preset tiny --frames 3 --size 47x21
same "size of the scene" "$(report size)" "47x21 I420"

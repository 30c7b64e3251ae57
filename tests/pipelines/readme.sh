#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The gst-launch-1.0 lines of README.md, as they stand there.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

make_video clip.mkv 64 48 I420 6
lines=0
while IFS= read -r line; do
  quietly bash -c "$line"
  lines=$((lines + 1))
done < <(grep '^gst-launch-1.0 ' "$root/README.md")
[ $lines -ge 3 ] || fail "$lines lines in README.md"
same "frames" "$(digest out.mkv frames)" 6
same "size of the picture" "$(png_size frame.png)" "64 48"

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# quickstart.sh without a video: what it prints, and the files that it leaves.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

quickstart --frames 6
same "frames" "$(report frames)" 6
same "size" "$(report size)" "320x240 I420"
same "device" "$(report device)" cpu
report frames/s | grep -Eq '^[0-9]+\.[0-9]' || fail "no rate: $(report frames/s)"
report PSNR | grep -Eq '^(infinite|[0-9.]+ dB)' || fail "no PSNR: $(report PSNR)"
grep -q 'identity network' notes.txt || fail "no note that the identity network runs"
same "frames in the file" "$(digest fenwick-out.mkv frames)" 6
same "size of the picture" "$(png_size fenwick-out.png)" "$((2 * 320 + 4)) 240"

# With weights it changes what it sees, the same way each time.
make_weights w.safetensors
quickstart --frames 6 --weights w.safetensors "" a.mkv
report PSNR | grep -Eq '^[0-9.]+ dB' || fail "random weights changed nothing"
if grep -q identity notes.txt; then fail "speaks of the identity network in spite of weights"; fi
quickstart --frames 6 --weights=w.safetensors "" b.mkv
same "second run" "$(digest b.mkv)" "$(digest a.mkv)"
[ "$(ls -- *.part 2>/dev/null)" = "" ] || fail "a partial file is left"

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# quickstart.sh on real clips in mp4 and mkv: every frame arrives, and the identity network keeps
# the promise for 4:2:0 video.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

clips=$root/../shared/video
[ -d "$clips" ] || skip "no folder of clips"
for clip in "$clips"/asl_bird.mkv "$clips"/bigbuckbunny.mp4 "$clips"/rabbit.mp4; do
  quickstart --preset tiny --frames 5 "$clip" out.mkv
  same "frames of $clip" "$(report frames)" 5
  same "frames in the file" "$(digest out.mkv frames)" 5
  same "size" "$(report size | cut -d ' ' -f 1)" "$(digest out.mkv width)x$(digest out.mkv height)"
  report PSNR | awk '/^infinite/ {ok = 1} $1 >= 48 {ok = 1} END {exit !ok}' ||
    fail "PSNR of $clip: $(report PSNR)"
done

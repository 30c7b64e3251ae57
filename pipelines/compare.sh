#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# compare.sh [OPTION...] [VIDEO] [OUTPUT]
#
# Input and output side by side: as a video, or as a picture of one frame when OUTPUT ends in .png
# (./fenwick-compare.mkv). Without VIDEO it makes a noisy moving scene.
#
#   --weights FILE  --preset NAME  --device NAME  --precision NAME    properties of fenwickfilter
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_options "$@"
fenwick_setup
video=${fenwick_arguments[0]:-}
output=${fenwick_arguments[1]:-./fenwick-compare.mkv}
fenwick_source "$video"

# Where the right half begins is for the video to say.
width=320
if [ -n "$video" ]; then
  said=$(gst-launch-1.0 -v filesrc "location=$video" ! decodebin ! video/x-raw ! \
    fakesink num-buffers=1 2>/dev/null) || true
  width=$(sed -n '/fakesink0.*caps = video/{s/.*width=(int)\([0-9]*\).*/\1/p;q}' <<<"$said")
  [ -n "$width" ] || fenwick_die "cannot be read as video: $video"
fi

case $output in
  *.png) to=(pngenc snapshot=true) ;;
  *) to=(avenc_ffv1 ! matroskamux) ;;
esac
fenwick_launch compositor name=both "sink_1::xpos=$width" ! video/x-raw,format=BGRx ! \
  videoconvert ! "${to[@]}" ! filesink "location=$output" \
  "${fenwick_from[@]}" ! tee name=input \
  input. ! queue ! both.sink_0 \
  input. ! queue ! fenwickfilter "${fenwick_properties[@]}" ! both.sink_1

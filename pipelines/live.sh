#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# live.sh [OPTION...] [SOURCE] [OUTPUT]
#
# A live source through fenwickfilter. SOURCE is a camera (/dev/video0) or "test" (default), a
# moving picture at 320x240 and 30 frames per second. It shows the result on the screen where there
# is one, else counts frames; with OUTPUT it writes a file. Ctrl-C ends it, and the file is whole.
#
# A frame that the machine has no time for is left out before the filter, so that the delay never
# grows: the filter itself has none.
#
#   --seconds N     stop after N seconds of video (the test source only)
#   --weights FILE  --preset NAME  --device NAME  --precision NAME    properties of fenwickfilter;
#                   the preset is tiny unless preset or weights are given
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_more="seconds"
fenwick_options "$@"
seconds=${fenwick_option[seconds]:-}
case ${seconds:-1} in
  *[!0-9]* | 0*) fenwick_die "--seconds wants a number of 1 or more" ;;
esac

fenwick_setup
case " ${fenwick_properties[*]} " in
  *" preset="* | *" weights="*) ;;
  *) fenwick_properties+=(preset=tiny) ;;
esac

camera=${fenwick_arguments[0]:-test}
if [ "$camera" = test ]; then
  from=(videotestsrc is-live=true pattern=ball ${seconds:+"num-buffers=$((seconds * 30))"} !
    "video/x-raw,width=320,height=240,framerate=30/1")
else
  [ -c "$camera" ] || fenwick_die "no such camera: $camera"
  from=(v4l2src "device=$camera" ! decodebin ! videoconvert)
fi

if [ -n "${fenwick_arguments[1]:-}" ]; then
  to=(queue ! videoconvert ! avenc_ffv1 ! matroskamux ! filesink
    "location=${fenwick_arguments[1]}")
elif [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  to=(videoconvert ! autovideosink)
else
  to=(progressreport update-freq=1 format=time ! fakesink sync=true)
fi

fenwick_launch -e "${from[@]}" ! \
  queue leaky=downstream max-size-buffers=1 ! \
  fenwickfilter "${fenwick_properties[@]}" ! "${to[@]}"

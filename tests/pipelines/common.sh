# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034 # its variables are for the tests that source it
#
# Sourced by the tests of pipelines/. Meson gives FENWICK_BUILD; a test gets a folder of its own,
# $work, and runs there. GStreamer's leaks tracer is on, and any warning or leak ends a program
# with a signal.

: "${FENWICK_BUILD:?wants the build folder; meson test sets it}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scripts=$root/pipelines
FENWICK_BUILD=$(cd "$FENWICK_BUILD" && pwd)
export FENWICK_BUILD
export GST_TRACERS=leaks G_DEBUG=fatal_warnings OMP_WAIT_POLICY=passive
export GST_PLUGIN_PATH=$FENWICK_BUILD/plugin GST_REGISTRY=$FENWICK_BUILD/gstreamer-registry.bin
unset DISPLAY WAYLAND_DISPLAY

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

skip() {
  printf 'skipped: %s\n' "$*"
  exit 77
}

# quietly COMMAND ...: shows what it says only when it fails.
quietly() {
  local status=0
  "$@" >log.txt 2>&1 || status=$?
  if [ $status != 0 ]; then
    cat log.txt >&2
    fail "exit status $status of: $*"
  fi
}

# The whole line of video-digest, or one field of it: digest FILE [frames|width|sha256 ...].
digest() {
  local line
  line=$(timeout 120 "$FENWICK_BUILD/tests/pipelines/video-digest" "$1") ||
    fail "$1 cannot be read as video"
  if [ $# -gt 1 ]; then
    line=${line##*"$2="}
    line=${line%% *}
  fi
  printf '%s\n' "$line"
}

same() { # same WHAT A B
  [ "$2" = "$3" ] || fail "$1: $2 is not $3"
}

# A field of what quickstart.sh prints, from the file report.txt.
report() {
  sed -n "s|^$1  *||p" report.txt
}

# quickstart ARGUMENT ...: runs the script; its report goes to report.txt.
quickstart() {
  local status=0
  "$scripts/quickstart.sh" "$@" >report.txt 2>notes.txt || status=$?
  if [ $status != 0 ]; then
    cat notes.txt >&2
    fail "exit status $status of quickstart.sh $*"
  fi
}

# make_video FILE WIDTH HEIGHT FORMAT FRAMES: noise, as FFV1 or for tiny frames as plain video.
make_video() {
  local encoder=(avenc_ffv1)
  if [ "$2" -lt 4 ] || [ "$3" -lt 4 ]; then encoder=(identity); fi
  quietly gst-launch-1.0 -q videotestsrc num-buffers="$5" pattern=snow ! \
    "video/x-raw,format=$4,width=$2,height=$3,framerate=25/1" ! "${encoder[@]}" ! \
    matroskamux ! filesink location="$1"
}

# Weights without a zero in them, for the smallest network.
make_weights() {
  quietly "$FENWICK_BUILD/tests/random-weights" tiny 1 "$1"
}

# "width height" of a PNG.
png_size() {
  od -An -v -tu1 -j16 -N8 "$1" | awk '{print $3 * 256 + $4, $7 * 256 + $8}'
}

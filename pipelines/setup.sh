# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034 # its variables are for the scripts that source it
#
# Sourced by the scripts of pipelines/ and tests/: makes this machine ready, builds Fenwick and
# runs pipelines. Everything it does is one of these functions.
#
# Environment
#   FENWICK_BUILD    a build that is ready: nothing is installed or built then
#   FENWICK_INSTALL  "no": never install packages, say what is missing instead
#   FENWICK_JOBS     parallel compile jobs (ninja's own choice otherwise)

fenwick_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What it takes to build the elements and to run any script of pipelines/, on Debian.
fenwick_packages_build=(
  meson ninja-build pkg-config gcc libc6-dev libglib2.0-dev libjson-glib-dev libgstreamer1.0-dev
  libgstreamer-plugins-base1.0-dev libdnnl-dev check)
fenwick_packages_run=(
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-libav)

fenwick_say() {
  printf '%s\n' "$*" >&2
}

fenwick_die() {
  fenwick_say "${0##*/}: $*"
  exit 1
}

# The comment block on top of the script that runs: its help.
fenwick_help() {
  sed -n '3,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

fenwick_as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    return 127
  fi
}

# Installs those of the given Debian packages that are missing.
fenwick_install() {
  local package missing=()
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    return 0 # not Debian: meson names what it does not find
  fi
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "${FENWICK_INSTALL:-}" = no ]; then
    fenwick_die "these Debian packages are missing: ${missing[*]}"
  fi
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    fenwick_die "needs root or sudo to install these packages: ${missing[*]}"
  fi
  fenwick_say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local quiet=(-q -o Dpkg::Use-Pty=0)
  fenwick_as_root env DEBIAN_FRONTEND=noninteractive apt-get "${quiet[@]}" update >&2 ||
    fenwick_die "apt-get update failed; is there a network, and are you allowed to use it?"
  fenwick_as_root env DEBIAN_FRONTEND=noninteractive apt-get "${quiet[@]}" install -y \
    --no-install-recommends "${missing[@]}" >&2 ||
    fenwick_die "apt-get could not install: ${missing[*]}"
}

# fenwick_build DIR [ninja target ...]: configures DIR for release once, then builds.
fenwick_build() {
  local dir=$1
  shift
  if [ ! -f "$dir/build.ninja" ]; then
    meson setup "$dir" "$fenwick_root" --buildtype=release >&2 ||
      fenwick_die "meson could not configure $dir; its log is $dir/meson-logs/meson-log.txt"
  fi
  ninja -C "$dir" ${FENWICK_JOBS:+-j "$FENWICK_JOBS"} "$@" >&2 || fenwick_die "the build failed"
}

# fenwick_environment DIR: makes the elements built in DIR visible to GStreamer.
fenwick_environment() {
  export GST_PLUGIN_PATH="$1/plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
  # A cache of its own, so that no other build of the plugin can stand in for this one.
  export GST_REGISTRY="${GST_REGISTRY:-$1/gstreamer-registry.bin}"
}

# All of the above: afterwards fenwick_build_dir holds a build and GStreamer finds its elements.
fenwick_setup() {
  if [ -n "${FENWICK_BUILD:-}" ]; then
    fenwick_build_dir=$(cd "$FENWICK_BUILD" && pwd) || fenwick_die "no such folder: $FENWICK_BUILD"
  else
    fenwick_build_dir=$fenwick_root/build
    fenwick_install "${fenwick_packages_build[@]}" "${fenwick_packages_run[@]}"
    fenwick_build "$fenwick_build_dir" plugin/libgstfenwick.so pipelines/fenwick-run pipelines/embed
  fi
  fenwick_environment "$fenwick_build_dir"
}

# fenwick_options "$@": the options that all scripts share. Fills fenwick_properties (what to put
# behind an element: weights=FILE ...), fenwick_option (by name: those besides, whose names the
# script lists in fenwick_more) and fenwick_arguments (the rest).
fenwick_options() {
  local name value
  fenwick_properties=()
  fenwick_arguments=()
  declare -gA fenwick_option=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help)
        fenwick_help
        exit 0
        ;;
      --*=*)
        name=${1%%=*}
        value=${1#*=}
        ;;
      -*)
        [ $# -ge 2 ] || fenwick_die "option $1 is unknown or wants a value; see --help"
        name=$1
        value=$2
        shift
        ;;
      *)
        fenwick_arguments+=("$1")
        shift
        continue
        ;;
    esac
    shift
    case "${name#--}" in
      weights | preset | device | precision) fenwick_properties+=("${name#--}=$value") ;;
      *)
        case " ${fenwick_more:-} " in
          *" ${name#--} "*) fenwick_option[${name#--}]=$value ;;
          *) fenwick_die "unknown option $name; see --help" ;;
        esac
        ;;
    esac
  done
}

# fenwick_source [VIDEO]: fills fenwick_from with the elements that give raw video: a file's, or
# without one three seconds of a noisy moving scene.
fenwick_source() {
  if [ -n "${1:-}" ]; then
    [ -f "$1" ] || fenwick_die "no such file: $1"
    fenwick_from=(filesrc "location=$1" ! decodebin ! videoconvert)
    return
  fi
  local rate="video/x-raw,width=320,height=240,framerate=30/1"
  fenwick_from=(
    videotestsrc num-buffers=90 pattern=smpte100 horizontal-speed=2 ! "$rate" ! scene.sink_0
    videotestsrc num-buffers=90 pattern=ball motion=sweep ! "$rate" ! scene.sink_1
    videotestsrc num-buffers=90 pattern=snow ! "$rate" ! scene.sink_2
    compositor name=scene sink_1::alpha=0.5 sink_2::alpha=0.2 ! "$rate,format=I420" ! videoconvert)
}

# fenwick_launch ELEMENT ...: shows the gst-launch-1.0 line as one would type it, and runs it.
fenwick_launch() {
  local word line=gst-launch-1.0
  for word in "$@"; do
    case $word in
      *[!A-Za-z0-9_=:.,/!+-]*) line+=" '${word//\'/\'\\\'\'}'" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '%s\n' "$line"
  gst-launch-1.0 "$@"
}

# fenwick_train FOLDER ELEMENT ...: runs a line that trains, then draws its curves.
fenwick_train() {
  local folder=$1 status=0
  shift
  fenwick_launch -e "$@" || status=$?
  if [ -f "$folder/metrics.csv" ] && command -v python3 >/dev/null; then
    python3 "$fenwick_root/pipelines/plot-training.py" "$folder/metrics.csv" || true
  fi
  return $status
}

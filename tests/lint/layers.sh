#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Dependencies point downwards only: plugin -> model -> kernels. Checked in the sources, in the
# symbols of the static libraries, and in what the plugin asks the dynamic linker for.
#
#   layers.sh BUILD
set -uo pipefail
build=$(cd "${1:?wants the build folder}" && pwd) || exit 1
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# One header is everybody's: kernels/kn_size.h, checked arithmetic with no code behind it.

# includes FOLDER PATTERN: lines of a folder that include what the pattern matches
includes() {
  files "$1/*.c" "$1/*.h" "$1/*.cu" "$1/*.cuh" |
    xargs -0 -r grep -nP "^\s*#\s*include\s*[<\"]($2)" /dev/null |
    cut -d : -f 1,2
}

cuda='cuda|cudnn|cublas|nccl|nvrtc|driver_types'
dnnl='dnnl|oneapi'
objects "kernels/ knows only libc and threads" < <(
  includes kernels 'glib|gio|gobject|gst|json-glib|fw|gstfenwick')
objects "oneDNN belongs in kernels/cpu/" < <(includes kernels "$dnnl" | grep -v '^kernels/cpu/')
objects "CUDA belongs in kernels/cuda/" < <(includes kernels "$cuda" | grep -v '^kernels/cuda/')
objects "model/ knows only kn.h, GLib and json-glib" < <(
  includes model "gst|$dnnl|$cuda|kn_(?!size)|omp|pthread")
objects "plugin/ knows only fw.h and GStreamer" < <(
  includes plugin "$dnnl|$cuda|kn_(?!size)|json-glib|omp" | grep -v '^plugin/cuda/')
objects "pipelines/ uses GStreamer as any application" < <(includes pipelines "kn|fw|$dnnl|$cuda")

# A quoted header stands in the folder of its layer, or is the public one of the layer below.
quoted() { # quoted FOLDER PUBLIC-HEADER-BELOW
  local line header
  files "$1/*.c" "$1/*.h" |
    xargs -0 -r grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' /dev/null |
    while IFS= read -r line; do
      header=${line#*\"}
      header=${header%%\"*}
      [ "$header" = "$2" ] || [ "$header" = kn_size.h ] ||
        [ -n "$(find "$1" -name "${header##*/}" -print -quit)" ] ||
        printf '%s\n' "$line" | cut -d : -f 1,2
    done
}
objects "a header of another layer" < <(
  quoted kernels none
  quoted model kn.h
  quoted plugin fw.h
  quoted pipelines none)

# symbols LIBRARY defined|undefined
symbols() {
  [ -f "$build/$1" ] || printf 'missing-%s\n' "$1"
  nm -g "--$2-only" "$build/$1" 2>/dev/null | awk 'NF >= 2 && $(NF - 1) ~ /^[A-Zvw]$/ {print $NF}' |
    sort -u
}
outside() { grep -Ev "$1" || true; }

for library in kernels/libkn.a $(cd "$build" && echo kernels/cpu/libkn_*.a); do
  objects "defined in $library without the prefix kn_" < <(
    symbols "$library" defined | outside '^(kn_|\.gomp)')
  objects "wanted by $library from above" < <(
    symbols "$library" undefined | grep -E '^(fw_|gst_|g_|json_|missing-)')
done
objects "defined in model/libfw.a without the prefix fw_" < <(
  symbols model/libfw.a defined | outside '^fw_')
objects "wanted by model/libfw.a" < <(
  symbols model/libfw.a undefined | grep -E '^(gst_|dnnl_|omp_|cuda|cu[A-Z]|missing-)')
plugin=$build/plugin/libgstfenwick.so
objects "exported by the plugin" < <(
  nm -D --defined-only "$plugin" | awk '{print $NF}' | outside '^gst_plugin_fenwick_')
objects "asked of the dynamic linker by the plugin" < <(
  readelf -d "$plugin" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -E '^lib(cuda|cudart|cudnn|cublas|nccl|nvrtc|gstcuda|GL|EGL)')
finish

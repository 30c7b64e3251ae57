#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every header compiles alone: it includes what it needs, and guards itself.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

compiler=${CC:-cc}
command -v "${compiler%% *}" >/dev/null || skip "no C compiler"
read -ra flags < <(pkg-config --cflags glib-2.0 json-glib-1.0 gstreamer-1.0 gstreamer-base-1.0 \
  gstreamer-video-1.0) || skip "no development packages"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

while IFS= read -r -d '' header; do
  case $header in
    # Compiled several times over, inside the file that sets their parameters.
    *_tmpl.h) continue ;;
    *onednn*) printf '#include <dnnl.h>\n' | $compiler -E -x c - >/dev/null 2>&1 || continue ;;
  esac
  {
    printf '#include "%s"\n' "$PWD/$header"
    printf '#include "%s"\n' "$PWD/$header" # once more: the guard
    printf 'extern int nothing;\n'
  } >"$temporary/alone.c"
  # shellcheck disable=SC2086 # CC may hold options
  $compiler -std=c11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -Wno-unused-function \
    -Wno-unused-parameter -Wno-missing-field-initializers -march=native -fopenmp \
    -I kernels -I model -I plugin "${flags[@]}" "$temporary/alone.c" >"$temporary/log" 2>&1 || {
    cat "$temporary/log"
    objects "does not compile alone" <<<"$header"
  }
done < <(files kernels/'*.h' model/'*.h' plugin/'*.h' pipelines/'*.h')
finish

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What every text file keeps to: no tabs, no carriage returns, no trailing blanks, a newline at the
# end, no invisible characters, at most 100 columns of code, and a licence line on top of sources.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sources=('*.c' '*.h' '*.cu' '*.cuh' '*.sh' '*.py' '*meson.build' meson_options.txt .ci/run)
columns=100

# search PATTERN PATHSPEC ...: matching lines of text files as path:line
search() {
  local pattern=$1
  shift
  files "$@" | xargs -0 -r grep -InP -- "$pattern" /dev/null | cut -d : -f 1,2
}

objects "tab" < <(search '\t')
objects "carriage return" < <(search '\r')
objects "blank at the end" < <(search '[ ]$' | grep -v '^LICENSE:')
objects "invisible character" < <(search '\xe2\x80[\x8b-\x8f\xa8-\xae]|\xef\xbb\xbf|\xc2\xa0')
objects "more than $columns columns" < <(
  LC_ALL=C.UTF-8 search "^.{$((columns + 1))}" "${sources[@]}")

objects "no newline at the end" < <(
  files | xargs -0 -r grep -IlZ '' |
    while IFS= read -r -d '' file; do
      [ -z "$(tail -c 1 "$file")" ] || printf '%s\n' "$file"
    done)

objects "no SPDX-License-Identifier: LGPL-2.1-or-later in the first two lines" < <(
  files "${sources[@]}" |
    while IFS= read -r -d '' file; do
      head -n 2 "$file" | grep -q 'SPDX-License-Identifier: LGPL-2.1-or-later' ||
        printf '%s\n' "$file"
    done)
finish

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Nothing unfinished, nothing that ends the process of the application, nothing of one machine.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Brackets keep the patterns from finding themselves.
unfinished='\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K|place[h]older|not (yet )?imple[m]ented)\b'
ending='\b(abort|exit|_exit|quick_exit|assert|g_assert\w*|g_error|g_abort) ?\('
machine='(^|[^A-Za-z0-9_.-])/(wo[r]k|ho[m]e|ro[o]t|Use[r]s)/'

lines() { # lines PATTERN PATHSPEC ...
  local pattern=$1
  shift
  files "$@" | xargs -0 -r grep -InP -- "$pattern" /dev/null | cut -d : -f 1,2
}

objects "speaks of unfinished work" < <(lines "(?i)$unfinished" | grep -v '^LICENSE:')
objects "a path of one machine" < <(lines "$machine")
# static_assert() is checked by the compiler and ends nothing.
objects "would end the application's process" < <(
  lines "(?<!static_)$ending" kernels/'*.[ch]' kernels/'*.cu' model/'*.[ch]' plugin/'*.[ch]')
finish

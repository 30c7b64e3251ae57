# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Sourced by the checks of this folder. A check prints each thing it objects to on a line of its
# own, "path:line: what", and ends with finish.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
objections=0

# files [PATHSPEC ...]: the project's own files, NUL-separated; also where there is no git.
files() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard -- "$@" |
      while IFS= read -r -d '' file; do
        if [ -f "$file" ]; then printf '%s\0' "$file"; fi
      done
  else
    find . \( -name .git -o -name 'build*' \) -prune -o -type f -print0 |
      sed -z 's|^\./||' | select_by "$@"
  fi
}

# What git does with the few forms of pathspec used here: a folder, or *.suffix.
select_by() {
  local file spec
  while IFS= read -r -d '' file; do
    [ $# -gt 0 ] || printf '%s\0' "$file"
    for spec in "$@"; do
      # shellcheck disable=SC2254 # the pattern is meant as one
      case $file in
        $spec | $spec/*)
          printf '%s\0' "$file"
          break
          ;;
      esac
    done
  done
}

# objects WHY: reads lines, and objects to each.
objects() {
  local line
  while IFS= read -r line; do
    printf '%s: %s\n' "$line" "$1"
    objections=$((objections + 1))
  done
}

skip() {
  printf 'skipped: %s\n' "$*"
  exit 77
}

finish() {
  [ "$objections" = 0 ] || printf '%d objections\n' "$objections"
  [ "$objections" = 0 ]
}

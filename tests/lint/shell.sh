#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Shell scripts: bash can parse them, shellcheck has nothing to say, and they can be run.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scripts=('*.sh' .ci/run)
while IFS= read -r -d '' script; do
  bash -n "$script" || objections=$((objections + 1))
  case $script in
    */common.sh | */setup.sh) ;; # sourced
    *) [ -x "$script" ] || objects "cannot be run" <<<"$script" ;;
  esac
done < <(files "${scripts[@]}")

command -v shellcheck >/dev/null || skip "no shellcheck"
files "${scripts[@]}" | xargs -0 -r shellcheck -x -P SCRIPTDIR -f gcc ||
  objections=$((objections + 1))
finish

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# C is laid out as clang-format does it with the .clang-format of its folder. GStreamer's own style
# is more than clang-format can say, so plugin/ and its tests are not held to it.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=14 # Debian 12's: others break lines elsewhere
command -v clang-format >/dev/null || skip "no clang-format"
[[ $(clang-format --version) == *" $version."* ]] || skip "no clang-format $version"

objects "not as clang-format has it" < <(
  files '*.c' '*.h' | grep -zv -E '^(tests/)?plugin/' |
    xargs -0 -r clang-format --dry-run 2>&1 |
    sed -n 's/^\([^:]*:[0-9]*\):.*\[-Wclang-format-violations\]$/\1/p')
finish

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# docs/elements.md says what the elements say of themselves, and links in the docs lead somewhere.
#
#   docs.sh BUILD
set -uo pipefail
build=$(cd "${1:?wants the build folder}" && pwd) || exit 1
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Relative links of every page: [text](path) or [text](path#part).
while IFS= read -r -d '' page; do
  while IFS= read -r link; do
    path=${link%%#*}
    [ -z "$path" ] || [ -e "$(dirname "$page")/$path" ] || objects "leads nowhere: $link" <<<"$page"
  done < <(grep -oP '\]\(\K(?!https?:|mailto:)[^) ]+' "$page")
done < <(files '*.md')

# Names of operations and presets that the pages must not lag behind.
while IFS= read -r operation; do
  grep -q "\`$operation\`" docs/mathematics.md ||
    objects "has no word on the operation $operation" <<<docs/mathematics.md
done < <(sed -n 's/^    X(\([a-z_]*\), [A-Z_]*, [a-z_]*).*/\1/p' kernels/kn.h)

docs/make-elements.sh --check "$build"
status=$?
case $status in
  0) ;;
  77) [ "$objections" != 0 ] || exit 77 ;;
  *) objections=$((objections + 1)) ;;
esac
finish

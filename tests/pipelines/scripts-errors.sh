#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every script explains itself with --help, and refuses what it does not know.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for script in "$scripts"/*.sh; do
  name=${script##*/}
  [ "$name" != setup.sh ] || continue
  [ -x "$script" ] || fail "$name cannot be run"
  "$script" --help >help.txt || fail "$name --help"
  head -n 1 help.txt | grep -q "^$name " || fail "the help of $name does not begin with its name"
  if "$script" --nonsense value >log.txt 2>&1; then fail "$name accepts --nonsense"; fi
  if timeout 60 "$script" missing.mp4 >log.txt 2>&1; then fail "$name accepts a missing file"; fi
  grep -Eq 'no such (file|camera)' log.txt || fail "$name: $(cat log.txt)"
done

# embed tells what the pipeline tells.
if timeout 60 "$FENWICK_BUILD/pipelines/embed" --properties weights=missing.safetensors \
  >log.txt 2>&1; then
  fail "embed accepts missing weights"
fi
grep -q 'embed: .*missing.safetensors' log.txt || fail "embed: $(cat log.txt)"

# setup.sh says which packages it would have to install where it may not.
if FENWICK_INSTALL=no bash -c '. "$0"; fenwick_install bash no-such-package-as-this' \
  "$scripts/setup.sh" >log.txt 2>&1; then
  fail "a missing package goes unnoticed"
fi
if command -v dpkg-query >/dev/null; then
  grep -q 'missing: no-such-package-as-this$' log.txt || fail "setup.sh: $(cat log.txt)"
fi

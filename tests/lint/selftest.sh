#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The checks can fail: each is shown a small tree with the faults that it is there for.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{kernels,model,plugin,tests/lint,docs}
cp "$here"/*.sh "$tree/tests/lint"
cd "$tree" || exit 1
# The tree is no git repository, nor part of one.
export GIT_CEILING_DIRECTORIES=$tree
failures=0

spdx='/* SPDX-License-Identifier: LGPL-2.1-or-later */'

# finds CHECK PATTERN: the check must fail, and name what the pattern matches.
finds() {
  local check=$1 said
  shift
  if said=$(bash "tests/lint/$check.sh" "$tree" 2>&1); then
    printf '%s.sh passes with: %s\n' "$check" "$*"
    failures=$((failures + 1))
  elif ! grep -qE -- "$*" <<<"$said"; then
    printf '%s.sh does not say %s:\n%s\n' "$check" "$*" "$said"
    failures=$((failures + 1))
  fi
}

printf '%s\n\tint tab;\n' "$spdx" >kernels/tab.c
printf '%s\nint blank; \n' "$spdx" >kernels/blank.c
printf '%s\nint return_;\r\n' "$spdx" >kernels/return.c
printf '%s\nint end;' "$spdx" >kernels/end.c
printf '%s\nint %0100d;\n' "$spdx" 0 >kernels/long.c
printf 'int licence;\n' >kernels/licence.c
finds style 'kernels/tab.c:2: tab'
finds style 'kernels/blank.c:2: blank'
finds style 'kernels/return.c:2: carriage'
finds style 'kernels/end.c: no newline'
finds style 'kernels/long.c:2: more than'
finds style 'kernels/licence.c: no SPDX'

{
  printf '%s\nint f(void) {\n' "$spdx"
  yes '    f();' | head -n 121
  printf '}\n'
} >kernels/function.c
yes 'int x;' | head -n 1001 >kernels/file.c
finds size 'kernels/function.c:2: function'
finds size 'kernels/file.c:1001: more than'

printf 'TO''DO: more\n' >docs/words.md
printf 'int f(void) { exit(1); }\n' >model/ends.c
printf 'see /ho''me/someone/notes\n' >docs/place.md
finds words 'docs/words.md:1: speaks'
finds words 'model/ends.c:1: would end'
finds words 'docs/place.md:1: a path'

printf 'size_t without_stddef;\n' >kernels/alone.h
finds headers 'kernels/alone.h: does not compile'

printf '#!/bin/bash\nif then\n' >kernels/bad.sh
finds shell 'kernels/bad.sh'

printf '#include <glib.h>\n' >kernels/up.c
printf '#include "fw.h"\n' >kernels/above.c
printf '#include <gst/gst.h>\n' >model/up.c
printf '#include "kn_internal.h"\n' >plugin/deep.c
printf '#include <dnnl.h>\n' >model/dnnl.c
finds layers 'kernels/up.c:1: kernels'
finds layers 'kernels/above.c:1: '
finds layers 'model/up.c:1: model'
finds layers 'plugin/deep.c:1: plugin'
finds layers 'model/dnnl.c:1: model'
finds layers 'missing-kernels/libkn.a'

printf '[gone](nowhere.md)\n' >docs/links.md
finds docs 'docs/links.md: leads nowhere: nowhere.md'

[ $failures = 0 ]

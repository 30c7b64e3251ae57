#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Files and functions that fit into a head. Raising a number here wants a commit of its own.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

file_lines=1000     # every file of C
function_lines=120  # every function
product_lines=30000 # kernels/, model/ and plugin/ together

code=('*.c' '*.h' '*.cu' '*.cuh')
product=(kernels/'*.c' kernels/'*.h' kernels/'*.cu' kernels/'*.cuh'
  model/'*.c' model/'*.h' plugin/'*.c' plugin/'*.h')

# "lines path:line" of every function: from the line that opens its body, or its signature where
# both are one, to the closing brace in the first column.
functions() {
  # shellcheck disable=SC2016 # the dollars are awk's
  files "$@" | xargs -0 -r awk '
    FNR == 1 {start = 0}
    !start && /\{$/ && !/^[ \t]*[#*\/]/ {start = FNR}
    start && /^\}/ {if ($0 == "}") print FNR - start + 1, FILENAME ":" start; start = 0}
    start == FNR && /^\}/ {start = 0}'
}

objects "more than $file_lines lines" < <(
  files "${code[@]}" | xargs -0 -r wc -l |
    awk -v most="$file_lines" '$2 != "total" && $1 > most {print $2 ":" $1}')
objects "function of more than $function_lines lines" < <(
  functions "${code[@]}" | awk -v most="$function_lines" '$1 > most {print $2}')

total=$(files "${product[@]}" | xargs -0 -r cat | wc -l)
[ "$total" -le "$product_lines" ] ||
  objects "lines of product, more than $product_lines" <<<"$total"

printf 'product: %d lines; functions: ' "$total"
functions "${product[@]}" | sort -n |
  awk '{n[NR] = $1}
    END {printf "%d, median %d, 90%% up to %d, longest %d lines\n",
      NR, n[int((NR + 1) / 2)], n[int(NR * 0.9)], n[NR]}'
finish

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# resume.sh [FOLDER]
#
# Continues a run of train.sh from the newest checkpoint in its folder (./fenwick-training), with
# the same line. A run that was ended with Ctrl-C, killed, or cut off by a power failure gives the
# same weights in the end as one that was not.
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_options "$@"
[ ${#fenwick_properties[@]} = 0 ] || fenwick_die "the line of the run stays as it was; see --help"
folder=${fenwick_arguments[0]:-./fenwick-training}
[ -f "$folder/line" ] || fenwick_die "no such file: $folder/line, which train.sh writes"
folder=$(realpath -- "$folder")
fenwick_setup

line=()
while IFS= read -r -d '' word; do
  line+=("$word")
  if [ "$word" = fenwicktrain ]; then line+=(resume=true); fi
done <"$folder/line"
fenwick_train "$folder" "${line[@]}"

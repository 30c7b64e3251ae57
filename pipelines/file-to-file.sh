#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# file-to-file.sh [OPTION...] [VIDEO] [OUTPUT]
#
# The plainest pipeline: a file through fenwickfilter into a file (./fenwick-out.mkv), written out
# as the gst-launch-1.0 line that it is. Without VIDEO it makes a noisy moving scene.
#
#   --weights FILE  --preset NAME  --device NAME  --precision NAME    properties of fenwickfilter
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_options "$@"
fenwick_setup
fenwick_source "${fenwick_arguments[0]:-}"
fenwick_launch "${fenwick_from[@]}" ! \
  fenwickfilter "${fenwick_properties[@]}" ! \
  videoconvert ! avenc_ffv1 ! matroskamux ! \
  filesink "location=${fenwick_arguments[1]:-./fenwick-out.mkv}"

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# split.sh [OPTION...] [VIDEO] [OUTPUT]
#
# The filter's three parts as elements of their own: encoder, temporal model, decoder, each on a
# thread of its own. What comes out is bit for bit what fenwickfilter gives. Latents between them
# are other/tensors, so anything that understands those may stand there too.
#
#   --weights FILE  --preset NAME  --device NAME  --precision NAME    properties of all three
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_options "$@"
fenwick_setup
fenwick_source "${fenwick_arguments[0]:-}"
fenwick_launch "${fenwick_from[@]}" ! \
  fenwickenc "${fenwick_properties[@]}" ! queue ! \
  fenwickmodel "${fenwick_properties[@]}" ! queue ! \
  fenwickdec "${fenwick_properties[@]}" ! queue ! \
  videoconvert ! avenc_ffv1 ! matroskamux ! \
  filesink "location=${fenwick_arguments[1]:-./fenwick-out.mkv}"

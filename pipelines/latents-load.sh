#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latents-load.sh [OPTION...] [LATENTS] [OUTPUT]
#
# Latents that latents-save.sh wrote (./latents.gdp) through the temporal model and the decoder
# into a video (./fenwick-out.mkv). The weights must be those that the latents were made with.
#
#   --weights FILE  --preset NAME  --device NAME  --precision NAME    properties of both elements
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_options "$@"
fenwick_setup
latents=${fenwick_arguments[0]:-./latents.gdp}
[ -f "$latents" ] || fenwick_die "no such file: $latents"
fenwick_launch filesrc "location=$latents" ! gdpdepay ! \
  fenwickmodel "${fenwick_properties[@]}" ! \
  fenwickdec "${fenwick_properties[@]}" ! \
  videoconvert ! avenc_ffv1 ! matroskamux ! \
  filesink "location=${fenwick_arguments[1]:-./fenwick-out.mkv}"

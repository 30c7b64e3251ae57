#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latents-save.sh [OPTION...] [VIDEO] [LATENTS]
#
# Encodes a video into latents and keeps them in a GDP file (./latents.gdp), which stores caps and
# times as well. latents-load.sh turns it back into video.
#
#   --weights FILE  --preset NAME  --device NAME  --precision NAME    properties of fenwickenc
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_options "$@"
fenwick_setup
fenwick_source "${fenwick_arguments[0]:-}"
fenwick_launch "${fenwick_from[@]}" ! \
  fenwickenc "${fenwick_properties[@]}" ! \
  gdppay ! filesink "location=${fenwick_arguments[1]:-./latents.gdp}"

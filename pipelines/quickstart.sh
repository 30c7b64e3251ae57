#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# quickstart.sh [OPTION...] [VIDEO] [OUTPUT]
#
# Installs what is missing, builds Fenwick into build/, and sends VIDEO through the whole network
# into OUTPUT (./fenwick-out.mkv: FFV1 in Matroska, lossless), with a picture of input and output
# side by side next to it. Without VIDEO it makes a noisy moving scene itself.
#
#   --weights FILE       weights to use; without, the identity network of the preset runs
#   --preset NAME        thin (default), full, tiny, seed or large
#   --device NAME        auto (default), cpu, cuda or cuda:N
#   --precision NAME     auto (default), float32 or bfloat16
#   --frames N           stop after N frames
#   --size WIDTHxHEIGHT  of the scene that it makes (320x240)
#   --filter ELEMENTS    a gst-launch line in place of fenwickfilter
#
# On Debian it installs packages by itself and so wants root or sudo, once; FENWICK_INSTALL=no
# forbids that.
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

for argument in "$@"; do
  case $argument in
    -h | --help)
      fenwick_help
      exit 0
      ;;
  esac
done

fenwick_setup
exec "$fenwick_build_dir/pipelines/fenwick-run" "$@"

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# train.sh [OPTION...] VIDEO...
#
# Trains a network on videos, in one gst-launch-1.0 line that it shows first. The folder of the run
# gets weights.safetensors, checkpoints, metrics.csv and its curves, metrics.svg. Ctrl-C ends the
# run with its weights written; resume.sh continues it.
#
# Several videos, of any size and kind, are shown one after the other by concat, which cannot go
# back to the first: they must fit the reservoir, here half of the free memory, or the run ends with
# an error after the first pass. For more video than that see docs/training.md.
#
#   --output FOLDER       of the run (./fenwick-training)
#   --task NAME           restore (default), reconstruct or predict
#   --steps N             of the whole run (5000)
#   --properties "A=B C=D"  further properties of fenwicktrain: see docs/elements.md
#   --weights FILE  --preset NAME  --device NAME    the preset is tiny unless preset or weights are
#                   given
set -euo pipefail
# shellcheck source=pipelines/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

fenwick_more="output task steps properties"
fenwick_options "$@"
[ ${#fenwick_arguments[@]} -gt 0 ] || fenwick_die "wants at least one VIDEO; see --help"
videos=()
for video in "${fenwick_arguments[@]}"; do
  [ -f "$video" ] || fenwick_die "no such file: $video"
  videos+=("$(realpath -- "$video")")
done
fenwick_setup

folder=${fenwick_option[output]:-./fenwick-training}
if compgen -G "$folder/checkpoints/step-*.safetensors" >/dev/null; then
  fenwick_die "$folder holds a run already: pipelines/resume.sh continues it"
fi
mkdir -p -- "$folder"
folder=$(realpath -- "$folder")

case " ${fenwick_properties[*]} " in
  *" preset="* | *" weights="*) ;;
  *) fenwick_properties+=(preset=tiny) ;;
esac
read -ra more <<<"${fenwick_option[properties]:-}"
train=(fenwicktrain "location=$folder/weights.safetensors"
  "checkpoint-location=$folder/checkpoints" "metrics-location=$folder/metrics.csv"
  "task=${fenwick_option[task]:-restore}" "steps=${fenwick_option[steps]:-5000}"
  "${fenwick_properties[@]}" ${more[@]+"${more[@]}"})

if [ ${#videos[@]} = 1 ]; then
  line=(filesrc "location=${videos[0]}" ! decodebin ! videoconvert ! "${train[@]}")
else
  case " ${more[*]-} " in
    *" reservoir-bytes="*) ;;
    *)
      half=$(awk '/^MemAvailable/ {printf "%.0f", $2 * 512}' /proc/meminfo)
      train+=("reservoir-bytes=$half")
      ;;
  esac
  line=(concat name=videos ! "${train[@]}")
  for video in "${videos[@]}"; do
    line+=(filesrc "location=$video" ! decodebin ! videoconvert ! videos.)
  done
fi

# What resume.sh goes on with.
printf '%s\0' "${line[@]}" >"$folder/line"
rm -f -- "$folder/metrics.csv"
fenwick_train "$folder" "${line[@]}"

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What cannot work ends with one clear line, a status that is not 0, and no file.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

no_file() {
  if [ -e out.mkv ] || [ -e out.mkv.part ]; then fail "leaves a file: $*"; fi
}

# wants PATTERN ARGUMENT ...: quickstart.sh must fail, and its one line must hold PATTERN.
wants() {
  local pattern=$1 status=0
  shift
  timeout 60 "$scripts/quickstart.sh" "$@" >report.txt 2>notes.txt || status=$?
  [ "$status" = 1 ] || { cat notes.txt >&2; fail "status $status of quickstart.sh $*"; }
  sed -i '/: note: /d' notes.txt
  [ "$(wc -l <notes.txt)" = 1 ] || { cat notes.txt >&2; fail "not one line: $*"; }
  grep -Eqi -- "$pattern" notes.txt || fail "no $pattern in: $(cat notes.txt)"
  [ ! -s report.txt ] || fail "reports in spite of an error: $*"
  no_file "$*"
}

make_video good.mkv 64 48 I420 5
echo "no video, just words" >words.txt
: >empty.mp4
head -c 3000 /dev/urandom >noise.mp4
quietly gst-launch-1.0 -q audiotestsrc num-buffers=20 ! vorbisenc ! matroskamux ! \
  filesink location=sound.mkv
mkdir folder

wants 'missing.mp4: no such file' missing.mp4 out.mkv
wants 'words.txt: .*type of stream' words.txt out.mkv
wants 'empty.mp4: ' empty.mp4 out.mkv
wants 'noise.mp4: ' noise.mp4 out.mkv
wants 'sound.mkv: .*no video' sound.mkv out.mkv
wants 'folder: .*folder' folder out.mkv
wants 'would be overwritten' good.mkv good.mkv
wants 'open.*for writing|no such' good.mkv nowhere/out.mkv
wants 'unknown option' --nonsense good.mkv out.mkv
wants 'at most one' a b c
wants 'WIDTHxHEIGHT' --size 0x10 "" out.mkv
wants 'no element' --filter nonsense good.mkv out.mkv
wants 'preset' --preset nonsense good.mkv out.mkv
wants 'missing.safetensors' --weights missing.safetensors good.mkv out.mkv
wants 'words.txt' --weights words.txt good.mkv out.mkv
wants 'cuda|device' --device cuda good.mkv out.mkv
digest good.mkv >/dev/null

# An interruption leaves no file either, and says so.
"$scripts/quickstart.sh" --filter 'identity sleep-time=200000' "" out.mkv >report.txt 2>notes.txt &
process=$!
for ((i = 0; i < 100; i++)); do
  [ ! -s out.mkv.part ] || break
  sleep 0.1
done
status=0
kill -INT $process
wait $process || status=$?
same "status after an interruption" $status 130
grep -q interrupted notes.txt || fail "does not say that it was interrupted"
no_file "an interruption"

#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Nothing but the filter touches the samples: with a filter that does nothing the file holds what
# came in, in every format. And RGB, 4:4:4 and grey pass the identity network unchanged.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for format in I420 Y42B Y444 GRAY8 BGRx BGRA I420_10LE GRAY16_LE; do
  for size in 161x91 33x17; do
    make_video in.mkv "${size%x*}" "${size#*x}" "$format" 3
    quickstart --filter identity in.mkv out.mkv
    same "$format at $size" "$(digest out.mkv)" "$(digest in.mkv)"
    report PSNR | grep -q infinite || fail "PSNR of identity: $(report PSNR)"
  done
done

for format in Y444 GRAY8 BGRx GRAY16_LE Y444_10LE; do
  make_video in.mkv 33 17 "$format" 4
  quickstart --preset tiny --precision float32 in.mkv out.mkv
  same "identity network on $format" "$(digest out.mkv)" "$(digest in.mkv)"
done

# Interlaced video is made progressive: fenwickfilter takes no other.
quietly gst-launch-1.0 -q videotestsrc num-buffers=20 ! \
  video/x-raw,format=I420,width=64,height=48,framerate=50/1 ! interlace field-pattern=1:1 ! \
  matroskamux ! filesink location=in.mkv
quickstart --preset tiny in.mkv out.mkv
same "size of interlaced video" "$(report size)" "64x48 I420"

# A size that changes on the way, and frames without timestamps: the file keeps the first size.
for size in 64x48 81x61; do
  quietly gst-launch-1.0 -q videotestsrc num-buffers=5 ! \
    "video/x-raw,format=I420,width=${size%x*},height=${size#*x},framerate=25/1" ! jpegenc ! \
    multipartmux boundary=b ! filesink location="$size"
done
cat 64x48 81x61 >both
quickstart --preset tiny both out.mkv
same "frames of both sizes" "$(digest out.mkv frames)" 10
same "size of the file" "$(digest out.mkv width)x$(digest out.mkv height)" 64x48

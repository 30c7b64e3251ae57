#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# run.sh [OPTION...]
#
# The one command that makes sure: installs what is missing, builds into build/ (release) and
# build-asan/ (address and undefined-behaviour sanitizers, warnings as errors), and runs the tests
# of both. It ends with a line "N passed, N failed, N skipped", and with status 0 only when none
# failed.
#
#   --ci       also install what only the comparison with PyTorch needs, where ../shared is there
#   --quick    leave the sanitizers out
#   --slow     run the long tests too
#   -h, --help
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=pipelines/setup.sh
. "$here/../pipelines/setup.sh"

ci='' quick='' slow=''
for argument in "$@"; do
  case $argument in
    --ci) ci=1 ;;
    --quick) quick=1 ;;
    --slow) slow=1 ;;
    -h | --help)
      fenwick_help
      exit 0
      ;;
    *) fenwick_die "unknown option $argument; see --help" ;;
  esac
done

cd "$fenwick_root" || exit 1
build=$fenwick_root/build
asan=$fenwick_root/build-asan
logs=()    # of meson's test runs, to be counted
stages=()  # "seconds name"
failures=0 # stages that failed and are in no log

# With its checks in the code GCC 12 sees overflows and unset variables where there are none.
sanitized="-fno-sanitize-recover=all -Wno-error=stringop-overflow -Wno-error=maybe-uninitialized"

# Several tests at once on few processors: idle OpenMP threads must not spin.
export OMP_WAIT_POLICY=passive
# A busy machine is no failure.
export CK_TIMEOUT_MULTIPLIER=4
# A locale of the user's must not decide what is printed, nor an environment what is tested.
export LC_ALL=C.UTF-8
unset GST_PLUGIN_PATH GST_PLUGIN_PATH_1_0 GST_REGISTRY GST_REGISTRY_1_0
unset GST_DEBUG GST_TRACERS G_DEBUG

# stage NAME COMMAND ...: runs it, remembers how long it took, returns its status.
stage() {
  local name=$1 begin=$SECONDS status=0
  shift
  printf '\n==== %s\n' "$name"
  "$@" || status=$?
  stages+=("$((SECONDS - begin)) $name")
  return $status
}

# In a shell of its own, which it may leave.
install_packages() (
  packages=(shellcheck clang-format binutils)
  if [ -n "$ci" ] && [ -f ../shared/prototype/oracle.py ]; then
    packages+=(python3-torch python3-numpy)
  fi
  fenwick_install "${fenwick_packages_build[@]}" "${fenwick_packages_run[@]}" "${packages[@]}"
)

# configure DIR MESON-OPTION ...: also brings an older folder up to the options of today.
configure() {
  local dir=$1
  shift
  if [ -f "$dir/build.ninja" ]; then
    meson configure "$dir" "$@"
  else
    meson setup "$dir" "$fenwick_root" "$@"
  fi
}

compile() {
  local dir=$1
  shift
  configure "$dir" "$@" && ninja -C "$dir" ${FENWICK_JOBS:+-j "$FENWICK_JOBS"}
}

# run_tests DIR MESON-TEST-OPTION ...: failures are counted from the log.
run_tests() {
  local dir=$1
  shift
  logs+=("$dir/meson-logs/testlog.json")
  rm -f "$dir/meson-logs/testlog.json"
  meson test -C "$dir" --no-rebuild --print-errorlogs --timeout-multiplier 2 "$@"
  [ -s "$dir/meson-logs/testlog.json" ] # no log: no test ran, which is a failure of the stage
}

# Prints "N passed, N failed, N skipped" over all logs; $1 more have failed.
summary() {
  python3 - "$@" <<'PYTHON'
import json, sys
passed, failed, skipped = 0, int(sys.argv[1]), 0
for path in sys.argv[2:]:
    try:
        with open(path) as log:
            results = [json.loads(line) for line in log]
    except OSError:
        results = []
    for test in results:
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            passed += 1
        elif test["result"] in ("SKIP", "IGNORED"):
            skipped += 1
            print("skipped:", test["name"])
        else:
            failed += 1
            print("failed:", test["name"], "(%s)" % test["result"])
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(failed != 0)
PYTHON
}

main() {
  stage "install" install_packages </dev/null || {
    printf '\n0 passed, 1 failed, 0 skipped\n'
    exit 1
  }
  stage "build" compile "$build" -Dbuildtype=release -Dtests=true || failures=$((failures + 1))
  if [ "$failures" = 0 ]; then
    stage "tests" run_tests "$build" ${slow:---no-suite slow} || failures=$((failures + 1))
  fi
  if [ -z "$quick" ]; then
    stage "build with sanitizers" compile "$asan" -Dbuildtype=debugoptimized -Dtests=true \
      -Dwerror=true -Db_sanitize=address,undefined -Db_lundef=false -Dc_args="$sanitized" ||
      failures=$((failures + 1))
    if [ -f "$asan/build.ninja" ]; then
      stage "tests with sanitizers" sanitized_tests || failures=$((failures + 1))
    fi
  fi

  printf '\n'
  printf '%s\n' "${stages[@]}" | awk '{printf "%5d s  ", $1; $1 = ""; print substr($0, 2)}'
  summary "$failures" ${logs[@]+"${logs[@]}"}
}

# A sanitized plugin loads into sanitized processes only. So the tests look for plugins themselves,
# and should find few: those that the suites use, not all of the system's with their libraries.
sanitized_tests() {
  local name folder=$asan/system-plugins system
  system=$(pkg-config --variable=pluginsdir gstreamer-1.0)
  mkdir -p "$folder"
  for name in app coreelements coretracers deinterlace gdp typefindfunctions videoconvertscale \
    videorate videotestsrc; do
    ln -sf "$system/libgst$name.so" "$folder"
  done
  export GST_PLUGIN_SYSTEM_PATH_1_0=$folder GST_REGISTRY_FORK=no
  # Tests that set these themselves keep theirs. Memory that cannot be had is a case of some.
  export ASAN_OPTIONS=allocator_may_return_null=1
  export LSAN_OPTIONS="suppressions=$here/lsan.supp:print_suppressions=0"
  export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
  CK_TIMEOUT_MULTIPLIER=20 run_tests "$asan" --timeout-multiplier 6 --no-suite slow \
    --suite unit --suite kernel --suite elements
}

main

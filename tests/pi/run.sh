#!/bin/bash
# Runs the tests on an emulated Raspberry Pi, all or those named, and tells how long each took.
#
#   tests/pi/run.sh [TEST...]      for instance: tests/pi/run.sh vivid gpio_sim
set -euo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- gpio_sim raspi3b vivid loopback soak deb image
for test; do
    [ -x "./$test.sh" ] || { echo "run.sh: there is no test $test" >&2; exit 2; }
done
for test; do
    echo "== $test"
    start=$SECONDS
    "./$test.sh"
    echo "== $test passed after $((SECONDS - start)) s"
done

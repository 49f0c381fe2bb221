#!/bin/bash
# Runs tests built for a 64-bit Raspberry Pi under qemu-user, as a Pi 3 and a Pi 4 (Cortex-A53 and
# -A72, no dot product instructions) and as a Pi 5 (Cortex-A76). Arguments go to `cargo test`; without any, all
# unit tests run.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

if [ $# -eq 0 ]; then
    set -- --lib --bins
fi
for cpu in cortex-a53 cortex-a72 cortex-a76; do
    echo "== $cpu"
    QEMU_CPU=$cpu "$cross_cargo" test --locked --release --features pi --target "$cross_target" "$@"
done

#!/bin/bash
# Runs tests built for a 64-bit Raspberry Pi under qemu-user, as a Pi 3 and a Pi 4 (Cortex-A53 and
# -A72, no dot product instructions) and as a Pi 5 (Cortex-A76). Arguments go to `cargo test`; without
# any, all unit tests run, and the engine is held to tract on random and on whole networks, and to LiteRT
# on single operators.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

run() {
    local cpu=$1
    shift
    QEMU_CPU=$cpu "$cross_cargo" test --locked --release --target "$cross_target" "$@"
}
for cpu in cortex-a53 cortex-a72 cortex-a76; do
    echo "== $cpu"
    if [ $# -gt 0 ]; then
        run "$cpu" --features pi "$@"
    else
        run "$cpu" --features pi --lib --bins
        run "$cpu" --features lab --test engine_parity --test operators
    fi
done

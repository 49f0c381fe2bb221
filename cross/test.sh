#!/bin/bash
# Runs tests built for a 64-bit Raspberry Pi under qemu-user, as a Pi 3 (Cortex-A53, no dot product
# instructions; a Pi 4's Cortex-A72 has the same ones) and as a Pi 5 (Cortex-A76). Arguments go to `cargo
# test`; without any, the unit tests of what ships run, and the engine is held to tract on random and on
# whole networks, and to LiteRT on single operators.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

# With `lab`, of which these tests of the engine make their networks. Its own tests are the host's.
[ $# -gt 0 ] || set -- --features pi,lab --lib --bin mien --test engine_parity --test operators -- --skip lab::
for cpu in cortex-a53 cortex-a76; do
    echo "== $cpu"
    QEMU_CPU=$cpu "$cross_cargo" test --locked --release --target "$cross_target" "$@"
done

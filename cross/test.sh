#!/bin/bash
# Runs tests built for a 64-bit Raspberry Pi under qemu-user, as a Pi 3 (Cortex-A53, no dot product
# instructions; a Pi 4's Cortex-A72 has the same ones) and as a Pi 5 (Cortex-A76). Arguments go to `cargo
# test`; without any, the unit tests of what ships run, as a Pi 5 those of the engine, and the engine is held
# to tract on random and on whole networks, and to LiteRT on single operators.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

run() {
    local cpu=$1
    shift
    echo "== $cpu"
    QEMU_CPU=$cpu "$cross_cargo" test --locked --release --target "$cross_target" "$@"
}
if [ $# -gt 0 ]; then
    for cpu in cortex-a53 cortex-a76; do run $cpu "$@"; done
    exit
fi
# With `lab`, of which these tests of the engine make their networks. Its own tests are the host's.
networks=(--test engine_parity --test operators)
run cortex-a53 --features pi,lab --lib --bin mien "${networks[@]}" -- --skip lab::
# Of what else ships nothing goes by the CPU.
run cortex-a76 --features pi,lab --lib -- engine::
run cortex-a76 --features pi,lab "${networks[@]}"

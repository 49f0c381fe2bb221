#!/bin/bash
# Builds `mien` for a 64-bit Raspberry Pi with every device back end, as it ships. Prints the program's path.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

# By name alone: cargo would build all dependencies anew wherever this folder changes.
PATH=$PWD/cross:$PATH
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=lld-gcc.sh
# LLVM takes what occurs twice, and makes a function of it: also from what is compiled for speed, where it adds
# one instruction in 400 to what a frame takes. Not for less than 28 bytes, which the unwinder's tables need for each
# and LLVM does not count; and again, from what it made.
"$cross_cargo" rustc --locked --profile firmware --features pi --target "$cross_target" --bin mien \
    -- -C llvm-args="-enable-machine-outliner=always -outliner-benefit-threshold=28 -machine-outliner-reruns=3"
echo "${CARGO_TARGET_DIR:-target}/$cross_target/firmware/mien"

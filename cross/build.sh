#!/bin/bash
# Builds `mien` for a 64-bit Raspberry Pi with every device back end, as it ships. Prints the program's path.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

# By name alone: cargo would build all dependencies anew wherever this folder changes.
PATH=$PWD/cross:$PATH
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=lld-gcc.sh
"$cross_cargo" build --locked --profile firmware --features pi --target "$cross_target" --bin mien
echo "${CARGO_TARGET_DIR:-target}/$cross_target/firmware/mien"

#!/bin/bash
# Builds `mien` for a 64-bit Raspberry Pi with every device back end. Prints the program's path.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

"$cross_cargo" build --locked --release --features pi --target "$cross_target" --bin mien
echo "${CARGO_TARGET_DIR:-target}/$cross_target/release/mien"

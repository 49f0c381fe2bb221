#!/bin/bash
# Builds the firmware a second time, from a copy of the sources in another folder into another target
# folder, and compares both programs, less what debuggers read, to the byte. Dependencies are those of
# the first build; with --all they are built anew too, from a registry in another place.
#
#   cross/reproduce.sh [--all]
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

here=$(cross/build.sh | tail -n 1)
target=$(realpath "$(dirname "$here")/../..")
# Beside it, so that links save copies.
elsewhere=$(mktemp -d "$target-of-another-length-XXXXXX")
trap 'rm -rf "$elsewhere"' EXIT
mkdir "$elsewhere/sources" "$elsewhere/target"
git ls-files -z --cached --others --exclude-standard |
    xargs -0 cp --parents --target-directory "$elsewhere/sources"
if [ "${1:-}" = --all ]; then
    mkdir "$elsewhere/cargo"
    cp -r "${CARGO_HOME:-$HOME/.cargo}/registry" "$elsewhere/cargo"
    export CARGO_HOME=$elsewhere/cargo
else
    cp -rl "$target/$cross_target" "$target/firmware" "$elsewhere/target"
    # Links are to what will not be written again.
    find "$elsewhere/target" -depth \
        \( -name incremental -o -name '*mien*' -o -path "$elsewhere/target/*/examples" \) \
        -exec rm -rf {} +
fi
there=$(CARGO_TARGET_DIR=$elsewhere/target "$elsewhere/sources/cross/build.sh" | tail -n 1)
[ "$(stat -c %i "$here")" != "$(stat -c %i "$there")" ]
for program in "$here" "$there"; do
    cross_strip -o "$elsewhere/stripped" "$program"
    sha256sum <"$elsewhere/stripped"
done | tee "$elsewhere/sums"
if [ "$(sort -u "$elsewhere/sums" | wc -l)" != 1 ]; then
    echo "reproduce.sh: $here and the same from another folder differ; see rustc.sh" >&2
    exit 1
fi

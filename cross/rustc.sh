#!/bin/sh
# Stands before rustc, as RUSTC_WRAPPER in env.sh: takes the folders of this machine out of what is
# compiled for a Raspberry Pi, so that the same sources give the same bytes anywhere (reproduce.sh).
# Not by RUSTFLAGS: cargo would build all dependencies anew wherever these folders change. Where its
# registry lies, is there.
case " $* " in
*" --target aarch64-unknown-linux-gnu "*)
    sources=$(cd "$(dirname "$0")/.." && pwd)
    # The last that fits counts.
    set -- "$@" --remap-path-prefix="$sources=/mien" \
        --remap-path-prefix="${CARGO_TARGET_DIR:-$sources/target}=/target"
    # What cargo calls its folder of crates goes too: each file that can panic is named in the program, 24 kB.
    case $CARGO_MANIFEST_DIR in
    */registry/src/*) set -- "$@" --remap-path-prefix="${CARGO_MANIFEST_DIR%/*}=/crates" ;;
    esac
    exec "$@"
    ;;
*) exec "$@" ;;
esac

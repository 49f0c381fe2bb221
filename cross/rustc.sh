#!/bin/sh
# Stands before rustc, as RUSTC_WRAPPER in env.sh: takes the folders of this machine out of what is
# compiled for a Raspberry Pi, so that the same sources give the same bytes anywhere (reproduce.sh).
# Not by RUSTFLAGS: cargo would build all dependencies anew wherever these folders change. Where its
# registry lies, is there.
case " $* " in
*" --target aarch64-unknown-linux-gnu "*)
    sources=$(cd "$(dirname "$0")/.." && pwd)
    # The last that fits counts.
    exec "$@" --remap-path-prefix="$sources=/mien" \
        --remap-path-prefix="${CARGO_TARGET_DIR:-$sources/target}=/target"
    ;;
*) exec "$@" ;;
esac

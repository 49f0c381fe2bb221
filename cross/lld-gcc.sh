#!/bin/sh
# Links what ships: by the lld of Rust's own toolchain, which keeps one of functions that are the same, and
# packs relocations as glibc 2.36 can read them, half a megabyte less; where there is none (Debian's Rust), as
# any other program.
lld=$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld
[ -x "$lld/ld.lld" ] || exec aarch64-linux-gnu-gcc "$@"
exec aarch64-linux-gnu-gcc -fuse-ld=lld -B"$lld" -Wl,--icf=all -Wl,-z,pack-relative-relocs "$@"

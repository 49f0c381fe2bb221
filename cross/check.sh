#!/bin/bash
# Holds a firmware and the engine in it to a size, models included, and to what Raspberry Pi OS 12 has: no newer glibc than
# 2.36, no library that isn't on every Debian; and to naming no path of the building host.
#
#   cross/check.sh [--any-size] PROGRAM
set -euo pipefail
# Stripped, models and the clip included: below 10 MB.
limit_bytes=10000000
# The engine's functions and those of the crates that deal out its work, by their names: not stripped.
least_engine_bytes=100000
limit_engine_bytes=300000
max_glibc=2.36
libraries="ld-linux-aarch64.so.1 libc.so.6 libgcc_s.so.1 libm.so.6"

if [ "$1" = --any-size ]; then
    limit_bytes=
    shift
fi
program=$1
fail() { echo "check.sh: $program: $*" >&2; exit 1; }
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
aarch64-linux-gnu-strip --remove-section=.note.gnu.build-id -o "$stripped" "$program"

bytes=$(stat -c %s "$stripped")
[ -z "$limit_bytes" ] || [ "$bytes" -lt "$limit_bytes" ] || fail "$bytes bytes, not below $limit_bytes"

engine=$(aarch64-linux-gnu-nm -t d -S -C "$program" |
    awk '/mien::engine|rayon|crossbeam/ { bytes += $2 } END { print bytes + 0 }')
[ -z "$limit_bytes" ] || { [ "$engine" -gt $least_engine_bytes ] && [ "$engine" -lt $limit_engine_bytes ]; } ||
    fail "its engine has $engine bytes, not between $least_engine_bytes and $limit_engine_bytes"

# What is named is a version of glibc, or else what its loader must know; of this it is said here since when.
names=$(aarch64-linux-gnu-readelf --version-info "$stripped" |
    sed -n 's/.*Name: \(GLIBC_[^ ]*\) .*/\1/p' | sort -u)
[ -n "$names" ] || fail "it names no version of glibc"
versions=$(for name in $names; do
    case $name in
    GLIBC_[0-9]*) echo "${name#GLIBC_}" ;;
    GLIBC_ABI_DT_RELR) echo 2.36 ;;
    *) fail "it needs $name: which glibc has that is not said here" ;;
    esac
done)
glibc=$(sort -V <<<"$versions" | tail -n 1)
[ "$(printf '%s\n' "$glibc" $max_glibc | sort -V | tail -n 1)" = $max_glibc ] ||
    fail "it needs glibc $glibc, newer than $max_glibc"

needed=$(aarch64-linux-gnu-readelf --dynamic "$stripped" |
    sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | paste -s -d ' ')
for library in $needed; do
    [[ " $libraries " == *" $library "* ]] || fail "it needs $library"
done

texts=$(aarch64-linux-gnu-strings "$stripped")
paths=$(grep -F -e "$HOME/" -e "$PWD/" <<<"$texts") || [ $? = 1 ]
[ -z "$paths" ] || fail "it names folders of this machine, see rustc.sh: ${paths:0:300}"
echo "$program: $bytes bytes, engine $engine, glibc $glibc, $needed"

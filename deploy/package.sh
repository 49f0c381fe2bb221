#!/bin/bash
# Makes the Debian package for a 64-bit Raspberry Pi in target/debian, with what must go along: manual
# pages, shell completions, licences of everything inside, and a bill of materials. Prints its path.
#
# Needs what cross/build.sh does, and (cargo install) cargo-deb, cargo-about and cargo-cyclonedx.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/env.sh

firmware=$(cross/build.sh | tail -n 1)
cross/check.sh "$firmware" >&2

# The same sources give the same package: times in it are those of the last commit. Not before the build,
# of which some dependencies would begin anew at each commit.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

# Cargo.toml names these by this folder.
parts=target/package
rm -rf "$parts"
mkdir -p "$parts/man"
cross_strip -o "$parts/mien" "$firmware"
mien() { $CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER "$firmware" "$@"; }
mien man --dir "$parts/man"
for shell in bash zsh fish; do
    mien completions "$shell" >"$parts/completion.$shell"
done
# As installed, the journal has a place of its own.
sed 's|^directory = "mien-log"$|directory = "/var/lib/mien"|' deploy/config.toml >"$parts/config.toml"
grep -q '^directory = "/var/lib/mien"$' "$parts/config.toml"

# From the crates themselves, which must all be here.
cargo fetch --quiet --locked
cargo about generate --config deploy/about.toml --locked --offline --fail --features pi \
    --output-file "$parts/third-party.txt" deploy/about.hbs >&2
cargo cyclonedx --quiet --target "$cross_target" --features pi --format json \
    --override-filename mien.cdx >&2
# Less where this folder lies.
sed "s|file://$PWD|file:///mien|g" mien.cdx.json >"$parts/mien.cdx.json"
rm mien.cdx.json

cargo deb --locked --no-build --target "$cross_target" --output target/debian | tail -n 1

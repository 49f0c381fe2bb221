#!/bin/bash
# Makes the Debian package for a 64-bit Raspberry Pi in target/debian, with what must go along: manual
# pages, shell completions, licences of everything inside, and a bill of materials. Prints its path.
#
#   deploy/package.sh
#   MIEN_PROGRAM=target/aarch64-unknown-linux-gnu/release/mien deploy/package.sh
#
# The program is built by cross/build.sh, or is $MIEN_PROGRAM: one of these sources that was built with
# `--features pi`, by the tool `cross` say; it may be larger than what ships. Here it must run, by qemu-user.
#
# Needs what cross/build.sh does, and (cargo install) cargo-deb, cargo-about and cargo-cyclonedx.
set -euo pipefail
firmware=${MIEN_PROGRAM:+$(realpath "$MIEN_PROGRAM")}
cd "$(dirname "$0")/.."
. cross/env.sh

fail() { echo "package.sh: $*" >&2; exit 1; }

if [ -n "$firmware" ]; then
    cross/check.sh --any-size "$firmware" >&2
else
    firmware=$(cross/build.sh | tail -n 1)
    cross/check.sh "$firmware" >&2
fi

# The same sources give the same package: times in it are those of the last commit. Not before the build,
# of which some dependencies would begin anew at each commit.
[ -n "${SOURCE_DATE_EPOCH:-}" ] || SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# Cargo.toml names these by this folder.
parts=target/package
rm -rf "$parts"
mkdir -p "$parts"/{man,doc}
cross_strip -o "$parts/mien" "$firmware"
mien() { $CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER "$firmware" "$@"; }
mien config | cmp - deploy/config.toml || fail "$firmware is not of these sources"
# It says so itself: of cameras and MQTT in its texts, of each kind of pins where it is asked for such.
lacks=$(grep -a -o 'this `mien` was built without [A-Za-z]*' "$firmware") || [ $? = 1 ]
for backend in cdev rppal; do
    printf '[journal]\ndirectory = "%s"\n[leds]\nbackend = "%s"\n[leds.lines]\nhappy = 19\n' \
        "$PWD/$parts/log" $backend >"$parts/pins.toml"
    said=$(mien check --config "$parts/pins.toml") || [ $? = 1 ]
    lacks+=$(grep -o 'built without GPIO back end.*' <<<"$said") || [ $? = 1 ]
done
rm -rf "$parts"/{log,pins.toml}
[ -z "$lacks" ] || fail "$firmware was built without \`--features pi\`: $lacks"
mien man --dir "$parts/man"
for shell in bash zsh fish; do
    mien completions "$shell" >"$parts/completion.$shell"
done
# As installed, the journal has a place of its own.
sed 's|^directory = "mien-log"$|directory = "/var/lib/mien"|' deploy/config.toml >"$parts/config.toml"
grep -q '^directory = "/var/lib/mien"$' "$parts/config.toml"

# Links to what is not in the package tell where it lies instead.
for document in docs/{deploy,journal,kiosk,mqtt,update}.md models/mien-slim.card.md; do
    cp "$document" "$parts/doc"
done
cp docs/wiring.svg models/mien-slim.curve.png "$parts/doc"
for document in "$parts"/doc/*.md; do
    # Not to other places of the same document, nor to the web.
    for link in $(sed 's/](/\n](/g' "$document" | sed -n 's/^](\([^):#]\+\)[)#].*/\1/p' | sort -u); do
        [ -e "$parts/doc/$link" ] ||
            sed -i "s|\[\([^]]*\)\]($link[^)]*)|docs/${link##*/} in the source|g" "$document"
    done
done

# From the crates themselves, which must all be here.
cargo fetch --quiet --locked
cargo about generate --config deploy/about.toml --locked --offline --fail --features pi \
    --output-file "$parts/third-party.txt" deploy/about.hbs >&2
cargo cyclonedx --quiet --target "$cross_target" --features pi --format json \
    --override-filename mien.cdx >&2
# Less where this folder lies.
sed "s|file://$PWD|file:///mien|g" mien.cdx.json >"$parts/mien.cdx.json"
rm mien.cdx.json

package=$(cargo deb --locked --no-build --target "$cross_target" --output target/debian | tail -n 1)

# What cargo deb leaves out: the sums by which `dpkg --verify` finds what was changed since.
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
dpkg-deb -R "$package" "$unpacked"
(cd "$unpacked" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort -z |
    xargs -0 md5sum) >"$parts/md5sums"
install -m 644 "$parts/md5sums" "$unpacked/DEBIAN"
dpkg-deb --root-owner-group -Zxz -b "$unpacked" "$package" >/dev/null
realpath "$package"

#!/bin/bash
# Makes the card's image, and once more of the same packages, from a copy of the sources in another folder, and
# compares both to the byte. Prints the first one's path. That the package's program is the same from
# another folder too, cross/reproduce.sh shows.
#
#   deploy/image/reproduce.sh
#
# With MIEN_PACKAGE that is mien's package, else it is built.
#
# Needs what build.sh does.
set -euo pipefail
cd "$(dirname "$0")/../.."

package=${MIEN_PACKAGE:-$(deploy/package.sh | tail -n 1)}
here=$(deploy/image/build.sh "$package" | tail -n 1)
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
umask 077
export TZ=Asia/Tokyo
git ls-files -z --cached --others --exclude-standard |
    xargs -0 cp --parents --target-directory "$elsewhere"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
there=$("$elsewhere/deploy/image/build.sh" "$package" "$HOME/.cache/mien-ci/image/debs" | tail -n 1)
for file in .img .img.xz .packages; do
    cmp "${here%.img}$file" "${there%.img}$file"
done
sha256sum "$here" "$here.xz" >&2
echo "$here"

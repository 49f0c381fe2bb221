# Sourced: Debian 12 for arm64 from its packages. They are unpacked and recorded as installed; none of
# their maintainer scripts has run, which would take minutes of emulation.
#
#   debian_download FOLDER PACKAGE...   gets them, with all that they need, into FOLDER/debs
#   debian_unpack DEB ROOT              unpacks one
#
# Packages and versions are those of today's archive, where this machine's apt finds it. With MIEN_SUITE=trixie
# they are those of Debian 13.

# Packages without which dpkg doesn't work, by Debian's policy.
debian_essential="base-files base-passwd bash coreutils dash debianutils diffutils dpkg findutils grep
    gzip hostname init-system-helpers libc-bin login mawk mount passwd perl-base procps sed sysvinit-utils tar
    util-linux"

# This machine's own sources, where Debian's component main is joined by non-free-firmware: a Raspberry
# Pi doesn't start without the latter.
debian_sources() {
    local file
    rm -rf "$1"
    mkdir -p "$1"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        sed -E '/non-free-firmware/! s/^((deb |Components:).*\bmain\b)/\1 non-free-firmware/
            s/([: ])bookworm\b/\1'"${MIEN_SUITE:-bookworm}"'/g' "$file" >"$1/${file##*/}"
    done
}

debian_download() {
    local folder=$1 package name
    shift
    mkdir -p "$folder"/{debs,lists,none}/partial
    : >"$folder/status"
    debian_sources "$folder/sources"
    # apt as on a machine of that kind on which nothing is installed.
    local apt=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64
        -o APT::Sandbox::User= -o Dir::State::status="$folder/status"
        -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder"
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$folder/sources")
    "${apt[@]}" update
    # shellcheck disable=SC2206  # a list of words
    apt+=(--yes --no-install-recommends install "$@" $debian_essential)
    "${apt[@]}" --download-only -o Dir::Cache::archives="$folder/debs"
    # Less those of an earlier day. What is in no cache yet, apt would get.
    "${apt[@]}" --print-uris -o Dir::Cache::archives="$folder/none" |
        sed -n "s/^'.*' \([^ ]*\.deb\) .*/\1/p" >"$folder/wanted"
    for package in "$folder"/debs/*.deb; do
        name=${package##*/}
        grep -qxF "$name" "$folder/wanted" || rm "$package"
    done
}

# Less what nobody reads on a kiosk; who wrote what stays.
debian_unpack() {
    local package=$1 root=$2 name info=$2/var/lib/dpkg/info
    if [ ! -e "$root/bin" ]; then
        mkdir -p "$root"/usr/{bin,sbin,lib} "$info" "$root/var/lib/dpkg/updates"
        ln -s usr/bin usr/sbin usr/lib "$root"
    fi
    name=$(dpkg-deb -f "$package" Package)
    dpkg-deb --fsys-tarfile "$package" |
        tar -C "$root" -xv --keep-directory-symlink --no-same-owner \
            --exclude './usr/share/man/*' --exclude './usr/share/locale/*' --exclude './usr/share/perl/*' |
        sed 's|^\.||; s|/$||; s|^$|/.|' >"$info/$name.list"
    [ "$name" = mien ] ||
        find "$root/usr/share/doc" -path "*/doc/$name/*" ! -type d ! -name copyright -delete
    { dpkg-deb -f "$package" | sed '/^Package:/a Status: install ok installed' && echo; } \
        >>"$root/var/lib/dpkg/status"
}

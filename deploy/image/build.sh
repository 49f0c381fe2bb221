#!/bin/bash
# Makes the image of a card for Raspberry Pi 3 and 4, as docs/building.md has it, in target/image:
#
#   deploy/image/build.sh [PACKAGE [DEBS]]
#
#   mien-VERSION.img       the card, as tests boot it
#   mien-VERSION.img.xz    the same, to be published
#   mien-VERSION.packages  which Debian packages are in it
#   mien-imager.json       what Raspberry Pi Imager reads of it, and mien.svg, which it shows. These and the
#                          .xz are to lie in the folder $MIEN_IMAGE_URL; without that, they lie here
#
# Prints the first one's path. PACKAGE is mien's, and DEBS a folder with Debian's; without them, the former is
# built by deploy/package.sh, with the program $MIEN_PROGRAM if that is set, and today's of the latter are
# downloaded. The same packages and commit give the same bytes.
#
# Needs root, to be the files' owner; what deploy/package.sh needs; and (apt) squashfs-tools mtools dosfstools
# e2fsprogs fdisk kmod cpio zstd xz-utils systemd
set -euo pipefail
mien=${1:+$(realpath "$1")} debs=${2:+$(realpath "$2")}
cd "$(dirname "$0")/../.."
. deploy/image/debian.sh
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C TZ=UTC
umask 022

# Compressed.
max_bytes=400000000
# Where the partitions lie, in MiB; the first begins where cards like it. In all a power of two, as qemu
# wants it. A journal may take half of the data by default.
boot_at=4 root_at=132 data_at=512 end=1024
# Fixed names, which a random choice would make anew each time.
disk_id=6d69656e
data_id=6d69656e-0000-4000-8000-000000000001
hash_seed=6d69656e-0000-4000-8000-000000000002

packages="systemd systemd-sysv systemd-resolved systemd-timesyncd udev dbus kmod e2fsprogs busybox-static
    wpasupplicant wireless-regdb firmware-brcm80211 openssh-server linux-image-arm64 raspi-firmware"

# Of the kernel's modules, what no Raspberry Pi can have, or no kiosk needs.
no_modules="sound drivers/ata drivers/bluetooth drivers/gpu drivers/iio drivers/infiniband drivers/md
    drivers/media/dvb-frontends drivers/media/pci drivers/media/tuners drivers/net/ethernet/[!b]*
    drivers/net/wireless/[!b]* drivers/nvme drivers/scsi drivers/staging drivers/target fs/btrfs fs/ceph
    fs/gfs2 fs/nfs fs/nfsd fs/ocfs2 fs/smb fs/xfs net/bluetooth"
# What the initramfs loads: the card readers of Pi 3 and 4, what they get their power by, what starts a Pi
# anew, file systems.
early_modules="bcm2835 fixed gpio_regulator sdhci_iproc bcm2835_wdt vfat nls_cp437 nls_ascii squashfs
    crc32c_generic ext4 overlay"

fail() { echo "build.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "run it as root"

out=$PWD/target/image
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# --- the root -------------------------------------------------------------------------------

# Unpacks all packages, mien's last.
unpack() {
    local debs=$1 mien=$2 package
    for package in "$debs"/*.deb "$mien"; do debian_unpack "$package" "$root"; done
    kernel=$(ls "$root/lib/modules")
    mv "$root/boot/vmlinuz-$kernel" "$work/vmlinuz"
    rm -rf "${root:?}"/boot/*
}

# What maintainer scripts, and an installer, would have made.
set_up() {
    local unit wants=$root/etc/systemd/system/multi-user.target.wants
    # With the rights that they should have, whatever those of these sources are.
    tar -C deploy/image/root -c --mode u=rwX,go=rX . | tar -C "$root" -x --keep-directory-symlink
    systemd-sysusers --root="$root"
    # No password opens these; "!" would keep sshd from taking a key.
    sed -i 's/^\([^:]*\):[^:]*:[^:]*/\1:*:0/' "$root/etc/shadow"
    rm -f "$root"/etc/*-
    cp "$root/usr/share/base-files/profile" "$root/etc/profile"
    cp "$root/usr/share/openssh/sshd_config" "$root/etc/ssh/sshd_config"
    cp "$root/usr/share/libc-bin/nsswitch.conf" "$root/etc/nsswitch.conf"
    ln -sf mawk "$root/usr/bin/awk"
    ln -s busybox "$root/usr/bin/vi"
    ln -s regulatory.db-debian "$root/lib/firmware/regulatory.db"
    ln -s regulatory.db.p7s-debian "$root/lib/firmware/regulatory.db.p7s"
    ln -s /run "$root/var/run"
    ln -s /run/lock "$root/var/lock"
    ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
    mkdir -p "$root"/{boot,data/mien,data/systemd,dev,proc,run,sys,tmp} "$root"/var/lib/{mien,systemd}
    # Starting anew does not make what is made here.
    : >"$root/etc/.updated"
    : >"$root/var/.updated"

    # Nobody is there who might become another.
    find "$root" -perm /6000 -exec chmod a-s {} +

    rm -rf "$root"/etc/systemd/system/*.wants
    mkdir -p "$wants"
    for unit in systemd-networkd systemd-resolved systemd-timesyncd mien; do
        ln -s "/lib/systemd/system/$unit.service" "$wants"
    done
    ln -s /usr/share/systemd/tmp.mount "$root/etc/systemd/system"
    ln -s ../tmp.mount "$wants"
    ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    # Nobody can log in at a screen, nor answer what would be asked there.
    ln -s /dev/null "$root/etc/systemd/system/getty.target"
    ln -s /dev/null "$root/etc/systemd/system/systemd-firstboot.service"
}

# Removes modules that a Pi has no use for, and lists the others anew.
cut_modules() {
    local module
    for module in $no_modules; do
        # shellcheck disable=SC2086  # a pattern
        rm -rf "$root/lib/modules/$kernel/kernel"/$module
    done
    depmod -b "$root" "$kernel"
}

# --- the partitions -------------------------------------------------------------------------

# A file's or a folder's times are the commit's, and what packs it meets names in one order.
level() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

make_initramfs() {
    local folder=$work/initramfs modules=$work/initramfs/lib/modules/$kernel applet module
    mkdir -p "$folder"/{bin,dev,proc,sys,root} "$modules"
    cp "$root/bin/busybox" "$folder/bin"
    for applet in cat chroot findfs modprobe mount reboot sh sleep switch_root; do
        ln -s busybox "$folder/bin/$applet"
    done
    install -m 755 deploy/image/init "$folder"
    echo "$early_modules" >"$folder/modules"
    for module in $early_modules; do
        modprobe -d "$root" -S "$kernel" --show-depends "$module"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | xargs cp -t "$modules"
    cp "$root/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$modules"
    depmod -b "$folder" "$kernel"
    level "$folder"
    # As long as a multiple of four, so that another archive may follow.
    (cd "$folder" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) |
        zstd -q -19 -T1 >"$1"
    truncate -s %4 "$1"
}

make_boot() {
    local image=$1 folder=$work/boot firmware=$root/usr/lib/raspi-firmware
    mkdir "$folder"
    cp deploy/image/boot/* "$firmware"/{bootcode.bin,start.elf,fixup.dat,start4.elf,fixup4.dat} \
        "$root/usr/lib/linux-image-$kernel/broadcom"/bcm{2711,2837}-rpi-*.dtb "$folder"
    cp "$root/usr/share/doc/raspi-firmware/copyright" "$folder/LICENCE.raspi-firmware.txt"
    mv "$work/vmlinuz" "$folder/vmlinuz"
    make_initramfs "$folder/initrd"
    # mien's own, as its package has it, and [kiosk] before its first table.
    sed '0,/^\[/{/^\[/{
        r deploy/image/kiosk.toml
        N
    }}' "$root/etc/mien/config.toml" >"$folder/mien.toml"
    level "$folder"
    truncate -s $(((root_at - boot_at) * 1048576)) "$image"
    mkfs.vfat -F 32 -n MIEN-BOOT --invariant "$image" >/dev/null
    (cd "$folder" && mcopy -i "$image" -m -- * ::)
}

make_root() {
    rm -rf "$root/usr/lib/raspi-firmware" "$root/usr/lib/linux-image-$kernel"
    # mksquashfs refuses to be told a time twice.
    env -u SOURCE_DATE_EPOCH mksquashfs "$root" "$1" -quiet -no-progress -noappend -all-root -no-xattrs \
        -comp zstd -Xcompression-level 15 -mkfs-time "$SOURCE_DATE_EPOCH" -all-time "$SOURCE_DATE_EPOCH"
    [ "$(stat -c %s "$1")" -le $(((data_at - root_at) * 1048576)) ] || fail "the root is too large"
}

make_data() {
    truncate -s $(((end - data_at) * 1048576)) "$1"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -L mien-data -U $data_id -m 1 \
        -E hash_seed=$hash_seed,root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard "$1"
}

# Puts a partition's file at its place on the card.
place() { dd if="$1" of="$card" bs=1M seek="$2" conv=notrunc,sparse status=none; }

make_card() {
    make_boot "$work/boot.vfat"
    make_root "$work/root.squashfs"
    make_data "$work/data.ext4"
    rm -f "$card"
    truncate -s ${end}M "$card"
    sfdisk -q "$card" <<PARTITIONS
label: dos
label-id: 0x$disk_id
start=${boot_at}MiB, size=$((root_at - boot_at))MiB, type=c, bootable
start=${root_at}MiB, size=$((data_at - root_at))MiB, type=83
start=${data_at}MiB, size=$((end - data_at))MiB, type=83
PARTITIONS
    place "$work/boot.vfat" $boot_at
    place "$work/root.squashfs" $root_at
    place "$work/data.ext4" $data_at
}

# --- what Raspberry Pi Imager reads ---------------------------------------------------------

imager_json() {
    local compressed=$card.xz folder=${MIEN_IMAGE_URL:-file://$out}
    cat <<JSON
{
  "os_list": [
    {
      "name": "mien $version",
      "description": "A kiosk that reads facial expressions, for Raspberry Pi 3 and 4",
      "icon": "$folder/mien.svg",
      "url": "$folder/${compressed##*/}",
      "extract_size": $(stat -c %s "$card"),
      "extract_sha256": "$(sha256sum <"$card" | cut -d ' ' -f 1)",
      "image_download_size": $(stat -c %s "$compressed"),
      "image_download_sha256": "$(sha256sum <"$compressed" | cut -d ' ' -f 1)",
      "release_date": "$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)",
      "architecture": "armv8",
      "devices": ["pi3-64bit", "pi4-64bit"],
      "init_format": "none"
    }
  ]
}
JSON
}

# --------------------------------------------------------------------------------------------

[ -n "$mien" ] || mien=$(deploy/package.sh | tail -n 1)
if [ -z "$debs" ]; then
    debs=$HOME/.cache/mien-ci/image/debs
    # shellcheck disable=SC2086  # a list of words
    debian_download "${debs%/*}" $packages >&2
fi
version=$(dpkg-deb -f "$mien" Version)
version=${version%-*}
[ -n "${SOURCE_DATE_EPOCH:-}" ] || SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
card=$out/mien-$version.img
mkdir -p "$out"

unpack "$debs" "$mien"
set_up
cut_modules
make_card
# Most of it is compressed already. Two threads or more make the same bytes, one would not.
xz -k -f -0 -T2 "$card"
[ "$(stat -c %s "$card.xz")" -le $max_bytes ] || fail "$card.xz has more than $max_bytes bytes"
sed -n 's/^Package: //p; s/^Version: /\t/p' "$root/var/lib/dpkg/status" | paste -s -d '\0\n' |
    sort >"$out/mien-$version.packages"
cp deploy/image/mien.svg "$out"
imager_json >"$out/mien-imager.json"
echo "$card"

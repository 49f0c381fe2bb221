# Sourced after guest.sh: Debian 12 with systemd as the guest's system.
#
#   debian_make_root             gets it, unless it is there already
#   debian_start FOLDER          boots it; FOLDER is /test there, and FOLDER/run.sh is run as root by
#                                a unit of systemd's once all else is started
#
# As in other guests, guest_wait waits for the end and run.sh has `fail` and `within`.
#
# What Debian's maintainer scripts of systemd make, systemd makes itself at boot.

. deploy/image/debian.sh

# What is needed besides what each Debian has.
debian_packages="systemd systemd-sysv udev kmod mosquitto mosquitto-clients"

debian_make_root() {
    # Made anew where this recipe changes.
    local suite=${MIEN_SUITE:-bookworm}
    debian_image=$guest_cache/$suite-$(cat tests/pi/debian.sh deploy/image/debian.sh |
        sha256sum | cut -c 1-12).cpio
    [ ! -e "$debian_image" ] || return 0
    rm -f "$guest_cache/$suite"-*.cpio
    local work=$guest_folder/debian root=$guest_folder/debian/root package
    # shellcheck disable=SC2086  # a list of words
    debian_download "$work" $debian_packages
    for package in "$work"/debs/*.deb; do debian_unpack "$package" "$root"; done
    debian_set_up "$root"
    (cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$work/image"
    mv "$work/image" "$debian_image"
    rm -rf "$work"
}

# What Debian's maintainer scripts, and an installer, would have made.
debian_set_up() {
    local root=$1
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    # The account that mosquitto's package makes.
    echo 'mosquitto:x:900:900::/var/lib/mosquitto:/usr/sbin/nologin' >>"$root/etc/passwd"
    echo 'mosquitto:x:900:' >>"$root/etc/group"
    ln -sf mawk "$root/usr/bin/awk"
    ln -sf dash "$root/usr/bin/sh"
    echo kiosk >"$root/etc/hostname"
    echo '127.0.0.1 localhost kiosk' >"$root/etc/hosts"
    : >"$root/etc/machine-id"
    rm -rf "$root"/etc/systemd/system/*.wants
    mkdir -p "$root/test" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp"
    cat >"$root/etc/systemd/system/test.service" <<'UNIT'
[Unit]
Description=Runs the test
After=multi-user.target

[Service]
Type=oneshot
WorkingDirectory=/test
Environment=HOME=/root PATH=/usr/sbin:/usr/bin SYSTEMD_COLORS=0
ExecStart=/bin/sh -c 'echo "guest: ready after $(cut -d " " -f 1 /proc/uptime) s"; \
    sh -eu -c ". ./lib.sh; . ./run.sh"; echo "guest: status $?"; systemctl poweroff -ff'
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/console
TimeoutStartSec=infinity
UNIT
    # The console is the test's.
    ln -s /dev/null "$root/etc/systemd/system/serial-getty@ttyAMA0.service"
    mkdir -p "$root/etc/systemd/system/default.target.wants"
    ln -s ../test.service "$root/etc/systemd/system/default.target.wants/test.service"
    ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
}

debian_start() {
    local folder=$1
    cp "$debian_image" "$folder/debian.cpio"
    cat >"$folder/init" <<'INIT'
#!/bin/busybox sh
# Goes on in Debian, whose root must not be the initramfs itself: systemd moves roots.
mkdir /debian
mount -t tmpfs -o mode=755,size=600m root /debian
cd /debian && cpio -i </test/debian.cpio
rm /test/debian.cpio
cp -r /test/. /debian/test
cp /lib/test.sh /debian/test/lib.sh
cp /bin/pi_tools /debian/usr/bin
rm -rf /debian/lib/modules
cp -r /lib/modules /debian/lib/
umount /sys/kernel/config /sys /proc /dev
exec switch_root /debian /lib/systemd/systemd
INIT
    chmod +x "$folder/init"
    guest_start virt "$folder"
}

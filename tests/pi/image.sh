#!/bin/bash
# The image of a card on an emulated Raspberry Pi 3B, which boots its kernel and initramfs from it: set up as
# its owner would, by the one file on its FAT partition, it becomes a kiosk on a virtual camera, whose LEDs
# are read from outside; its root can't be written to, nobody can log in but by a key that was set; it
# takes an update; what is wrong in the file is told. Hard power cuts: the kiosk runs again, its
# journal has no damage, and all records but those of the last seconds: 5 as the product comes, and as it does
# at every second start; 1 at the others, which cuts more syncs.
#
#   tests/pi/image.sh
#
# With MIEN_POWER_CUTS there are so many, else 20; with MIEN_IMAGE that image is tried, else one is built.
#
# Needs (apt) what guest.sh and deploy/image/build.sh do.
set -euo pipefail
. "$(dirname "$0")/guest.sh"
. tests/pi/pins.sh
cuts=${MIEN_POWER_CUTS:-20}
# How long a sync may take on an emulated card.
sync_takes_s=1

export LC_ALL=C

image=${MIEN_IMAGE:-$(deploy/image/build.sh | tail -n 1)}
# The camera's module must be for the card's kernel.
if ! grep -q "^linux-image-$(cat "$guest_cache/debian/version" 2>/dev/null)"$'\t' "${image%.img}.packages"; then
    rm -rf "$guest_cache"/debian "$guest_cache"/files-*
fi
guest_make_files
guest_build_firmware

test=$guest_folder/card
card=$test/card.img
extra=$test/extra
mkdir -p "$extra/run/test" "$extra/run/udev/rules.d" "$extra/run/systemd/system/multi-user.target.wants"

# Copies a file from or to the card's FAT partition, which has no other place there.
fat() { mcopy -n -o -i "$card@@4M" "$@"; }

# --- what the test adds to the system -------------------------------------------------------

# Before the last line of the card's own script, the test's files go where systemd finds them.
cat >"$extra/test-init" <<'INIT'
#!/bin/busybox sh
/bin/busybox sed '/^exec switch_root/i cp -a /run/. /root/run/' /init >/init-and-test
exec /bin/busybox sh /init-and-test
INIT
chmod +x "$extra/test-init"
cat >"$extra/run/systemd/system/test.service" <<'UNIT'
[Unit]
Description=The test

[Service]
WorkingDirectory=/run/test
Environment=HOME=/root PATH=/usr/sbin:/usr/bin SYSTEMD_COLORS=0
ExecStart=/bin/sh -c 'sh -eu -c ". ./lib.sh; . ./run.sh"; echo "guest: status $?"'
StandardInput=tty-force
StandardOutput=tty
TTYPath=/dev/console
UNIT
ln -s ../test.service "$extra/run/systemd/system/multi-user.target.wants"
# The name that 99-mien.rules gives to USB cameras.
echo 'KERNEL=="video10", SYMLINK+="mien-camera"' >"$extra/run/udev/rules.d/test.rules"
from_base() { cpio --quiet -i --to-stdout "$1" <"$guest_files/base.cpio"; }
from_base lib/test.sh >"$extra/run/test/lib.sh"
from_base "lib/modules/$kernel/v4l2loopback.ko" >"$extra/run/test/v4l2loopback.ko"
cat >"$extra/run/test/run.sh" <<'GUEST'
show() {
    [ -z "$camera" ] || { kill $camera; wait $camera || true; }
    ./pi_tools flood /dev/video10 scenes/$1.png &
    camera=$!
}
camera=
property() { systemctl show --value --property="$1" "$2"; }
is_watching() { [ "$(property StatusText mien)" = watching ]; }
watches() { within 120 is_watching || { journalctl --no-pager -n 30 -u mien; fail "it does not watch"; }; }

# --- a system as it should be
system() {
    for path in /usr /bin/sh /; do
        ! touch $path/intruder 2>/dev/null || fail "$path can be written to"
    done
    [ "$(findmnt -n -o FSTYPE /) $(findmnt -n -o FSTYPE /data)" = "squashfs ext4" ] || fail "$(findmnt)"
    [ "$(hostname)" = hall-2 ] || fail "its name is $(hostname)"
    [ "$(property ActiveState ssh)" = inactive ] || fail "SSH is on"
    # Ports that are open to others than itself, in the kernel's words.
    ! awk '$4 == "0A" && $2 !~ /^......7F:/' /proc/net/tcp /proc/net/tcp6 | grep . || fail "open ports"
    # UDP has none that listen, but those that take from anyone. DHCP's client would, but here is no network.
    ! awk '$4 == "07" && $2 !~ /^......7F:/' /proc/net/udp /proc/net/udp6 | grep . || fail "open UDP ports"
    [ "$(cut -d : -f 2 /etc/shadow | sort -u)" = '*' ] || fail "an account has a password"
    [ -z "$(find / -xdev -perm /6000)" ] || fail "programs with another's rights: $(find / -xdev -perm /6000)"
    ! systemctl --no-pager --failed --no-legend --plain | grep . || fail "units have failed"
    ssh-keygen -q -t ed25519 -N '' -f /data/test-key
    echo "key: $(cat /data/test-key.pub)"
}

# --- the same with a key
ssh_in() { ssh -o StrictHostKeyChecking=no -o BatchMode=yes "$@" root@127.0.0.1 hostname; }
opens() {
    [ "$(ssh_in -i /data/test-key)" = hall-2 ] || fail "the key does not open it"
    ! ssh_in || fail "it opens without a key"
    [ "$(ssh -o StrictHostKeyChecking=no -o PreferredAuthentications=none root@127.0.0.1 2>&1 |
        grep -o 'Permission denied (.*)')" = 'Permission denied (publickey)' ] || fail "passwords are taken"
}

# --- another program
# It is on trial, which the first power cut interrupts; after the third it is taken back.
update() {
    install -o mien next next.minisig /tmp
    runuser -u mien -- mien update install /tmp/next --config /etc/mien/config.toml || fail "update"
    systemctl restart mien
    goes_on
}
goes_on() {
    watches
    readlink /proc/$(property MainPID mien)/exe | grep '^/var/lib/mien/updates/' ||
        fail "the update does not run: $(mien update status --config /etc/mien/config.toml)"
}

# --- other settings, beside the system that runs
settings() {
    mkdir etc image
    unshare --mount sh -eu -c '
        mount -t squashfs -o ro /dev/mmcblk0p2 image
        mount -t tmpfs etc etc && cp -a image/etc/. etc && mount --bind etc /etc
        mount -t tmpfs settings /run/settings
        mount -t tmpfs boot /boot
        cp wrong.toml /boot/mien.toml
        /usr/lib/mien/settings >/dev/null
        sed "s/^/problem: /" /boot/PROBLEM.txt
        [ ! -e /boot/sign.html ]
        # Where the data can not be written to, all but SSH is set.
        another() {
            mount -o remount,rw /boot
            cat >/boot/mien.toml
            rm -rf /run/settings/*
            /usr/lib/mien/settings >/dev/null 2>&1
        }
        key=$(cat /data/test-key.pub)
        mount -t tmpfs -o ro data /data
        sed "/^wifi_pasword/d; s|^# ssh_key = .*|ssh_key = \"$key\"|; s/^# camera = .*/camera = \"046d 0825\"/" \
            wrong.toml | another
        umount /data
        grep "takes no key for this machine: no SSH" /boot/PROBLEM.txt
        cmp /run/settings/config.toml /etc/mien/config.toml
        [ -s /boot/sign.html ]
        [ ! -e /etc/systemd/system/multi-user.target.wants/ssh.service ]
        # A camera that is none is told, and the usual one watched.
        grep "^mien.toml: camera is neither" /boot/PROBLEM.txt
        [ ! -e /etc/systemd/system/mien.service.d/camera.conf ]
        # Whatever stands there, or does not, it is told, and the system can start.
        rm /etc/machine-id
        another </dev/null
        grep "it is not there, or empty" /boot/PROBLEM.txt
        [ -s /etc/machine-id ]
        mount -o remount,rw /boot
        mkdir /boot/folder.pem
        echo | another
        grep deployment_context /boot/PROBLEM.txt
        sed "/^wifi_pasword/d; s|^# ssh_key = .*|ssh_key = \"${key%????????????????????????????????}\"|
            s/^# wifi_ssid = .*/wifi_ssid = \"123456789 123456789 123456789 123\"/
            s/^# mqtt_password = .*/mqtt_password = \"secret\"/; s/^backend = .*/backend = \"rppal\"/" \
            wrong.toml | another
        for word in "no whole public key" "more than 32 bytes" "without .mqtt." "rppal"; do
            grep "^mien.toml: .*$word" /boot/PROBLEM.txt
        done
        sed "/^wifi_pasword/d; s/^# mqtt_password = .*/mqtt_password = \"secret\"/; 1s/^/mqtt.host = \"broker\"\\n/" \
            wrong.toml | another
        cmp /usr/share/mien/mqtt.conf /etc/systemd/system/mien.service.d/mqtt.conf
        rm -r /etc/systemd/system/mien.service.d
        echo certificate >/run/ca.pem
        mount -o remount,rw /boot
        rm -r /boot/folder.pem
        cp /run/ca.pem /boot/ca.pem
        another <right.toml
        [ ! -e /boot/PROBLEM.txt ]
        [ -s /boot/sign.html ]
        sed "s/^/wifi: /" /etc/wpa_supplicant/wpa_supplicant-wlan0.conf
        [ -e /etc/systemd/system/multi-user.target.wants/wpa_supplicant@wlan0.service ]
        [ "$(stat -c %a:%G /etc/mien/mqtt-password) $(stat -c %a:%G /etc/mien/ca.pem)" = "600:root 640:mien" ]
        grep -x "ExecStart=/usr/bin/mien run --source usb:046d:0825 --config /etc/mien/config.toml" \
            /etc/systemd/system/mien.service.d/camera.conf
        systemd-analyze verify --man=no mien.service
        [ "$(cat /etc/mien/mqtt-password)" = "a \"secret\" \\" ]
        cmp /usr/share/mien/mqtt.conf /etc/systemd/system/mien.service.d/mqtt.conf
    ' || fail "that is not as it should be"
}

# --- a program that ends for good
fails() {
    mkdir -p /run/systemd/system/mien.service.d
    printf '[Service]\nExecStart=\nExecStart=/bin/sh -c "echo its last words; exit 2"\n' \
        >/run/systemd/system/mien.service.d/test.conf
    systemctl daemon-reload
    systemctl restart mien || true
    is_told() { grep -q "its last words" /boot/PROBLEM.txt; }
    within 60 is_told || { systemctl --no-pager status mien mien-problem; fail "the card does not tell of it"; }
    rm /run/systemd/system/mien.service.d/test.conf
    systemctl daemon-reload
    systemctl reset-failed mien
    systemctl start mien
    watches
}

stty -echo
modprobe videodev
insmod v4l2loopback.ko video_nr=10 exclusive_caps=1
show happy
mien journal check --dir /var/lib/mien || fail "the journal is damaged"
# What the service found damaged before that lies here.
[ -z "$(ls /var/lib/mien/quarantine 2>/dev/null)" ] || fail "the journal was damaged"
watches
echo "guest: ready after $(cut -d ' ' -f 1 /proc/uptime) s"
mien journal tail -n 1000000 -f --dir /var/lib/mien | sed -u 's/^/journal: /' &
while read -r asked argument; do
    $asked $argument
    echo "done: $asked${argument:+ $argument}"
done
GUEST

# --- the card -------------------------------------------------------------------------------

# Puts the card in and switches the power on; waits until the kiosk watches. On a busy machine qemu may
# stall for minutes (the guest's kernel then tells of a soft lockup): such a start is cut off, and tried again.
boot() {
    local try
    fat ::vmlinuz ::initrd ::bcm2837-rpi-3-b.dtb "$test"
    cat "$test/extra.cpio" >>"$test/initrd"
    for try in 1 2 3; do
        guest_run -M raspi3b -kernel "$test/vmlinuz" -initrd "$test/initrd" -dtb "$test/bcm2837-rpi-3-b.dtb" \
            -drive "if=sd,format=raw,file=$card" -serial null -serial stdio \
            -append "$(mtype -i "$card@@4M" ::cmdline.txt) console=ttyS1,115200 rdinit=/test-init loglevel=1 \
systemd.show_status=0"
        if (guest_expect "^guest: ready" 180); then
            guest_lines | grep "^guest: ready"
            return
        fi
        ! guest_lines | grep "^guest: status" >/dev/null || exit 1
        echo "== start $try was cut off"
        tried_again=$((tried_again + 1))
        cut_power
    done
    guest_fail "it did not start in 180 s, three times"
}

# The guest's memory is gone, and what it had not written to the card.
cut_power() {
    kill -9 "$guest_qemu"
    wait "$guest_qemu" 2>/dev/null || true
    guest_qemu=
}

# Has the guest do something.
ask() {
    guest_tell "$1"
    guest_expect "^done: $1\$" 240
}

# Sets how often the journal is synced.
sync_each() {
    sync_s=$1
    sed -i "s/^sync_period_s = .*/sync_period_s = $1.0/" "$test/mien.toml"
    fat "$test/mien.toml" ::
}

# Records that the guest has told of; the same in order, each after its age when the last one was written.
told() { guest_lines | sed -n 's/^journal: \({.*}\)$/\1/p' | sort -u; }
aged() {
    guest_lines | sed -n 's/^journal: \({.*"time_unix_s":\([0-9.]*\),.*}\)$/\2 \1/p' | tac |
        awk 'NR == 1 { last = $1 } { sub(/^[^ ]*/, last - $1); print }'
}
# Adds those that are too old to be lost, and all before them, to those that it must keep.
remember() {
    aged >"$test/aged"
    awk -v lost=$((sync_s + sync_takes_s)) '$1 > lost { keep = 1 } keep { sub(/^[^ ]* /, ""); print }' "$test/aged" |
        sort -u -o "$test/records" - "$test/records"
}
# Whether it tells of them all.
remembers() { [ -z "$(comm -23 "$test/records" <(told))" ]; }
# How many of those before are lost, and the age of the oldest.
lost() {
    told >"$test/told"
    grep -vFf "$test/told" "$test/aged" | awk '{ oldest = $1 } END { print NR " records, up to " oldest + 0 " s old" }'
}

pi_tools scenes models/demo.mjpeg "$extra/run/test/scenes"
aarch64-linux-gnu-strip --strip-debug -o "$extra/run/test/pi_tools" "$guest_tools"
# The next program: the card's, and a byte.
unsquashfs -offset $((132 << 20)) -cat "$image" usr/bin/mien >"$extra/run/test/next"
echo >>"$extra/run/test/next"
key=$(pi_tools sign "$extra/run/test/next")

cp --sparse=always "$image" "$card"
fat ::mien.toml "$test/mien.toml"
sed -i -e 's/^# deployment_context = .*/deployment_context = "test"/' -e 's/^# contact = /contact = /' \
    -e 's/^device = .*/device = "Hall_2"/' \
    -e 's/^# \(angry\|disgust\|fear\|happy\|sad\|surprise\|neutral\|face_seen\) = /\1 = /' \
    -e 's/^room_period_s = .*/room_period_s = 1.0/' -e 's/^# max_fps = .*/max_fps = 5.0/' \
    -e 's/^vitals_period_s = .*/vitals_period_s = 1/' \
    -e 's/^# \[update\]/[update]/' -e "s|^# key = .*|key = \"$key\"|" "$test/mien.toml"
# As it comes.
sync_each "$(sed -n 's/^sync_period_s = \([0-9]*\)\.0$/\1/p' "$test/mien.toml")"
[ "$sync_s" = 5 ] || guest_fail "docs/deploy.md says that the last 5 s may be lost, not $sync_s"
# Other files for other kiosks.
sed 's/^\[kiosk\]/&\nwifi_pasword = "secret"/' "$test/mien.toml" >"$extra/run/test/wrong.toml"
sed -e 's/^# \(wifi_country\) = .*/\1 = "CH"  # Switzerland/' -e 's/^# \(wifi_ssid\) = .*/\1 = "Café #1"/' \
    -e 's/^# \(camera\) = /\1 = /' -e 's/^# \(wifi_password\) = .*/\1 = '\''it is "secret"\\'\''/' \
    -e 's/^# \(mqtt_password\) = .*/\1 = '\''a "secret" \\'\''/' -e 's/^# \[mqtt\]/[mqtt]/' \
    -e 's/$/\r/' "$test/mien.toml" >"$extra/run/test/right.toml"
guest_pack "$extra" >"$test/extra.cpio"
: >"$test/records"
tried_again=0

# --- the test -------------------------------------------------------------------------------

echo "== the first start"
boot
await "happy face_seen"
for scene in sad surprise blank happy; do
    ask "show $scene"
    case $scene in
    blank) await "" ;;
    *) await "$scene face_seen" ;;
    esac
done
ask system
ask settings
guest_lines | grep '^problem: mien.toml: nothing of it is used:' &&
    guest_lines | grep '^problem: line [0-9]*, \[kiosk\]: there is no key `wifi_pasword`' ||
    guest_fail "what is wrong is not told"
guest_lines | grep '^wifi:   ssid=436166c3a9202331$' && guest_lines | grep '^wifi:   psk="it is "secret"\\"$' ||
    guest_fail "Wi-Fi is not set"
fat ::sign.html "$test"
grep -q 'Jane Doe' "$test/sign.html" || guest_fail "the sign does not say whose it is"
! fat ::PROBLEM.txt "$test" 2>/dev/null || guest_fail "$(cat "$test/PROBLEM.txt")"
ask fails
fat ::PROBLEM.txt "$test"
ask update
ssh_key=$(guest_lines | sed -n 's/^key: //p')

for cut in $(seq "$cuts"); do
    sleep "$((sync_s + RANDOM % 5)).$((RANDOM % 10))"
    cut_power
    remember
    [ -s "$test/records" ] || guest_fail "it told of no records"
    echo "== power cut $cut of $cuts, $(wc -l <"$test/records") records must be there"
    [ "$cut" != 1 ] || sed -i "s|^# ssh_key = .*|ssh_key = \"$ssh_key\"|" "$test/mien.toml"
    synced_s=$sync_s
    case $sync_s in
    1) sync_each 5 ;;
    *) sync_each 1 ;;
    esac
    boot
    deadline=$((SECONDS + 60))
    until remembers; do
        [ $SECONDS -lt $deadline ] || guest_fail "records are lost: $(comm -23 "$test/records" <(told))"
        sleep 0.5
    done
    echo "a sync each $synced_s s: lost are $(lost)"
    await "happy face_seen"
    if [ "$cut" = 1 ]; then
        ! fat ::PROBLEM.txt "$test" 2>/dev/null || guest_fail "of a good start it has a PROBLEM.txt"
        ask goes_on
        ask opens
    fi
done
echo "$cuts power cuts, $(told | wc -l) records, $tried_again starts tried again"

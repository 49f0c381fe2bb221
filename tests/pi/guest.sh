# Sourced by the tests beside it: an emulated Raspberry Pi that boots Debian's arm64 kernel and runs
# a test's script as root. See docs/emulated-pi.md.
#
#   guest_make_files            gets and builds what a guest is made of, unless it is there already
#   guest_build_firmware        builds mien and pi_tools for it
#   guest_start MACHINE FOLDER  boots FOLDER, whose run.sh is run; MACHINE is virt or raspi3b
#   guest_run OPTION...         boots what options of qemu's say
#   guest_wait SECONDS          waits for its end, shows what it printed, passes its status on
#   guest_expect PATTERN SECONDS  waits for a line of its console
#   guest_tell LINE             gives its script a line to read
#   guest_monitor COMMAND       asks qemu's monitor
#
# In the guest, FOLDER is /test and the working directory; its script has the functions `fail WHY`,
# `within SECONDS COMMAND` and `simulate_gpio`. Its console is kept in $guest_console.
#
# Needs (apt): qemu-system-arm qemu-user cpio kmod make socat xz-utils gcc-aarch64-linux-gnu
# libc6-dev-arm64-cross libclang1-14

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. cross/env.sh

PATH=$PATH:/usr/sbin:/sbin
guest_cache=$HOME/.cache/mien-ci/pi
guest_folder=$(mktemp -d)
guest_console=$guest_folder/console
guest_qemu=
trap guest_stop EXIT

# Says what is wrong, and what the guest said last.
guest_fail() {
    if [ -s "$guest_console" ]; then
        guest_lines | tail -n 30 | sed 's/^/    /' >&2
    fi
    echo "${0##*/}: $*" >&2
    exit 1
}

# Kills a guest that still runs.
guest_stop() {
    if [ -n "$guest_qemu" ]; then
        kill "$guest_qemu" 2>/dev/null || true
        wait "$guest_qemu" 2>/dev/null || true
    fi
    rm -rf "$guest_folder"
}

# --- what a guest is made of ----------------------------------------------------------------

# apt with package lists of its own, so that arm64's can be there without a change to the machine.
guest_apt() {
    local tool=$1 state=$guest_cache/apt
    shift
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    "$tool" -q -o Dir::State::lists="$state/lists" -o Dir::Cache="$state" \
        -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o APT::Sandbox::User= "$@"
}

# Unpacks Debian 12's arm64 kernel, what modules are built with, and busybox. Leaves the kernel's
# version in debian/version.
guest_get_debian() {
    local debian=$guest_cache/debian kernel version
    [ ! -e "$debian/version" ] || return 0
    rm -rf "$debian" "$guest_cache/debs"
    mkdir -p "$debian" "$guest_cache/debs"
    guest_apt apt-get -q update
    # The kernel of the day, by the package that depends on it.
    kernel=$(guest_apt apt-cache depends linux-image-arm64:arm64 |
        sed -n 's/^ *Depends: linux-image-\(.*-arm64\):arm64$/\1/p')
    [ -n "$kernel" ] || guest_fail "linux-image-arm64 depends on no kernel"
    # Debian signs kernels after it has published the rest: what builds modules may be a revision ahead.
    version=$(guest_apt apt-cache show --no-all-versions "linux-image-$kernel:arm64" |
        sed -n 's/^Version: //p')
    (cd "$guest_cache/debs" && guest_apt apt-get download "linux-image-$kernel:arm64=$version" \
        "linux-headers-$kernel:arm64=$version" "linux-headers-${kernel%-arm64}-common=$version" \
        linux-kbuild-6.1:amd64 "linux-source-6.1=$version" \
        busybox-static:arm64 v4l2loopback-dkms)
    for package in "$guest_cache"/debs/*.deb; do dpkg-deb -x "$package" "$debian"; done
    # Of the source, one module that Debian doesn't build.
    tar -C "$debian" -xf "$debian/usr/src/linux-source-6.1.tar.xz" --strip-components=1 \
        linux-source-6.1/drivers/gpio/gpio-sim.c linux-source-6.1/drivers/gpio/gpiolib.h \
        linux-source-6.1/kernel/irq/irq_sim.c
    rm -r "$guest_cache/debs" "$guest_cache/apt" "$debian/usr/src/linux-source-6.1.tar.xz"
    echo "$kernel" >"$debian/version"
}

# Builds the modules gpio-sim, irq_sim (which it needs) and v4l2loopback in the folder $1.
guest_build_modules() {
    local build=$1 debian=$guest_cache/debian
    local headers=$debian/usr/src/linux-headers-$kernel
    cp "$debian"/drivers/gpio/* "$debian"/kernel/irq/irq_sim.c \
        "$debian"/usr/src/v4l2loopback-*/*.[ch] "$build"
    # As a module irq_sim must do without a function that the kernel keeps to itself.
    sed -i -e 's/irq_to_desc(irqnum)/irq_data_to_desc(irq_get_irq_data(irqnum))/' \
        -e '1i #include <linux/module.h>' -e '$a MODULE_LICENSE("GPL");' "$build/irq_sim.c"
    echo 'obj-m := irq_sim.o gpio-sim.o v4l2loopback.o' >"$build/Kbuild"
    sed -i "s|^include /usr/|include $debian/usr/|" "$headers/Makefile"
    make -s -C "$headers" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- M="$build" modules
    "${CROSS_COMPILE:-aarch64-linux-gnu-}strip" --strip-debug "$build"/*.ko
}

# The guests' root as far as all tests share it: busybox, the C library, modules, init.
guest_make_root() {
    local root=$1 debian=$guest_cache/debian module
    local modules=$root/lib/modules/$kernel
    mkdir -p "$root"/{bin,dev,lib,proc,sys,tmp,test} "$modules"
    cp "$debian/bin/busybox" "$root/bin"
    cp "$cross_root"/lib/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6,libgcc_s.so.1} "$root/lib"
    [ -e "$debian/lib/modules/$kernel/modules.dep" ] || depmod -b "$debian" "$kernel"
    for module in vivid videodev videobuf2-v4l2 configfs bcm2835_wdt; do
        modprobe -d "$debian" -S "$kernel" --show-depends "$module"
    done | sed -n 's/^insmod //p' | sort -u | xargs cp -t "$modules"
    cp "$2"/*.ko "$modules"
    cp "$debian/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$modules"
    depmod -b "$root" "$kernel"
    cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
modprobe configfs && mount -t configfs configfs /sys/kernel/config
! grep -q raspberrypi /proc/device-tree/compatible || modprobe bcm2835_wdt
cd /test
# See debian.sh.
[ ! -x init ] || exec ./init
echo "guest: ready after $(cut -d ' ' -f 1 /proc/uptime) s"
sh -eu -c '. /lib/test.sh; . ./run.sh'
echo "guest: status $?"
poweroff -f
INIT
    chmod +x "$root/init"
    cat >"$root/lib/test.sh" <<'TEST'
fail() { echo "FAILED: $*"; exit 1; }

# Makes a GPIO chip with the label that a Raspberry Pi 4's has; $lines is its simulator's folder.
simulate_gpio() {
    modprobe gpio-sim
    chip=/sys/kernel/config/gpio-sim/pi
    mkdir -p $chip/bank
    echo 58 >$chip/bank/num_lines
    echo pinctrl-bcm2711 >$chip/bank/label
    echo 1 >$chip/live
    lines=/sys/devices/platform/$(cat $chip/dev_name)/$(cat $chip/bank/chip_name)
}

# Tries a command until it succeeds, for so many seconds. They only end what hangs: give many times what it takes.
within() {
    deadline=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt $deadline ] || return 1
        sleep 0.1
    done
}
TEST
}

# Packs the folder $1 as an initramfs, uncompressed: the emulated processor is slow to inflate it.
guest_pack() { (cd "$1" && find . | cpio --quiet -o -H newc -R 0:0); }

guest_make_files() {
    guest_get_debian
    kernel=$(cat "$guest_cache/debian/version")
    # Made anew where this recipe changes.
    guest_files=$guest_cache/files-$(sha256sum tests/pi/guest.sh | cut -c 1-12)
    [ ! -e "$guest_files/base.cpio" ] || return 0
    rm -rf "$guest_cache"/files-*
    local work
    work=$guest_folder/make
    mkdir -p "$work/modules" "$work/root" "$guest_files"
    guest_build_modules "$work/modules"
    guest_make_root "$work/root" "$work/modules"
    cp "$guest_cache/debian/boot/vmlinuz-$kernel" "$guest_files/kernel"
    cp "$guest_cache/debian/usr/lib/linux-image-$kernel/broadcom/bcm2837-rpi-3-b.dtb" "$guest_files"
    guest_pack "$work/root" >"$work/base.cpio"
    mv "$work/base.cpio" "$guest_files"
    rm -rf "$work"
}

# --- the firmware ---------------------------------------------------------------------------

guest_build_firmware() {
    guest_firmware=$(cross/build.sh | tail -n 1)
    "$cross_cargo" build --locked --release --features pi,lab --target "$cross_target" --example pi_tools
    guest_tools=${CARGO_TARGET_DIR:-target}/$cross_target/release/examples/pi_tools
}

# pi_tools on this machine.
pi_tools() { $CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER "$guest_tools" "$@"; }

# --- to run it ------------------------------------------------------------------------------

guest_start() {
    local machine=$1 initrd=$guest_folder/initrd extra=$guest_folder/extra
    rm -rf "$extra"
    mkdir -p "$extra/bin"
    # What is loaded of the program is what ships; only what debuggers read is left out.
    aarch64-linux-gnu-strip --strip-debug -o "$extra/bin/mien" "$guest_firmware"
    aarch64-linux-gnu-strip --strip-debug -o "$extra/bin/pi_tools" "$guest_tools"
    cp -r "$2" "$extra/test"
    { cat "$guest_files/base.cpio" && guest_pack "$extra"; } >"$initrd"

    local options=(-kernel "$guest_files/kernel" -initrd "$initrd")
    local arguments="quiet loglevel=3 panic=-1 rdinit=/init"
    case $machine in
    virt) options+=(-M "virt,gic-version=3" -cpu cortex-a72 -smp 2 -m 1024
        -serial stdio -append "console=ttyAMA0 $arguments") ;;
    # rppal needs /dev/mem, for the mainline kernel has no /dev/gpiomem.
    raspi3b) options+=(-M raspi3b -dtb "$guest_files/bcm2837-rpi-3-b.dtb" -serial null
        -serial stdio -append "console=ttyS1,115200 iomem=relaxed $arguments") ;;
    *) guest_fail "no machine $machine" ;;
    esac
    guest_run "${options[@]}"
}

guest_run() {
    [ -p "$guest_folder/input" ] || mkfifo "$guest_folder/input"
    : >"$guest_console"
    exec {guest_input}<>"$guest_folder/input"
    qemu-system-aarch64 -nographic -nodefaults -no-reboot -accel "tcg,thread=multi" \
        -monitor "unix:$guest_folder/monitor,server,nowait" "$@" \
        <&"$guest_input" >"$guest_console" 2>&1 &
    guest_qemu=$!
}

# What the console printed, less what is no text.
guest_lines() { tr -cd '\n\t -~' <"$guest_console"; }

# Waits up to $2 seconds for a line that matches the basic regular expression $1.
guest_expect() {
    local deadline=$((SECONDS + $2))
    until guest_lines | grep "$1" >/dev/null; do
        if [ $SECONDS -ge $deadline ] || ! kill -0 "$guest_qemu" 2>/dev/null ||
            guest_lines | grep '^guest: status [1-9]' >/dev/null; then
            guest_lines
            guest_fail "the guest did not say '$1' within $2 s"
        fi
        sleep 0.1
    done
}

guest_wait() {
    guest_expect '^guest: status ' "$1"
    guest_lines
    # It powers off in a moment; what it has to say is said.
    kill "$guest_qemu" 2>/dev/null || true
    wait "$guest_qemu" 2>/dev/null || true
    guest_qemu=
    return "$(guest_lines | sed -n 's/^guest: status //p')"
}

guest_tell() { echo "$1" >&"$guest_input"; }
guest_monitor() { echo "$1" | socat - "unix-connect:$guest_folder/monitor"; }

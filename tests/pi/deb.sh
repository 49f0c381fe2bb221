#!/bin/bash
# The Debian package on a Debian 12 with systemd, udev and an MQTT broker: it installs, its service
# refuses a configuration that says too little, waits for its camera, watches it and drives pins shut in
# as shipped, waits for one that is silent, is restarted by the watchdog where it hangs or its camera's driver
# does, and after a kill, and left alone where it dies at each start; is let out to the broker by its drop-in; an
# update proves itself, one that crashes is taken back; an upgrade keeps configuration and journal, removal
# darkens the LEDs, installing again says what to do, a purge leaves nothing.
#
#   tests/pi/deb.sh
#
# With MIEN_PACKAGE that package is tried, else one is built.
#
# Needs (apt) what guest.sh does, and what deploy/package.sh needs.
set -euo pipefail
. "$(dirname "$0")/guest.sh"
. tests/pi/debian.sh
guest_make_files
debian_make_root
guest_build_firmware
package=${MIEN_PACKAGE:-$(deploy/package.sh | tail -n 1)}

test=$guest_folder/deb
mkdir "$test"
cp "$package" "$test/mien.deb"
pi_tools scenes models/demo.mjpeg "$test/scenes"
# The next version, with another configuration as shipped.
dpkg-deb -R "$package" "$guest_folder/next"
sed -i 's/^Version: .*/&+next/' "$guest_folder/next/DEBIAN/control"
echo "# A new line." >>"$guest_folder/next/etc/mien/config.toml"
dpkg-deb -Zgzip -z1 --root-owner-group -b "$guest_folder/next" "$test/next.deb" >/dev/null

# Two programs that are not the one that is installed, but do what it does.
for name in better worse; do
    dpkg-deb --fsys-tarfile "$package" | tar -xO ./usr/bin/mien >"$test/$name"
    echo "$name" >>"$test/$name"
done
pi_tools sign "$test/better" "$test/worse" >"$test/key"

cat >"$test/run.sh" <<'GUEST'
install() { dpkg -i "$@" >dpkg.log 2>&1 || { cat dpkg.log; fail "dpkg -i $*"; }; }
show() { systemctl show --value --property="$1" mien; }
# The service is in this state …
is() { [ "$(show ActiveState)" = "$1" ]; }
# … with another process than $pid.
is_anew() { is active && [ "$(show MainPID)" != "$pid" ]; }
# Not by runuser, which wants PAM set up.
as_mien() { setpriv --reuid=mien --regid=mien --init-groups mien "$@"; }
records() { as_mien journal cat --dir /var/lib/mien; }
update() { as_mien update "$@" --config /etc/mien/config.toml; }
# The service runs the program of an update of this name.
runs_update() {
    is active && update status >status.log && grep -q "$1" status.log &&
        case $(readlink "/proc/$(show MainPID)/exe") in /var/lib/mien/updates/*) ;; *) false ;; esac
}
trouble() { journalctl --no-pager -n 30 -u mien; systemctl --no-pager status mien; fail "$*"; }

echo "== a camera and pins"
modprobe v4l2loopback video_nr=10 exclusive_caps=1
pi_tools flood /dev/video10 scenes/happy.png &
flood=$!
simulate_gpio
level() { cat "$lines/sim_gpio$1/value"; }
# Against what nobody drives: a dark LED's line is up, a lit one's down.
echo pull-up >"$lines/sim_gpio5/pull"
is_lit() { [ "$(level 5) $(level 19) $(level 21)" = "0 1 1" ]; }
is_free() { [ "$(level 5) $(level 19) $(level 21)" = "1 0 0" ]; }
is_free || fail "the pins are not as they should be"

echo "== install"
install mien.deb
grep -q 'set deployment_context' dpkg.log || fail "it does not say what to do next"
is inactive || fail "it was started before it was configured"
for group in video gpio; do
    id -nG mien | grep -qw $group || fail "mien is not in the group $group: $(id mien)"
done
# udev is told by the package, and does it in its own time.
belong_to() { [ "$(stat -c %G $2 | sort -u)" = $1 ]; }
within 120 belong_to gpio "/dev/gpiochip*" || fail "$(ls -l /dev/gpiochip*)"
within 120 belong_to video /dev/video10 || fail "$(ls -l /dev/video10)"
systemd-analyze verify --man=no mien.service || fail "the unit is not well"
mien --version

echo "== all is as packed, and no document links to what is not there"
# What it finds it prints, and succeeds all the same.
[ -z "$(dpkg --verify mien)" ] || fail "not what was packed: $(dpkg --verify mien)"
cp -p /usr/share/mien/mqtt.conf /tmp
echo >>/usr/share/mien/mqtt.conf
[ -n "$(dpkg --verify mien)" ] || fail "a file that was changed is not found"
mv /tmp/mqtt.conf /usr/share/mien
[ "$(wc -l </var/lib/dpkg/info/mien.md5sums)" -gt 20 ] || fail "there are no sums"
cd /usr/share/doc/mien
[ -s deploy.md ] || fail "there are no documents"
links() { sed 's/](/\n](/g' | sed -n 's/^](\([^):#]\+\)[)#].*/\1/p'; }
for link in $({ cat *.md && gzip -dc changelog*.gz; } | links); do
    [ -e "$link" ] || fail "a document links to $link"
done
cd /test

echo "== refused until it is said where it watches"
systemctl start mien && fail "it was started without a deployment context"
[ "$(show Result) $(show ExecMainStatus) $(show NRestarts)" = "exit-code 2 0" ] || trouble "restarted"
journalctl -u mien | grep -q 'set `deployment_context`' || trouble "nothing is said of it"

echo "== no camera yet"
sed -i -e 's/^# deployment_context = .*/deployment_context = "test"/' \
    -e 's/^# \(angry\|happy\|face_seen\) = /\1 = /' -e 's/^room_period_s = .*/room_period_s = 1.0/' \
    -e 's/^# max_fps = .*/max_fps = 5.0/' \
    /etc/mien/config.toml
[ ! -e /dev/mien-camera ] || fail "there is a camera already"
systemctl enable -q --now mien || trouble "it does not start without a camera"
pid=$(show MainPID)
# Longer than a service that has ended takes to be started again.
sleep 6
is active || trouble "$(show ActiveState)"
[ "$(show MainPID) $(show NRestarts)" = "$pid 0" ] || trouble "it was restarted"
[ "$(show StatusText)" = "no camera, opening it again" ] || trouble "status: $(show StatusText)"
journalctl -u mien | grep 'mien-camera.*plugged in.*opening it again' || trouble "nothing is said of it"

echo "== the service"
# The name that 99-mien.rules gives to USB cameras.
mkdir -p /run/udev/rules.d
echo 'KERNEL=="video10", SYMLINK+="mien-camera"' >/run/udev/rules.d/test.rules
udevadm control --reload
udevadm trigger --settle /dev/video10
[ /dev/mien-camera -ef /dev/video10 ] || fail "udev gives the camera no name"
is_watching() { [ "$(show StatusText)" = watching ]; }
within 60 is_watching || trouble "status: $(show StatusText)"
[ "$(show MainPID)" = "$pid" ] || trouble "it was restarted"
within 60 is_lit || trouble "the face's LEDs are not lit"
is_told() { records | grep -q '"appeared","expression":"happy"'; }
within 120 is_told || trouble "the face is not recorded: $(records)"
records | head -n 1 | grep '"deployment_context":"test"' || fail "the use is not recorded: $(records)"
[ "$(stat -c '%U %a' /var/lib/mien)" = "mien 750" ] || fail "$(ls -ld /var/lib/mien)"

echo "== what it can't do"
pid=$(show MainPID)
[ "$(stat -c %U /proc/$pid)" = mien ] || fail "it runs as $(stat -c %U /proc/$pid)"
# In its own namespaces, as it is shut in.
inside() { nsenter --target "$pid" --mount --net -- "$@"; }
inside sh -c 'echo >/etc/intruder' 2>/dev/null && fail "it can write to /etc"
[ "$(inside cat /proc/net/route | wc -l)" = 1 ] || fail "it has a route"
grep -q '^NoNewPrivs:.*1' /proc/$pid/status || fail "it may gain privileges"
grep -q '^CapBnd:.*0000000000000000' /proc/$pid/status || fail "$(grep Cap /proc/$pid/status)"
grep -q '^Seccomp:.*2' /proc/$pid/status || fail "system calls are not filtered"

echo "== check"
mien check --config /etc/mien/config.toml >check.log || true
cat check.log
grep -q '^service *ok *runs$' check.log || fail "check does not find the service"
grep -q '^use *note *test' check.log || fail "check does not find its use"

echo "== killed, it is back"
kill -9 "$pid"
within 60 is_anew || trouble "it is not restarted"

echo "== stuck, the watchdog ends it"
pid=$(show MainPID)
kill -STOP "$pid"
within 120 is_anew || trouble "the watchdog does nothing"
timeouts() { journalctl -u mien | grep -c 'Watchdog timeout' || true; }
[ "$(timeouts)" = 1 ] || trouble "it was not the watchdog"
within 60 is_lit || trouble "the face's LEDs are not lit"

echo "== a silent camera is waited for"
pid=$(show MainPID)
kill -STOP $flood
is_without() { [ "$(show StatusText)" = "no camera, opening it again" ]; }
within 60 is_without || trouble "status: $(show StatusText)"
# Longer than a camera's driver may hang.
sleep 95
[ "$(show MainPID)" = "$pid" ] && is_without || trouble "it was restarted, or sees something"
kill -CONT $flood
within 60 is_watching || trouble "status: $(show StatusText)"
[ "$(show MainPID)" = "$pid" ] || trouble "it was restarted"
within 60 is_lit || trouble "the face's LEDs are not lit"

echo "== its camera's driver hangs, the watchdog ends it"
# All threads but the main loop's are stopped by ptrace (system call 117): seized, then interrupted.
others() { ls /proc/$pid/task | grep -vx $pid; }
since=$(date +%s)
perl -e 'for my $thread (@ARGV) { for (0x4206, 0x4207) {
    syscall(117, $_, 0 + $thread, 0, 0) == 0 or die "ptrace $thread: $!\n"
} } sleep 600' $(others) &
tracer=$!
hangs() { for thread in $(others); do grep -q '^State:.*tracing stop' /proc/$pid/task/$thread/status || return; done; }
within 120 hangs || fail "its threads are not stopped"
stopped=$(date +%s)
within 300 is_anew || trouble "the watchdog does nothing"
kill $tracer
[ "$(timeouts)" = 2 ] || trouble "it was not the watchdog"
ended=$(journalctl -u mien -o short-unix | sed -n 's/^\([0-9]*\).*Watchdog timeout.*/\1/p' | tail -n 1)
echo "the watchdog ended it after $((ended - since)) s"
[ $((ended - since)) -ge 60 ] && [ $((ended - stopped)) -le 95 ] || fail "not after 60 to 90 s"
within 60 is_lit || trouble "the face's LEDs are not lit"

echo "== it dies at each start, and is left alone"
# At an interval of 5 s they are within the quarter of an hour in which they are counted. Neither that nor so many
# are waited for.
limits=$(systemctl show -p RestartUSec -p StartLimitIntervalUSec -p StartLimitBurst --value mien | sort | xargs)
[ "$limits" = "100 15min 5s" ] || fail "the unit's limits are $limits"
mkdir -p /run/systemd/system/mien.service.d
printf '[Unit]\nStartLimitBurst=10\n[Service]\nRestartSec=50ms\n' >/run/systemd/system/mien.service.d/test.conf
systemctl daemon-reload
systemctl reset-failed mien
mount --bind /bin/false /usr/bin/mien
systemctl restart mien || true
within 600 is failed || trouble "it is started on and on: $(show NRestarts) times"
[ "$(show NRestarts)" = 10 ] || trouble "it was restarted $(show NRestarts) times"
journalctl -u mien | grep -q 'Start request repeated too quickly' || trouble "it is not for the limit"
umount /usr/bin/mien
! systemctl start mien 2>/dev/null || trouble "it is started though it was left alone"
systemctl reset-failed mien
is inactive || trouble "reset-failed starts it"
systemctl start mien || trouble "it does not start again"
within 60 is_watching || trouble "status: $(show StatusText)"
rm /run/systemd/system/mien.service.d/test.conf
systemctl daemon-reload

echo "== let out to a broker"
printf 'listener 1883 127.0.0.1\nallow_anonymous true\n' >/tmp/mosquitto.conf
mosquitto -d -c /tmp/mosquitto.conf
mosquitto_sub -h 127.0.0.1 -i test -t 'mien/#' -v >mqtt.log &
printf '\n[mqtt]\nuser = "mien"\npassword_file = "/run/credentials/mien.service/mqtt-password"\n' \
    >>/etc/mien/config.toml
echo secret >/etc/mien/mqtt-password
chmod 600 /etc/mien/mqtt-password
mkdir /etc/systemd/system/mien.service.d
cp /usr/share/mien/mqtt.conf /etc/systemd/system/mien.service.d/
systemctl daemon-reload
systemctl restart mien || trouble "it does not start with a network"
within 60 grep -q '^mien/kiosk/kiosk .*"started"' mqtt.log ||
    { cat mqtt.log; trouble "the broker got nothing"; }

echo "== an update proves itself"
printf '\n[update]\nkey = "%s"\n' "$(cat key)" >>/etc/mien/config.toml
cp better* worse* /tmp
update install /tmp/better || fail "it is not installed"
systemctl restart mien || trouble "it does not start with an update"
within 120 runs_update "on trial  better" || { cat status.log; trouble "the update is not tried"; }
within 60 is_lit || trouble "the face's LEDs are not lit"
within 150 runs_update "in use    better" || { cat status.log; trouble "it does not prove itself"; }

echo "== an update that crashes is taken back"
update install /tmp/worse || fail "it is not installed"
systemctl restart mien || trouble "it does not start with an update"
for start in 1 2 3; do
    within 60 runs_update "on trial  worse.* $start of 3" || { cat status.log; trouble "start $start"; }
    pid=$(show MainPID)
    kill -9 "$pid"
    within 60 is_anew || trouble "it is not restarted"
done
within 120 runs_update "in use    better" || { cat status.log; trouble "the one before does not run"; }
grep -q "rejected  worse" status.log || { cat status.log; fail "it is not said why"; }
update roll-back program || fail "it does not go back"
systemctl restart mien
is_system_s() { is active && [ "$(readlink "/proc/$(show MainPID)/exe")" = /usr/bin/mien ]; }
within 120 is_system_s || trouble "the system's program does not run"

echo "== upgrade"
first=$(records | head -n 1)
cp /etc/mien/config.toml config.before
pid=$(show MainPID)
install --force-confold next.deb
dpkg-query -W mien
cmp config.before /etc/mien/config.toml || fail "the configuration was changed"
[ -e /etc/mien/config.toml.dpkg-dist ] || fail "the new configuration is nowhere"
within 120 is_anew || trouble "the new version does not run"
[ "$(records | head -n 1)" = "$first" ] || fail "the journal is another"
systemctl is-enabled -q mien || fail "it is no longer started at boot"

echo "== remove"
dpkg -r mien >dpkg.log 2>&1 || { cat dpkg.log; fail "dpkg -r"; }
is inactive || fail "it still runs"
within 120 is_free || fail "its lines are still driven"
[ ! -e /usr/bin/mien ] && [ ! -e /usr/lib/systemd/system/mien.service ] || fail "it is still there"
[ -e /etc/mien/config.toml ] && [ -n "$(ls /var/lib/mien)" ] || fail "configuration or journal are gone"

echo "== install again"
install --force-confold next.deb
grep -q 'systemctl enable --now mien' dpkg.log || fail "it does not say that it is not started at boot"
[ "$(systemctl is-enabled mien)" = disabled ] || fail "it is enabled by itself"
is inactive || fail "it is started by itself"

echo "== purge"
dpkg -P mien >dpkg.log 2>&1 || { cat dpkg.log; fail "dpkg -P"; }
rm -r /etc/systemd/system/mien.service.d
! getent passwd mien || fail "its user is still there"
find / -xdev -path /proc -prune -o -path /test -prune -o -name '*mien*' -print | grep -v ^/tmp >left || true
cat left
[ ! -s left ] || fail "the above are still there"
GUEST
debian_start "$test"
guest_wait 1800

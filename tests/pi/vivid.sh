#!/bin/bash
# The kernel's virtual camera vivid: every format that mien reads and vivid offers is captured and
# compared with the test pattern, also when buffers are dropped; mien goes on after each error that
# vivid can inject, and when another camera is plugged in; the camera's controls are set whenever it is
# opened, and what it lacks is warned about. A thousand reopenings leave nothing behind.
#
#   tests/pi/vivid.sh
set -euo pipefail
. "$(dirname "$0")/guest.sh"
guest_make_files
guest_build_firmware

test=$guest_folder/vivid
mkdir "$test"
cat >"$test/run.sh" <<'GUEST'
camera=/dev/video0
control() { pi_tools control $camera "$@"; }

# A webcam: 320x180 and more, 1 to 60 frames per second.
modprobe vivid n_devs=1 node_types=1 num_inputs=1 input_types=0

echo "== the test pattern"
pi_tools bars $camera
control dropped 50
pi_tools bars $camera >bars || fail "with buffers dropped"
control dropped 0
cat bars
grep -v ' 3 of 3 ' bars >/dev/null || fail "no buffer was dropped"

mien check --source $camera >checked || { cat checked; fail "mien check"; }
grep 'controls: .*Gain 0 to 255' checked || { cat checked; fail "mien check lists no controls"; }

echo "== opened and closed a thousand times"
pi_tools reopen $camera 1000

echo "== injected errors"
cat >config.toml <<'CONFIG'
deployment_context = "test"
[camera]
gain = 77
power_line_hz = 50
CONFIG
mien -v run --source $camera --config config.toml --log log >mien.out 2>>mien.log &
mien=$!

# What the journal has of the camera: lost, back, lost, …
states() { mien journal cat --dir log 2>/dev/null | grep -o 'camera_[a-z]*' | paste -s -d ' '; }
expected=
is_expected() { [ "$(states)" = "$expected" ]; }
says() { grep -q "$1" mien.log; }

# What is said of an error by which the camera is lost, to come back.
lost_and_back() {
    expected="$expected${expected:+ }camera_lost camera_back"
    within 120 is_expected || { cat mien.log; fail "the journal has '$(states)', not '$expected'"; }
    says "$1" || { cat mien.log; fail "nothing is said of '$1'"; }
    echo "survived: $1"
    : >mien.log
}

within 120 says 'the first frame came' || fail "it does not start: $(cat mien.log)"
control osd-text 2

says 'power_line_hz = 50 can.t be set: the camera has no such control, it offers .*Gain 0 to 255' ||
    { cat mien.log; fail "nothing is said of a control that is not there"; }
[ "$(pi_tools gain $camera)" = 77 ] || fail "the gain is $(pi_tools gain $camera), not 77"
pi_tools gain $camera 10

control corrupt
within 120 says 'is broken: the driver marks it as corrupt; skipped' ||
    fail "nothing is said of a corrupt buffer"
echo "survived: a corrupt buffer"

control disconnect
lost_and_back "the camera is gone: was it unplugged"
[ "$(pi_tools gain $camera)" = 77 ] || fail "plugged in again, the gain is $(pi_tools gain $camera)"
echo "set anew: gain 77"
control queue-error
lost_and_back "the camera is gone: was it unplugged? (Input/output error"
control refused-buffer
lost_and_back "the camera is gone: was it unplugged? (Invalid argument"
# These come when it is opened again.
for control in no-buffers no-start; do
    control $control
    control disconnect
    lost_and_back "it doesn't start (Invalid argument"
done
control dropped 100
sleep 4
control dropped 0
lost_and_back "no picture came within 2 s"

echo "== another camera"
until control disconnect && rmmod vivid 2>/dev/null; do sleep 0.05; done
sleep 1
# A television card that scales nothing.
modprobe vivid n_devs=1 node_types=1 num_inputs=1 input_types=1 ccs_cap_mode=0
lost_and_back "Layout { format: Grey, width: 720, height: 576"

kill $mien
wait $mien || fail "status $?"
cat mien.out
grep -q ' 1 broken' mien.out || fail "another number of frames was broken"
GUEST
guest_start virt "$test"
guest_wait 1800

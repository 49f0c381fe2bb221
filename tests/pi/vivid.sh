#!/bin/bash
# The kernel's virtual camera vivid: every format that mien reads and vivid offers is captured and
# compared with the test pattern, also when buffers are dropped; mien goes on after each error that
# vivid can inject, and when another camera is plugged in.
#
#   tests/pi/vivid.sh
set -euo pipefail
. "$(dirname "$0")/guest.sh"
guest_make_files
guest_build_firmware

test=$guest_folder/vivid
mkdir "$test"
cat >"$test/run.sh" <<'GUEST'
fail() { echo "FAILED: $*"; cat mien.log; exit 1; }

camera=/dev/video0
control() { pi_tools control $camera "$@"; }

# A webcam: 320x180 and more, 1 to 60 frames per second.
modprobe vivid n_devs=1 node_types=1 num_inputs=1 input_types=0

echo "== the test pattern"
pi_tools bars $camera
control dropped 50
pi_tools bars $camera
control dropped 0

echo "== injected errors"
mien -v run --source $camera --log log >mien.out 2>>mien.log &
mien=$!

# The journal's states of the camera, once it has so many of them.
await_states() {
    tries=0
    until states=$(mien journal cat --dir log 2>/dev/null | grep -o 'camera_[a-z]*' | paste -s -d ' ') &&
        [ "$(echo $states | wc -w)" -ge "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "the journal has only '$states'"
        kill -0 $mien || fail "mien ended"
        sleep 0.1
    done
}
expected=
# What is said of an error, and that the camera is lost by it and comes back.
lost_and_back() {
    expected="$expected${expected:+ }camera_lost camera_back"
    await_states "$(echo $expected | wc -w)"
    [ "$states" = "$expected" ] || fail "the journal has '$states'"
    grep -q "$1" mien.log || fail "nothing is said of '$1'"
    echo "survived: $1"
    : >mien.log
}

tries=0
until grep -q watching mien.log; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "it does not start"
    sleep 0.1
done
control osd-text 2

control corrupt
tries=0
until grep -q 'is broken: the driver marks it as corrupt; skipped' mien.log; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || fail "nothing is said of a corrupt buffer"
    sleep 0.1
done
echo "survived: a corrupt buffer"

control disconnect
lost_and_back "the camera is gone: was it unplugged"
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
guest_wait 240

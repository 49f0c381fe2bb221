#!/bin/bash
# A soak: one run of mien gets 10,000 frames and more, and its camera is taken away and put back 50 times,
# between a fast loopback camera and the kernel's virtual one. At the end it holds as many descriptors
# and threads as at its beginning, and as much memory, within half a megabyte.
#
#   tests/pi/soak.sh
set -euo pipefail
. "$(dirname "$0")/guest.sh"
guest_make_files
guest_build_firmware

test=$guest_folder/soak
pi_tools scenes models/demo.mjpeg "$test/scenes"
cat >"$test/run.sh" <<'GUEST'
frames=10000
removals=50
# Until here what is allocated once is: the camera's buffers, the room for the stages' times.
warm_frames=4500
warm_removals=5
# For pages that the allocator keeps, kB.
tolerance_kb=512

modprobe v4l2loopback video_nr=10 exclusive_caps=1
modprobe vivid n_devs=1 node_types=1 num_inputs=1 input_types=0
# What mien opens is whichever of the two this name stands for.
mkdir -p /dev/v4l
fast=/dev/video10
removable=/dev/video0
plug_in() { ln -sfn $1 /dev/v4l/camera; }
flood() {
    pi_tools flood $fast scenes/happy.png &
    flood=$!
}

cat >config.toml <<'CONFIG'
deployment_context = "test"
[camera]
fps = 60.0
[leds]
backend = "none"
[journal]
vitals_period_s = 1
sync_period_s = 1.0
CONFIG
plug_in $fast
flood
mien -v run --source /dev/v4l/camera --config config.toml --log log >mien.out 2>mien.log &
mien=$!

had() { mien journal cat --dir log --topic 'mien/+/vitals' 2>/dev/null |
    sed 's/.*"counts":\[\([0-9]*\).*/\1/' | awk '{ sum += $1 } END { print sum + 0 }'; }
# Asking takes the emulated processor long.
has_more() { sleep 2 && now=$(had) && [ $now -gt $seen ]; }
# However slow they come, as long as they do.
await_frames() {
    seen=$(had)
    until [ $seen -ge $1 ]; do
        within 60 has_more || { tail mien.log; fail "after $seen of $1 frames no more came"; }
        seen=$now
    done
    echo "frames: $seen"
}

back=0
is_back() { [ "$(grep -c 'the camera gives frames again' mien.log)" -eq $back ]; }
await_back() {
    back=$((back + 1))
    within 120 is_back || { tail mien.log; fail "the camera does not come back"; }
}
remove() {
    pi_tools control $removable disconnect
    await_back
}

# Descriptors, threads and kB of memory.
held() {
    echo "$(ls /proc/$mien/fd | wc -l) $(sed -n 's/^Threads:\t*//p' /proc/$mien/status)" \
        "$(sed -n 's/^VmRSS:\t* *\([0-9]*\) kB/\1/p' /proc/$mien/status)"
}

await_frames $warm_frames
plug_in $removable
kill $flood
await_back
for i in $(seq $warm_removals); do remove; done
begin=$(held)

for i in $(seq $((removals - warm_removals))); do remove; done
plug_in $fast
flood
remove
await_frames $frames
plug_in $removable
kill $flood
await_back
end=$(held)

kill $mien
wait $mien || fail "status $?"
cat mien.out
lost=$(mien journal cat --dir log --topic 'mien/+/status' | grep -c camera_lost)
[ "$lost" -gt $removals ] || fail "the camera was removed $lost times only"
echo "descriptors, threads and kB at the beginning: $begin; at the end: $end"
[ "${begin% *}" = "${end% *}" ] || fail "descriptors or threads are left"
[ ${end##* } -le $((${begin##* } + tolerance_kb)) ] || fail "memory grows"
GUEST
guest_start virt "$test"
guest_wait 1800

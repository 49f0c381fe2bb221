#!/bin/bash
# Recordings through a loopback camera, as MJPG and as YUYV: for the same frames the firmware in the
# guest journals the same faces and scores, to the byte, as mien on this machine does. Frames that
# are empty or cut off are skipped.
#
#   tests/pi/loopback.sh
#
# The recordings are those of ../shared/data/clips ($MIEN_SHARED/data/clips).
set -euo pipefail
. "$(dirname "$0")/guest.sh"
guest_make_files
guest_build_firmware
cargo build --locked --release --bin mien
host_mien=${CARGO_TARGET_DIR:-target}/release/mien

clips=${MIEN_SHARED:-../shared}/data/clips
[ -d "$clips" ] || guest_fail "no recordings in $clips; set MIEN_SHARED"
test=$guest_folder/loopback
# Name, frames, one in so many.
mkdir -p "$test"
while read -r clip count one_in; do
    pi_tools split "$clips/$clip.mjpeg" "$test/clips/$clip" "$count" "$one_in"
done <<'CLIPS'
one_face_640 6 13
classroom_848 4 20
CLIPS

# Every face of every frame is a new one, told at once by that frame's scores alone, so that
# neither times nor the frames before have a part in what is journaled. In the dark frames between the
# pictures nobody is looked for, and everybody leaves.
cat >"$test/config.toml" <<'CONFIG'
deployment_context = "test"
[still]
max_change = 0.0
[night]
after_s = 0.0
[tracker]
min_overlap = 0.999999
sightings_to_appear = 1
forget_after_s = 0.001
expression_half_life_s = 0.000001
gender_half_life_s = 0.000001
challenge_margin = 0.0
challenge_s = 0.0
[leds]
backend = "none"
CONFIG

cat >"$test/run.sh" <<'GUEST'
modprobe v4l2loopback video_nr=10 exclusive_caps=1
for clip in clips/*; do
    for format in MJPG YUYV; do
        log=log-$format-${clip#clips/}
        echo "== $format ${clip#clips/}"
        pi_tools feed /dev/video10 $format $clip -- \
            mien -v run --source /dev/video10 --config config.toml --log $log
        mien journal cat --dir $log | sed "s/^/$format ${clip#clips/} /"
    done
done
GUEST

# What a journal tells of faces, less when.
faces() { sed -n 's/,"time_s":[0-9.]*//; s/.*\("topic":"mien\/kiosk\/face\/.*\)/\1/p'; }

guest_start virt "$test"
guest_wait 1800
! guest_lines | grep '"state":"camera_lost"' || guest_fail "the camera was lost"
guest_lines | sed -n 's/.*; \([0-9]*\) broken, .*/\1/p' >"$test/broken"
[ "$(wc -l <"$test/broken")" = 4 ] || guest_fail "mien did not end well"
while read -r broken; do
    [ "$broken" -ge 2 ] || guest_fail "$broken of 2 broken frames were skipped"
done <"$test/broken"
for clip in "$test"/clips/*; do
    name=$(basename "$clip")
    "$host_mien" run --source "$clip" --config "$test/config.toml" --log "$test/log-$name" >/dev/null
    "$host_mien" journal cat --dir "$test/log-$name" | faces >"$test/$name.host"
    [ -s "$test/$name.host" ] || guest_fail "this machine sees no face in $name"
    for format in MJPG YUYV; do
        guest_lines | sed -n "s/^$format $name //p" | faces >"$test/$name.$format"
        diff "$test/$name.host" "$test/$name.$format" ||
            guest_fail "$name as $format: this machine (<) and the guest (>) differ"
        echo "$name as $format: $(grep -c '"appeared"' "$test/$name.$format") faces, every byte the same"
    done
done

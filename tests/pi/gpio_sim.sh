#!/bin/bash
# LEDs on simulated GPIO lines, read back through the simulator's sysfs: they follow the expressions
# of the bundled clip's faces, with high and with low as lit; SIGTERM darkens them; a killed program
# leaves its lines free, and the next one takes them again. A button on a line pauses and resumes; lines
# that are in use twice are named.
#
#   tests/pi/gpio_sim.sh
set -euo pipefail
. "$(dirname "$0")/guest.sh"
guest_make_files
guest_build_firmware

test=$guest_folder/gpio
pi_tools scenes models/demo.mjpeg "$test/scenes"
cat >"$test/run.sh" <<'GUEST'
leds="angry:5 disgust:6 fear:13 happy:19 sad:26 surprise:16 neutral:20 face_seen:21"

all=$(for led in $leds; do echo "${led%:*}"; done | paste -s -d ' ')

simulate_gpio

# Where the lines go that nobody drives: up or down.
pull() {
    for led in $leds; do echo "pull-$1" >"$lines/sim_gpio${led#*:}/pull"; done
}

# Puts the names of the LEDs whose lines have the level $lit_level into $lit.
look() {
    lit=
    for led in $leds; do
        read level <"$lines/sim_gpio${led#*:}/value"
        [ "$level" != "$lit_level" ] || lit="$lit ${led%:*}"
    done
}

# Waits until exactly these LEDs are lit.
are_lit() { look && [ "$lit" = "${1:+ $1}" ]; }
await() {
    within 60 are_lit "$1" || { cat mien.log; fail "'$lit' are lit, not '$1'"; }
    echo "lit: ${1:-none}"
}

# Writes what is lit to the file lit, a line for each change. The lines change one after the other, so
# what is seen once only does not count.
watch() {
    seen=; told=nothing
    while look; do
        if [ "$lit" = "$seen" ] && [ "$lit" != "$told" ]; then
            echo "$lit" >>lit
            told=$lit
        fi
        seen=$lit
        sleep 0.05
    done
}

# Puts a scene before the program; every frame is what this name stands for.
show() { ln -s "scenes/$1.png" next && mv next now; }

# Plays a scene at 2 frames per second, and goes on while the LEDs are looked at.
play() {
    {
        printf '[camera]\nfps = 2.0\n[leds]\nbackend = "cdev"\nactive_low = %s\n' "$1"
        echo '[leds.lines]'
        for led in $leds; do echo "${led%:*} = ${led#*:}"; done
        echo "$more_config"
    } >config.toml
    show $2
    mien run --source frames --realtime --config config.toml --log log >mien.log 2>&1 &
    mien=$!
}

mkdir frames
for i in $(seq 1000 1600); do ln -s ../now frames/$i; done
more_config=

echo "== they follow the expressions"
lit_level=1
# What is dark before the first face is driven so, against the pull.
pull up
play false blank
await ""
watch & watcher=$!
for scene in neutral happy sad surprise; do
    show $scene
    await "$scene face_seen"
done
show blank
await ""
kill $watcher $mien
wait $mien || fail "status $?"
pull down
# Nothing else was lit, but for all at the start and the moments at which none is sure.
printf '%s\n' " $all" "" " neutral face_seen" " happy face_seen" " sad face_seen" " surprise face_seen" |
    grep -vxFf - lit | grep -vx ' face_seen' && fail "that is not what was played"

echo "== SIGTERM"
play false happy
await "happy face_seen"
mien run --source frames --realtime --config config.toml --log other >other.log 2>&1 &&
    fail "two programs drive the same lines"
grep "can't take line 5 for LED angry" other.log || fail "$(cat other.log)"
kill $mien
wait $mien || fail "status $?"
await ""

echo "== low is lit"
lit_level=0
pull down
play true blank
await ""
show happy
await "happy face_seen"
pull up

echo "== kill -9"
kill -9 $mien
wait $mien && fail "it was not killed"
await ""
play true happy
await "happy face_seen"
kill $mien
wait $mien || fail "status $?"
await ""

echo "== a button"
lit_level=1
pull down
more_config="[button]
line = 17"
button=$lines/sim_gpio17/pull
echo pull-up >$button
# Pressed, with contacts that bounce, and let go.
press() {
    for pull in down up down up down; do echo pull-$pull >$button; done
    sleep 0.5
    echo pull-up >$button
}
rm -rf log
play false happy
await "happy face_seen"
press
await ""
await "$all"
await ""
press
await "happy face_seen"

printf '[button]\nline = 17\n[leds]\nbackend = "none"\n' >other.toml
mien run --source frames --realtime --config other.toml --log other >other.log 2>&1 &&
    fail "two programs have the same button"
grep "can't take line 17 for the button: .*used by \"mien\"" other.log || fail "$(cat other.log)"
sed 's/^line = 17/line = 5/' config.toml >other.toml
mien run --source frames --realtime --config other.toml --log other >other.log 2>&1 &&
    fail "an LED's line is a button's"
grep "line = 5: LED angry is on this line" other.log || fail "$(cat other.log)"

kill $mien
wait $mien || fail "status $?"
states=$(mien journal cat --dir log --topic 'mien/+/status' | sed 's/.*"state":"\([a-z_]*\)".*/\1/' | paste -s -d ' ')
[ "$states" = "started paused resumed stopped" ] || fail "the journal has '$states'"
echo "journaled: $states"
GUEST
guest_start virt "$test"
guest_wait 1800

#!/bin/bash
# LEDs on an emulated Raspberry Pi 3B, through its GPIO registers (rppal) and through its kernel
# driver (cdev): the levels are read from outside, through qemu's monitor, where the program can't
# make them up. They follow the expressions of the bundled clip's faces; SIGTERM darkens them; a dimmed
# LED's line pulses, and no pulse comes after it was darkened; what a killed program leaves is as
# documented.
#
#   tests/pi/raspi3b.sh
set -euo pipefail
. "$(dirname "$0")/guest.sh"
. tests/pi/pins.sh
guest_make_files
guest_build_firmware

# Looks at the LEDs 100 times, and tells how often "neutral" was lit beside "face seen"; else only the
# latter may be.
count_pulses() {
    local lit high=0
    for _ in $(seq 100); do
        lit=$(lit)
        case $lit in
        "neutral face_seen") high=$((high + 1)) ;;
        face_seen) ;;
        *) guest_fail "'$lit' are lit: that is no dimmed neutral" ;;
        esac
    done
    echo $high
}

# Looks at the LEDs 50 times, which takes longer than a hundred pulses.
stays_dark() {
    local lit
    for _ in $(seq 50); do
        lit=$(lit)
        [ "$lit" = "" ] || guest_fail "'$lit' are lit after $1"
    done
}

test=$guest_folder/raspi3b
pi_tools scenes models/demo.mjpeg "$test/scenes"
for backend in rppal cdev; do
    {
        printf '[camera]\nfps = 2.0\n[leds]\nbackend = "%s"\n[leds.lines]\n' $backend
        for led in $leds; do echo "${led%:*} = ${led#*:}"; done
    } >"$test/$backend.toml"
done
sed 's/^backend = .*/&\ndim = true/' "$test/rppal.toml" >"$test/dimmed.toml"
cat >"$test/run.sh" <<'GUEST'
n=1000
mkdir frames
for i in $(seq 1000 1600); do ln -s ../now frames/$i; done
# Puts a scene before the program; every frame is what this name stands for.
show() { ln -s "scenes/$1.png" next && mv next now; }

# What is asked for: LEDs and a scene to show by them, another scene, or how to end the program.
while read -r asked scene; do
    n=$((n + 1))
    case $asked in
    TERM | KILL)
        kill -$asked $mien
        status=0
        wait $mien || status=$?
        echo "done $n: status $status"
        ;;
    show)
        show $scene
        echo "done $n"
        ;;
    end) exit 0 ;;
    *)
        show $scene
        mien run --source frames --realtime --config $asked.toml --log log 2>&1 &
        mien=$!
        echo "done $n"
        ;;
    esac
done
GUEST

guest_start raspi3b "$test"
guest_expect "^guest: ready" 240

asked=1000
ask() {
    asked=$((asked + 1))
    guest_tell "$1"
    guest_expect "^done $asked${2:+: $2}\$" 240
}

for play in "rppal neutral" "rppal happy" "rppal sad" "rppal surprise" "rppal blank" "cdev happy"; do
    ask "$play"
    case $play in
    *blank) await "" ;;
    *) await "${play#* } face_seen" ;;
    esac
    ask TERM "status 0"
    [ "$(lit)" = "" ] || guest_fail "'$(lit)' are lit after SIGTERM"
    [ "$(driven)" = "" ] || guest_fail "the lines of '$(driven)' are outputs after SIGTERM"
done

# Of this face's 61 %, in 16 steps, rppal is to make pulses of (0.2 + 0.8 × 10/16)² = 49 % of the time.
ask "dimmed neutral"
deadline=$((SECONDS + 60))
until [ "$(lit)" = "neutral face_seen" ]; do
    [ $SECONDS -lt $deadline ] || guest_fail "'$(lit)' are lit, not a dimmed neutral"
done
# A busy machine wakes its thread late, which makes pulses longer: some tries.
for try in 1 2 3 4 5; do
    pulses=$(count_pulses)
    echo "dimmed: of 100 looks, $pulses found it lit"
    ((pulses < 30 || pulses > 70)) || break
    [ $try -lt 5 ] || guest_fail "it is not as bright as the answer is sure"
done
ask "show blank"
await ""
stays_dark "the face left"
ask "show neutral"
deadline=$((SECONDS + 60))
until [ "$(lit)" = "neutral face_seen" ]; do
    [ $SECONDS -lt $deadline ] || guest_fail "'$(lit)' are lit, not a dimmed neutral again"
done
ask TERM "status 0"
stays_dark "SIGTERM"
[ "$(driven)" = "" ] || guest_fail "the lines of '$(driven)' are outputs after SIGTERM"

for backend in cdev rppal; do
    ask "$backend happy"
    await "happy face_seen"
    ask KILL "status 137"
    echo "$backend, killed: lines of '$(driven)' are outputs, '$(lit)' are high"
    # The kernel takes lines back from a program that is gone, not registers.
    case $backend in
    cdev) [ "$(driven)" = "" ] ;;
    rppal) [ "$(driven)" = "$all" ] && [ "$(lit)" = "happy face_seen" ] ;;
    esac || guest_fail "that is not as documented"
done
ask "rppal blank"
await ""
ask TERM "status 0"
guest_tell end
guest_wait 240

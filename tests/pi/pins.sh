# Sourced after guest.sh: LEDs of an emulated Raspberry Pi 3B, by its GPIO's registers as qemu's monitor
# tells them.
#
#   lit, driven        the names of the LEDs whose lines are high, and of those whose lines are outputs
#   await "LED LED"    waits until exactly these are lit

leds="angry:5 disgust:6 fear:13 happy:19 sad:26 surprise:16 neutral:20 face_seen:21"
all=$(for led in $leds; do echo "${led%:*}"; done | paste -s -d ' ')

# The word at a physical address.
word() {
    local answer
    answer=$(guest_monitor "xp /1xw $1" | tr -d '\r' | sed -n 's/^0*[0-9a-f]*: \(0x[0-9a-f]*\)$/\1/p')
    [ -n "$answer" ] || guest_fail "qemu's monitor doesn't tell the word at $1"
    echo $((answer))
}

# The names of the LEDs whose lines are high, by the register GPLEV0.
lit() {
    local levels led names=()
    levels=$(word 0x3f200034)
    for led in $leds; do
        if ((levels >> ${led#*:} & 1)); then names+=("${led%:*}"); fi
    done
    echo "${names[*]}"
}

# The names of the LEDs whose lines are outputs, by the registers GPFSEL0 to 2.
driven() {
    local registers=() led line names=()
    registers=("$(word 0x3f200000)" "$(word 0x3f200004)" "$(word 0x3f200008)")
    for led in $leds; do
        line=${led#*:}
        if (((registers[line / 10] >> line % 10 * 3 & 7) == 1)); then names+=("${led%:*}"); fi
    done
    echo "${names[*]}"
}

# Waits up to 60 s until all lines are outputs and exactly these LEDs are lit, and still so half a
# second later.
await() {
    local deadline=$((SECONDS + 60))
    until [ "$(driven)" = "$all" ] && [ "$(lit)" = "$1" ] && sleep 0.5 && [ "$(lit)" = "$1" ]; do
        if [ $SECONDS -ge $deadline ]; then
            guest_lines
            guest_fail "'$(lit)' are lit, not '$1'; the lines of '$(driven)' are outputs"
        fi
        sleep 0.1
    done
    echo "lit: ${1:-none}"
}

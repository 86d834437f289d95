# The dead-man switch: what a host saves of an instance, to restore it on its own.
armed_dir=$ROOT/armed/$NUMBER
restore_unit=ship-$SERVICE.restore@$NUMBER

# Whether systemd runs the timer. An instance of the link driver outlives a restart of the host, so its switch does, too,
# where that is possible.
uses_systemd() {
    case $driver in
        systemd) ;;
        link) [ -d /run/systemd/system ] && [ -w "$UNIT_DIR" ] ;;
        *) return 1 ;;
    esac
}

# Starts the timer; $driver selects the mechanism. On failure, the reason is in "output".
set_timer() {
    if uses_systemd; then
        output=$(systemd-run --quiet --no-ask-password "--unit=$restore_unit.service" "--on-active=$RESTORE_S" \
            --timer-property=AccuracySec=100ms 2>&1 9>&-)
        return
    fi
    # This timer does not survive a restart of the host, but neither does any instance of the process driver. It inherits
    # nothing of this script: neither the lock nor the connection.
    setsid sh -c 'sleep "$1"; while [ -f "$0" ] && ! sh "$0"; do sleep 60; done' "$armed_dir/restore" "$RESTORE_S" \
        </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    inspect "$!" && printf '%s %s\n' "$!" "$ticks" >"$armed_dir/timer"
}

# Records the due time in directory $1, by the clock of this start of the host. The timer is set later, so it never
# fires before the due time.
record_due() {
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    printf '%s %s\n' "$boot" "$((cs + RESTORE_S * 100))" >"$1/due"
}

# Disarms the switch. The saved files are removed first, so that a timer that fires later finds nothing.
disarm() {
    [ -d "$armed_dir" ] || return 0
    pid= want=
    [ ! -f "$armed_dir/timer" ] || read -r pid want <"$armed_dir/timer"
    by_systemd=
    [ ! -f "$armed_dir/unit" ] || by_systemd=yes
    removed=$ROOT/tmp/disarmed.$$
    output=$({ mv "$armed_dir" "$removed" && rm -rf -- "$removed"; } 2>&1) || fail "cannot remove $armed_dir: $output"
    if [ -n "$by_systemd" ]; then
        rm -f "$UNIT_DIR/multi-user.target.wants/$restore_unit.service"
        systemctl --no-ask-password stop "$restore_unit.timer" >/dev/null 2>&1 9>&-
    elif inspect "$pid" && [ "$ticks" = "$want" ]; then
        { kill -TERM "-$pid"; } 2>/dev/null
    fi
}

# What a host keeps of an instance, to bring it back by itself.
kept=$ROOT/armed/$PORT
guard=ship-$SERVICE.restore@$PORT

# Lets that much time begin; $driver tells who can wait so long on this host. Fails with the reason in "said".
set_timer() {
    case $driver in
        systemd)
            said=$(systemd-run --quiet --no-ask-password "--unit=$guard.service" "--on-active=$RESTORE_S" \
                --timer-property=AccuracySec=100ms 2>&1 9>&-)
            ;;
        process)
            # It does not outlive a restart of the host, but nor does any instance of this driver. Nothing of this
            # script's stays open in it: neither the lock nor the connection.
            setsid sh -c 'sleep "$1"; while [ -f "$0" ] && ! sh "$0"; do sleep 60; done' "$kept/restore" "$RESTORE_S" \
                </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
            inspect "$!" && printf '%s %s\n' "$!" "$ticks" >"$kept/timer"
            ;;
    esac
}

# When it is over, for the directory $1: by this clock, since this start of the host. Before the timer is set, which is
# never early then.
note_due() {
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    printf '%s %s\n' "$boot" "$((cs + RESTORE_S * 100))" >"$1/due"
}

# Forgets it. First what is kept: a timer that fires after that finds nothing.
disarm() {
    [ -d "$kept" ] || return 0
    pid= want=
    [ ! -f "$kept/timer" ] || read -r pid want <"$kept/timer"
    by_systemd=
    [ ! -f "$kept/unit" ] || by_systemd=yes
    gone=$ROOT/tmp/disarmed.$$
    said=$({ mv "$kept" "$gone" && rm -rf -- "$gone"; } 2>&1) || fail "$kept could not be removed: $said"
    if [ -n "$by_systemd" ]; then
        rm -f "$UNIT_DIR/multi-user.target.wants/$guard.service"
        systemctl --no-ask-password stop "$guard.timer" >/dev/null 2>&1 9>&-
    elif inspect "$pid" && [ "$ticks" = "$want" ]; then
        { kill -TERM "-$pid"; } 2>/dev/null
    fi
}

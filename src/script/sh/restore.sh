# Brings back the instance that had to go before its successor was there: nobody has said in time that all is well.
SLOT=$ROOT/slots/$PORT
cd / || exit 1

# Whether what is kept is due. After a restart of the host it is, unless its successor has come up: then the time begins
# anew.
is_due() {
    [ -f "$kept/due" ] || return 1
    read -r armed_boot due <"$kept/due"
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    if [ "$armed_boot" = "$boot" ]; then
        # Not, where a later order has armed it again.
        [ "$cs" -ge "$due" ]
        return
    fi
    [ -n "$present" ] && [ "$present" != "$name" ] || return 0
    note_due "$kept"
    if ! set_timer; then
        printf '%s 0\n' "$armed_boot" >"$kept/due"
        fail "no timer could be set: $said"
    fi
    return 1
}

# Whether it is in its slot still: the order to stop it never came so far.
is_there() {
    [ "$present" = "$name" ] || return 1
    case $driver in
        systemd) systemctl --quiet is-active "ship-$SERVICE@$PORT.service" 9>&- ;;
        process)
            slot=$SLOT
            look_process
            [ -n "$pids" ]
            ;;
    esac
}

# The slot as it was, but for the moment of the start.
fill_slot() {
    set -- "$kept/env" "$kept/run"
    for part in liveness hooks; do
        [ ! -f "$kept/$part" ] || set -- "$@" "$kept/$part"
    done
    said=$({
        mkdir -p "$SLOT" && rm -f "$SLOT/pid" "$SLOT/ended" "$SLOT/liveness.failures" "$SLOT/liveness.kill" \
            "$SLOT/hooks" "$SLOT/hooked" &&
            cp -p "$@" "$SLOT/"
    } 2>&1) || fail "the slot could not be filled: $said"
}

enrol() {
    clock
    said=$({
        { grep -v -e '^started=' -e '^boot=' "$kept/instance" && printf 'started=%s\nboot=%s\n' "$up" "$boot"; } \
            >"$SLOT/instance.new" &&
            mv -f "$SLOT/instance.new" "$SLOT/instance"
    } 2>&1) || fail "the slot could not be filled: $said"
}

prepare() {
    RELEASE=$release RUN_AS=$user
    [ -d "$ROOT/releases/$RELEASE/app" ] || fail "the release of $name is not on this host any more"
    case $driver in
        process) prepare_process ;;
        systemd)
            UNIT=$(cat "$kept/unit") LIVENESS_UNIT= LIVENESS_TIMER=
            if [ -f "$kept/liveness" ]; then
                LIVENESS_UNIT=$(cat "$kept/$asker.service") LIVENESS_TIMER=$(cat "$kept/$asker.timer")
            fi
            install_units
            ;;
    esac
}

# What the hooks had to say.
say_hooks() {
    set -f
    IFS=$NL
    for line in $hooked; do
        IFS=$BLANKS
        case $line in
            hook=*)
                set -- ${line#hook=}
                say "the $1 hook ended: $2"
                ;;
            *) say "| ${line#said=}" ;;
        esac
    done
    IFS=$BLANKS
    set +f
}

say() {
    case $driver in
        process) printf 'ship: %s\n' "$1" >>"$SLOT/log" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

take_lock "$PATIENCE_CS" || fail "the lock of $ROOT was never free: nothing is brought back on port $PORT yet"
printf '%s restore, pid %s\n' "$cs" "$$" >"$ROOT/lock"
read_record "$SLOT"
present=$name since=$since_boot
read_record "$kept"
is_due || finish 'done'
since_boot=$since pids=
if ! is_there; then
    prepare
    # Until systemd is told, the successor is stopped with the settings of its own unit.
    if [ -n "$present" ] && [ "$present" != "$name" ]; then
        read_record "$SLOT"
        NAME=$name
        pass before_stop
        halt
        read_record "$kept"
    fi
    [ "$driver" != systemd ] || read_installed
    fill_slot
    NAME=$name
    # It is better off with it than without, whatever they say.
    pass before_start
    enrol
    "launch_$driver"
    [ "$driver" != process ] || await_number
    pass after_start
    say_hooks
    say "$name is back on port $PORT: nobody has said in time that its successor is well"
elif [ "$driver" = systemd ]; then
    # The order to stop it may have come so far that it would not outlive a restart of the host.
    prepare
    read_installed
    launch_systemd
fi
# Not before it can be seen: nobody is to find neither the one nor the other.
# The timer that has led here needs no end from without.
rm -f "$kept/timer"
disarm
finish 'done'

# Restores an instance that was stopped before its successor had started: no controller has confirmed in time that the
# successor is well.
SLOT=$ROOT/slots/$NUMBER
cd / || exit 1

# Whether the saved instance must be restored now. After a restart of the host, it must be, unless its successor is in
# the slot. In that case, the time starts again.
is_due() {
    [ -f "$armed_dir/due" ] || return 1
    read -r armed_boot due <"$armed_dir/due"
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    if [ "$armed_boot" = "$boot" ]; then
        # If a later action has armed the switch again, this is the later due time.
        [ "$cs" -ge "$due" ]
        return
    fi
    [ -n "$present" ] && [ "$present" != "$name" ] || return 0
    record_due "$armed_dir"
    if ! set_timer; then
        printf '%s 0\n' "$armed_boot" >"$armed_dir/due"
        fail "cannot set the timer: $output"
    fi
    return 1
}

# Whether the instance is still in its slot, because the stop did not get that far.
is_running() {
    [ "$present" = "$name" ] || return 1
    case $driver in
        systemd) systemctl --quiet is-active "ship-$SERVICE@$NUMBER.service" 9>&- ;;
        process)
            slot=$SLOT
            observe_process
            [ -n "$pids" ]
            ;;
        link)
            observe_link "$release"
            [ "$facts" = "process=running$NL" ]
            ;;
    esac
}

# Whether the instance in the slot was asked to stop and finishes its work.
is_lingering() {
    lingers || return 1
    case $driver in
        systemd)
            unit=ship-$SERVICE@$NUMBER.service
            read_group
            [ -n "$cgroup" ] && group_alive
            ;;
        process) find_session && session_alive ;;
    esac
}

# Fills the slot with the saved files.
fill_slot() {
    set -- "$armed_dir/env" "$armed_dir/run"
    for part in liveness hooks; do
        [ ! -f "$armed_dir/$part" ] || set -- "$@" "$armed_dir/$part"
    done
    output=$({
        mkdir -p "$SLOT" && rm -f "$SLOT/pid" "$SLOT/ended" "$SLOT/liveness.failures" "$SLOT/liveness.kill" \
            "$SLOT/hooks" "$SLOT/hooked" "$SLOT/linger" "$SLOT/lingered" &&
            cp -p "$@" "$SLOT/"
    } 2>&1) || fail "cannot fill the slot: $output"
}

register() {
    clock
    output=$({
        { grep -v -e '^started=' -e '^boot=' "$armed_dir/instance" && printf 'started=%s\nboot=%s\n' "$up" "$boot"; } \
            >"$SLOT/instance.new" &&
            mv -f "$SLOT/instance.new" "$SLOT/instance"
    } 2>&1) || fail "cannot fill the slot: $output"
}

prepare() {
    RELEASE=$release RUN_AS=$user
    [ -d "$ROOT/releases/$RELEASE/app" ] || fail "the release of $name is no longer on this host"
    case $driver in
        process) prepare_process ;;
        link) RUN=$(cat "$armed_dir/run") ;;
        systemd)
            UNIT=$(cat "$armed_dir/unit") LIVENESS_UNIT= LIVENESS_TIMER=
            if [ -f "$armed_dir/liveness" ]; then
                LIVENESS_UNIT=$(cat "$armed_dir/$liveness_unit.service") LIVENESS_TIMER=$(cat "$armed_dir/$liveness_unit.timer")
            fi
            install_units
            ;;
    esac
}

# Logs the results and the output of the hooks.
log_hooks() {
    set -f
    IFS=$NL
    for line in $hook_report; do
        IFS=$BLANKS
        case $line in
            hook=*)
                set -- ${line#hook=}
                log "the $1 hook exited: $2"
                ;;
            *) log "| ${line#output=}" ;;
        esac
    done
    IFS=$BLANKS
    set +f
}

log() {
    case $driver in
        process) printf 'ship: %s\n' "$1" >>"$SLOT/log" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

try_lock "$LOCK_TIMEOUT_CS" || fail "cannot acquire the lock of $ROOT; the instance in slot $NUMBER is not restored yet"
printf '%s restore, pid %s\n' "$cs" "$$" >"$ROOT/lock"
read_record "$SLOT"
present=$name since=$since_boot
read_record "$armed_dir"
is_due || finish 'done'
since_boot=$since pids=
! is_lingering || fail "the instance in slot $NUMBER still lingers; $name is restored when it has ended"
if ! is_running; then
    prepare
    # The successor is stopped with the settings of its own unit, until systemd reloads the units.
    if [ -n "$present" ] && [ "$present" != "$name" ]; then
        read_record "$SLOT"
        NAME=$name
        run_hooks before_stop
        stop_instance
        read_record "$armed_dir"
    fi
    [ "$driver" != systemd ] || read_installed
    fill_slot
    NAME=$name
    # The results of the hooks are ignored: the instance is restored even if one of them fails.
    run_hooks before_start
    [ "$driver" = link ] || register
    "start_$driver"
    [ "$driver" != process ] || wait_for_pid
    run_hooks after_start
    log_hooks
    log "restored $name in slot $NUMBER: its successor was not confirmed in time"
elif [ "$driver" = systemd ]; then
    # The stop may have got so far that the instance would not survive a restart of the host.
    prepare
    read_installed
    start_systemd
fi
# The switch is disarmed only after the instance is visible, so that observers always find one of the two. The timer
# that has started this script need not be stopped.
rm -f "$armed_dir/timer"
disarm
finish 'done'

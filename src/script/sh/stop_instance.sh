# Stops the instance in a slot, whose record has been read.

# Reads the record of the instance in directory $1.
read_record() {
    name= driver= release= user= since_boot= stop_cs= signal=TERM linger_s=
    [ -f "$1/instance" ] || return 0
    while IFS= read -r line; do
        case $line in
            name=*) name=${line#*=} ;;
            driver=*) driver=${line#*=} ;;
            release=*) release=${line#*=} ;;
            user=*) user=${line#*=} ;;
            boot=*) since_boot=${line#*=} ;;
            stop=*) stop_cs=${line#*=} ;;
            signal=*) signal=${line#*=} ;;
            linger=*) linger_s=${line#*=} ;;
        esac
    done <"$1/instance"
    # Earlier versions of ship did not record the stop timeout.
    case $stop_cs in
        '' | *[!0-9]*) stop_cs=$STOP_CS ;;
    esac
    case $signal in
        '' | *[!A-Z0-9]*) signal=TERM ;;
    esac
    case $linger_s in
        *[!0-9]*) linger_s= ;;
    esac
}

# Whether any process of the instance is alive. While its first process is alive, there is no need to look for others.
session_alive() {
    if inspect "$pid" && [ "$ticks" = "$want" ]; then
        case $state in
            [ZXx]) ;;
            *)
                members=$pid
                return 0
                ;;
        esac
    fi
    find_in_session
    [ -n "$members" ]
}

# Whether another process has the process ID of the first one. Then nothing of the session can be left.
is_reused() {
    inspect "$pid" && [ "$ticks" != "$want" ]
}

# The instance's live processes: those of its session, and its children in other sessions.
find_in_session() {
    members=
    is_mentioned "$pid" "SHIP_SLOT=$SLOT:$name:" || return 0
    is_reused || find_members "$pid"
    find_detached "$SLOT:$name" "$pid"
}

# Whether any process in the unit's control group is alive.
group_alive() {
    find_in_group
    [ -n "$members" ]
}

find_in_group() {
    members= pids=
    unit_pids "$cgroup"
    for member in $pids; do
        has_exited "$member" || members="$members $member"
    done
}

stop_process() {
    find_session && session_alive || return 0
    signal_own_session
    # Processes that have left the session usually end with its first process. Finding them is expensive.
    alone_cs=$((stop_cs < DETACHED_CS ? stop_cs : DETACHED_CS))
    wait_for_end session "$alone_cs" && return
    signal_detached
    wait_for_end session "$((stop_cs - alone_cs))" && return
    note_kill
    kill_all session
}

# Reads the first process of the instance; fails if it cannot be running any more.
find_session() {
    pid= want=
    [ ! -f "$SLOT/pid" ] || read -r pid want <"$SLOT/pid"
    case $pid in
        '' | 0* | 1 | *[!0-9]*) return 1 ;;
    esac
    read -r boot </proc/sys/kernel/random/boot_id
    [ "$boot" = "$since_boot" ]
}

# Sends the signal to the instance's live processes. Each process gets it only once, because some treat a second one as a
# request to exit at once.
signal_session() {
    signal_own_session
    signal_detached
}

# Sends the signal to those of the instance's own session. "session_alive" has set "members".
signal_own_session() {
    alive=$members members=
    # The first process is alive. It leads the process group that receives the signal.
    if [ "$alive" = "$pid" ]; then
        members=$pid
    else
        is_reused || find_members "$pid"
    fi
    [ -z "$members" ] || { kill "-$signal" "-$pid"; } 2>/dev/null || output=$(kill "-$signal" $members 2>&1) || ! session_alive ||
        fail "cannot send SIG$signal to $name: $output"
}

# Sends the signal to those in other sessions.
signal_detached() {
    members=
    find_detached "$SLOT:$name" "$pid"
    [ -z "$members" ] || { kill "-$signal" $members; } 2>/dev/null
    return 0
}

# Whether the instance has got its signal before, to finish its work.
lingers() {
    [ -f "$SLOT/linger" ]
}

# Reports that the instance has to be killed.
note_kill() {
    stop_report="stopped=killed $stop_cs$NL"
}

# Waits for $2 at most, in 1/100 s, until all processes of the instance's $1 (session or group) have ended. If $3 is
# set, kills new processes in the meantime.
wait_for_end() {
    clock
    deadline=$((cs + $2))
    attempts=0
    while "$1_alive"; do
        clock
        [ "$cs" -lt "$deadline" ] || return 1
        if [ -n "$3" ]; then
            "find_in_$1"
            output=$(kill -KILL $members 2>&1)
        fi
        backoff
    done
}

# Kills all processes of the instance's $1.
kill_all() {
    "find_in_$1"
    output=$(kill -KILL $members 2>&1)
    wait_for_end "$1" "$KILL_CS" again && return
    "find_in_$1"
    fail "processes$members of $name are still running after SIGKILL${output:+: $output}"
}

stop_systemd() {
    leave_systemd
    output=$(timeout "$stop_wait_s" systemctl --no-ask-password stop "$unit" 2>&1 9>&-) || {
        # systemd does not know a unit whose file is missing or invalid, and then runs nothing of it.
        case $output in
            *" not loaded"*) ;;
            *) fail "systemctl stop $unit: ${output:-no answer within $stop_wait_s s}" ;;
        esac
    }
    end_leftovers
    # systemd also counts the start that it refused after the end of a lingering instance.
    if [ "$active" = failed ] || lingers; then
        systemctl reset-failed "$unit" >/dev/null 2>&1 9>&-
    fi
}

# Stops the liveness probe of the instance and the timer that ends it when it lingers, and lets the host no longer start
# its unit.
leave_systemd() {
    unit=ship-$SERVICE@$NUMBER.service
    # systemd waits for the stop timeout before SIGKILL and once more after it.
    stop_wait_s=$(((stop_cs + 99) / 100 * 2 + STOP_MARGIN_S))
    if [ -f "$SLOT/liveness" ]; then
        # The liveness probe is stopped first, so that it does not probe an instance that is stopping. Its units stay
        # for the next instance, disabled, so that systemd need not reload them. They may not exist.
        liveness_unit=ship-$SERVICE.liveness@$NUMBER
        rm -f "$UNIT_DIR/timers.target.wants/$liveness_unit.timer"
        timeout "$stop_wait_s" systemctl --no-ask-password stop "$liveness_unit.timer" "$liveness_unit.service" >/dev/null 2>&1 9>&-
    fi
    ! lingers || systemctl --no-ask-password stop "ship-$SERVICE.linger@$NUMBER.timer" >/dev/null 2>&1 9>&-
    rm -f "$UNIT_DIR/multi-user.target.wants/$unit"
}

# Reads the state of the unit, its last result, and its control group.
read_group() {
    show=$(systemctl show -p ControlGroup -p ActiveState -p Result "$unit" 2>&1 9>&-) || fail "systemctl show $unit: $show"
    block=$NL$show$NL
    property ActiveState
    active=$value
    property ControlGroup
    cgroup=$value
}

# Ends the processes that systemd has left in the unit's control group: a drop-in may change KillMode=, and a process
# may not have ended after SIGKILL in time. With the unit as ship writes it, systemd kills such processes at once, so a
# short time to end is enough.
end_leftovers() {
    read_group
    property Result
    [ "$value" != timeout ] || note_kill
    [ -n "$cgroup" ] && group_alive || return 0
    { kill -TERM $members; } 2>/dev/null
    wait_for_end group "$KILL_CS" || kill_all group
}

# Stops the instance with all its processes and empties the slot, except for its log. The results of stop hooks are only
# reported.
stop_instance() {
    case $driver in
        process) stop_process ;;
        systemd) stop_systemd ;;
        # The server continues to serve the files until "current" leads to others.
        link) ;;
        *) fail "the record of slot $NUMBER has an unknown driver" ;;
    esac
    run_hooks after_stop
    output=$(rm -f "$SLOT/instance" "$SLOT/pid" "$SLOT/ended" "$SLOT/env" "$SLOT/run" "$SLOT/release" \
        "$SLOT/liveness" "$SLOT/liveness.failures" "$SLOT/liveness.kill" "$SLOT/exit" "$SLOT/hooks" "$SLOT/hooked" \
        "$SLOT/linger" "$SLOT/lingered" "$SLOT/reloading" 2>&1) ||
        fail "cannot empty the slot: $output"
}

# Stopping the instance in a slot, whose record has been read.

# What is written of the instance in directory $1.
read_record() {
    name= driver= release= user= since_boot= stop_cs=
    [ -f "$1/instance" ] || return 0
    while IFS= read -r line; do
        case $line in
            name=*) name=${line#*=} ;;
            driver=*) driver=${line#*=} ;;
            release=*) release=${line#*=} ;;
            user=*) user=${line#*=} ;;
            boot=*) since_boot=${line#*=} ;;
            stop=*) stop_cs=${line#*=} ;;
        esac
    done <"$1/instance"
    # An earlier version of ship did not record the stop timeout.
    case $stop_cs in
        '' | *[!0-9]*) stop_cs=$STOP_CS ;;
    esac
}

# Whether anything of the instance is left. While its first process lives there is no need to look for more.
session_remains() {
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

# Whether another process has got the number of the first one. Then nothing of the session can be left.
is_reused() {
    inspect "$pid" && [ "$ticks" != "$want" ]
}

# The instance's processes that live: those of its session, and its children in sessions of their own.
find_in_session() {
    members=
    is_reused || find_members "$pid"
    find_strays "$SLOT:$name" "$pid"
}

# Whether anything is left in the unit's control group.
group_remains() {
    find_in_group
    [ -n "$members" ]
}

find_in_group() {
    members= pids=
    unit_pids "$cgroup"
    for member in $pids; do
        is_gone "$member" || members="$members $member"
    done
}

stop_process() {
    pid= want=
    [ ! -f "$SLOT/pid" ] || read -r pid want <"$SLOT/pid"
    case $pid in
        '' | 0* | 1 | *[!0-9]*) return ;;
    esac
    read -r boot </proc/sys/kernel/random/boot_id
    [ "$boot" = "$since_boot" ] || return 0
    session_remains || return 0
    # Each is told once: some take a second TERM for an order to end at once.
    members=
    find_strays "$SLOT:$name" "$pid"
    strays=$members members=
    is_reused || find_members "$pid"
    [ -z "$members" ] || { kill -TERM "-$pid"; } 2>/dev/null || said=$(kill -TERM $members 2>&1) || ! session_remains ||
        fail "$name could not be told to end: $said"
    [ -z "$strays" ] || { kill -TERM $strays; } 2>/dev/null
    wait_for_end session "$stop_cs" || kill_all session
}

# Waits up to $2 for the end of all processes of the instance's $1; with $3, kills what is born meanwhile.
wait_for_end() {
    clock
    enough=$((cs + $2))
    naps=0
    while "$1_remains"; do
        clock
        [ "$cs" -lt "$enough" ] || return 1
        if [ -n "$3" ]; then
            "find_in_$1"
            said=$(kill -KILL $members 2>&1)
        fi
        nap
    done
}

# Kills all processes of the instance's $1.
kill_all() {
    "find_in_$1"
    said=$(kill -KILL $members 2>&1)
    wait_for_end "$1" "$KILL_CS" again && return
    "find_in_$1"
    fail "processes$members of $name are still there after KILL${said:+: $said}"
}

stop_systemd() {
    unit=ship-$SERVICE@$PORT.service
    # systemd waits for the stop timeout before KILL and once more after it.
    stop_wait_s=$(((stop_cs + 99) / 100 * 2 + STOP_MARGIN_S))
    if [ -f "$SLOT/liveness" ]; then
        # First: who is about to end is not asked. The units stay for the next instance, disabled, so that systemd need
        # not read everything anew. If they are not there, so much the better.
        asker=ship-$SERVICE.liveness@$PORT
        rm -f "$UNIT_DIR/timers.target.wants/$asker.timer"
        timeout "$stop_wait_s" systemctl --no-ask-password stop "$asker.timer" "$asker.service" >/dev/null 2>&1 9>&-
    fi
    rm -f "$UNIT_DIR/multi-user.target.wants/$unit"
    said=$(timeout "$stop_wait_s" systemctl --no-ask-password stop "$unit" 2>&1 9>&-) ||
        fail "systemctl stop $unit: ${said:-no answer within $stop_wait_s s}"
    end_leftovers
    [ "$active" != failed ] || systemctl reset-failed "$unit" >/dev/null 2>&1 9>&-
}

# Ends what systemd has left in the unit's control group: KillMode= of the site may tell it to, and a process may not have
# ended by KILL in time. The unit as ship writes it has systemd kill such processes at once; a short time to end is enough.
end_leftovers() {
    show=$(systemctl show -p ControlGroup -p ActiveState "$unit" 2>&1 9>&-) || fail "systemctl show $unit: $show"
    block=$NL$show$NL
    property ActiveState
    active=$value
    property ControlGroup
    cgroup=$value
    [ -n "$cgroup" ] && group_remains || return 0
    { kill -TERM $members; } 2>/dev/null
    wait_for_end group "$KILL_CS" || kill_all group
}

# With all its processes; its log stays. What its hooks say against it changes nothing.
halt() {
    case $driver in
        process) stop_process ;;
        systemd) stop_systemd ;;
        *) fail "the record of slot $PORT names no known driver" ;;
    esac
    pass after_stop
    said=$(rm -f "$SLOT/instance" "$SLOT/pid" "$SLOT/ended" "$SLOT/env" "$SLOT/run" "$SLOT/release" \
        "$SLOT/liveness" "$SLOT/liveness.failures" "$SLOT/liveness.kill" "$SLOT/hooks" "$SLOT/hooked" 2>&1) ||
        fail "the slot could not be emptied: $said"
}

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

# Whether anything of the session is left. While its first process lives there is no need to look for more.
remains() {
    if inspect "$pid"; then
        # Another process has got the number since: nothing of the session can be left.
        [ "$ticks" = "$want" ] || return 1
        case $state in
            [ZXx]) ;;
            *)
                members=$pid
                return 0
                ;;
        esac
    fi
    find_members "$pid"
    [ -n "$members" ]
}

stop_process() {
    pid= want=
    [ ! -f "$SLOT/pid" ] || read -r pid want <"$SLOT/pid"
    case $pid in
        '' | 0* | 1 | *[!0-9]*) return ;;
    esac
    read -r boot </proc/sys/kernel/random/boot_id
    [ "$boot" = "$since_boot" ] || return 0
    remains || return 0
    { kill -TERM "-$pid"; } 2>/dev/null || said=$(kill -TERM $members 2>&1) || ! remains ||
        fail "$name could not be told to end: $said"
    wait_for_end "$stop_cs" && return
    find_members "$pid"
    said=$(kill -KILL $members 2>&1)
    wait_for_end "$KILL_CS" again && return
    fail "processes$members of $name are still there after KILL${said:+: $said}"
}

# Waits up to $1 for the session's end; with $2, kills what is born meanwhile.
wait_for_end() {
    clock
    enough=$((cs + $1))
    naps=0
    while remains; do
        clock
        [ "$cs" -lt "$enough" ] || return 1
        if [ -n "$2" ]; then
            find_members "$pid"
            said=$(kill -KILL $members 2>&1)
        fi
        nap
    done
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
    systemctl reset-failed "$unit" >/dev/null 2>&1 9>&-
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
        "$SLOT/liveness" "$SLOT/liveness.failures" "$SLOT/hooks" "$SLOT/hooked" 2>&1) ||
        fail "the slot could not be emptied: $said"
}

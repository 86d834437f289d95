# Reads the state of the slots' units with one command.

observe_systemd() {
    show=$(systemctl show -p Id -p MainPID -p NRestarts -p ControlGroup -p ExecMainCode -p ExecMainStatus -p SubState \
        -p ActiveState -p Result -p Type \
        $units 2>&1) || {
        unseen="systemctl show: $show"
        return 1
    }
    show=$show$NL$NL
    while [ -n "$show" ]; do
        block=$NL${show%%"$NL$NL"*}$NL
        show=${show#*"$NL$NL"}
        property Id
        number=${value#"ship-$SERVICE@"}
        number=${number%.service}
        case $number in
            '' | *[!0-9]*) continue ;;
        esac
        eval "linger=\$linger_$number reloading=\$reloading_$number"
        observe_unit
        [ -z "$reloading" ] || facts="process=ended its reload was interrupted${NL}restarts=$restarts$NL"
        eval "facts_$number=\$facts pids_$number=\$pids linger_$number=\$linger"
    done
}

property() {
    value=${block#*"$NL$1="}
    if [ "$value" = "$block" ]; then
        value=
    fi
    value=${value%%"$NL"*}
}

observe_unit() {
    pids=
    property NRestarts
    restarts=${value:-0}
    property MainPID
    if [ "${value:-0}" != 0 ]; then
        pids=$value
        facts="process=running${NL}restarts=$restarts$NL"
        ! inspect "$value" || facts="${facts}main=$value.$ticks$NL"
        property ActiveState
        facts="${facts}unit=$value"
        property Type
        facts="$facts $value$NL"
        observe_last_exit
        property ControlGroup
        unit_pids "$value"
        return
    fi
    property SubState
    case $value in
        condition | start-pre | start | start-post)
            # Only a command before the main process is running.
            facts="process=running${NL}restarts=$restarts${NL}unit=activating$NL"
            return
            ;;
    esac
    property ExecMainCode
    code=$value
    property ExecMainStatus
    case $code in
        1)
            result="exit status $value"
            [ "$value" != 200 ] || explain_chdir
            ;;
        2 | 3) result="signal $value" ;;
        *) result="not started" ;;
    esac
    property Result
    outcome=$value
    property SubState
    if [ -n "$linger" ]; then
        restarts=0
        # systemd forgets how the process ended when it does not start it again.
        if read_exit; then
            [ -z "$ended" ] || linger="${linger}lingered=$ended$NL"
        else
            result="when the host was restarted"
        fi
    else
        case $value in
            auto-restart* | dead | failed)
                # The unit itself may know more about its last process.
                known=$result
                ! read_exit || result=$known
                ;;
        esac
    fi
    explain_result "$outcome"
    case $linger,$value in
        ,auto-restart*) result="$result; systemd starts it again" ;;
    esac
    facts="process=ended $result${NL}restarts=$restarts$NL"
}

# Adds to "result" what systemd knows about the exit beyond the status.
explain_result() {
    case $1 in
        oom-kill) result="$result: out of memory (see MemoryMax)" ;;
        timeout) result="$result: it did not start within TimeoutStartSec" ;;
        watchdog) result="$result: it did not report to the watchdog within WatchdogSec" ;;
        protocol) result="$result: it did not report READY=1" ;;
        resources) result="$result: systemd could not prepare it" ;;
        *)
            case $linger,$result in
                ?*,signal\ KILL) result="$result: it had not ended within linger" ;;
            esac
            ;;
    esac
}

# Adds how the previous process of the unit ended, which the unit itself has recorded.
observe_last_exit() {
    [ "$restarts" != 0 ] && read_exit || return 0
    explain_result "$outcome"
    facts="${facts}exit=$result$NL"
}

# Reads the unit's record of how its last process ended, in "outcome" and "result", and of when, in "ended" (seconds of
# uptime). Returns 1 without a record.
read_exit() {
    kept=$outcome outcome= code= status= ended=
    [ ! -f "$ROOT/slots/$number/exit" ] || { read -r outcome code status ended <"$ROOT/slots/$number/exit"; } 2>/dev/null
    case $code in
        exited) result="exit status $status" ;;
        '')
            outcome=$kept
            return 1
            ;;
        *) result="signal $status" ;;
    esac
}

# Explains a working directory that could not be entered: finds the directory that the user in the slot's record cannot
# enter.
explain_chdir() {
    eval "text=\$text_$number"
    as_user=${text#*"$NL.user="}
    as_user=${as_user%%"$NL"*}
    ! find_inaccessible "$ROOT" "$as_user" || result="$result: user $as_user cannot enter $inaccessible"
}

# Adds the processes of control group $1 and all groups below it to "pids", wherever control groups are mounted.
unit_pids() {
    [ -n "$1" ] || return 0
    for group in "/sys/fs/cgroup$1" "/sys/fs/cgroup/systemd$1" "/sys/fs/cgroup/unified$1"; do
        [ -f "$group/cgroup.procs" ] || continue
        group_pids "$group"
        return
    done
}

# Adds the processes of the control group in directory $1 and those below it. A service may create its own groups, as
# container launchers do. A threaded group has no readable list of processes.
group_pids() {
    {
        while read -r pid; do
            pids="$pids $pid"
        done <"$1/cgroup.procs"
    } 2>/dev/null
    for below in "$1"/*/; do
        [ ! -f "${below}cgroup.procs" ] || group_pids "${below%/}"
    done
}

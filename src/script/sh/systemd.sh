# Reads the state of the slots' units with one command.

observe_systemd() {
    show=$(systemctl show -p Id -p MainPID -p NRestarts -p ControlGroup -p ExecMainCode -p ExecMainStatus -p SubState \
        $units 2>&1) || {
        unseen="systemctl show: $show"
        return 1
    }
    show=$show$NL$NL
    while [ -n "$show" ]; do
        block=$NL${show%%"$NL$NL"*}$NL
        show=${show#*"$NL$NL"}
        property Id
        port=${value#"ship-$SERVICE@"}
        port=${port%.service}
        case $port in
            '' | *[!0-9]*) continue ;;
        esac
        observe_unit
        eval "facts_$port=\$facts pids_$port=\$pids"
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
        property ControlGroup
        unit_pids "$value"
        return
    fi
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
    property SubState
    case $value in
        auto-restart*) result="$result; systemd starts it again" ;;
    esac
    facts="process=ended $result${NL}restarts=$restarts$NL"
}

# Explains a working directory that could not be entered: finds the directory that the user in the slot's record cannot
# enter.
explain_chdir() {
    eval "text=\$text_$port"
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

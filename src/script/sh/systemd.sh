# What systemd says of the slots' units, all in one question.

look_systemd() {
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
        look_unit
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

look_unit() {
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
            how="exit status $value"
            [ "$value" != 200 ] || explain_chdir
            ;;
        2 | 3) how="signal $value" ;;
        *) how="not started" ;;
    esac
    property SubState
    case $value in
        auto-restart*) how="$how; systemd starts it again" ;;
    esac
    facts="process=ended $how${NL}restarts=$restarts$NL"
}

# The working directory could not be entered: which directory is in the way of the user in the slot's record.
explain_chdir() {
    eval "text=\$text_$port"
    as_user=${text#*"$NL.user="}
    as_user=${as_user%%"$NL"*}
    ! find_barred "$ROOT" "$as_user" || how="$how: user $as_user cannot enter $barred"
}

# Adds the processes of control group $1 and of all groups below it to "pids", wherever control groups are mounted.
unit_pids() {
    [ -n "$1" ] || return 0
    for group in "/sys/fs/cgroup$1" "/sys/fs/cgroup/systemd$1" "/sys/fs/cgroup/unified$1"; do
        [ -f "$group/cgroup.procs" ] || continue
        group_pids "$group"
        return
    done
}

# Adds the processes of the control group in directory $1 and of those below it. A service may make groups of its own, as
# container launchers do. A group of threads has no list of processes to read.
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

# Runs a command of the user isolated from this script, with a time limit and a guaranteed end.

# Whether this host has the tools to run a command as user $1; otherwise the reason is in "output".
can_run() {
    for tool in mkfifo setsid; do
        command -v "$tool" >/dev/null 2>&1 || {
            output="$tool is not installed on this host, but hooks and tasks need it"
            return 1
        }
    done
    [ -n "$1" ] && [ "$1" != "$(id -un)" ] || return 0
    output=$(id -g "$1" 2>&1) || return 1
    command -v setpriv >/dev/null 2>&1 || output="setpriv (package util-linux) is not installed, but is needed to run as $1"
    command -v setpriv >/dev/null 2>&1
}

# The leader of a session that is killed when its script is gone, because only the script holds the write end of
# "stop_fifo".
SESSION_LEADER='( read -r unused <&3; kill -KILL 0 ) >/dev/null 2>&1 & exec 3<&-; exec timeout -k 2 "$0" sh -c "$@"'

# Runs the script $2 as user $3, with $4 as its PATH, for at most $1 seconds. Sets "result" to the exit status or
# "timeout", "took_cs" to the duration, "output_lines" to its last output as lines of the report, and "last" to its last
# line. Processes in its session are killed at its end. Processes that have left the session are reported and continue,
# because that may be intended.
run_isolated() {
    limit=$1 run=$2 path=$4 result=126 took_cs=0 output_lines= last=
    can_run "$3" || {
        last=$output
        return
    }
    set -- "$3"
    if [ -n "$1" ] && [ "$1" != "$(id -un)" ]; then
        set -- setpriv "--reuid=$1" "--regid=$(id -g "$1")" --init-groups --
    else
        set --
    fi
    work_dir=$ROOT/tmp/run.$$
    output=$({ umask 077 && rm -rf -- "$work_dir" && mkdir "$work_dir" && mkfifo "$work_dir/output" "$work_dir/stop_fifo"; } 2>&1) ||
        fail "cannot create $work_dir: $output"
    { command exec 7<>"$work_dir/output" 8<>"$work_dir/stop_fifo"; } 2>/dev/null || fail "cannot open $work_dir"
    clock
    ran_from=$cs
    tail -c "$OUTPUT_BYTES_MAX" <"$work_dir/output" >"$work_dir/tail" 2>/dev/null 7>&- 8>&- 9>&- &
    reader=$!
    command_id=$$.$ran_from
    env -i "PATH=$path" "SHIP_COMMAND=$command_id" setsid sh -c "$SESSION_LEADER" "$limit" "$run" run "$@" </dev/null >&7 2>&1 3<"$work_dir/stop_fifo" \
        4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    leader=$!
    exec 7>&-
    # Some shells print a message about a process that is killed by a signal.
    { wait "$leader"; } 2>/dev/null
    result=$?
    clock
    took_cs=$((cs - ran_from))
    case $result in
        124 | 137 | 143) [ "$took_cs" -lt $((limit * 100)) ] || result=timeout ;;
    esac
    exec 8>&-
    end_session "$leader"
    wait_for_reader
    read_output
    report_leftovers
    rm -rf -- "$work_dir"
}

# Kills the remaining processes of session $1. Does not wait long for a process that the kernel does not end.
end_session() {
    attempts=0
    find_members "$1"
    while [ -n "$members" ] && [ "$attempts" -lt 16 ]; do
        { kill -KILL $members; } 2>/dev/null
        backoff
        find_members "$1"
    done
}

# Waits for the end of the output, for one second: a process that has left the session may keep it open forever.
wait_for_reader() {
    clock
    deadline=$((cs + 100))
    attempts=0
    while ! has_exited "$reader"; do
        clock
        if [ "$cs" -ge "$deadline" ]; then
            { kill "$reader"; } 2>/dev/null
            output_lines="output=(the output is lost: a process that the command has left running still holds it open)$NL"
        fi
        backoff
    done
    { wait "$reader"; } 2>/dev/null
}

# Reports processes that have left the session, which still have its environment. Programs that clear the environment,
# such as service managers, start permanent processes intentionally.
report_leftovers() {
    detached=
    find_environments "SHIP_COMMAND=$command_id"
    for environ in $environments; do
        detached_pid=${environ#/proc/}
        detached_pid=${detached_pid%/environ}
        words=
        read -r words <"/proc/$detached_pid/comm" || continue
        detached="$detached${detached:+, }$words (pid $detached_pid)"
    done 2>/dev/null
    [ -z "$detached" ] || output_lines="${output_lines}left=$detached$NL"
}

read_output() {
    tail -n "$OUTPUT_LINES_MAX" <"$work_dir/tail" >"$work_dir/lines" 2>/dev/null
    while IFS= read -r line || [ -n "$line" ]; do
        output_lines="${output_lines}output=$line$NL"
        case $line in
            *[![:space:]]*) last=$line ;;
        esac
    done <"$work_dir/lines"
}

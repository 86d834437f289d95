# Probes the liveness of the instance in a slot. An instance that has failed often enough is killed, and systemd
# restarts it.
SLOT=$ROOT/slots/$NUMBER
unit=ship-$SERVICE@$NUMBER.service
count=$SLOT/liveness.failures
unset http_proxy all_proxy ALL_PROXY

# The instance's name and first process. An instance that is not running is not probed.
find_instance() {
    only_slot=$NUMBER only_ports=$PORT
    observe || fail "$unseen"
    eval "name=\${name_$NUMBER-} main=\${pids_$NUMBER-}"
    main=${main%% *}
    inspect "$main" || exit 0
    main_started=$ticks PROBE_PID=$main
}

# Whether the process that "find_instance" found is still alive.
instance_alive() {
    inspect "$main" && [ "$ticks" = "$main_started" ] && [ "$state" != Z ] && [ "$state" != X ]
}

# Sets "at" to the address at which the instance can be reached from this host; empty if it does not listen.
find_address() {
    at=
    set -f
    IFS=$NL
    for line in $listens; do
        case $line in
            "listen=$NUMBER $PORT "*' own') at=${line#* * } ;;
        esac
    done
    IFS=$BLANKS
    set +f
    at=${at% own}
    case $at in
        0.0.0.0 | 00000000) at=127.0.0.1 ;;
        '*' | '[::]' | 00000000000000000000000000000000) at=localhost ;;
        '' | *[.:]*) ;;
        ????????) read_v4 "$at" ;;
        0000000000000000FFFF0000*) read_v4 "${at#????????????????????????}" ;;
        *) read_v6 "$at" ;;
    esac
}

# Parse addresses as the kernel prints them: words of memory on a little-endian machine.
read_v4() {
    middle=${1#??}
    middle=${middle%??}
    at=$((0x${1#??????})).$((0x${middle#??})).$((0x${middle%??})).$((0x${1%??????}))
}

read_v6() {
    at= left=$1
    while [ -n "$left" ]; do
        word=${left%"${left#????????}"}
        left=${left#????????}
        middle=${word#??}
        middle=${middle%??}
        at=$at:${word#??????}${middle#??}:${middle%??}${word%??????}
    done
    at="[${at#:}]"
}

# Probes the instance. Sets "why" to the reason of a failure; empty on success.
probe() {
    why=
    if [ "$PROBE_KIND" != command ]; then
        find_address
        if [ -z "$at" ]; then
            why="it does not listen on port $PORT"
            return
        fi
        bare=${at#[}
        bare=${bare%]}
    fi
    "probe_$PROBE_KIND"
    case $result in
        124 | 137 | 143) why="no answer within $TIMEOUT_S s" ;;
    esac
}

# Runs a program within the probe's timeout: its output is in "answer", its exit status in "result".
run() {
    # Some shells print a message about a process that is killed by a signal.
    { answer=$(timeout -k 1 "$TIMEOUT_S" "$@" 2>&1 </dev/null); } 2>/dev/null
    result=$?
}

probe_tcp() {
    run bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$bare" "$PORT"
    [ "$result" = 0 ] || set_why "$answer"
}

probe_http() {
    url=http://$at:$PORT$HTTP_PATH
    if command -v curl >/dev/null 2>&1; then
        run curl -q -gsS -o /dev/null -w '\nHTTP/ %{http_code}\n' ${HTTP_HOST:+-H "Host: $HTTP_HOST"} "$url"
    elif command -v bash >/dev/null 2>&1; then
        run bash -c "$GET" bash "$bare" "$PORT" "$HTTP_PATH" "${HTTP_HOST:-$bare:$PORT}"
    else
        run wget -S -O /dev/null ${HTTP_HOST:+--header "Host: $HTTP_HOST"} "$url"
    fi
    code=
    set -f
    IFS=$NL
    for line in $answer; do
        IFS=$BLANKS
        case $line in
            *HTTP/*' '*)
                set -- $line
                code=${2%%[!0-9]*}
                break
                ;;
        esac
    done
    IFS=$BLANKS
    set +f
    case $code in
        [23]??) ;;
        '' | 000) set_why "$answer" ;;
        *) why="it returned status $code" ;;
    esac
}

# A minimal HTTP request that reads only the status line.
GET='exec 3<>"/dev/tcp/$1/$2" &&
printf "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" "$3" "$4" >&3 && IFS= read -r line <&3 && echo "$line"'

probe_command() {
    run_probe_command
    result= output=
    set -f
    IFS=$NL
    for line in $answer; do
        case $line in
            exit=*) result=${line#*=} ;;
            line=*) output=${line#*=} ;;
        esac
    done
    IFS=$BLANKS
    set +f
    [ "$result" = 0 ] || why="the command exited with $result: $output"
}

# Sets "why" to the first nonempty line of $1.
set_why() {
    why='no answer'
    set -f
    IFS=$NL
    for line in $1; do
        why=$line
        break
    done
    IFS=$BLANKS
    set +f
}

# Reads into "failures" how often this process has failed since its last success; empty before its first success.
read_count() {
    counted= failures=
    [ ! -f "$count" ] || read -r counted failures <"$count"
    [ "$counted" = "$boot.$main.$main_started" ] || failures=
}

record_success() {
    read_count
    [ "$failures" = 0 ] || printf '%s 0\n' "$boot.$main.$main_started" >"$count"
}

# Counts a failure of this process, and kills the process at the threshold. Failures before its first success do not
# count, because it may still be starting.
count_failure() {
    # Another script holds the lock, and may be stopping the instance.
    try_lock "$LOCK_TIMEOUT_CS" || exit 0
    instance_alive || exit 0
    read_count
    [ -n "$failures" ] || {
        printf '%s: %s (not counted before the first success)\n' "$name" "$why"
        exit 0
    }
    failures=$((failures + 1))
    printf '%s: %s (%s of %s)\n' "$name" "$why" "$failures" "$FAILURES"
    if [ "$failures" -lt "$FAILURES" ]; then
        printf '%s %s\n' "$boot.$main.$main_started" "$failures" >"$count"
        exit 0
    fi
    rm -f "$count"
    # Shows later observers that the process was killed by ship.
    printf '%s (%s of %s)\n' "$why" "$failures" "$FAILURES" >"$SLOT/liveness.kill"
    end_instance
}

# Sends the stop signal, waits, and sends SIGKILL, because systemd does not supervise the end of a
# process that it was not asked to stop.
end_instance() {
    printf '%s: failed its liveness probe and is stopped; systemd restarts it\n' "$name"
    send "$STOP_SIGNAL"
    clock
    deadline=$((cs + STOP_CS))
    attempts=0
    while instance_alive; do
        clock
        if [ "$cs" -ge "$deadline" ] && try_lock 0; then
            ! instance_alive || send KILL
            deadline=$((cs + STOP_CS))
        fi
        backoff
    done
}

# Sends a signal under the lock, and then releases the lock, which is not needed while waiting.
send() {
    systemctl kill "--signal=$1" "$unit" 9>&-
    release_lock
}

find_instance
[ $((cs - main_started)) -ge "$DELAY_CS" ] || exit 0
probe
if [ -n "$why" ]; then
    count_failure
else
    record_success
fi

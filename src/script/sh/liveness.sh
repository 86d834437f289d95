# Asks the instance in a slot whether it still works. One that has failed often enough is ended; systemd starts it again.
SLOT=$ROOT/slots/$PORT
unit=ship-$SERVICE@$PORT.service
count=$SLOT/liveness.failures
unset http_proxy all_proxy ALL_PROXY

# The instance's name and first process. One that does not run needs no question.
find_instance() {
    only_port=$PORT
    look || fail "$unseen"
    eval "name=\${name_$PORT-} main=\${pids_$PORT-}"
    main=${main%% *}
    inspect "$main" || exit 0
    born=$ticks
}

# Whether that very process still lives.
remains() {
    inspect "$main" && [ "$ticks" = "$born" ] && [ "$state" != Z ] && [ "$state" != X ]
}

# Where the instance listens, for one who is on the same host, in "at".
find_address() {
    at=
    set -f
    IFS=$NL
    for line in $listens; do
        case $line in
            "listen=$PORT "*' own') at=${line#* } ;;
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

# Addresses as the kernel prints them: the words of memory, on a little-endian machine.
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

# What is wrong with the instance, in "why"; nothing where it answers as it should.
ask() {
    why=
    if [ "$WAY" != command ]; then
        find_address
        if [ -z "$at" ]; then
            why="it does not listen on port $PORT"
            return
        fi
        bare=${at#[}
        bare=${bare%]}
    fi
    "ask_$WAY"
    case $how in
        124 | 137 | 143) why="no answer within $TIMEOUT_S s" ;;
    esac
}

# Runs a program in the time that an answer may take: what it says, in "answer", and how it ended, in "how".
run() {
    # Some shells have a word of their own on what is ended by a signal.
    { answer=$(timeout -k 1 "$TIMEOUT_S" "$@" 2>&1 </dev/null); } 2>/dev/null
    how=$?
}

ask_tcp() {
    run bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$bare" "$PORT"
    [ "$how" = 0 ] || first_of "$answer"
}

ask_http() {
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
        '' | 000) first_of "$answer" ;;
        *) why="it answered with status $code" ;;
    esac
}

# As much of HTTP as takes to hear the status.
GET='exec 3<>"/dev/tcp/$1/$2" &&
printf "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" "$3" "$4" >&3 && IFS= read -r line <&3 && echo "$line"'

ask_command() {
    ask_by_command
    how= said=
    set -f
    IFS=$NL
    for line in $answer; do
        case $line in
            exit=*) how=${line#*=} ;;
            line=*) said=${line#*=} ;;
        esac
    done
    IFS=$BLANKS
    set +f
    [ "$how" = 0 ] || why="the command ended with $how: $said"
}

# The first line of $1 that says something, as what is wrong.
first_of() {
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

# How often this process has failed since its last pass, in "failures"; empty before its first pass.
read_count() {
    of= failures=
    [ ! -f "$count" ] || read -r of failures <"$count"
    [ "$of" = "$boot.$main.$born" ] || failures=
}

note_pass() {
    read_count
    [ "$failures" = 0 ] || printf '%s 0\n' "$boot.$main.$born" >"$count"
}

# Counts a failure of this process; ends it when it was the last that is allowed. Before its first pass it may still be
# starting, and nothing counts.
count_failure() {
    # Somebody else is at work on this host, who may be stopping it.
    take_lock "$PATIENCE_CS" || exit 0
    remains || exit 0
    read_count
    [ -n "$failures" ] || {
        printf '%s: %s (not counted before the first pass)\n' "$name" "$why"
        exit 0
    }
    failures=$((failures + 1))
    printf '%s: %s (%s of %s)\n' "$name" "$why" "$failures" "$FAILURES"
    if [ "$failures" -lt "$FAILURES" ]; then
        printf '%s %s\n' "$boot.$main.$born" "$failures" >"$count"
        exit 0
    fi
    rm -f "$count"
    # Whoever looks at the host tells by this that the process did not end by itself.
    printf '%s (%s of %s)\n' "$why" "$failures" "$FAILURES" >"$SLOT/liveness.kill"
    end_instance
}

# TERM, wait, KILL. systemd does not wait for the end of what it was not told to stop.
end_instance() {
    printf '%s: it does not answer as it should, and is ended: systemd starts it again\n' "$name"
    send TERM
    clock
    enough=$((cs + STOP_CS))
    naps=0
    while remains; do
        clock
        if [ "$cs" -ge "$enough" ] && take_lock 0; then
            ! remains || send KILL
            enough=$((cs + STOP_CS))
        fi
        nap
    done
}

# Under the lock, which it gives back: what takes its time needs none.
send() {
    systemctl kill "--signal=$1" "$unit" 9>&-
    leave
}

find_instance
[ $((cs - born)) -ge "$DELAY_CS" ] || exit 0
ask
if [ -n "$why" ]; then
    count_failure
else
    note_pass
fi

# Runs a command of the user's apart from this script: in its time, and with an end.

# Whether this host has what it takes to run as user $1; else what is missing, in "said".
can_run() {
    for tool in mkfifo setsid; do
        command -v "$tool" >/dev/null 2>&1 || {
            said="$tool is missing on this host: it is needed to run commands apart"
            return 1
        }
    done
    [ -n "$1" ] && [ "$1" != "$(id -un)" ] || return 0
    said=$(id -g "$1" 2>&1) || return 1
    command -v setpriv >/dev/null 2>&1 || said="setpriv, of util-linux, is missing: it is needed to run as $1"
    command -v setpriv >/dev/null 2>&1
}

# Leads a session, in which nothing goes on when the script that has begun it is gone: it alone could write to the leash.
APART='( read -r gone <&3; kill -KILL 0 ) >/dev/null 2>&1 & exec 3<&-; exec timeout -k 2 "$0" sh -c "$@"'

# Runs the script $2 as user $3, with $4 for its PATH, for $1 seconds at most: how it ended, in "how" (a status, or
# "timeout"), for how long it ran, in "took_cs", and what it said last, in "saids", as lines of the report, and "last".
# What it leaves in its session ends with it; what has left its session is reported, and goes on: it may be meant to.
run_apart() {
    limit=$1 run=$2 path=$4 how=126 took_cs=0 saids= last=
    can_run "$3" || {
        last=$said
        return
    }
    set -- "$3"
    if [ -n "$1" ] && [ "$1" != "$(id -un)" ]; then
        set -- setpriv "--reuid=$1" "--regid=$(id -g "$1")" --init-groups --
    else
        set --
    fi
    bench=$ROOT/tmp/run.$$
    said=$({ umask 077 && rm -rf -- "$bench" && mkdir "$bench" && mkfifo "$bench/said" "$bench/leash"; } 2>&1) ||
        fail "$bench could not be made: $said"
    { command exec 7<>"$bench/said" 8<>"$bench/leash"; } 2>/dev/null || fail "$bench cannot be opened"
    clock
    ran_from=$cs
    tail -c "$SAID_BYTES" <"$bench/said" >"$bench/tail" 2>/dev/null 7>&- 8>&- 9>&- &
    reader=$!
    ticket=$$.$ran_from
    env -i "PATH=$path" "SHIP_COMMAND=$ticket" setsid sh -c "$APART" "$limit" "$run" run "$@" </dev/null >&7 2>&1 3<"$bench/leash" \
        4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    leader=$!
    exec 7>&-
    # Some shells have a word of their own on what is ended by a signal.
    { wait "$leader"; } 2>/dev/null
    how=$?
    clock
    took_cs=$((cs - ran_from))
    case $how in
        124 | 137 | 143) [ "$took_cs" -lt $((limit * 100)) ] || how=timeout ;;
    esac
    exec 8>&-
    end_session "$leader"
    await_reader
    read_said
    report_strays
    rm -rf -- "$bench"
}

# Ends what is left of session $1. What the kernel does not let go is not waited for.
end_session() {
    naps=0
    find_members "$1"
    while [ -n "$members" ] && [ "$naps" -lt 16 ]; do
        { kill -KILL $members; } 2>/dev/null
        nap
        find_members "$1"
    done
}

# What has left the session may hold its output open for ever.
await_reader() {
    clock
    enough=$((cs + 100))
    naps=0
    while ! is_gone "$reader"; do
        clock
        if [ "$cs" -ge "$enough" ]; then
            { kill "$reader"; } 2>/dev/null
            saids="said=(what it said is lost: something that it has left behind still holds its output open)$NL"
        fi
        nap
    done
    { wait "$reader"; } 2>/dev/null
}

# Processes that have left the session still have the environment that they were begun with. Programs that clear it, as
# service managers do, are meant to start what stays.
report_strays() {
    strays=
    find_environments "SHIP_COMMAND=$ticket"
    for environ in $environments; do
        stray=${environ#/proc/}
        stray=${stray%/environ}
        words=
        read -r words <"/proc/$stray/comm" || continue
        strays="$strays${strays:+, }$words (pid $stray)"
    done 2>/dev/null
    [ -z "$strays" ] || saids="${saids}left=$strays$NL"
}

read_said() {
    tail -n "$SAID_LINES" <"$bench/tail" >"$bench/lines" 2>/dev/null
    while IFS= read -r line || [ -n "$line" ]; do
        saids="${saids}said=$line$NL"
        case $line in
            *[![:space:]]*) last=$line ;;
        esac
    done <"$bench/lines"
}

# Prints the logs of slots, one line each: lines of a log file after their slot, lines of the journal as JSON. Lines are
# no longer than an atomic write to a pipe, because several followers write to the same pipe.

print_lines() {
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s %.4000s\n' "$number" "$line"
    done
}

select_units() {
    units=
    for number; do
        units="$units --unit=ship-$SERVICE@$number.service --unit=ship-$SERVICE.liveness@$number.service"
    done
}

run_field=

journal() {
    journalctl --no-pager --quiet --all --output=json --output-fields="MESSAGE,UNIT,_SYSTEMD_UNIT$run_field" \
        "$@" $units
}

# Whether file $1 was modified since "SINCE_S".
modified_since() {
    [ -f "$1" ] && [ "$(stat -c %Y "$1")" -ge "$SINCE_S" ]
}

# Lines of the previous instance, if they are recent enough, and of the instance in the slot.
print_log_history() {
    if [ -n "$SINCE_S" ]; then
        set --
        ! modified_since "$SLOT/log.1" || set -- "$SLOT/log.1"
        ! modified_since "$SLOT/log" || set -- "$@" "$SLOT/log"
        [ $# = 0 ] || cat "$@" | tail -n "$LINES_MAX" | print_lines
    elif [ -f "$SLOT/log" ]; then
        tail -n "$LINES_MAX" "$SLOT/log" | print_lines
    fi
}

# Prints where the log of an instance of the link driver is.
name_server_log() {
    printf '%s\n' "ship runs no process here: the log of the server that serves $ROOT/current has the messages" | print_lines
}

# Whether systemd has restarted the instance, and it is running again. Sets "invocation" to the ID of the current run.
is_restarted() {
    show=$NL$(systemctl show -p MainPID -p NRestarts -p InvocationID "ship-$SERVICE@$number.service" 2>/dev/null)$NL
    invocation=${show#*"${NL}InvocationID="}
    invocation=${invocation%%"$NL"*}
    case $show in
        *"${NL}MainPID=0$NL"* | *"${NL}NRestarts=0$NL"*) return 1 ;;
    esac
    [ -n "$invocation" ] && [ "$invocation" != "$show" ]
}

print_journal_history() {
    [ -d /run/systemd/system ] || return 0
    select_units "$number"
    # Before systemd 254, --lines counts from --since on instead of from the end; with --reverse it always counts from
    # the end. tac writes the content of a pipe to a file first: /run cannot fill up the disk.
    [ -z "$SINCE_S" ] || began=--since=@$SINCE_S
    if [ -n "$BEFORE_RESTART" ] && is_restarted; then
        run_field=,_SYSTEMD_INVOCATION_ID
        journal --reverse ${began:+"$began"} | grep -v "\"_SYSTEMD_INVOCATION_ID\":\"$invocation\"" |
            head -n "$LINES_MAX"
    else
        journal --reverse "--lines=$LINES_MAX" ${began:+"$began"}
    fi | TMPDIR=/run tac
}

printf '\nship=1\n'

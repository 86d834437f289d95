# The logs of slots, a line each: of a log file with its port before it, of the journal as an object. A line has no more
# bytes than a pipe takes at once: several followers write to one.

say() {
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s %.4000s\n' "$port" "$line"
    done
}

units() {
    units=
    for port; do
        units="$units --unit=ship-$SERVICE@$port.service --unit=ship-$SERVICE.liveness@$port.service"
    done
}

journal() {
    journalctl --no-pager --quiet --all --output=json --output-fields=MESSAGE,UNIT,_SYSTEMD_UNIT "$@" $units
}

# Whether file $1 was written to since.
is_since() {
    [ -f "$1" ] && [ "$(stat -c %Y "$1")" -ge "$SINCE_S" ]
}

# Of the instance before, where so much is wanted, and of the one in the slot.
past_of_file() {
    if [ -n "$SINCE_S" ]; then
        set --
        ! is_since "$SLOT/log.1" || set -- "$SLOT/log.1"
        ! is_since "$SLOT/log" || set -- "$@" "$SLOT/log"
        [ $# = 0 ] || cat "$@" | tail -n "$LINES_MAX" | say
    elif [ -f "$SLOT/log" ]; then
        tail -n "$LINES_MAX" "$SLOT/log" | say
    fi
}

past_of_journal() {
    [ -d /run/systemd/system ] || return 0
    units "$port"
    # Before systemd 254, --lines counts from --since on instead of back from the end; with --reverse it never does.
    # tac writes a pipe's content to a file first: /run needs no disk that may be full.
    if [ -n "$SINCE_S" ]; then
        journal --reverse "--lines=$LINES_MAX" "--since=@$SINCE_S" | TMPDIR=/run tac
    else
        journal --reverse "--lines=$LINES_MAX" ${began:+"$began"} | TMPDIR=/run tac
    fi
}

printf '\nship=1\n'

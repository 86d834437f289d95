# Prints the log history, and then new lines of whatever runs in the slots, until the reader disconnects.

follow_file() {
    lines=0
    case " $HISTORY_SLOTS " in
        *" $number "*)
            lines=$LINES_MAX
            if [ -n "$SINCE_S" ]; then
                ! modified_since "$SLOT/log.1" || tail -n "$LINES_MAX" "$SLOT/log.1" | print_lines
                modified_since "$SLOT/log" || lines=0
            fi
            ;;
    esac
    # By name, because the next instance in the slot gets a new file.
    tail -n "$lines" -F "$SLOT/log" 2>/dev/null | print_lines
}

now_s=$(date +%s)
for number in $HISTORY_SLOTS; do
    find_log "$number"
    [ "$driver" != link ] || name_server_log
done
case " $DRIVERS " in
    *' systemd '*)
        for number in $HISTORY_SLOTS; do
            find_log "$number"
            case $driver in
                process | link) ;;
                *) print_journal_history ;;
            esac
        done
        # Entries of the current second are printed twice: before and after this line.
        printf 'live\n'
        select_units $FOLLOWED_SLOTS
        [ ! -d /run/systemd/system ] || journal --follow --lines=all "--since=@${RESUME_S:-$now_s}" &
        ;;
esac
case " $DRIVERS " in
    *' process '*)
        for number in $FOLLOWED_SLOTS; do
            SLOT=$ROOT/slots/$number
            follow_file &
        done
        ;;
esac
while [ -n "$(timeout "$SILENCE_S" dd bs=1 count=1 2>/dev/null)" ]; do
    :
done
# All children are in this script's process group.
trap '' TERM
kill 0

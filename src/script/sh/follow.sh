# What was written until now, and what is from now on, whatever comes into the slots, until nobody listens any more.

follow_file() {
    lines=0
    case " $PAST " in
        *" $port "*)
            lines=$LINES_MAX
            if [ -n "$SINCE_S" ]; then
                ! is_since "$SLOT/log.1" || tail -n "$LINES_MAX" "$SLOT/log.1" | say
                is_since "$SLOT/log" || lines=0
            fi
            ;;
    esac
    # By name: the next instance in the slot has a file of its own.
    tail -n "$lines" -F "$SLOT/log" 2>/dev/null | say
}

now_s=$(date +%s)
case " $DRIVERS " in
    *' systemd '*)
        for port in $PAST; do
            log_of "$port"
            [ "$driver" = process ] || past_of_journal
        done
        # From here on entries come a second time, where a second was not over yet.
        printf 'live\n'
        units $WATCHED
        [ ! -d /run/systemd/system ] || journal --follow --lines=all "--since=@${RESUME_S:-$now_s}" &
        ;;
esac
case " $DRIVERS " in
    *' process '*)
        for port in $WATCHED; do
            SLOT=$ROOT/slots/$port
            follow_file &
        done
        ;;
esac
while [ -n "$(timeout "$SILENCE_S" dd bs=1 count=1 2>/dev/null)" ]; do
    :
done
# All that was begun here is in this script's group.
trap '' TERM
kill 0

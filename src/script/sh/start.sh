digest "$RELEASE"
SLOT=$ROOT/slots/$PORT
child=

# Whether the instance in the slot, which has the right name, was ever started: else the script before died on the way.
begun() {
    eval "facts=\${facts_$PORT-}"
    case $facts in
        *"never started"* | *"not started"*) return 1 ;;
    esac
}

refuse_if_taken() {
    # Only who listens on this port matters now. What is reported in the end is looked at anew.
    only_hex=$port_hex
    look || fail "$unseen"
    only_hex= fresh=
    eval "present=\${name_$PORT-} other=\${other_$PORT-}"
    case $present in
        "$NAME") ! begun || finish 'done' ;;
        '') [ -z "$other" ] || fail "port $PORT is taken by $other" ;;
        *) fail "slot $PORT still holds $present" ;;
    esac
}

fill_slot() {
    if [ ! -d "$SLOT" ]; then
        said=$(mkdir -p "$SLOT" 2>&1) || fail "$said"
    fi
    for leftover in pid ended; do
        [ ! -e "$SLOT/$leftover" ] || rm -f "$SLOT/$leftover"
    done
    take "$ENV_LINES" "$SLOT/env" '%s\n' || fail "the environment did not arrive whole, or could not be written"
    said=$({
        printf '%s\n' "$RUN" >"$SLOT/run" &&
            printf '%s\nstarted=%s\nboot=%s\n' "$RECORD" "$up" "$boot" >"$SLOT/instance.new" &&
            mv -f "$SLOT/instance.new" "$SLOT/instance"
    } 2>&1) || fail "the slot could not be written: $said"
}

# Waits for what can be seen soon: that the instance listens, or that it has ended. Neither is no failure.
settle() {
    clock
    enough=$((cs + SETTLE_CS))
    # Not too often: what is starting wants the processor itself.
    naps=4
    while :; do
        nap
        clock
        worth_a_look || [ "$cs" -ge "$enough" ] || continue
        look || fail "$unseen"
        eval "own=\${own_$PORT-} facts=\${facts_$PORT-}"
        [ -z "$own" ] || return 0
        case $facts in
            *"never started"* | *"not started"*) ! gone || break ;;
            process=ended*) break ;;
        esac
        [ "$cs" -lt "$enough" ] || return 0
    done
    [ -z "$child" ] || note_status
}

# Whether somebody listens on the port, or the process is gone, or it has not been looked at for a while: what systemd
# started can only be asked about. A full look costs many times more than this.
worth_a_look() {
    [ $((naps % 4)) != 0 ] || [ -n "$child" ] || return 0
    ! gone || return 0
    grep -qE "^ *[0-9]+: ($addresses):$port_hex [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# Whether the process that was to become the service is gone; it may not have left its number yet.
gone() {
    [ -n "$child" ] && { ! inspect "$child" || [ "$state" = Z ]; }
}

# The status of a process that was this script's child, for those who look later.
note_status() {
    wait "$child"
    how=$?
    if [ "$how" -gt 128 ]; then
        how="signal $((how - 128))"
    else
        how="exit status $how"
    fi
    printf '%s\n' "$how" >"$SLOT/ended"
    eval "facts_$PORT=\"process=ended \$how\$NL\""
}

port_hex=$(printf %04X "$PORT")
addresses='[0-9A-F]+'
for address in $LOOPBACK_HEX; do
    case $addresses in
        '[0-9A-F]+') addresses=$address ;;
        *) addresses="$addresses|$address" ;;
    esac
done
enter
[ -d "$ROOT/releases/$RELEASE/app" ] || fail "the release is not on this host"
refuse_if_taken
prepare
fill_slot
launch
settle
finish 'done'

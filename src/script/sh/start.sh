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
    look || fail "$unseen"
    eval "present=\${name_$PORT-} other=\${other_$PORT-}"
    case $present in
        "$NAME") ! begun || finish 'done' ;;
        '') [ -z "$other" ] || fail "port $PORT is taken by $other" ;;
        *) fail "slot $PORT still holds $present" ;;
    esac
    fresh=
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
    naps=0
    while :; do
        nap
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

enter
[ -d "$ROOT/releases/$RELEASE/app" ] || fail "the release is not on this host"
refuse_if_taken
prepare
fill_slot
launch
settle
finish 'done'

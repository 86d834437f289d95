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
    only_port=$PORT
    look || fail "$unseen"
    only_port= fresh=
    eval "present=\${name_$PORT-} other=\${other_$PORT-}"
    case $present in
        "$NAME")
            begun || return 0
            after_start
            finish 'done'
            ;;
        '') [ -z "$other" ] || fail "port $PORT is taken by $other" ;;
        *) fail "slot $PORT still holds $present" ;;
    esac
}

fill_slot() {
    if [ ! -d "$SLOT" ]; then
        said=$(mkdir -p "$SLOT" 2>&1) || fail "$said"
    fi
    for leftover in pid ended liveness liveness.failures liveness.kill hooks; do
        [ ! -e "$SLOT/$leftover" ] || rm -f "$SLOT/$leftover"
    done
    take "$ENV_LINES" "$SLOT/env" '%s\n' || fail "the environment did not arrive whole, or could not be written"
    [ "$LIVENESS_LINES" -eq 0 ] || take "$LIVENESS_LINES" "$SLOT/liveness" '%s\n' ||
        fail "the question for liveness did not arrive whole, or could not be written"
    [ "$HOOK_LINES" -eq 0 ] || take "$HOOK_LINES" "$SLOT/hooks" '%s\n' ||
        fail "the hooks did not arrive whole, or could not be written"
    [ "$HOOK_LINES" -eq 0 ] || printf "hook_user='%s'\n" "$RUN_AS" >>"$SLOT/hooks" ||
        fail "the hooks could not be written"
    said=$({ printf '%s\n' "$RUN" >"$SLOT/run"; } 2>&1) || fail "the slot could not be written: $said"
}

# Before this there is no instance: what fails until then leaves an empty slot.
before_start() {
    pass before_start && return
    rm -f "$SLOT/env" "$SLOT/run" "$SLOT/liveness" "$SLOT/hooks" "$SLOT/hooked"
    fail "$failed"
}

enrol() {
    clock
    said=$({
        printf '%s\nuser=%s\nstarted=%s\nboot=%s\n' "$RECORD" "$RUN_AS" "$up" "$boot" >"$SLOT/instance.new" &&
            mv -f "$SLOT/instance.new" "$SLOT/instance"
    } 2>&1) || fail "the slot could not be written: $said"
}

# An instance whose hooks fail goes again. One that has ended by itself needs none.
after_start() {
    eval "facts=\${facts_$PORT-}"
    case $facts in
        process=ended*) return ;;
    esac
    pass after_start && return
    why=$failed
    read_record "$SLOT"
    pass before_stop
    halt
    fail "$why; it was stopped again"
}

# Waits for what can be seen soon: that the instance listens, or that it has ended. Neither is no failure.
settle() {
    clock
    enough=$((cs + SETTLE_CS))
    # Not too often: what is starting wants the processor itself.
    naps=7
    while :; do
        nap
        clock
        worth_a_look || [ "$cs" -ge "$enough" ] || continue
        look || fail "$unseen"
        eval "own=\${own_$PORT-} facts=\${facts_$PORT-}"
        [ -z "$own" ] || return 0
        case $facts in
            *"never started"* | *"not started"*)
                ! gone || break
                # A busy host lets it wait until it can be seen.
                [ -z "$child" ] || [ "$cs" -ge "$((enough + NUMBER_CS))" ] || continue
                ;;
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
    list_rows "$PORT"
    [ -n "$rows" ] || return 1
    [ -n "$LOOPBACK" ] || return 0
    near=1
    set -f
    IFS=$NL
    for row in $rows; do
        IFS=$BLANKS
        split $row
        ! in_the_way "$address" || near=0
    done
    IFS=$BLANKS
    set +f
    return $near
}

# Whether the process that was to become the service is gone; it may not have left its number yet.
gone() {
    [ -n "$child" ] && is_gone "$child"
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
settle_user
"prepare_$DRIVER"
[ "$HOOK_LINES" -eq 0 ] || can_run "$RUN_AS" || fail "$said"
fill_slot
before_start
enrol
"launch_$DRIVER"
settle
after_start
finish 'done'

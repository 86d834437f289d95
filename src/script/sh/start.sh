check_digest "$RELEASE"
SLOT=$ROOT/slots/$NUMBER
child= switched= has_sockets=

# Whether the instance in the slot, which has the right name, was ever started. If not, an earlier script was
# interrupted.
was_started() {
    eval "facts=\${facts_$NUMBER-}"
    case $facts in
        *"never started"* | *"not started"*) return 1 ;;
    esac
}

check_slot() {
    # Only the listeners on these ports matter here. The final report observes all ports again.
    only_slot=$NUMBER only_ports=$START_PORTS
    observe || fail "$unseen"
    only_slot= only_ports= fresh=
    eval "present=\${name_$NUMBER-} other=\${other_$NUMBER-} other_port=\${other_port_$NUMBER-}"
    case $present in
        "$NAME")
            was_started || return 0
            after_start
            finish 'done'
            ;;
        '') [ -z "$other" ] || fail "port $other_port is already in use by $other" ;;
        "$RELOADS") ;;
        *) fail "slot $NUMBER still contains $present" ;;
    esac
}

fill_slot() {
    if [ ! -d "$SLOT" ]; then
        output=$(mkdir -p "$SLOT" 2>&1) || fail "$output"
    fi
    for leftover in pid ended exit liveness liveness.failures liveness.kill hooks linger lingered; do
        [ ! -e "$SLOT/$leftover" ] || rm -f "$SLOT/$leftover"
    done
    read_lines "$ENV_LINES" "$SLOT/env" '%s\n' || fail "the environment did not arrive completely, or cannot be written"
    [ "$LIVENESS_LINES" -eq 0 ] || read_lines "$LIVENESS_LINES" "$SLOT/liveness" '%s\n' ||
        fail "the liveness probe did not arrive completely, or cannot be written"
    [ "$HOOK_LINES" -eq 0 ] || read_lines "$HOOK_LINES" "$SLOT/hooks" '%s\n' ||
        fail "the hooks did not arrive completely, or cannot be written"
    [ "$HOOK_LINES" -eq 0 ] || printf "hook_user='%s'\n" "$RUN_AS" >>"$SLOT/hooks" ||
        fail "cannot write the hooks"
    write_file "$SLOT/run" '%s\n' "$RUN" || fail "cannot write the slot: $output"
}

# The slot does not contain an instance yet; if a hook fails, it is left empty.
before_start() {
    run_hooks before_start && return
    rm -f "$SLOT/env" "$SLOT/run" "$SLOT/liveness" "$SLOT/hooks" "$SLOT/hooked"
    fail "$failed"
}

register() {
    clock
    write_file "$SLOT/instance.new" '%s\nuser=%s\nstarted=%s\nboot=%s\n' "$RECORD" "$RUN_AS" "$up" "$boot" &&
        output=$(mv -f "$SLOT/instance.new" "$SLOT/instance" 2>&1) || fail "cannot write the slot: $output"
}

# Stops an instance whose hooks fail. An instance that has already ended needs no stop.
after_start() {
    eval "facts=\${facts_$NUMBER-}"
    case $facts in
        process=ended*) return ;;
    esac
    run_hooks after_start && return
    why=$failed
    read_record "$SLOT"
    run_hooks before_stop
    if [ -n "$switched" ]; then
        failed=$why
        switch_back
        why=$failed
    fi
    stop_instance
    fail "$why; the instance was stopped again"
}

# Waits until the instance listens or has ended, for a short time. A timeout is not a failure.
wait_for_result() {
    clock
    deadline=$((cs + SETTLE_CS))
    # Starts with longer pauses, because the instance needs the processor to start.
    attempts=5
    while :; do
        backoff
        clock
        should_observe || [ "$cs" -ge "$deadline" ] || continue
        observe || fail "$unseen"
        eval "own=\${own_$NUMBER-} facts=\${facts_$NUMBER-}"
        [ -z "$own" ] || return 0
        case $facts in
            # Without ports, there is nothing more to wait for.
            process=running*) [ -n "$START_PORTS" ] || return 0 ;;
            *"never started"* | *"not started"*)
                ! child_exited || break
                # On a busy host, it may take longer until the process appears.
                [ -z "$child" ] || [ "$cs" -ge "$((deadline + PID_WAIT_CS))" ] || continue
                ;;
            process=ended*) break ;;
        esac
        [ "$cs" -lt "$deadline" ] || return 0
    done
    [ -z "$child" ] || record_exit_status
}

# Whether a full observation is worthwhile: the port has a listener, the process has exited, or, for a systemd unit,
# whose process cannot be checked, every fourth time. A full observation costs many times more than this check.
should_observe() {
    [ -n "$START_PORTS" ] || return 0
    if [ -z "$child" ]; then
        [ $((attempts % 4)) != 0 ] || return 0
    elif child_exited; then
        return 0
    elif has_socket "$child"; then
        # The first socket of most services is the one that listens.
        [ -n "$has_sockets" ] || {
            has_sockets=yes
            return 0
        }
    else
        # A child of the process may listen instead.
        [ $((attempts % 4)) = 0 ] || return 1
    fi
    list_ports
    [ -n "$rows" ]
}

# Whether process $1 has a socket open, as far as this user may see it. This check needs no other process.
has_socket() {
    for fd in "/proc/$1/fd"/*; do
        [ ! -S "$fd" ] || return 0
    done
    return 1
}

# The listeners on the ports of the new instance that clients of this host could reach, in "rows".
list_ports() {
    IFS=,
    set -- $START_PORTS
    IFS=$BLANKS
    list_rows "$LOOPBACK" "$@"
}

# Whether the process that would become the service has ended. It may not have written its process ID yet.
child_exited() {
    [ -n "$child" ] && has_exited "$child"
}

# Records the exit status of the child for later observers.
record_exit_status() {
    wait "$child"
    result=$?
    if [ "$result" -gt 128 ]; then
        result="signal $((result - 128))"
    else
        result="exit status $result"
    fi
    printf '%s\n' "$result" >"$SLOT/ended"
    eval "facts_$NUMBER=\"process=ended \$result\$NL\""
}

enter
[ -d "$ROOT/releases/$RELEASE/app" ] || fail "the release is not on this host"
check_slot
resolve_user
"prepare_$DRIVER"
make_shared_dirs
[ "$HOOK_LINES" -eq 0 ] || can_run "$RUN_AS" || fail "$output"
[ -z "$present" ] || [ "$present" != "$RELOADS" ] || reload_or_empty
fill_slot
before_start
[ "$DRIVER" = link ] || register
"start_$DRIVER"
wait_for_result
after_start
finish 'done'

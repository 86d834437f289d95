# Reloads the instance in the slot: its process continues with the files of another release, under a new name.

# Returns with an empty slot if the process has ended in the meantime; otherwise, the script ends here.
reload_or_empty() {
    read_record "$SLOT"
    if ! is_active; then
        stop_instance
        return
    fi
    prepare_files
    run_hooks before_start || undo_reload
    switch_release "$RELEASE" || undo_reload
    reload_unit || undo_reload
    # Restarts so far were of the instance before.
    systemctl --no-ask-password reset-failed "$service_unit" >/dev/null 2>&1 9>&-
    register
    run_hooks after_start || undo_reload
    rm -rf -- "$SLOT/reloading" "$backup"
    wait_for_result
    finish 'done'
}

is_active() {
    systemctl --quiet is-active "$service_unit" 9>&-
}

# Replaces the files of the slot, and keeps those of the instance for "undo_reload". A full disk is noticed before
# anything changes. From here on, an interrupted reload is noticed by "observe_reload".
prepare_files() {
    scratch=$ROOT/tmp/reloading.$$ backup=$ROOT/tmp/reloaded.$$
    own_slot=$SLOT SLOT=$scratch
    fill_slot
    SLOT=$own_slot
    inspect "$$"
    set -- "$SLOT/instance"
    for part in env run liveness hooks hooked; do
        [ ! -f "$SLOT/$part" ] || set -- "$@" "$SLOT/$part"
    done
    output=$({ umask 077 && mkdir "$backup" && cp -p "$@" "$backup/" &&
        printf '%s %s\n' "$$" "$ticks" >"$scratch/reloading" && mv -f "$scratch/reloading" "$SLOT/"; } 2>&1) || {
        rm -rf -- "$SLOT/reloading" "$backup"
        fail "cannot keep the files of $RELOADS: $output"
    }
    output=$({ rm -f "$SLOT/hooks" "$SLOT/exit" "$SLOT/liveness.failures" "$SLOT/liveness.kill" &&
        mv -f "$scratch"/* "$SLOT/"; } 2>&1) || { failed="cannot write the slot: $output" && undo_reload; }
}

# Makes the slot's link lead to release $1 with one rename. On failure, the reason is in "failed".
switch_release() {
    output=$({ ln -sfn "../../releases/$1" "$SLOT/release.new" && mv -fT "$SLOT/release.new" "$SLOT/release"; } 2>&1) ||
        { failed="cannot switch $SLOT/release: $output" && return 1; }
}

# Runs the command `reload` as systemd runs it, and waits until it has ended. On failure, the reason is in "failed".
reload_unit() {
    output=$(systemctl --no-ask-password --no-block reload "$service_unit" 2>&1 9>&-) ||
        { failed="systemctl reload $service_unit: $output" && return 1; }
    clock
    deadline=$((cs + SYSTEMD_WAIT_S * 100)) attempts=0
    set -- -p Job -p ActiveState -p ReloadResult -p ExecReload
    while :; do
        block=$NL$(systemctl show "$@" "$service_unit" 2>/dev/null 9>&-)$NL
        property ActiveState
        case $value in
            active | reloading) ;;
            *) failed="the process ended during \`reload\`" && return 1 ;;
        esac
        property Job
        [ "${value:-0}" != 0 ] || break
        clock
        [ "$cs" -lt "$deadline" ] || { failed="\`reload\` did not end within $SYSTEMD_WAIT_S s" && return 1; }
        backoff
    done
    property ExecReload
    status=${value##*status=}
    property ReloadResult
    case $value in
        success) return 0 ;;
        exit-code) failed="\`reload\` exited with status ${status%% *}" ;;
        signal) failed="\`reload\` was killed by signal ${status%% *}" ;;
        timeout) failed="\`reload\` took longer than TimeoutStartSec of the unit" ;;
        *) failed="systemctl reload $service_unit: $value" ;;
    esac
    return 1
}

# Lets the instance continue with its own files, because of the reason in "failed". If that fails, too, the instance
# counts as interrupted.
undo_reload() {
    why=$failed end="$RELOADS continues with its own files" result=
    output=$({ rm -f "$SLOT/hooks" "$SLOT/hooked" && cp -p "$backup"/* "$SLOT/"; } 2>&1) || result="cannot restore its files: $output"
    if [ "$(readlink "$SLOT/release")" != "../../releases/$release" ]; then
        switch_release "$release" || result=$failed
        if ! is_active; then
            end="the process of $RELOADS has ended, and systemd starts it again"
        elif ! reload_unit; then
            result="a second reload failed, too: $failed"
        fi
    fi
    if [ -n "$result" ]; then
        printf '0 0\n' >"$SLOT/reloading"
        end="$RELOADS may use the files of either release: $result"
    else
        rm -f "$SLOT/reloading"
    fi
    rm -rf -- "$backup"
    fail "$why; $end"
}

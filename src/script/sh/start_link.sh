# The link driver: switches "current", and lets the server take notice.

prepare_link() {
    [ -n "$RUN_AS" ] || return 0
    # Only hooks and shared directories need the user.
    [ -z "$SHARED_DIRS" ] && [ "$HOOK_LINES" -eq 0 ] || ensure_user
}

# Makes "current" lead to $1 with one rename, so that the server finds a whole release at any time.
switch_current() {
    output=$({ rm -rf -- "$ROOT/current.new" && ln -s "$1" "$ROOT/current.new" && mv -fT "$ROOT/current.new" "$ROOT/current"; } 2>&1)
}

# Runs the command with which the server takes notice, as the user who runs this script. If it fails, the reason is in
# "failed".
activate() {
    failed=
    [ -n "$RUN" ] || return 0
    run_isolated "$ACTIVATE_S" "$RUN" "" "$SERVICE_PATH"
    case $result in
        0) return 0 ;;
        timeout) failed="did not finish within $ACTIVATE_S s" ;;
        *) failed="exited with status $result" ;;
    esac
    failed="activate${ACTIVATE:+ ($ACTIVATE)} $failed${last:+: $last}"
    return 1
}

# Switches "current" back to where it was before "start_link", because of the reason in "failed". The instance's files must
# still be in the slot.
switch_back() {
    because=$failed
    if [ -z "$previous" ]; then
        rm -f "$ROOT/current"
    elif ! switch_current "$previous"; then
        failed="$because; current cannot be switched back: $output"
        return
    fi
    if activate; then
        failed="$because; current was switched back"
    else
        failed="$because; current was switched back, but $failed"
    fi
}

# The slot contains the instance only when the server has taken notice, so that an interrupted start is repeated. A
# restore does not switch back: it is repeated until the server has taken notice of the old files.
start_link() {
    linked_app "$RELEASE"
    previous=$(readlink "$ROOT/current" 2>/dev/null)
    switch_current "$app" || fail "cannot switch $ROOT/current: $output"
    switched=yes
    if ! activate; then
        [ -z "$SWITCHES_BACK" ] || switch_back
        rm -f "$SLOT/env" "$SLOT/run" "$SLOT/hooks" "$SLOT/hooked"
        fail "$failed"
    fi
    register
}

# The user's commands at the points of an instance's life. The slot stores them, so that the instance is always stopped
# with the hooks of its own release.

# Runs the hooks of point $1 for the instance "NAME" in the slot. Before or after a start, it fails at the first hook
# that fails, with the reason in "failed", and skips the rest. The hooks of a point run once per instance.
run_hooks() {
    point=$1 failed=
    [ -f "$SLOT/hooks" ] || return 0
    . "$SLOT/hooks"
    # A version of ship without hooks may have left the file of an earlier instance.
    [ "$hook_name" = "$NAME" ] || return 0
    ! hooks_have_run || return 0
    hooks_of "$point"
    fresh=
    case $point in
        *_start) [ -z "$failed" ] || return 1 ;;
    esac
    { printf '%s %s\n' "$hook_name" "$point" >>"$SLOT/hooked"; } 2>/dev/null
    return 0
}

hooks_have_run() {
    [ -f "$SLOT/hooked" ] || return 1
    while read -r whose what; do
        [ "$whose $what" != "$hook_name $point" ] || return 0
    done <"$SLOT/hooked"
    return 1
}

# Runs one hook: $1 is its time limit in seconds, $2 its words.
hook() {
    case $point,$failed in
        *_start,?*) return ;;
    esac
    allowed=$1
    [ "$allowed" -le "$HOOKS_S" ] || allowed=$HOOKS_S
    if [ "$allowed" -le 0 ]; then
        hook_report="${hook_report}hook=$point late 0$NL"
        failed="there was no time left for the $point hook"
        return
    fi
    run_isolated "$allowed" "$hook_enter${NL}SHIP_HOOK=$point; export SHIP_HOOK${NL}exec \"\$@\" $2" "$hook_user" "$hook_path"
    HOOKS_S=$((HOOKS_S - (took_cs + 99) / 100))
    hook_report="${hook_report}hook=$point $result $((took_cs * 10))$NL$output_lines"
    case $result in
        0) return ;;
        timeout) failed="the $point hook did not finish within $allowed s" ;;
        *) failed="the $point hook exited with status $result" ;;
    esac
    failed=$failed${last:+: $last}
}

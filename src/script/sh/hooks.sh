# The user's commands at the points of an instance's life. The slot keeps which they are, so that whoever stops the
# instance runs those of its own release.

# Runs the hooks of point $1 for the instance "NAME" in the slot. Fails at a start, with the reason in "failed", where one
# does: then the rest is not run. A point that is passed is passed once for an instance.
pass() {
    point=$1 failed=
    [ -f "$SLOT/hooks" ] || return 0
    . "$SLOT/hooks"
    # A ship that knows of no hooks may have left those of an instance before.
    [ "$hook_name" = "$NAME" ] || return 0
    ! is_passed || return 0
    hooks_of "$point"
    fresh=
    case $point in
        *_start) [ -z "$failed" ] || return 1 ;;
    esac
    { printf '%s %s\n' "$hook_name" "$point" >>"$SLOT/hooked"; } 2>/dev/null
    return 0
}

is_passed() {
    [ -f "$SLOT/hooked" ] || return 1
    while read -r whose what; do
        [ "$whose $what" != "$hook_name $point" ] || return 0
    done <"$SLOT/hooked"
    return 1
}

# One of them: $1 is the seconds that it may take, $2 its words.
hook() {
    case $point,$failed in
        *_start,?*) return ;;
    esac
    allowed=$1
    [ "$allowed" -le "$HOOKS_S" ] || allowed=$HOOKS_S
    if [ "$allowed" -le 0 ]; then
        hooked="${hooked}hook=$point late 0$NL"
        failed="no time was left for the $point hook"
        return
    fi
    run_apart "$allowed" "$hook_enter${NL}SHIP_HOOK=$point; export SHIP_HOOK${NL}exec \"\$@\" $2" "$hook_user" "$hook_path"
    HOOKS_S=$((HOOKS_S - (took_cs + 99) / 100))
    hooked="${hooked}hook=$point $how $((took_cs * 10))$NL$saids"
    case $how in
        0) return ;;
        timeout) failed="the $point hook did not end within $allowed s" ;;
        *) failed="the $point hook ended with exit status $how" ;;
    esac
    failed=$failed${last:+: $last}
}

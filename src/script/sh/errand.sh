# Runs one command of a release, once if it is to be remembered by a mark.
digest "$RELEASE"
marks=$ROOT/migrations

refuse_if_made() {
    [ -n "$MARK" ] && [ -f "$marks/$MARK" ] || return 0
    note=
    IFS= read -r note <"$marks/$MARK"
    hooked="made=$note$NL"
    finish 'done'
}

# All that it takes to remember it is there before it is begun.
prepare_mark() {
    [ -n "$MARK" ] || return 0
    said=$({ umask 077 && mkdir -p "$marks" && printf '%s\n' "$NOTE" >"$litter/mark"; } 2>&1) ||
        fail "$marks/$MARK could not be written: $said"
}

enter
[ -d "$ROOT/releases/$RELEASE/app" ] || fail "the release is not on this host"
refuse_if_made
settle_user
[ "$DRIVER" != systemd ] && [ -z "$INSTEAD_OF_ROOT" ] || [ -z "$RUN_AS" ] || need_user
can_run "$RUN_AS" || fail "$said"
# What one that was killed has left is in nobody's way: who holds the lock is alone.
litter=$ROOT/tmp/errand
said=$({ umask 077 && rm -rf -- "$litter" && mkdir "$litter"; } 2>&1) || fail "$said"
take "$ENV_LINES" "$litter/env" '%s\n' || fail "the environment did not arrive whole, or could not be written"
prepare_mark
run_apart "$TIMEOUT_S" "$RUN" "$RUN_AS" "$SERVICE_PATH"
hooked="errand=$how $((took_cs * 10))$NL$saids"
case $how in
    0) ;;
    timeout) fail "it did not end within $TIMEOUT_S s${last:+: $last}" ;;
    *) fail "it ended with exit status $how${last:+: $last}" ;;
esac
[ -z "$MARK" ] || said=$(mv -f "$litter/mark" "$marks/$MARK" 2>&1) ||
    fail "it was made, but that could not be remembered in $marks/$MARK: $said"
finish 'done'

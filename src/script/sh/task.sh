# Runs a command of a release as a task; only once if it has a mark.
check_digest "$RELEASE"
marks=$ROOT/migrations

finish_if_done() {
    [ -n "$MARK" ] && [ -f "$marks/$MARK" ] || return 0
    note=
    IFS= read -r note <"$marks/$MARK"
    hook_report="made=$note$NL"
    finish 'done'
}

# Writes the mark in advance, so that recording the result cannot fail for lack of space.
prepare_mark() {
    [ -n "$MARK" ] || return 0
    output=$({ umask 077 && mkdir -p "$marks" && printf '%s\n' "$NOTE" >"$scratch/mark"; } 2>&1) ||
        fail "cannot write $marks/$MARK: $output"
}

enter
[ -d "$ROOT/releases/$RELEASE/app" ] || fail "the release is not on this host"
finish_if_done
resolve_user
[ "$DRIVER" != systemd ] && [ -z "$INSTEAD_OF_ROOT" ] || [ -z "$RUN_AS" ] || ensure_user
can_run "$RUN_AS" || fail "$output"
make_shared_dirs
# A killed task may have left this directory. No other task uses it, because this script holds the lock.
scratch=$ROOT/tmp/task
output=$({ umask 077 && rm -rf -- "$scratch" && mkdir "$scratch"; } 2>&1) || fail "$output"
read_lines "$ENV_LINES" "$scratch/env" '%s\n' || fail "the environment did not arrive completely, or cannot be written"
prepare_mark
run_isolated "$TIMEOUT_S" "$RUN" "$RUN_AS" "$SERVICE_PATH"
hook_report="task=$result $((took_cs * 10))$NL$output_lines"
case $result in
    0) ;;
    timeout) fail "it did not finish within $TIMEOUT_S s${last:+: $last}" ;;
    *) fail "it exited with status $result${last:+: $last}" ;;
esac
[ -z "$MARK" ] || output=$(mv -f "$scratch/mark" "$marks/$MARK" 2>&1) ||
    fail "it succeeded, but ship cannot record that in $marks/$MARK: $output"
finish 'done'

# The systemd driver: one template unit a service, one instance of it a slot, and where liveness is asked for a timer
# and what it triggers.
asker=ship-$SERVICE.liveness@$PORT

prepare() {
    [ -d /run/systemd/system ] || fail "systemd does not run on this host: driver = \"process\" needs none"
    [ -w "$UNIT_DIR" ] || fail "$UNIT_DIR is not writable for this user: set sudo = true"
    if ! id -u "$RUN_AS" >/dev/null 2>&1; then
        [ -n "$OWN_USER" ] || fail "there is no user $RUN_AS on this host"
        said=$(useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
            "$RUN_AS" 2>&1) || fail "user $RUN_AS could not be made: $said"
    fi
    [ "$LIVENESS_LINES" -eq 0 ] || has_one_of $ASKERS ||
        fail "to ask for liveness this host needs one of these programs: $ASKERS"
    changed=
    write_unit "ship-$SERVICE@.service" "$UNIT"
    if [ "$LIVENESS_LINES" -gt 0 ]; then
        write_unit "$asker.service" "$LIVENESS_UNIT"
        write_unit "$asker.timer" "$LIVENESS_TIMER"
    elif [ -f "$UNIT_DIR/$asker.timer" ]; then
        # Of a release before this one; it is not running any more.
        rm -f "$UNIT_DIR/$asker.timer" "$UNIT_DIR/$asker.service"
    fi
    [ -z "$changed" ] || said=$(systemctl daemon-reload 2>&1) || fail "systemctl daemon-reload: $said"
}

# Writes a unit, unless it is there as it should be.
write_unit() {
    file=$UNIT_DIR/$1
    if [ -f "$file" ] && [ "$(cat "$file")" = "$2" ]; then
        return
    fi
    said=$({ printf '%s\n' "$2" >"$file.new" && mv -f "$file.new" "$file"; } 2>&1) ||
        fail "the unit $file could not be installed: $said"
    changed=yes
}

launch() {
    set -- "ship-$SERVICE@$PORT.service"
    if [ "$LIVENESS_LINES" -gt 0 ]; then
        # Before the instance: one that runs is never without its questions.
        set -- "$asker.timer" "$@"
        said=$({ mkdir -p "$UNIT_DIR/timers.target.wants" &&
            ln -sf "$UNIT_DIR/$asker.timer" "$UNIT_DIR/timers.target.wants/$asker.timer"; } 2>&1) || fail "$said"
    fi
    said=$({
        ln -sfn "../../releases/$RELEASE" "$SLOT/release" &&
            mkdir -p "$UNIT_DIR/multi-user.target.wants" &&
            ln -sf "$UNIT_DIR/ship-$SERVICE@.service" \
                "$UNIT_DIR/multi-user.target.wants/ship-$SERVICE@$PORT.service" &&
            timeout "$SYSTEMD_WAIT_S" systemctl --no-ask-password start "$@" 9>&-
    } 2>&1) || fail "systemctl start ship-$SERVICE@$PORT.service: ${said:-no answer within $SYSTEMD_WAIT_S s}"
}

# The systemd driver: one template unit a service, one instance of it a slot, and where liveness is asked for a timer
# and what it triggers.
asker=ship-$SERVICE.liveness@$PORT

prepare_systemd() {
    [ -d /run/systemd/system ] || fail "systemd does not run on this host: driver = \"process\" needs none"
    [ -w "$UNIT_DIR" ] || fail "$UNIT_DIR is not writable for this user: set sudo = true"
    need_user
    [ "$LIVENESS_LINES" -eq 0 ] || has_one_of $ASKERS ||
        fail "to ask for liveness this host needs one of these programs: $ASKERS"
    install_units
}

install_units() {
    changed=
    write_unit "ship-$SERVICE@.service" "$UNIT"
    if [ -n "$LIVENESS_UNIT" ]; then
        write_unit "$asker.service" "$LIVENESS_UNIT"
        write_unit "$asker.timer" "$LIVENESS_TIMER"
    elif [ -f "$UNIT_DIR/$asker.timer" ]; then
        # Of a release before this one; it is not running any more.
        rm -f "$UNIT_DIR/$asker.timer" "$UNIT_DIR/$asker.service"
    fi
    read_units
}

launch_systemd() {
    set -- "ship-$SERVICE@$PORT.service"
    if [ -f "$SLOT/liveness" ]; then
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

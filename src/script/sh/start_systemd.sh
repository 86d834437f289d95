# The systemd driver: each slot has a unit of its own, and where liveness is asked for a timer and what it triggers.
service_unit=ship-$SERVICE@$PORT.service
asker=ship-$SERVICE.liveness@$PORT

prepare_systemd() {
    [ -d /run/systemd/system ] || fail "systemd does not run on this host: driver = \"process\" needs none"
    [ -w "$UNIT_DIR" ] || fail "$UNIT_DIR is not writable for this user: set sudo = true"
    ! is_elsewhere "$PORT" || fail "the unit $service_unit belongs to $elsewhere: choose other ports"
    need_user
    [ "$LIVENESS_LINES" -eq 0 ] || has_one_of $ASKERS ||
        fail "to ask for liveness this host needs one of these programs: $ASKERS"
    install_units
    read_installed
}

# Until "read_installed", what runs in the slot keeps the settings that it was started with.
install_units() {
    begin_units
    # It applies to the units of all slots.
    template=ship-$SERVICE@.service
    ! is_masked "$template" || fail "the unit $template is masked on this host; systemctl unmask $template allows it"
    write_unit "$service_unit" "$UNIT"
    if [ -n "$LIVENESS_UNIT" ]; then
        write_unit "$asker.service" "$LIVENESS_UNIT"
        write_unit "$asker.timer" "$LIVENESS_TIMER"
    elif [ -f "$UNIT_DIR/$asker.timer" ]; then
        # Of a release before this one; it is not running any more.
        rm -f "$UNIT_DIR/$asker.timer" "$UNIT_DIR/$asker.service"
    fi
    remove_template
}

read_installed() {
    set -- "$service_unit"
    [ -z "$LIVENESS_UNIT" ] || set -- "$@" "$asker.service" "$asker.timer"
    read_units "$@"
}

# Earlier versions of ship had one template for all slots. It goes when no instance runs from it any more.
remove_template() {
    template=$UNIT_DIR/$template
    [ -f "$template" ] || return 0
    # Another directory may hold a service of the same name.
    case $(cat "$template") in
        *"=$ROOT/slots/%i"*) ;;
        *) return 0 ;;
    esac
    for record in "$ROOT"/slots/*/instance; do
        [ -f "$record" ] || continue
        record=${record%/instance}
        [ -f "$UNIT_DIR/ship-$SERVICE@${record##*/}.service" ] || return 0
    done
    : >"$ROOT/unread"
    rm -f "$template"
    changed=yes
}

launch_systemd() {
    set -- "$service_unit"
    if [ -f "$SLOT/liveness" ]; then
        # Before the instance: one that runs is never without its questions.
        set -- "$asker.timer" "$@"
        said=$({ mkdir -p "$UNIT_DIR/timers.target.wants" &&
            ln -sf "$UNIT_DIR/$asker.timer" "$UNIT_DIR/timers.target.wants/$asker.timer"; } 2>&1) || fail "$said"
    fi
    said=$({
        ln -sfn "../../releases/$RELEASE" "$SLOT/release" &&
            mkdir -p "$UNIT_DIR/multi-user.target.wants" &&
            ln -sf "$UNIT_DIR/$service_unit" "$UNIT_DIR/multi-user.target.wants/$service_unit" &&
            timeout "$SYSTEMD_WAIT_S" systemctl --no-ask-password start "$@" 9>&-
    } 2>&1) || fail "systemctl start $service_unit: ${said:-no answer within $SYSTEMD_WAIT_S s}"
}

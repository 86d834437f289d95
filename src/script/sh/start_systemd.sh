# The systemd driver: each slot has its own unit, and with a liveness probe a timer and the unit that it triggers.
service_unit=ship-$SERVICE@$NUMBER.service
liveness_unit=ship-$SERVICE.liveness@$NUMBER

prepare_systemd() {
    [ -d /run/systemd/system ] || fail "systemd is not running on this host; set driver = \"process\""
    [ -w "$UNIT_DIR" ] || fail "$UNIT_DIR is not writable by this user; set sudo = true"
    ! runs_elsewhere "$NUMBER" || fail "the unit $service_unit belongs to $elsewhere; rename the service, or choose other ports"
    ensure_user
    [ "$LIVENESS_LINES" -eq 0 ] || has_one_of $PROBE_TOOLS ||
        fail "the liveness probe needs one of these programs on this host: $PROBE_TOOLS"
    install_units
    read_installed
    [ -z "$changed" ] || [ -z "$HAS_DIRECTIVES" ] || {
        verify_unit "$UNIT_DIR/$service_unit"
        [ -z "$complaint" ] || fail "systemd does not accept $complaint"
    }
}

# Until "read_installed", the instance in the slot keeps the settings with which it was started.
install_units() {
    begin_units
    # The template applies to the units of all slots.
    template=ship-$SERVICE@.service
    ! is_masked "$template" || fail "the unit $template is masked on this host; unmask it with \`systemctl unmask $template\`"
    write_unit "$service_unit" "$UNIT"
    if [ -n "$LIVENESS_UNIT" ]; then
        write_unit "$liveness_unit.service" "$LIVENESS_UNIT"
        write_unit "$liveness_unit.timer" "$LIVENESS_TIMER"
    elif [ -f "$UNIT_DIR/$liveness_unit.timer" ]; then
        # These units are of an earlier release and are not running any more.
        rm -f "$UNIT_DIR/$liveness_unit.timer" "$UNIT_DIR/$liveness_unit.service"
    fi
    remove_template
}

read_installed() {
    set -- "$service_unit"
    [ -z "$LIVENESS_UNIT" ] || set -- "$@" "$liveness_unit.service" "$liveness_unit.timer"
    read_units "$@"
    [ -z "$changed" ] || check_loaded
}

# Fails if systemd cannot use the unit of the service: it must not be started, because it could not be stopped either.
check_loaded() {
    show=$(systemctl show -p LoadState -p LoadError "$service_unit" 2>&1) || return 0
    block=$NL$show$NL
    property LoadState
    case $value in
        bad-setting | error)
            state=$value
            property LoadError
            fail "systemd does not accept the unit $service_unit (${value:-$state}); run \`ship check\` to see the line"
            ;;
    esac
}

# Earlier versions of ship had one template for all slots. It is removed when no instance runs from it any more.
remove_template() {
    template=$UNIT_DIR/$template
    [ -f "$template" ] || return 0
    # Another directory may contain a service of the same name.
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

start_systemd() {
    set -- "$service_unit"
    if [ -f "$SLOT/liveness" ]; then
        # Before the instance, so that a running instance always has its liveness probe.
        set -- "$liveness_unit.timer" "$@"
        output=$({ mkdir -p "$UNIT_DIR/timers.target.wants" &&
            ln -sf "$UNIT_DIR/$liveness_unit.timer" "$UNIT_DIR/timers.target.wants/$liveness_unit.timer"; } 2>&1) || fail "$output"
    fi
    output=$({
        ln -sfn "../../releases/$RELEASE" "$SLOT/release" &&
            mkdir -p "$UNIT_DIR/multi-user.target.wants" &&
            ln -sf "$UNIT_DIR/$service_unit" "$UNIT_DIR/multi-user.target.wants/$service_unit" &&
            timeout "$SYSTEMD_WAIT_S" systemctl --no-ask-password start $NO_BLOCK "$@" 9>&-
    } 2>&1) || fail "systemctl start $service_unit: ${output:-no answer within $SYSTEMD_WAIT_S s}"
}

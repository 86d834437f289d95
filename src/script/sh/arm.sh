# Saves everything that is needed to start the instance in the slot again, exactly as it is, and arms the dead-man
# switch.
arm() {
    scratch=$ROOT/tmp/armed.$$
    output=$(umask 077 && mkdir -p "$ROOT/armed" "$scratch" 2>&1) || fail "$output"
    read_lines "$RESTORE_LINES" "$scratch/restore" '%s\n' ||
        fail "the restore script did not arrive completely, or cannot be written"
    set -- "$SLOT/instance" "$SLOT/env" "$SLOT/run"
    [ ! -f "$SLOT/liveness" ] || set -- "$@" "$SLOT/liveness"
    [ ! -f "$SLOT/hooks" ] || set -- "$@" "$SLOT/hooks"
    output=$(cp -p "$@" "$scratch/" 2>&1) || fail "cannot save the instance: $output"
    [ "$driver" != systemd ] || save_units
    # The file "unit" shows that systemd runs the timer.
    [ "$driver" != link ] || ! uses_systemd || printf '' >"$scratch/unit" || fail "cannot save the instance"
    ! uses_systemd || install_restore_unit
    record_due "$scratch" || fail "cannot save the instance"
    disarm
    output=$(mv "$scratch" "$armed_dir" 2>&1) || fail "cannot save the instance: $output"
    scratch=
    set_timer || {
        why=$output
        disarm
        fail "cannot set the timer that restores the instance: $why"
    }
}

# Saves the units, because the installed ones may be those of another release when they are needed again.
save_units() {
    liveness_unit=ship-$SERVICE.liveness@$NUMBER
    slot_unit=$UNIT_DIR/ship-$SERVICE@$NUMBER.service
    # An instance that an earlier version of ship started runs from a template, whose text also works for one slot.
    [ -f "$slot_unit" ] || slot_unit=$UNIT_DIR/ship-$SERVICE@.service
    output=$({
        cp -p "$slot_unit" "$scratch/unit" &&
            { [ ! -f "$SLOT/liveness" ] || cp -p "$UNIT_DIR/$liveness_unit.service" "$UNIT_DIR/$liveness_unit.timer" "$scratch/"; }
    } 2>&1) || fail "cannot save the instance: $output"
}

# Installs the unit that runs the restore script.
install_restore_unit() {
    begin_units
    write_unit "$restore_unit.service" "$RESTORE_UNIT"
    read_units "$restore_unit.service"
    # A timer set with systemd-run does not survive a restart of the host; an enabled unit does.
    output=$(ln -sf "$UNIT_DIR/$restore_unit.service" \
        "$UNIT_DIR/multi-user.target.wants/$restore_unit.service" 2>&1) || fail "cannot enable $restore_unit.service: $output"
}

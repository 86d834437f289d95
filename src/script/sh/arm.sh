# Keeps what it takes to start the instance in the slot again, exactly as it is, and sees to it that this host does so.
arm() {
    litter=$ROOT/tmp/armed.$$
    said=$(umask 077 && mkdir -p "$ROOT/armed" "$litter" 2>&1) || fail "$said"
    take "$RESTORE_LINES" "$litter/restore" '%s\n' ||
        fail "what brings the instance back did not arrive whole, or could not be written"
    set -- "$SLOT/instance" "$SLOT/env" "$SLOT/run"
    [ ! -f "$SLOT/liveness" ] || set -- "$@" "$SLOT/liveness"
    [ ! -f "$SLOT/hooks" ] || set -- "$@" "$SLOT/hooks"
    said=$(cp -p "$@" "$litter/" 2>&1) || fail "the instance could not be kept: $said"
    [ "$driver" != systemd ] || keep_units
    note_due "$litter" || fail "the instance could not be kept"
    disarm
    said=$(mv "$litter" "$kept" 2>&1) || fail "the instance could not be kept: $said"
    litter=
    set_timer || {
        why=$said
        disarm
        fail "no timer could be set to bring the instance back: $why"
    }
}

# The units may be those of another release when they are needed again.
keep_units() {
    asker=ship-$SERVICE.liveness@$PORT
    slot_unit=$UNIT_DIR/ship-$SERVICE@$PORT.service
    # An instance that an earlier version of ship started runs from a template, whose text does for its slot alone, too.
    [ -f "$slot_unit" ] || slot_unit=$UNIT_DIR/ship-$SERVICE@.service
    said=$({
        cp -p "$slot_unit" "$litter/unit" &&
            { [ ! -f "$SLOT/liveness" ] || cp -p "$UNIT_DIR/$asker.service" "$UNIT_DIR/$asker.timer" "$litter/"; }
    } 2>&1) || fail "the instance could not be kept: $said"
    begin_units
    write_unit "$guard.service" "$RESTORE_UNIT"
    read_units "$guard.service"
    # A timer that systemd was told of does not outlive a restart of the host; what is enabled does.
    said=$(ln -sf "$UNIT_DIR/$guard.service" \
        "$UNIT_DIR/multi-user.target.wants/$guard.service" 2>&1) || fail "$guard.service could not be enabled: $said"
}

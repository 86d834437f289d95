# Records the state $1 of the slot.
record_admission() {
    output=$({ printf '%s %s %s\n' "$1" "$EPOCH" "$action" >"$ROOT/tmp/gate" && mv -f "$ROOT/tmp/gate" "$ROOT/gates/$SLOT_NAME"; } 2>&1) ||
        fail "cannot record the state of the slot: $output"
}

make_private_dirs "$ROOT/tmp" "$ROOT/gates"
enter_slot
if read_admission "${SLOT_NAME% *}" "${SLOT_NAME#* }"; then
    reject_late
fi
case $CHANGE in
    open)
        record_admission opening
        run "$ADMIT" "$CHANGE_TIMEOUT_S" || {
            why="$ADMIT: ${output:-no output}"
            ! run "$DRAIN" "$CHANGE_TIMEOUT_S" || record_admission closed
            fail "$why"
        }
        record_admission open
        ;;
    close)
        run "$DRAIN" "$CHANGE_TIMEOUT_S" || fail "$DRAIN: ${output:-no output}"
        record_admission closed
        ;;
    cut)
        [ -z "$CUT" ] || run "$CUT" "$CHANGE_TIMEOUT_S" || fail "$CUT: ${output:-no output}"
        ;;
esac
finish 'done'

# Notes what was told: $1.
note() {
    said=$({ printf '%s %s %s\n' "$1" "$EPOCH" "$given" >"$ROOT/tmp/gate" && mv -f "$ROOT/tmp/gate" "$ROOT/gates/$KEPT"; } 2>&1) ||
        fail "what was told could not be noted: $said"
}

make_private_dirs "$ROOT/tmp" "$ROOT/gates"
enter_slot
if recall "${KEPT% *}" "${KEPT#* }"; then
    refuse_late
fi
case $TURN in
    open)
        note opening
        run "$ADMIT" "$ACT_S" || {
            why="$ADMIT: ${said:-no answer}"
            ! run "$DRAIN" "$ACT_S" || note closed
            fail "$why"
        }
        note open
        ;;
    close)
        run "$DRAIN" "$ACT_S" || fail "$DRAIN: ${said:-no answer}"
        note closed
        ;;
    cut)
        [ -z "$CUT" ] || run "$CUT" "$ACT_S" || fail "$CUT: ${said:-no answer}"
        ;;
esac
finish 'done'

# Whether the unit for port $1 runs the service from another directory than this one, which is in "elsewhere" then: systemd
# knows a unit by the service and the port alone. What is left of a directory that is gone is in nobody's way.
is_elsewhere() {
    elsewhere=
    [ -f "$UNIT_DIR/ship-$SERVICE@$1.service" ] || return 1
    while IFS= read -r line; do
        case $line in
            ConditionPathExists="$UNIT_ROOT"/*) return 1 ;;
            ConditionPathExists=*/slots/*/instance)
                elsewhere=${line#*=}
                elsewhere=${elsewhere%/slots/*}
                ;;
        esac
    done <"$UNIT_DIR/ship-$SERVICE@$1.service"
    [ -n "$elsewhere" ] && [ -d "$elsewhere" ]
}

# Whether the unit for slot $1 runs the service from another directory, which is then in "elsewhere": systemd identifies
# a unit by the service and the slot alone. Units of a directory that no longer exists do not conflict.
runs_elsewhere() {
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

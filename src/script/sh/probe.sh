check_digest "$RELEASE"

# Reads the record of the instance in the slot: sets "RUN_AS" to its user, "name" and "driver".
read_instance() {
    name= driver=
    resolve_user
    [ -f "$ROOT/slots/$NUMBER/instance" ] || return 0
    while IFS= read -r line; do
        case $line in
            name=*) name=${line#*=} ;;
            driver=*) driver=${line#*=} ;;
            user=*) RUN_AS=${line#*=} ;;
        esac
    done <"$ROOT/slots/$NUMBER/instance"
}

# Sets "process" to the id and the start time of the instance's process; empty if it has none.
find_process() {
    process= pid= want=
    case $driver in
        process)
            [ ! -f "$ROOT/slots/$NUMBER/pid" ] || read -r pid want <"$ROOT/slots/$NUMBER/pid"
            ! inspect "$pid" || [ "$ticks" != "$want" ] || [ "$state" = Z ] || process=$pid.$ticks
            ;;
        systemd)
            pid=$(systemctl show -p MainPID "ship-$SERVICE@$NUMBER.service" 2>/dev/null)
            pid=${pid#MainPID=}
            [ "${pid:-0}" = 0 ] || ! inspect "$pid" || process=$pid.$ticks
            ;;
        link)
            # Instead of a process, the link "current" must be the same before and after the command.
            observe_link "$RELEASE"
            [ "$facts" != "process=running$NL" ] || process=.$RELEASE
            ;;
    esac
}

# The user who runs this script sources the environment in the slot, so the path must be safe.
before= after=
if ! is_safe; then
    answer="exit=126${NL}line=$unsafe"
else
    read_instance
    if [ "$name" != "$NAME" ]; then
        answer="exit=126${NL}line=the instance no longer exists"
    else
        find_process
        before=$process
        PROBE_PID=${process%%.*}
        run_probe_command
        find_process
        after=$process
    fi
fi
printf '\nship=1\nbefore=%s\n%s\nafter=%s\nend=done\n' "$before" "$answer" "$after"

check_digest "$RELEASE"

# Sets "RUN_AS" to the user of the instance in the slot.
find_user() {
    resolve_user
    [ -f "$ROOT/slots/$PORT/instance" ] || return 0
    while IFS= read -r line; do
        case $line in
            user=*) RUN_AS=${line#*=} ;;
        esac
    done <"$ROOT/slots/$PORT/instance"
}

# The user who runs this script sources the environment in the slot, so the path must be safe.
if is_safe; then
    find_user
    run_probe_command
else
    answer="exit=126${NL}line=$unsafe"
fi
printf '\nship=1\n%s\nend=done\n' "$answer"

digest "$RELEASE"

# The instance is asked as the user that it was started as.
find_user() {
    settle_user
    [ -f "$ROOT/slots/$PORT/instance" ] || return 0
    while IFS= read -r line; do
        case $line in
            user=*) RUN_AS=${line#*=} ;;
        esac
    done <"$ROOT/slots/$PORT/instance"
}

# The environment in the slot is read as the user that runs this script.
if is_safe; then
    find_user
    ask_by_command
else
    answer="exit=126${NL}line=$unsafe"
fi
printf '\nship=1\n%s\nend=done\n' "$answer"

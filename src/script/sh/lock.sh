# One script at a time for a service on a host, and none that is older than what the host has seen.

enter() {
    if [ ! -d "$ROOT/slots" ] || [ ! -d "$ROOT/tmp" ] || [ ! -d "$ROOT/releases" ]; then
        said=$(mkdir -p "$ROOT/releases" "$ROOT/tmp" "$ROOT/slots" 2>&1) || fail "$said"
    fi
    [ -w "$ROOT" ] || fail "$ROOT is not writable for this user"
    command exec 9<>"$ROOT/lock" || fail "$ROOT/lock cannot be opened"
    clock
    patience=$((cs + LOCK_WAIT_CS))
    naps=0
    while :; do
        said=$(flock -n 9 2>&1)
        case $? in
            0) break ;;
            1) ;;
            *) fail "flock: $said" ;;
        esac
        clock
        [ "$cs" -lt "$patience" ] || busy
        nap
    done
    naps=0
    printf '%s %s, epoch %s, pid %s\n' "$cs" "$VERB" "$EPOCH" "$$" >"$ROOT/lock"
    fence
}

leave() {
    exec 9>&-
}

busy() {
    begun= holder=
    read -r begun holder <"$ROOT/lock"
    case $begun in
        '' | *[!0-9]*) ;;
        *) holder="$holder, for $(((cs - begun) / 100)) s" ;;
    esac
    finish busy "${holder:-unknown}"
}

fence() {
    seen=0
    if [ -f "$ROOT/epoch" ]; then
        read -r seen <"$ROOT/epoch"
    fi
    case $seen in
        '' | *[!0-9]*) fail "$ROOT/epoch holds no number" ;;
    esac
    [ "$seen" -le "$EPOCH" ] || finish fenced "$seen"
    if [ "$seen" -lt "$EPOCH" ]; then
        said=$({ printf '%s\n' "$EPOCH" >"$ROOT/epoch.new" && mv -f "$ROOT/epoch.new" "$ROOT/epoch"; } 2>&1) ||
            fail "the epoch could not be stored: $said"
    fi
}

# One script at a time for a service on a host, and none that is older than what the host has seen.

enter() {
    if [ ! -d "$ROOT/slots" ] || [ ! -d "$ROOT/tmp" ] || [ ! -d "$ROOT/releases" ]; then
        said=$(mkdir -p "$ROOT/releases" "$ROOT/tmp" "$ROOT/slots" 2>&1) || fail "$said"
    fi
    hold
    fence
}

# Takes the lock, and says in it for what.
hold() {
    [ -w "$ROOT" ] || fail "$ROOT is not writable for this user"
    take_lock "$LOCK_WAIT_CS" || busy
    printf '%s %s, epoch %s, order %s, pid %s\n' "$cs" "$VERB" "$EPOCH" "$ORDER" "$$" >"$ROOT/lock"
}

# Fails where somebody else holds the lock for longer than $1.
take_lock() {
    command exec 9<>"$ROOT/lock" || fail "$ROOT/lock cannot be opened"
    clock
    patience=$((cs + $1))
    naps=0
    while :; do
        said=$(flock -n 9 2>&1)
        case $? in
            0) break ;;
            1) ;;
            *) fail "flock: $said" ;;
        esac
        clock
        [ "$cs" -lt "$patience" ] || return 1
        nap
    done
    naps=0
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

# Refuses an order that is older than the newest that was taken here: of an older epoch, or of the same and with a lower
# number. An equal number is the same order given twice, or its second part.
fence() {
    check_owner
    seen=0 taken=0
    if [ -f "$ROOT/epoch" ]; then
        # Before orders had numbers there was only the epoch.
        read -r seen taken <"$ROOT/epoch"
    fi
    case $seen,${taken:=0} in
        ,* | *[!0-9,]*) fail "$ROOT/epoch holds no number" ;;
    esac
    [ "$seen" -le "$EPOCH" ] || finish fenced "$seen"
    if [ "$seen" -lt "$EPOCH" ]; then
        # Nobody who could finish what lies there is let in again.
        clean
        said=$({
            printf '%s\n' "$OWNER" >"$ROOT/owner.new" && print_fence >"$ROOT/epoch.new" &&
                mv -f "$ROOT/owner.new" "$ROOT/owner" && mv -f "$ROOT/epoch.new" "$ROOT/epoch"
        } 2>&1) || fail "the epoch could not be stored: $said"
        return
    fi
    [ "$taken" -le "$ORDER" ] || finish late "$taken"
    # Written over in place, which takes no program and on a full disk no room.
    [ "$taken" -eq "$ORDER" ] || print_fence 1<>"$ROOT/epoch" 2>/dev/null || fail "the order could not be stored"
}

# Refuses a host that carries the service for another fleet. A host without a record is free to take.
check_owner() {
    owned_by=
    if [ -f "$ROOT/owner" ]; then
        while IFS= read -r line; do
            case $line in
                fleet=*) owned_by=${line#fleet=} ;;
            esac
        done <"$ROOT/owner"
    fi
    [ -z "$owned_by" ] || [ "$owned_by" = "$FLEET" ] ||
        fail "$ROOT belongs to the fleet $owned_by, not to $FLEET: nothing was done"
}

# Removes what is not whole, or no longer. Who is still at it may put one more thing there: that goes with its own end.
clean() {
    for leftover in "$ROOT"/tmp/*; do
        [ ! -e "$leftover" ] || rm -rf -- "$leftover" 2>/dev/null
    done
}

# As wide for every number, so that the next one leaves nothing of it.
print_fence() {
    printf '%s %-20s\n' "$EPOCH" "$ORDER"
}

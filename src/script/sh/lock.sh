# One script at a time for a service on a host, and none that is older than what the host has seen.

enter() {
    make_private_dirs "$ROOT/tmp"
    if [ ! -d "$ROOT/slots" ] || [ ! -d "$ROOT/releases" ]; then
        said=$(mkdir -p "$ROOT/releases" "$ROOT/slots" 2>&1) || fail "$said"
    fi
    hold
    fence
}

# Makes these directories if they are missing. The service's directory itself can be entered by every user.
make_private_dirs() {
    missing=
    for dir; do
        [ -d "$dir" ] || missing=yes
    done
    [ -n "$missing" ] || return 0
    # Once more in "hold": somebody else may have made a part of the path in between.
    refuse_unsafe
    said=$(mkdir -p "$ROOT" 2>&1 && umask 077 && mkdir -p "$@" 2>&1) || fail "$said"
}

# Takes the lock, and says in it for what.
hold() {
    refuse_unsafe
    [ -w "$ROOT" ] || fail "$ROOT is not writable for this user"
    take_lock "$LOCK_WAIT_CS" || busy
    printf '%s %s, epoch %s, order %s, pid %s\n' "$cs" "$VERB" "$EPOCH" "$ORDER" "$$" >"$ROOT/lock"
}

# Fails where somebody else holds the lock for longer than $1.
take_lock() {
    # Whoever can read the file can lock it.
    umask 077
    command exec 9<>"$ROOT/lock" || fail "$ROOT/lock cannot be opened"
    umask 022
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
    begun= holder= known=
    read -r begun holder <"$ROOT/lock"
    case $begun in
        '' | *[!0-9]*) ;;
        *) known="$holder, for $(((cs - begun) / 100)) s" ;;
    esac
    find_holders
    case $holders in
        '' | *" ${holder##*pid } "*) ;;
        *)
            comm='?' pid=${holders# }
            pid=${pid%% *}
            { IFS= read -r comm <"/proc/$pid/comm"; } 2>/dev/null
            known="pid $pid ($comm), which is not a script of ship's"
            ;;
    esac
    finish busy "${known:-unknown}"
}

# The processes that hold the lock, in "holders", as far as this user may see them: the note in the file may be old.
find_holders() {
    holders=
    for fd in /proc/[0-9]*/fd/*; do
        [ "$fd" -ef "$ROOT/lock" ] || continue
        pid=${fd#/proc/}
        pid=${pid%%/*}
        while read -r key rest; do
            [ "$key" != lock: ] || holders="$holders $pid "
        done <"/proc/$pid/fdinfo/${fd##*/}"
    done 2>/dev/null
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
            umask 077 && printf '%s\n' "$OWNER" >"$ROOT/owner.new" && print_fence >"$ROOT/epoch.new" &&
                mv -f "$ROOT/owner.new" "$ROOT/owner" && mv -f "$ROOT/epoch.new" "$ROOT/epoch"
        } 2>&1) || fail "the epoch could not be stored: $said"
        mark_proven
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

# Marks the releases that are proven and lie here with the time of their deploy, for a history that does not know them.
# Where there is no room for a mark, there is none.
mark_proven() {
    for proof in $PROVEN; do
        release=$ROOT/releases/${proof%:*}
        [ ! -d "$release" ] || { printf '%s\n' "${proof#*:}" >"$release/proven"; } 2>/dev/null || :
    done
}

# Removes what is not whole, or no longer. Who is still at it may put one more thing there: that goes with its own end.
clean() {
    for leftover in "$ROOT"/tmp/*; do
        [ ! -e "$leftover" ] || delete "$leftover" >/dev/null 2>&1
    done
}

# The first place at or below directory $1 where something is mounted, in "mount".
find_mount() {
    sought=$(cd -P "$1" 2>/dev/null && pwd -P) || return 1
    mounts=$(cat /proc/self/mounts)
    set -f
    IFS=$NL
    for row in $mounts; do
        mount=${row#* }
        mount=${mount%% *}
        case $mount in
            # The kernel writes blanks and the like as octal numbers.
            *\\*) mount=$(printf %b "$mount") ;;
        esac
        case $mount in
            "$sought" | "$sought"/*)
                IFS=$BLANKS
                set +f
                return 0
                ;;
        esac
    done
    IFS=$BLANKS
    set +f
    return 1
}

# Deletes $1, unless something is mounted there: what somebody has mounted is not deleted with a release.
delete() {
    if [ -d "$1" ] && find_mount "$1"; then
        printf 'something is mounted at %s\n' "$mount"
        return 1
    fi
    rm -rf -- "$1"
}

# As wide for every number, so that the next one leaves nothing of it.
print_fence() {
    printf '%s %-20s\n' "$EPOCH" "$ORDER"
}

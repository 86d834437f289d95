# Runs one script at a time for a service on a host, and rejects scripts that are older than what the host has seen.

enter() {
    make_private_dirs "$ROOT/tmp"
    if [ ! -d "$ROOT/slots" ] || [ ! -d "$ROOT/releases" ]; then
        output=$(mkdir -p "$ROOT/releases" "$ROOT/slots" 2>&1) || fail "$output"
    fi
    acquire_lock
    fence
}

# Creates missing directories. Every user can enter the service's own directory.
make_private_dirs() {
    missing=
    for dir; do
        [ -d "$dir" ] || missing=yes
    done
    [ -n "$missing" ] || return 0
    # Checked again in "acquire_lock", because another user may have created a part of the path in the meantime.
    reject_unsafe
    output=$(mkdir -p "$ROOT" 2>&1 && umask 077 && mkdir -p "$@" 2>&1) || fail "$output"
}

# Acquires the lock, and records its purpose in the file.
acquire_lock() {
    # Only trusted users can make a safe path unsafe, so a script that locks again need not check again.
    [ -n "$is_checked" ] || reject_unsafe
    is_checked=yes
    [ -w "$ROOT" ] || fail "$ROOT is not writable by this user"
    try_lock "$LOCK_WAIT_CS" || fail_locked
    printf '%s %s, epoch %s, order %s, pid %s\n' "$cs" "$VERB" "$EPOCH" "$ORDER" "$$" >"$ROOT/lock"
}

# Tries to acquire the lock for $1 at most, in 1/100 s. Fails if another process holds it for longer.
try_lock() {
    # The file must be private, because every user who can read it can lock it.
    umask 077
    command exec 9<>"$ROOT/lock" || fail "cannot open $ROOT/lock"
    umask 022
    clock
    lock_deadline=$((cs + $1))
    attempts=0
    while :; do
        output=$(flock -n 9 2>&1)
        case $? in
            0) break ;;
            1) ;;
            *) fail "flock: $output" ;;
        esac
        clock
        [ "$cs" -lt "$lock_deadline" ] || return 1
        backoff
    done
    attempts=0
}

release_lock() {
    exec 9>&-
}

fail_locked() {
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
            known="pid $pid ($comm), which is not a ship script"
            ;;
    esac
    finish busy "${known:-unknown}"
}

# The processes that hold the lock, in "holders", as far as this user may see them: the record in the file may be old.
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

# Rejects an action that is older than the newest one on this host: of an older epoch, or of the same epoch with a lower
# number. An equal number means that the same action was sent twice, or that this is its second part.
fence() {
    check_owner
    seen=0 taken=0
    if [ -f "$ROOT/epoch" ]; then
        # Earlier versions of ship recorded only the epoch.
        read -r seen taken <"$ROOT/epoch"
    fi
    case $seen,${taken:=0} in
        ,* | *[!0-9,]*) fail "$ROOT/epoch does not contain a number" ;;
    esac
    [ "$seen" -le "$EPOCH" ] || finish fenced "$seen"
    if [ "$seen" -lt "$EPOCH" ]; then
        # Only scripts of older epochs could complete these files, and from now on, the host rejects those scripts.
        clean "$ROOT"/tmp/* "$ROOT/relay"
        umask 077
        write_file "$ROOT/owner.new" '%s\n' "$OWNER" && output=$(mv -f "$ROOT/owner.new" "$ROOT/owner" 2>&1) ||
            fail "cannot store the owner: $output"
        umask 022
        store_fence || fail "cannot store the epoch: $output"
        mark_proven
        return
    fi
    [ "$taken" -le "$ORDER" ] || finish late "$taken"
    [ "$taken" -eq "$ORDER" ] || store_fence || fail "cannot store the action number: $output"
}

# A file that exists is overwritten in place, which needs no process, and no space on a full disk.
store_fence() {
    if [ -s "$ROOT/epoch" ]; then
        output="cannot write $ROOT/epoch"
        print_fence 1<>"$ROOT/epoch" 2>/dev/null
    else
        output=$({ umask 077 && print_fence >"$ROOT/epoch.new" && mv -f "$ROOT/epoch.new" "$ROOT/epoch"; } 2>&1)
    fi
}

# Rejects a host that runs the service for another fleet. A host without a record is free.
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
        fail "$ROOT belongs to the fleet $owned_by, not to $FLEET; no changes were made"
}

# Marks proven releases on this host with the time of their deploy, for a history that does not know them. If there is
# no space for a mark, it is omitted.
mark_proven() {
    for proof in $PROVEN; do
        release=$ROOT/releases/${proof%:*}
        [ ! -d "$release" ] || { printf '%s\n' "${proof#*:}" >"$release/proven"; } 2>/dev/null || :
    done
}

# Removes incomplete files, and those of a relay. A script that is still writing one removes that file itself when it ends.
clean() {
    for leftover; do
        [ ! -e "$leftover" ] || delete "$leftover" >/dev/null 2>&1
    done
}

# The first path at or below directory $1 where something is mounted, in "mount".
find_mount() {
    sought=$(cd -P "$1" 2>/dev/null && pwd -P) || return 1
    mounts=$(cat /proc/self/mounts)
    set -f
    IFS=$NL
    for row in $mounts; do
        mount=${row#* }
        mount=${mount%% *}
        case $mount in
            # The kernel escapes blanks and other characters as octal numbers.
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

# Deletes $1, unless something is mounted there: content that a user has mounted must not be deleted with a release.
delete() {
    if [ -d "$1" ] && find_mount "$1"; then
        printf 'something is mounted at %s\n' "$mount"
        return 1
    fi
    rm -rf -- "$1"
}

# Padded to a fixed width, so that a shorter number overwrites a longer one completely.
print_fence() {
    printf '%s %-20s\n' "$EPOCH" "$ORDER"
}

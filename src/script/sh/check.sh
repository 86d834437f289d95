# Checks the requirements of ship on a host. Creates nothing.

# Whether the mount of "place" allows executing files.
allows_execution() {
    real=$(cd -P "$place" && pwd -P) mount= options=
    while read -r device point type flags rest; do
        case $real/ in
            "${point%/}"/*) [ ${#point} -lt ${#mount} ] || mount=$point options=$flags ;;
        esac
    done </proc/self/mounts
    case ,$options, in
        *,noexec,*) return 1 ;;
    esac
}

# Checks that the service's user exists or can be created, and can enter the directory.
check_as_user() {
    resolve_user
    [ -n "$RUN_AS" ] || return 0
    if ! id -u "$RUN_AS" >/dev/null 2>&1; then
        if [ -z "$OWN_USER" ]; then
            check="${check}problem=user $RUN_AS does not exist on this host; create it, or set another user$NL"
            return
        fi
        check_name_length || check="${check}problem=$output$NL"
        command -v useradd >/dev/null 2>&1 || check="${check}missing=useradd$NL"
    fi
    if [ -n "$INSTEAD_OF_ROOT" ] && ! command -v setpriv >/dev/null 2>&1; then
        check="${check}missing=setpriv$NL"
    fi
    ! find_inaccessible "$ROOT" "$RUN_AS" ||
        check="${check}problem=user $RUN_AS cannot enter $inaccessible; allow it with \`chmod o+x $inaccessible\`, or set another base_dir$NL"
}

# Warns about a directory that other users cannot enter: the server that serves the files may be one of them.
check_server_access() {
    find_components "$ROOT" || return 0
    set -f
    IFS=$NL
    for dir in $components; do
        IFS=$BLANKS
        mode=$(ls -ldn "$dir")
        case $mode in
            l* | d????????[xt]*) ;;
            *)
                check="${check}warning=only the owner and the group of $dir can enter it, so a server of another user cannot"
                check="$check read the files; allow it with \`chmod o+x $dir\`, or set another base_dir$NL"
                ;;
        esac
    done
    IFS=$BLANKS
    set +f
}

check_units() {
    names="ship-$SERVICE@.service ship-$SERVICE.restore@.service"
    for entry in $SLOTS; do
        number=${entry%%=*}
        names="$names ship-$SERVICE@$number.service"
        [ -z "$PROBE_TOOLS" ] || names="$names ship-$SERVICE.liveness@$number.service ship-$SERVICE.liveness@$number.timer"
    done
    for name in $names; do
        ! is_masked "$name" ||
            check="${check}problem=the unit $name is masked on this host; unmask it with \`systemctl unmask $name\`$NL"
    done
}

# Lets systemd verify the unit of an instance.
check_unit() {
    [ -n "$UNIT" ] && scratch=$(mktemp -d 2>/dev/null) || return 0
    printf '%s\n' "$UNIT" >"$scratch/ship-$SERVICE@check.service"
    verify_unit "$scratch/ship-$SERVICE@check.service"
    [ -z "$complaint" ] || check="${check}problem=systemd does not accept $complaint$NL"
    rm -rf -- "$scratch"
    scratch=
}

# Reports the sizes of the shared directories, in KiB, and those of another user than the service's.
check_shared_dirs() {
    for dir in $SHARED_DIRS; do
        shared=$ROOT/shared/$dir
        if [ ! -d "$shared" ]; then
            [ ! -e "$shared" ] && [ ! -L "$shared" ] || check="${check}problem=$shared is not a directory, but shared_dirs has $dir$NL"
            continue
        fi
        size=$(timeout 5 du -skx "$shared" 2>/dev/null) || size=
        check="${check}shared=$dir ${size%%[!0-9]*}$NL"
        set -- $(ls -ldn "$shared")
        [ -n "$RUN_AS" ] && uid=$(id -u "$RUN_AS" 2>/dev/null) && [ "$uid" != "$3" ] || continue
        check="${check}warning=$shared belongs to $(name_user "$3"), but the service runs as $RUN_AS;"
        check="$check if it must write there: \`chown -R $RUN_AS: $shared\`$NL"
    done
}

# Reports the size of all releases, in KiB.
check_releases() {
    [ -d "$ROOT/releases" ] && size=$(timeout 5 du -skx "$ROOT/releases" 2>/dev/null) || return 0
    check="${check}releases=${size%%[!0-9]*}$NL"
}

# Mentions the files with which an administrator changes the units.
check_drop_ins() {
    for dir in "$UNIT_DIR" /run/systemd/system; do
        for file in "$dir/ship-$SERVICE@.service.d"/*.conf "$dir/ship-$SERVICE@"[0-9]*.service.d/*.conf; do
            [ ! -f "$file" ] || check="${check}warning=$file changes the unit of ship; ship leaves it in place$NL"
        done
    done
}

# Warns about ports that the kernel may use for outgoing connections.
check_ports() {
    { read -r low high </proc/sys/net/ipv4/ip_local_port_range; } 2>/dev/null || return 0
    { read -r reserved </proc/sys/net/ipv4/ip_local_reserved_ports; } 2>/dev/null || reserved=
    for port in $PORTS; do
        [ "$port" -ge "$low" ] && [ "$port" -le "$high" ] && ! is_reserved "$port" || continue
        check="${check}warning=this host may use port $port for an outgoing connection ($low to $high);"
        check="$check choose a port below $low, or reserve it with \`sysctl net.ipv4.ip_local_reserved_ports=$port\`$NL"
    done
}

is_reserved() {
    IFS=,
    for range in $reserved; do
        if [ "$1" -ge "${range%-*}" ] && [ "$1" -le "${range#*-}" ]; then
            IFS=$BLANKS
            return 0
        fi
    done
    IFS=$BLANKS
    return 1
}

for tool in $TOOLS; do
    command -v "$tool" >/dev/null 2>&1 || check="${check}missing=$tool$NL"
done
# Scripts with input are read with dd.
[ "$(printf ab | dd bs=2 count=1 iflag=fullblock 2>/dev/null)" = ab ] ||
    check="${check}problem=dd on this host does not support iflag=fullblock; install GNU coreutils or a newer busybox$NL"
[ -z "$PROBE_TOOLS" ] || has_one_of $PROBE_TOOLS || check="${check}missing=one of $PROBE_TOOLS for the liveness probe$NL"
[ -z "$DOWNLOAD_TOOLS" ] || has_one_of $DOWNLOAD_TOOLS || check="${check}missing=one of $DOWNLOAD_TOOLS to pull the artifact$NL"
check="${check}user=$(id -un)$NL"
if [ -d /run/systemd/system ]; then
    check="${check}systemd=$(systemctl is-system-running 2>/dev/null)$NL"
fi
place=$ROOT
while [ ! -e "$place" ]; do
    place=${place%/*}
    place=${place:-/}
done
deepest=$place
if ! is_safe; then
    check="${check}problem=$unsafe$NL"
elif [ ! -d "$deepest" ]; then
    check="${check}problem=$deepest is not a directory$NL"
elif [ ! -w "$deepest" ]; then
    check="${check}problem=$deepest is not writable by this user$NL"
elif [ -n "$RUNS_INSTANCES" ]; then
    if [ "$DRIVER" = link ] && [ -n "$OWN_USER" ]; then
        check_server_access
    else
        check_as_user
    fi
    place=$deepest
    [ -z "$EXECUTES" ] || allows_execution ||
        check="${check}problem=$mount is mounted noexec, but $EXECUTES must be executable there; mount it with exec, or set another base_dir$NL"
fi
if [ -n "$RUNS_INSTANCES" ]; then
    if [ "$DRIVER" = systemd ]; then
        check_units
        check_unit
        check_drop_ins
    fi
    check_ports
    check_shared_dirs
    check_releases
fi
[ -z "$rows" ] || observe_identity
observe_space
finish 'done'

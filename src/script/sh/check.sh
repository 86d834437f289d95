# What ship needs to find on a host. Creates nothing.

# Whether what lies below "place" may be executed, by the mount that it is on.
is_executable_there() {
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

# What the user that the service will run as meets.
check_as_user() {
    settle_user
    [ -n "$RUN_AS" ] || return 0
    if ! id -u "$RUN_AS" >/dev/null 2>&1; then
        if [ -z "$OWN_USER" ]; then
            check="${check}problem=there is no user $RUN_AS here; create it, or name another user$NL"
            return
        fi
        is_name_short || check="${check}problem=$said$NL"
        command -v useradd >/dev/null 2>&1 || check="${check}missing=useradd$NL"
    fi
    if [ -n "$INSTEAD_OF_ROOT" ] && ! command -v setpriv >/dev/null 2>&1; then
        check="${check}missing=setpriv$NL"
    fi
    ! find_barred "$ROOT" "$RUN_AS" ||
        check="${check}problem=user $RUN_AS cannot enter $barred; let it in with chmod o+x $barred, or set another base_dir$NL"
}

check_units() {
    names="ship-$SERVICE@.service ship-$SERVICE.restore@.service"
    for port in $PORTS; do
        names="$names ship-$SERVICE@$port.service"
        [ -z "$ASKERS" ] || names="$names ship-$SERVICE.liveness@$port.service ship-$SERVICE.liveness@$port.timer"
    done
    for name in $names; do
        ! is_masked "$name" ||
            check="${check}problem=the unit $name is masked here; systemctl unmask $name allows it$NL"
    done
}

# Ports that the kernel may give to any outgoing connection.
check_ports() {
    { read -r low high </proc/sys/net/ipv4/ip_local_port_range; } 2>/dev/null || return 0
    { read -r reserved </proc/sys/net/ipv4/ip_local_reserved_ports; } 2>/dev/null || reserved=
    for port in $PORTS; do
        [ "$port" -ge "$low" ] && [ "$port" -le "$high" ] && ! is_reserved "$port" || continue
        check="${check}warning=port $port is one that this host may give to any outgoing connection ($low to $high);"
        check="$check choose one below $low, or reserve it with sysctl net.ipv4.ip_local_reserved_ports=$port$NL"
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
[ -z "$ASKERS" ] || has_one_of $ASKERS || check="${check}missing=one of $ASKERS to ask for liveness$NL"
[ -z "$PULLERS" ] || has_one_of $PULLERS || check="${check}missing=one of $PULLERS to pull the artifact$NL"
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
    check="${check}problem=$deepest is not writable for this user$NL"
elif [ -n "$RUNS_INSTANCES" ]; then
    check_as_user
    place=$deepest
    [ -z "$EXECUTES" ] || is_executable_there ||
        check="${check}problem=$mount is mounted noexec, and $EXECUTES is executed there; mount it with exec, or set another base_dir$NL"
fi
if [ -n "$RUNS_INSTANCES" ]; then
    [ "$DRIVER" != systemd ] || check_units
    check_ports
fi
look_space
finish 'done'

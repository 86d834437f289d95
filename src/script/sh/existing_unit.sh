# Describes a unit of the host that runs: its properties, its files, and the ports on which its processes listen. Changes
# nothing. Every line of systemd is printed after a key, because ship checks each line.
out=
add() {
    out="$out$1=$2$NL"
}

# Adds each line of $2 with the key $1.
add_lines() {
    out="$out$(printf '%s\n' "$2" | sed "s/^/$1=/")$NL"
}

print_and_exit() {
    printf '\nship=1\n%send=%s\n' "$out" "$1"
    exit 0
}

read_properties() {
    [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1 || print_and_exit "failed systemd is not running on this host"
    show=$(systemctl show --no-pager -p "$PROPERTIES" -- "$UNIT" 2>&1) || {
        flatten "$show"
        print_and_exit "failed systemctl show: $flat"
    }
    add_lines show "$show"
    block=$NL$show$NL
}

# systemctl itself reads the files, so this user must be allowed to.
read_files() {
    property LoadState
    [ "$value" = loaded ] || return 0
    text=$(systemctl cat --no-pager -- "$UNIT" 2>/dev/null) || {
        why=$(systemctl cat --no-pager -- "$UNIT" 2>&1 >/dev/null)
        flatten "$why"
        add unreadable "${flat:-systemctl cat failed}"
        return
    }
    add_lines text "$text"
}

# Adds the listeners. Those of the unit's processes are known by their sockets; where the open files of a process are
# hidden from this user, all listeners of the host are possible ones.
read_listeners() {
    pids= hidden=
    property ControlGroup
    unit_pids "$value"
    for pid in $pids; do
        [ ! -d "/proc/$pid" ] || ls "/proc/$pid/fd/" >/dev/null 2>&1 || hidden=yes
    done
    [ -z "$hidden" ] || add hidden yes
    # Only the sockets: a service may have hundreds of processes, each with many files.
    files=
    for pid in $pids; do
        files="$files /proc/$pid/fd"
    done
    sockets=
    [ -z "$files" ] || sockets=$(ls -ln $files 2>/dev/null | sed -n 's/.* -> \(socket:\[[0-9]*\]\)$/\1/p')
    rows=
    ! command -v ss >/dev/null 2>&1 || rows=$(ss -Htne state listening 2>/dev/null)
    [ -n "$rows" ] || rows=$(grep -hE '^ *[0-9]+: [0-9A-F]+:[0-9A-F]+ [0-9A-F]+:0000 0A' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
    set -f
    IFS=$NL
    for row in $rows; do
        IFS=$BLANKS
        parse_row $row
        case $sockets in
            *"socket:[$socket]"*) kind=own ;;
            *)
                [ -n "$hidden" ] || continue
                kind=possible
                ;;
        esac
        reach=loopback
        ! blocks_port "$address" || reach=any
        add listen "$port $reach $kind"
    done
    IFS=$BLANKS
    set +f
}

# Adds the Python environments to which the programs of the unit belong. They cannot be moved.
read_python_environments() {
    set -f
    for word in $show; do
        case $word in
            *=/*) word=/${word#*=/} ;;
            /*) ;;
            *) continue ;;
        esac
        environment=${word%/*}
        environment=${environment%/*}
        [ -z "$environment" ] || [ ! -f "$environment/pyvenv.cfg" ] || add python "$environment"
    done
    set +f
}

add uid "$(id -u)"
read_properties
read_files
read_listeners
read_python_environments
print_and_exit done

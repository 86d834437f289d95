# Finds the listeners on the ports: compares the kernel's list of sockets with the open files of the slots' processes.

observe_ports() {
    files= listened=' '
    list_rows "$LOOPBACK" $watched
    classify_rows
    [ -z "$LOOPBACK" ] || observe_other_addresses
}

# A process of a host at a loopback address may listen at another one: looks there for the listeners of running
# instances that have none at the host's own address.
observe_other_addresses() {
    set --
    for port in $watched; do
        eval "number=\$slot_of_$port"
        eval "pids=\${pids_$number-}"
        case $pids,$listened in
            ,* | *" $port "*) ;;
            *) set -- "$@" "$port" ;;
        esac
    done
    list_rows '' "$@"
    classify_rows
}

# The listeners on the given ports, one per line, in "rows"; only those at the addresses $1, unless $1 is empty. ss
# queries the kernel for these listeners only; printing /proc/net/tcp goes through the whole table of connections, which
# takes 10 ms on a machine with much memory.
list_rows() {
    rows= addresses=$1 sought= sought_at=
    shift
    [ $# -gt 0 ] || return 0
    # An address may be "*".
    set -f
    if command -v ss >/dev/null 2>&1; then
        for port; do
            sought="$sought${sought:+ or }sport = :$port"
        done
        for address in $addresses; do
            case $address in
                *.* | '['*) sought_at="$sought_at${sought_at:+ or }src $address" ;;
            esac
        done
        set +f
        ! rows=$(ss -Htne state listening "( $sought )${sought_at:+ and ( $sought_at )}" 2>/dev/null) || return 0
        # This ss is too old for the filter.
        sought= sought_at=
        set -f
    fi
    for port; do
        sought="$sought${sought:+|}$(printf %04X "$port")"
    done
    for address in $addresses; do
        case $address in
            *[!0-9A-F]*) ;;
            *) sought_at="$sought_at${sought_at:+|}$address" ;;
        esac
    done
    set +f
    rows=$(grep -hE "^ *[0-9]+: (${sought_at:-[0-9A-F]+}):($sought) [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null)
    return 0
}

# Classifies the listeners in "rows".
classify_rows() {
    [ -n "$rows" ] || return 0
    if [ -z "$files" ]; then
        all=
        for number in $found; do
            eval "all=\"\$all \$pids_$number\""
        done
        list_sockets $all
    fi
    set -f
    IFS=$NL
    for row in $rows; do
        IFS=$BLANKS
        # A row may contain "*", and "classify_listener" needs globbing.
        set -f
        parse_row $row
        set +f
        listened="$listened$port "
        classify_listener
    done
    IFS=$BLANKS
    set +f
}

# Parses a row, given as words: of /proc/net/tcp, or of ss, which omits the state if the filter names only one.
parse_row() {
    case $1 in
        *:)
            address=${2%:*} port=$((0x${2#*:})) uid=$8 socket=${10}
            return
            ;;
    esac
    address=${3%:*} port=${3##*:} uid=0 socket=
    # ss names the interface where there is one: 127.0.0.1%lo
    address=${address%%\%*}
    shift 4
    for word; do
        case $word in
            uid:*) uid=${word#uid:} ;;
            ino:*) socket=${word#ino:} ;;
        esac
    done
}

# The open files of the processes, in "files".
list_sockets() {
    files=
    for pid; do
        files="$files /proc/$pid/fd"
    done
    [ -z "$files" ] || files=$NL$(ls -lnR $files 2>/dev/null)
}

# Whether one of the processes has the socket with inode $1 open, according to "files".
owns_socket() {
    inode=$1
    shift
    for pid; do
        section=${files#*"$NL/proc/$pid/fd:"}
        [ "$section" != "$files" ] || continue
        case ${section%%"$NL/proc/"*} in
            *" -> socket:[$inode]"*) return 0 ;;
        esac
    done
    return 1
}

# Classifies a parsed row: the slot's own process, the server that serves its files, a process that blocks the port, or
# none of them.
classify_listener() {
    eval "number=\$slot_of_$port"
    listening="$listening $number"
    eval "pids=\${pids_$number-} sid=\${sid_$number-} mark=\${mark_$number-} driver=\${driver_$number-}"
    if owns_socket "$socket" $pids; then
        add_own_listener
        return
    fi
    if [ "$driver" = link ]; then
        # A server that listens on the loopback address only can be probed through SSH.
        [ -n "$LOOPBACK" ] && ! blocks_port "$address" || listens="${listens}listen=$number $port $address server$NL"
        return
    fi
    blocks_port "$address" || return 0
    if [ -n "$sid" ]; then
        find_members "$sid"
        saved=$files
        list_sockets $members
        if owns_socket "$socket" $members; then
            files=$saved
            add_own_listener
            return
        fi
        files=$saved
    fi
    kind=other
    if [ -n "$mark" ]; then
        members=
        find_detached "$mark" "$sid"
        saved=$files
        list_sockets $members
        ! owns_socket "$socket" $members || kind=stray
        files=$saved
    fi
    find_socket_owner "$socket" "$uid"
    eval "other_$number=\$who other_port_$number=\$port"
    listens="${listens}listen=$number $port $address $kind $who$NL"
}

add_own_listener() {
    eval "own_$number=1"
    listens="${listens}listen=$number $port $address own$NL"
}

# Whether a listener at address $1 blocks the port of this host. Several hosts may share a kernel, each with its own
# loopback address.
blocks_port() {
    if [ -n "$LOOPBACK" ]; then
        case " $LOOPBACK " in
            *" $1 "*) return 0 ;;
            *) return 1 ;;
        esac
    fi
    case $1 in
        127.* | '[::1]' | '[::ffff:127.'* | ??????7F | 00000000000000000000000001000000 | 0000000000000000FFFF0000??????7F) return 1 ;;
    esac
}

# The owner of the socket with inode $1 and user $2, in "who".
find_socket_owner() {
    who="a process of uid $2"
    pid=
    IFS=$NL
    for line in $(ls -lnR /proc/[0-9]*/fd 2>/dev/null | grep -e '^/proc/.*:$' -e "socket:\[$1]\$"); do
        case $line in
            /proc/*)
                pid=${line#/proc/}
                pid=${pid%%/*}
                ;;
            *)
                comm='?'
                { IFS= read -r comm <"/proc/$pid/comm"; } 2>/dev/null
                who="pid $pid ($comm)"
                break
                ;;
        esac
    done
    IFS=$BLANKS
}

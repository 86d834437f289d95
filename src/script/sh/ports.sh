# Who listens on the ports: what the kernel says of its sockets, held against the open files of the slots' processes.

look_ports() {
    list_rows $wanted
    [ -n "$rows" ] || return 0
    all=
    for port in $found; do
        eval "all=\"\$all \$pids_$port\""
    done
    list_sockets $all
    set -f
    IFS=$NL
    for row in $rows; do
        IFS=$BLANKS
        # A row may hold a "*", and the judgement looks for files.
        set -f
        split $row
        set +f
        judge
    done
    IFS=$BLANKS
    set +f
}

# A line for each who listens on one of the ports, in "rows". ss asks the kernel for these alone; to print
# /proc/net/tcp it goes through its whole table of connections, which takes 10 ms on a machine with much memory.
list_rows() {
    rows=
    [ $# -gt 0 ] || return 0
    sought=
    if command -v ss >/dev/null 2>&1; then
        for port; do
            sought="$sought${sought:+ or }sport = :$port"
        done
        ! rows=$(ss -Hltne "$sought" 2>/dev/null) || return 0
        # It is too old to know the words.
        sought=
    fi
    for port; do
        sought="$sought${sought:+|}$(printf %04X "$port")"
    done
    rows=$(grep -hE "^ *[0-9]+: [0-9A-F]+:($sought) [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null)
    return 0
}

# The facts of a row, given as its words.
split() {
    if [ "$1" != LISTEN ]; then
        address=${2%:*} port=$((0x${2#*:})) uid=$8 socket=${10}
        return
    fi
    address=${4%:*} port=${4##*:} uid=0 socket=
    # ss names the interface where there is one: 127.0.0.1%lo
    address=${address%%\%*}
    shift 5
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

# Whether one of the processes has the socket with inode $1 open, by "files".
holds() {
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

# One row, split: the slot's own process, one that is in its way, or one of no interest.
judge() {
    heard="$heard $port"
    eval "pids=\${pids_$port-} sid=\${sid_$port-} mark=\${mark_$port-}"
    if holds "$socket" $pids; then
        owned
        return
    fi
    in_the_way "$address" || return 0
    if [ -n "$sid" ]; then
        find_members "$sid"
        saved=$files
        list_sockets $members
        if holds "$socket" $members; then
            files=$saved
            owned
            return
        fi
        files=$saved
    fi
    kind=other
    if [ -n "$mark" ]; then
        members=
        find_strays "$mark" "$sid"
        saved=$files
        list_sockets $members
        ! holds "$socket" $members || kind=stray
        files=$saved
    fi
    name_owner "$socket" "$uid"
    eval "other_$port=\$who"
    listens="${listens}listen=$port $address $kind $who$NL"
}

owned() {
    eval "own_$port=1"
    listens="${listens}listen=$port $address own$NL"
}

# Whether a listener at address $1 meets this host's: several hosts may share one kernel, each at a loopback address.
in_the_way() {
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

# Who has the socket with inode $1, of user $2, in "who".
name_owner() {
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

# A host whose packet filter sends what comes for its public port to one of the slots. Reads only.

# What somebody has set for IPv4 and for IPv6, where the kernel knows that.
families=ip
[ ! -f /proc/net/if_inet6 ] || families="ip ip6"

# The slot that has the public port, in "active"; none where its rules are not whole.
look_active() {
    active=
    command -v nft >/dev/null 2>&1 || {
        unseen="there is no nft (package nftables) on this host"
        return 1
    }
    for family in $families; do
        table=$(nft -n list table "$family" "$TABLE" 2>&1) || {
            case $table in
                *"No such file or directory"*) continue ;;
            esac
            unseen="nft list table: $table"
            return 1
        }
        case $table in
            *"dport map @active"*"dport map @active"*) ;;
            *) continue ;;
        esac
        flatten "$table"
        elements=${flat##*elements = \{}
        elements=" ${elements%%\}*},"
        element=${elements#*[ ,]"$PUBLIC : "}
        [ "$element" != "$elements" ] || continue
        element=${element%%,*}
        active=${element%%[!0-9]*}
    done
}

# How many connections each of the service's ports has, in variables named after it.
look_connections() {
    command -v ss >/dev/null 2>&1 || {
        unseen="there is no ss (package iproute2) on this host"
        return 1
    }
    sought=
    for port in $PORTS; do
        eval "count_$port=0"
        sought="$sought${sought:+ or }sport = :$port"
    done
    rows=$(ss -Htn state established "( $sought )" 2>&1) || {
        unseen="ss: $rows"
        return 1
    }
    set -f
    for port in $(printf '%s\n' "$rows" | sed -n 's/^ *[0-9][0-9]* *[0-9][0-9]* *[^ ]*:\([0-9][0-9]*\) .*/\1/p'); do
        eval "count_$port=\$((count_$port + 1))"
    done
    set +f
}

look() {
    unseen=
    read -r boot </proc/sys/kernel/random/boot_id
    look_active && look_connections || return 1
    left=
    [ ! -f "$ROOT/left" ] || read -r left <"$ROOT/left"
    fresh=1
}

report() {
    seen=
    if [ -f "$ROOT/epoch" ]; then
        read -r seen taken <"$ROOT/epoch"
    fi
    out="${NL}ship=1${NL}generation=$boot$NL${seen:+epoch=$seen$NL}"
    for port in $PORTS; do
        eval "count=\$count_$port"
        gate=closed
        if [ "$port" = "$active" ]; then
            gate=open
        elif [ "$port" = "$left" ]; then
            # They end with the instance.
            count=0
        fi
        out="${out}server=$HOST $port $gate $count -$NL"
    done
}

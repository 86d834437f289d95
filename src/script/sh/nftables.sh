# A host whose packet filter forwards its public port to one of the slots. Reads only.

# Rules for IPv4, and for IPv6 if the kernel supports it.
families=ip
[ ! -f /proc/net/if_inet6 ] || families="ip ip6"

# Sets "active" to the slot to which the public port is forwarded; empty if there is none or the rules are incomplete.
observe_active() {
    active=
    command -v nft >/dev/null 2>&1 || {
        unseen="nft (package nftables) is not installed on this host"
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

# The number of connections to each of the service's ports, in variables named after the port.
observe_connections() {
    command -v ss >/dev/null 2>&1 || {
        unseen="ss (package iproute2) is not installed on this host"
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

observe() {
    unseen=
    read -r boot </proc/sys/kernel/random/boot_id
    observe_active && observe_connections || return 1
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
        admission=closed
        if [ "$port" = "$active" ]; then
            admission=open
        elif [ "$port" = "$left" ]; then
            # These connections end with the instance.
            count=0
        fi
        out="${out}server=$HOST $port $admission $count -$NL"
    done
}

# nginx as a balancer whose servers are in a file. Reads only.

# Reads the statements of file $1 into "text", one per line: a single blank between words and after the last, then its
# comment.
read_servers() {
    text=$NL
    [ -f "$1" ] || return 0
    set -f
    while IFS= read -r line || [ -n "$line" ]; do
        set -- $line
        line=$*
        while [ -n "$line" ]; do
            case $line in
                '#'*)
                    text=$text$line$NL
                    line=
                    ;;
                *)
                    statement=${line%%;*} note=
                    line=${line#"$statement"}
                    line=${line#;}
                    line=${line# }
                    case $line in
                        '#'*) note=$line line= ;;
                    esac
                    text="$text${statement% } $note$NL"
                    ;;
            esac
        done
    done <"$1"
    set +f
}

# Finds the server at $1 in the text: sets "admission", "weight", "settings", and the epoch and action number of ship's
# last change in "last_epoch" and "last_action". Fails if the text does not contain it.
find_server() {
    rest=${text##*"${NL}server $1 "}
    [ "$rest" != "$text" ] || return 1
    rest=${rest%%"$NL"*}
    last_epoch=0 last_action=0 weight=$FULL_WEIGHT admission=open settings=
    set -f
    case $rest in
        *"# ship "*)
            set -- ${rest##*"# ship "}
            last_epoch=$1 last_action=$2
            ;;
    esac
    case $last_epoch$last_action in
        *[!0-9]*) last_epoch=0 last_action=0 ;;
    esac
    for word in ${rest%%#*}; do
        case $word in
            down) admission=closed ;;
            weight=*) weight=${word#*=} ;;
            *) settings="$settings $word" ;;
        esac
    done
    set +f
}

# Sets "endpoints" to the address and port $1 as ss prints them. A name may have several addresses, or none.
resolve() {
    endpoints=$1
    case ${1%:*} in
        \[*) ;;
        *[!0-9.]*)
            endpoints=
            for word in $(getent ahosts "${1%:*}" 2>/dev/null); do
                case $word in
                    *:*) word="[$word]" ;;
                    *[!0-9.]*) continue ;;
                esac
                case " $endpoints " in
                    *" $word:${1##*:} "*) ;;
                    *) endpoints="$endpoints $word:${1##*:}" ;;
                esac
            done
            ;;
    esac
}

# The number of connections from this machine to each address of a slot, one per line, in "connections".
observe_connections() {
    command -v ss >/dev/null 2>&1 || {
        unseen="ss (package iproute2) is not installed on this machine"
        return 1
    }
    sought=
    for port in $(printf '%s\n' "$SLOTS" | sed 's/.*://' | sort -u); do
        sought="$sought${sought:+ or }dport = :$port"
    done
    connections=$(ss -Htn state established "( $sought )" 2>&1) || {
        unseen="ss: $connections"
        return 1
    }
    connections=$NL$(printf '%s\n' "$connections" |
        sed -n 's/\[::ffff:\([0-9.]*\)\]/\1/g; s/^ *[0-9][0-9]* *[0-9][0-9]* *[^ ]* *\([^ ]*\).*/\1/p' |
        sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)/\2 \1/')$NL
}

# The number of connections to $1, in "count".
count_connections() {
    resolve "$1"
    count=0
    [ -n "$endpoints" ] || {
        unseen="this machine cannot resolve ${1%:*}"
        return 1
    }
    for endpoint in $endpoints; do
        some=${connections#*"$NL$endpoint "}
        [ "$some" = "$connections" ] || count=$((count + ${some%%"$NL"*}))
    done
}

observe() {
    unseen= servers=
    if [ -f "$INCLUDE" ] && [ ! -r "$INCLUDE" ]; then
        unseen="$INCLUDE is not readable by this user"
        return 1
    fi
    observe_connections || return 1
    read_servers "$ROOT/unloaded"
    unloaded=$text
    read_servers "$INCLUDE"
    included=$text
    IFS=$NL
    for row in $SLOTS; do
        IFS=$BLANKS
        set -f
        set -- $row
        text=$included
        find_server "$3" || continue
        state="$admission $weight"
        if [ "$admission" = closed ]; then
            # nginx may still send it requests, because the reload that closes it has not been confirmed.
            text=$unloaded
            ! find_server "$3" || [ "$admission" = closed ] || state="$admission $weight"
        fi
        count_connections "$3" || return 1
        servers="${servers}server=$1 $2 ${state% *} $count ${state#* }$NL"
    done
    IFS=$BLANKS
    fresh=1
}

report() {
    seen=
    if [ -f "$ROOT/epoch" ]; then
        read -r seen taken <"$ROOT/epoch"
    fi
    out="${NL}ship=1$NL${seen:+epoch=$seen$NL}$servers"
}

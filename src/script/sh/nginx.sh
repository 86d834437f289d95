# nginx as a balancer, whose servers are in a file. Reads only.

# The statements of file $1 in "text", a line each: one blank between words and after the last, then what is noted of it.
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

# What the text says of the server at $1, in "gate", "weight", "settings", and in which epoch's which order ship has said
# so, in "given_in" and "given_as". Fails where it does not name it.
find_server() {
    rest=${text##*"${NL}server $1 "}
    [ "$rest" != "$text" ] || return 1
    rest=${rest%%"$NL"*}
    given_in=0 given_as=0 weight=$FULL_WEIGHT gate=open settings=
    set -f
    case $rest in
        *"# ship "*)
            set -- ${rest##*"# ship "}
            given_in=$1 given_as=$2
            ;;
    esac
    case $given_in$given_as in
        *[!0-9]*) given_in=0 given_as=0 ;;
    esac
    for word in ${rest%%#*}; do
        case $word in
            down) gate=closed ;;
            weight=*) weight=${word#*=} ;;
            *) settings="$settings $word" ;;
        esac
    done
    set +f
}

# The address and port $1 as ss prints them, in "places": a name may stand for more than one, or for none that is known.
resolve() {
    places=$1
    case ${1%:*} in
        \[*) ;;
        *[!0-9.]*)
            places=
            for word in $(getent ahosts "${1%:*}" 2>/dev/null); do
                case $word in
                    *:*) word="[$word]" ;;
                    *[!0-9.]*) continue ;;
                esac
                case " $places " in
                    *" $word:${1##*:} "*) ;;
                    *) places="$places $word:${1##*:}" ;;
                esac
            done
            ;;
    esac
}

# How many connections there are from here to where slots are, a line each, in "connections".
look_connections() {
    command -v ss >/dev/null 2>&1 || {
        unseen="there is no ss (package iproute2) on this machine"
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

# How many of them go to $1, in "count".
count_connections() {
    resolve "$1"
    count=0
    [ -n "$places" ] || {
        unseen="${1%:*} is no name that this machine knows"
        return 1
    }
    for place in $places; do
        some=${connections#*"$NL$place "}
        [ "$some" = "$connections" ] || count=$((count + ${some%%"$NL"*}))
    done
}

look() {
    unseen= servers=
    if [ -f "$INCLUDE" ] && [ ! -r "$INCLUDE" ]; then
        unseen="$INCLUDE cannot be read by this user"
        return 1
    fi
    look_connections || return 1
    read_servers "$ROOT/unloaded"
    unloaded=$text
    read_servers "$INCLUDE"
    loading=$text
    IFS=$NL
    for row in $SLOTS; do
        IFS=$BLANKS
        set -f
        set -- $row
        text=$loading
        find_server "$3" || continue
        now="$gate $weight"
        if [ "$gate" = closed ]; then
            # nginx may have it open still: it was told to close it, but nobody has seen that it did.
            text=$unloaded
            ! find_server "$3" || [ "$gate" = closed ] || now="$gate $weight"
        fi
        count_connections "$3" || return 1
        servers="${servers}server=$1 $2 ${now% *} $count ${now#* }$NL"
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

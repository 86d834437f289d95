# A balancer that is told by the user's own commands. Reads only.

# The command $1, as a shell takes it, for at most $2 seconds; what it says in "said".
run() {
    said=$(timeout "$2" sh -c "$1" 2>&1 9>&-)
}

# What was told last of the slot $1 on $2, in "gate", and in which epoch's which order, in "given_in" and "given_as".
recall() {
    gate= given_in=0 given_as=0
    [ -f "$ROOT/gates/$1 $2" ] || return 1
    read -r gate given_in given_as <"$ROOT/gates/$1 $2"
    case $gate,$given_in,$given_as in
        *,,* | *, | *,*[!0-9]*,* | *,*,*[!0-9]*) return 1 ;;
    esac
}

look() {
    unseen= servers= seen=
    [ ! -f "$ROOT/epoch" ] || read -r seen taken <"$ROOT/epoch"
    IFS=$NL
    set -f
    for row in $SLOTS; do
        IFS=$BLANKS
        host=${row%% *}
        row=${row#* }
        port=${row%% *}
        recall "$host" "$port" || continue
        count=0 weight=-
        case $gate in
            opening) gate=open weight=0 ;;
            closed)
                # What was closed in an earlier epoch is closed again before it is relied on.
                if [ "$given_in" = "$seen" ]; then
                    run "${row#* }" "$COUNT_S"
                    status=$?
                    case $status,$said in
                        0,*[!0-9]* | 0, | [!0]*)
                            flatten "$said"
                            unseen="the command that prints what remains to $host:$port printed no number: ${row#* }:"
                            unseen="$unseen ${flat:-nothing} (status $status)"
                            set +f
                            return 1
                            ;;
                    esac
                    count=$said
                fi
                ;;
        esac
        servers="${servers}server=$host $port $gate $count $weight$NL"
    done
    IFS=$BLANKS
    set +f
    fresh=1
}

report() {
    out="${NL}ship=1$NL${seen:+epoch=$seen$NL}$servers"
}

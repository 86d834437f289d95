# A balancer that is controlled by commands of the user. Reads only.

# Runs the shell command $1 for at most $2 seconds; its output is in "output".
run() {
    output=$(timeout "$2" sh -c "$1" 2>&1 9>&-)
}

# Reads the last recorded state of slot $1 on $2 into "admission", with its epoch and action number in "last_epoch" and
# "last_action".
read_admission() {
    admission= last_epoch=0 last_action=0
    [ -f "$ROOT/gates/$1 $2" ] || return 1
    read -r admission last_epoch last_action <"$ROOT/gates/$1 $2"
    case $admission,$last_epoch,$last_action in
        *,,* | *, | *,*[!0-9]*,* | *,*,*[!0-9]*) return 1 ;;
    esac
}

observe() {
    unseen= servers= seen=
    [ ! -f "$ROOT/epoch" ] || read -r seen taken <"$ROOT/epoch"
    IFS=$NL
    set -f
    for row in $SLOTS; do
        IFS=$BLANKS
        host=${row%% *}
        row=${row#* }
        port=${row%% *}
        read_admission "$host" "$port" || continue
        count=0 weight=-
        case $admission in
            opening) admission=open weight=0 ;;
            closed)
                # A slot that was closed in an earlier epoch is closed again before ship relies on it.
                if [ "$last_epoch" = "$seen" ]; then
                    run "${row#* }" "$COUNT_S"
                    status=$?
                    case $status,$output in
                        0,*[!0-9]* | 0, | [!0]*)
                            flatten "$output"
                            unseen="the \`remaining\` command for $host:$port did not print a number: ${row#* }:"
                            unseen="$unseen ${flat:-nothing} (status $status)"
                            set +f
                            return 1
                            ;;
                    esac
                    count=$output
                fi
                ;;
        esac
        servers="${servers}server=$host $port $admission $count $weight$NL"
    done
    IFS=$BLANKS
    set +f
    fresh=1
}

report() {
    out="${NL}ship=1$NL${seen:+epoch=$seen$NL}$servers"
}

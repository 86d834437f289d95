# The servers that are there, but with the one at $AT as ordered, in "servers_text". What ship does not know stays.
compose() {
    title="# The servers of upstream $UPSTREAM. Written by ship: what it says of its own slots is overwritten."
    servers_text=$title$NL
    set -f
    IFS=$NL
    for line in $text; do
        case $line in
            "$title") continue ;;
            '#'*) ;;
            'server '*)
                at=${line#server }
                at=${at%% *}
                case $NL$SLOTS$NL in
                    *" $at$NL"*) continue ;;
                esac
                ;;
        esac
        case $line in
            '#'*) ;;
            *'#'*) line="${line%% #*}; #${line#*#}" ;;
            *) line="${line% };" ;;
        esac
        servers_text=$servers_text$line$NL
    done
    for row in $SLOTS; do
        at=${row##* }
        IFS=$BLANKS
        find_server "$at" || {
            [ "$at" = "$AT" ] || continue
            weight=$WEIGHT settings=
        }
        if [ "$at" = "$AT" ]; then
            given_in=$EPOCH given_as=$given
            case $TURN in
                open) gate=open weight=$WEIGHT ;;
                close) gate=closed ;;
            esac
        fi
        down=
        [ "$gate" = open ] || down=' down'
        servers_text="${servers_text}server $at weight=$weight$settings$down; # ship $given_in $given_as$NL"
    done
    IFS=$BLANKS
    set +f
}

# The workers that take new connections, each as WORKER/MASTER, in "workers".
list_workers() {
    workers=
    leaving=" $(grep -ls '^nginx: worker process is shutting down' /proc/[0-9]*/cmdline | tr '\n' ' ')"
    for file in $(grep -ls '^nginx: worker process' /proc/[0-9]*/cmdline); do
        case $leaving in
            *" $file "*) continue ;;
        esac
        pid=${file#/proc/}
        pid=${pid%/cmdline}
        { IFS= read -r line <"/proc/$pid/stat"; } 2>/dev/null || continue
        set -- ${line##*) }
        workers="$workers $pid/$2"
    done
}

# Whether some nginx has new workers, and none of its old ones takes new connections.
has_reloaded() {
    list_workers
    for worker in $workers; do
        case " $before " in
            *" $worker "*) continue ;;
        esac
        old=
        for other in $before; do
            case "${other#*/} $workers " in
                "${worker#*/} "*" $other "*) old=$other ;;
            esac
        done
        [ -n "$old" ] || return 0
    done
    return 1
}

put_back() {
    if [ -f "$INCLUDE.old" ]; then
        mv -f "$INCLUDE.old" "$INCLUDE"
    else
        rm -f "$INCLUDE"
    fi
    [ -n "$was_unloaded" ] || rm -f "$ROOT/unloaded"
}

# The command $1, as a shell takes it; what it says in "said".
run() {
    said=$(timeout "$COMMAND_S" sh -c "$1" 2>&1 9>&-)
}

load() {
    was_unloaded=
    [ ! -f "$ROOT/unloaded" ] || was_unloaded=yes
    litter=$INCLUDE.new
    said=$({
        mkdir -p "${INCLUDE%/*}" && rm -f "$INCLUDE.old" "$INCLUDE.new" &&
            { [ ! -f "$INCLUDE" ] || { cp -p "$INCLUDE" "$INCLUDE.old" && cp -p "$INCLUDE" "$INCLUDE.new"; }; } &&
            printf '%s' "$servers_text" >"$INCLUDE.new" &&
            { [ ! -f "$INCLUDE" ] || cat "$INCLUDE" >>"$ROOT/unloaded"; } && mv -f "$INCLUDE.new" "$INCLUDE"
    } 2>&1) || {
        rm -f "$INCLUDE.old"
        fail "$INCLUDE could not be written: $said"
    }
    litter=
    run "$TEST" || {
        put_back
        fail "nginx objects to its configuration, and $INCLUDE is as it was: $TEST: ${said:-no answer}"
    }
    list_workers
    before=$workers
    run "$RELOAD" || {
        put_back
        fail "nginx was not reloaded, and $INCLUDE is as it was: $RELOAD: ${said:-no answer}"
    }
    clock
    enough=$((cs + RELOAD_CS))
    naps=0
    until has_reloaded; do
        clock
        [ "$cs" -lt "$enough" ] || {
            put_back
            # It may yet have read what is not there any more.
            run "$RELOAD"
            fail "nginx was reloaded, but has no new workers after $((RELOAD_CS / 100)) s, and $INCLUDE is as it was"
        }
        nap
    done
    rm -f "$INCLUDE.old" "$ROOT/unloaded"
}

# Ends the old workers that have connections to the slot still.
cut() {
    resolve "$AT"
    sought=
    for place in $places; do
        sought="$sought${sought:+ or }dst $place"
    done
    for pid in $(ss -Htnp state established "( $sought )" 2>/dev/null | grep -o 'pid=[0-9]*' | sort -u); do
        pid=${pid#pid=}
        ! grep -qs '^nginx: worker process is shutting down' "/proc/$pid/cmdline" || kill -TERM "$pid" 2>/dev/null
    done
}

make_private_dirs "$ROOT/tmp"
enter_slot
read_servers "$INCLUDE"
if find_server "$AT"; then
    refuse_late
fi
case $TURN in
    cut) cut ;;
    *)
        compose
        load
        ;;
esac
finish 'done'

# Sets "servers_text" to the servers with the requested change to the one at $AT. Statements that ship did not write
# stay.
render_servers() {
    title="# The servers of upstream $UPSTREAM. Written by ship: changes to its own slots are overwritten."
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
            last_epoch=$EPOCH last_action=$action
            case $CHANGE in
                open) admission=open weight=$WEIGHT ;;
                close) admission=closed ;;
            esac
        fi
        down=
        [ "$admission" = open ] || down=' down'
        servers_text="${servers_text}server $at weight=$weight$settings$down; # ship $last_epoch $last_action$NL"
    done
    IFS=$BLANKS
    set +f
}

# The workers that accept new connections, each as WORKER/MASTER, in "workers".
find_workers() {
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

# Whether an nginx has new workers, and none of its old workers accepts new connections.
has_reloaded() {
    find_workers
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

restore_include() {
    if [ -f "$INCLUDE.old" ]; then
        mv -f "$INCLUDE.old" "$INCLUDE"
    else
        rm -f "$INCLUDE"
    fi
    [ -n "$was_unloaded" ] || rm -f "$ROOT/unloaded"
}

# Runs the shell command $1; its output is in "output".
run() {
    output=$(timeout "$COMMAND_S" sh -c "$1" 2>&1 9>&-)
}

reload() {
    was_unloaded=
    [ ! -f "$ROOT/unloaded" ] || was_unloaded=yes
    scratch=$INCLUDE.new
    output=$({
        mkdir -p "${INCLUDE%/*}" && rm -f "$INCLUDE.old" "$INCLUDE.new" &&
            { [ ! -f "$INCLUDE" ] || { cp -p "$INCLUDE" "$INCLUDE.old" && cp -p "$INCLUDE" "$INCLUDE.new"; }; } &&
            printf '%s' "$servers_text" >"$INCLUDE.new" &&
            { [ ! -f "$INCLUDE" ] || cat "$INCLUDE" >>"$ROOT/unloaded"; } && mv -f "$INCLUDE.new" "$INCLUDE"
    } 2>&1) || {
        rm -f "$INCLUDE.old"
        fail "cannot write $INCLUDE: $output"
    }
    scratch=
    run "$TEST" || {
        restore_include
        fail "nginx rejects its configuration, and $INCLUDE was restored: $TEST: ${output:-no output}"
    }
    find_workers
    before=$workers
    run "$RELOAD" || {
        restore_include
        fail "cannot reload nginx, and $INCLUDE was restored: $RELOAD: ${output:-no output}"
    }
    clock
    deadline=$((cs + RELOAD_CS))
    attempts=0
    until has_reloaded; do
        clock
        [ "$cs" -lt "$deadline" ] || {
            restore_include
            # nginx may have read the file before it was restored.
            run "$RELOAD"
            fail "nginx was reloaded, but has no new workers after $((RELOAD_CS / 100)) s, and $INCLUDE was restored"
        }
        backoff
    done
    rm -f "$INCLUDE.old" "$ROOT/unloaded"
}

# Ends the old workers that still have connections to the slot.
close_old_workers() {
    resolve "$AT"
    sought=
    for endpoint in $endpoints; do
        sought="$sought${sought:+ or }dst $endpoint"
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
    reject_late
fi
case $CHANGE in
    cut) close_old_workers ;;
    *)
        render_servers
        reload
        ;;
esac
finish 'done'

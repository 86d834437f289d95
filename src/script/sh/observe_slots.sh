# Observes the host: the records of the slots, their processes, and the listeners. Reads only.

# Reads a process's state, session and start time in ticks; fails if it does not exist. Its name may contain blanks and
# parentheses.
inspect() {
    case $1 in
        '' | *[!0-9]*) return 1 ;;
    esac
    { IFS= read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${line##*) }
    state=$1 session=$4 ticks=${20}
}

# Whether process $1 does not exist, or is a zombie.
has_exited() {
    ! inspect "$1" || [ "$state" = Z ]
}

# The live processes of session $1, in "members".
find_members() {
    members=
    for file in $(grep -l ") [A-Za-z] [0-9]* [0-9]* $1 " /proc/[0-9]*/stat 2>/dev/null); do
        file=${file%/stat}
        inspect "${file#/proc/}" && [ "$session" = "$1" ] || continue
        case $state in
            [ZXx]) ;;
            *) members="$members ${file#/proc/}" ;;
        esac
    done
}

# Sets "environments" to the environment files that contain $1. If the installed grep does not search beyond the first
# NUL, the shell, which ignores NULs, reads the files itself.
find_environments() {
    environments=
    [ -n "${reads_nul-}" ] || reads_nul=$(printf 'a\0b' | grep -qF b && echo yes || echo no)
    if [ "$reads_nul" = yes ]; then
        environments=$(grep -lF "$1" /proc/[0-9]*/environ 2>/dev/null)
        return
    fi
    for file in /proc/[0-9]*/environ; do
        {
            while IFS= read -r line || [ -n "$line" ]; do
                case $line in
                    *"$1"*)
                        environments="$environments $file"
                        break
                        ;;
                esac
            done <"$file"
        } 2>/dev/null
    done
}

# Adds the processes with mark $1 in other sessions than $2 to "members". The process driver marks an instance with an
# environment variable, which its children inherit.
find_detached() {
    find_environments "SHIP_SLOT=$1:"
    for file in $environments; do
        file=${file%/environ}
        inspect "${file#/proc/}" && [ "$session" != "$2" ] || continue
        case $state in
            [ZXx]) ;;
            *) members="$members ${file#/proc/}" ;;
        esac
    done
}

# Observes the process of the slot at $slot: sets "pids", "sid" and "facts".
observe_process() {
    pid= want=
    if [ -f "$slot/pid" ]; then
        { read -r pid want <"$slot/pid"; } 2>/dev/null
    fi
    if [ -z "$want" ]; then
        facts="process=ended never started$NL"
    elif [ "$since_boot" != "$boot" ]; then
        facts="process=ended when the host was restarted$NL"
    elif inspect "$pid" && [ "$ticks" = "$want" ] && [ "$state" != Z ] && [ "$state" != X ]; then
        pids=$pid sid=$pid
        facts="process=running${NL}main=$pid.$want$NL"
    else
        result=exited
        if [ -f "$slot/ended" ]; then
            { read -r result <"$slot/ended"; } 2>/dev/null
        fi
        facts="process=ended $result$NL"
    fi
}

# Observes the listeners on the ports (only on "only_port" if it is set), and the facts of each slot, in variables named
# after the port.
observe() {
    for port in $found $listening; do
        eval "name_$port= text_$port= facts_$port= pids_$port= sid_$port= own_$port= other_$port= mark_$port= kill_$port="
    done
    found= listening= listens= units= unseen= armed=
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    # Called before the slots are read and after that: an instance that is restored in the meantime appears in one of
    # the two.
    observe_armed
    wanted=${only_port:-$PORTS}
    for record in "$ROOT"/slots/*/instance; do
        [ -f "$record" ] || continue
        slot=${record%/instance}
        port=${slot##*/}
        case $port in
            '' | *[!0-9]*) continue ;;
        esac
        text= name= driver= since_boot= pids= sid= facts= mark=
        while IFS= read -r line; do
            text=$text.$line$NL
            case $line in
                name=*) name=${line#*=} ;;
                driver=*) driver=${line#*=} ;;
                boot=*) since_boot=${line#*=} ;;
            esac
        done <"$record"
        kill=
        if [ -f "$slot/liveness.kill" ]; then
            { IFS= read -r kill <"$slot/liveness.kill"; } 2>/dev/null
        fi
        # The record was removed between the two reads.
        [ -n "$text" ] || continue
        case $driver in
            process)
                observe_process
                mark=$slot:$name
                ;;
            systemd) units="$units ship-$SERVICE@$port.service" ;;
        esac
        eval "name_$port=\$name text_$port=\$text facts_$port=\$facts pids_$port=\$pids sid_$port=\$sid mark_$port=\$mark kill_$port=\$kill"
        found="$found $port"
        case " $PORTS " in
            *" $port "*) ;;
            *) [ -n "$only_port" ] || wanted="$wanted $port" ;;
        esac
    done
    [ -z "$units" ] || observe_systemd || return 1
    observe_armed
    observe_ports
    fresh=1
}

# Adds the ports on which the host would restore an instance to "armed".
observe_armed() {
    for due in "$ROOT"/armed/*/due; do
        due=${due%/due}
        case ${due##*/} in
            *[!0-9]*) ;;
            *) armed="$armed ${due##*/}" ;;
        esac
    done
}

# The free space in the service's directory, in KiB.
observe_space() {
    place=$ROOT
    while [ ! -d "$place" ]; do
        place=${place%/*}
        place=${place:-/}
    done
    set -f
    set -- $(df -Pk "$place" 2>/dev/null)
    set +f
    case ${11} in
        '' | *[!0-9]*) ;;
        *) free="free=${11}$NL" ;;
    esac
}

report() {
    seen=0
    if [ -f "$ROOT/epoch" ]; then
        read -r seen taken <"$ROOT/epoch"
    fi
    out="${NL}ship=1${NL}now=$up${NL}boot=$boot${NL}epoch=$seen$NL$free$check$identity$elsewhere_ports$hook_report"
    if [ -f "$ROOT/owner" ]; then
        while IFS= read -r line; do
            out="${out}owner=$line$NL"
        done <"$ROOT/owner"
    fi
    for release in "$ROOT"/releases/*; do
        release=${release##*/}
        case $release in
            *[!0-9a-f]*) ;;
            *) [ ${#release} -ne 64 ] || out="${out}staged=$release$NL" ;;
        esac
    done
    for port in $armed; do
        out="${out}armed=$port$NL"
    done
    for port in $found; do
        eval "out=\"\${out}slot=\$port\$NL\$text_$port\$facts_$port\" kill=\$kill_$port"
        [ -z "$kill" ] || out="${out}killed=$kill$NL"
    done
    out=$out$listens
}

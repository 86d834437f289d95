# Observes the host: the records of the slots, their processes, and the listeners. Reads only.

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

# Sets "environments" to the environment files that contain $1. The input of grep shows whether the installed one searches
# beyond the first NUL; if not, the shell, which ignores NULs, reads the files itself.
find_environments() {
    environments=$(printf 'a\0%s' "$1" | grep -lF -e "$1" - /proc/[0-9]*/environ 2>/dev/null)
    case $environments in
        "(standard input)"*)
            environments=${environments#"(standard input)"}
            return
            ;;
    esac
    environments=
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

# Whether any process may be in session $1 or have $2 in its environment. One search shows that no process is left, as is
# usual; otherwise, other numbers may look like the session.
is_mentioned() {
    mentions=$(printf 'a\0%s' "$2" | grep -lF -e " $1 " -e "$2" - /proc/[0-9]*/stat /proc/[0-9]*/environ 2>/dev/null)
    case $mentions in
        "(standard input)") return 1 ;;
        # The first process, which has ended, but whose parent has not noticed yet.
        "(standard input)$NL/proc/$1/stat") ! has_exited "$1" ;;
    esac
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

# Adds the ports $2, separated by commas, of slot $1 to "watched", except those that an instance in another slot has.
watch_ports() {
    IFS=,
    for port in $2; do
        case $port,$watched in
            *[!0-9]*,* | *,*" $port "*) continue ;;
        esac
        eval "slot_of_$port=$1"
        watched="$watched$port "
    done
    IFS=$BLANKS
}

# Adds the ports of the slots without an instance to "watched". An instance has the ports of its own release, and no
# others that the slot has in a later one.
watch_empty_slots() {
    if [ -n "$only_slot" ]; then
        watch_ports "$only_slot" "$only_ports"
        return
    fi
    for entry in $SLOTS; do
        case " $found " in
            *" ${entry%%=*} "*) ;;
            *) watch_ports "${entry%%=*}" "${entry#*=}" ;;
        esac
    done
}

# Observes the facts of each slot and the listeners on its ports, in variables named after the number of the slot. If
# "only_slot" is set, only its listeners are observed, on "only_ports".
observe() {
    for number in $found $listening; do
        eval "name_$number= text_$number= facts_$number= pids_$number= sid_$number= own_$number= other_$number= mark_$number= kill_$number= linger_$number= driver_$number= reloading_$number="
    done
    found= listening= listens= units= unseen= armed=
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    # Called before the slots are read and after that: an instance that is restored in the meantime appears in one of
    # the two.
    observe_armed
    watched=' '
    for record in "$ROOT"/slots/*/instance; do
        [ -f "$record" ] || continue
        slot=${record%/instance}
        number=${slot##*/}
        case $number in
            '' | *[!0-9]*) continue ;;
        esac
        # Earlier versions of ship did not record the ports.
        text= name= driver= release= since_boot= pids= sid= facts= mark= ports=$number
        while IFS= read -r line; do
            text=$text.$line$NL
            case $line in
                name=*) name=${line#*=} ;;
                driver=*) driver=${line#*=} ;;
                release=*) release=${line#*=} ;;
                boot=*) since_boot=${line#*=} ;;
                ports=*) ports=${line#*=} ;;
            esac
        done <"$record"
        kill=
        if [ -f "$slot/liveness.kill" ]; then
            { IFS= read -r kill <"$slot/liveness.kill"; } 2>/dev/null
        fi
        # The record was removed between the two reads.
        [ -n "$text" ] || continue
        observe_linger
        reloading=
        [ ! -f "$slot/reloading" ] || observe_reload
        case $driver in
            process)
                observe_process
                mark=$slot:$name
                ;;
            systemd) units="$units ship-$SERVICE@$number.service" ;;
            link) observe_link "$release" ;;
        esac
        eval "name_$number=\$name text_$number=\$text facts_$number=\$facts pids_$number=\$pids sid_$number=\$sid mark_$number=\$mark kill_$number=\$kill linger_$number=\$linger driver_$number=\$driver reloading_$number=\$reloading"
        found="$found $number"
        [ "${only_slot:-$number}" != "$number" ] || watch_ports "$number" "$ports"
    done
    watch_empty_slots
    [ -z "$units" ] || observe_systemd || return 1
    observe_armed
    observe_ports
    fresh=1
}

# Sets "linger" to the times at which the instance of the slot at $slot was asked to stop, and at which the host ends it,
# if it lingers.
observe_linger() {
    linger=
    [ -f "$slot/linger" ] || return 0
    asked_boot= asked= ends=
    { read -r asked_boot asked ends <"$slot/linger"; } 2>/dev/null
    # After a restart of the host, it has ended.
    [ "$asked_boot" = "$boot" ] || asked=0 ends=0
    linger="lingering=${asked:-0} ${ends:-0}$NL"
    [ ! -f "$slot/lingered" ] || { read -r ended <"$slot/lingered" && linger="${linger}lingered=$ended$NL"; } 2>/dev/null
}

# Sets "reloading" if the reload of the instance at $slot was interrupted: it may have the files of either release.
observe_reload() {
    by= since=
    { read -r by since <"$slot/reloading"; } 2>/dev/null
    ! inspect "$by" || [ "$ticks" != "$since" ] || return 0
    # The reload may have ended in the meantime.
    [ ! -f "$slot/reloading" ] || reloading=interrupted
}

# Adds the slots in which the host would restore an instance to "armed".
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
    out="${NL}ship=1${NL}now=$up${NL}boot=$boot${NL}epoch=$seen$NL$free$check$identity$elsewhere_slots$hook_report$stop_report"
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
    for number in $armed; do
        out="${out}armed=$number$NL"
    done
    for number in $found; do
        eval "out=\"\${out}slot=\$number\$NL\$text_$number\$facts_$number\$linger_$number\" kill=\$kill_$number"
        [ -z "$kill" ] || out="${out}killed=$kill$NL"
    done
    out=$out$listens
}

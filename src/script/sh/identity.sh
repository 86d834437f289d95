# Sets "identity" to what distinguishes this machine, and the service's directory on it, from all others. "is_safe" has set
# "rows", and "prefix" to the deepest part of the path that exists.
observe_identity() {
    machine_id= root_id= place_id=
    { read -r machine_id </etc/machine-id; } 2>/dev/null
    read -r boot </proc/sys/kernel/random/boot_id
    place=$ROOT rest=
    while [ ! -d "$place" ]; do
        rest=/${place##*/}$rest
        place=${place%/*}
        place=${place:-/}
    done
    set -f
    IFS=$NL
    for row in $rows; do
        id=${row#* }
        id=${id%% *}
        case ${row#* * * * } in
            /) root_id=$id ;;
            "$prefix") place_id=$id ;;
        esac
    done
    IFS=$BLANKS
    set +f
    place_id=${place_id:-$root_id}
    identity="machine=$boot ${machine_id:--} $root_id${NL}place=$boot $place_id$rest$NL"
}

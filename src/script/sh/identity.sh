# Sets "identity" to what distinguishes this machine, and the service's directory on it, from all others. It stays empty
# if the host cannot identify directories.
observe_identity() {
    machine_id=
    { read -r machine_id </etc/machine-id; } 2>/dev/null
    read -r boot </proc/sys/kernel/random/boot_id
    place=$ROOT rest=
    while [ ! -d "$place" ]; do
        rest=/${place##*/}$rest
        place=${place%/*}
        place=${place:-/}
    done
    IFS=$NL
    set -- $(stat -Lc %d:%i / "$place" 2>/dev/null)
    IFS=$BLANKS
    [ $# -ne 2 ] || identity="machine=$boot ${machine_id:--} $1${NL}place=$boot $2$rest$NL"
}
observe_identity

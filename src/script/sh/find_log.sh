# Sets "driver" to the driver of the slot's instance, and "began" to the option that makes journalctl start with this
# instance, because the previous one had the same unit.
find_log() {
    SLOT=$ROOT/slots/$1 driver= started= since_boot= began=
    [ -f "$SLOT/instance" ] || return 0
    while IFS= read -r line; do
        case $line in
            driver=*) driver=${line#*=} ;;
            started=*) started=${line#*=} ;;
            boot=*) since_boot=${line#*=} ;;
        esac
    done <"$SLOT/instance"
    [ "$driver" = systemd ] || return 0
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    if [ "$boot" = "$since_boot" ]; then
        begun=$((${started%.*} * 100 + 1${started#*.} - 100))
        began=--since=-$(((cs - begun + 5) * 10))ms
    fi
}

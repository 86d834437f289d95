# The last lines of a slot's log, as they are, and a line of its own for the end.
SLOT=$ROOT/slots/$PORT
driver=process started= since_boot=
if [ -f "$SLOT/instance" ]; then
    while IFS= read -r line; do
        case $line in
            driver=*) driver=${line#*=} ;;
            started=*) started=${line#*=} ;;
            boot=*) since_boot=${line#*=} ;;
        esac
    done <"$SLOT/instance"
fi
case $driver in
    systemd)
        clock
        read -r boot </proc/sys/kernel/random/boot_id
        # Not what the instance before has said, which had the same unit.
        set --
        if [ "$boot" = "$since_boot" ]; then
            begun=$((${started%.*} * 100 + 1${started#*.} - 100))
            set -- "--since=-$(((cs - begun + 5) * 10))ms"
        fi
        journalctl --no-pager --quiet --output=cat "--lines=$LINES_MAX" "$@" "--unit=ship-$SERVICE@$PORT.service" \
            "--unit=ship-$SERVICE.liveness@$PORT.service"
        ;;
    *) [ ! -f "$SLOT/log" ] || tail -n "$LINES_MAX" "$SLOT/log" ;;
esac
printf '\nend=done\n'

# The last lines of a slot's log, as they are, and a line of its own for the end.
log_of "$PORT"
case $driver in
    systemd)
        journalctl --no-pager --quiet --output=cat "--lines=$LINES_MAX" ${began:+"$began"} \
            "--unit=ship-$SERVICE@$PORT.service" "--unit=ship-$SERVICE.liveness@$PORT.service"
        ;;
    *) [ ! -f "$SLOT/log" ] || tail -n "$LINES_MAX" "$SLOT/log" ;;
esac
printf '\nend=done\n'

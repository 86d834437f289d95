# What was written until now.
for port in $PAST; do
    log_of "$port"
    case $driver in
        systemd) past_of_journal ;;
        # Where nothing is, something may have been.
        *) if [ -f "$SLOT/log" ]; then past_of_file; else past_of_journal; fi ;;
    esac
done

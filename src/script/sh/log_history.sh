# Prints the log history.
for number in $HISTORY_SLOTS; do
    find_log "$number"
    case $driver in
        systemd) print_journal_history ;;
        link) name_server_log ;;
        # An empty slot may have had an instance of another driver.
        *) if [ -f "$SLOT/log" ]; then print_log_history; else print_journal_history; fi ;;
    esac
done

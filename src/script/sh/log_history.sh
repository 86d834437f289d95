# Prints the log history.
for number in $HISTORY_SLOTS; do
    find_log "$number"
    case $driver in
        systemd) print_journal_history ;;
        # An empty slot may have had an instance of either driver.
        *) if [ -f "$SLOT/log" ]; then print_log_history; else print_journal_history; fi ;;
    esac
done

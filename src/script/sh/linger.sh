# Asks the instance in a slot to stop, and lets it finish its work. The host ends it after "linger_s" at the latest, even
# if ship does not return.

# Returns if the instance has ended; otherwise, the script ends here.
linger() {
    case $driver in
        systemd) members_of=group ;;
        process) members_of=session ;;
        *) return 0 ;;
    esac
    "find_$members_of" && "${members_of}_alive" || return 0
    ! lingers || finish 'done'
    [ "$driver" != systemd ] || leave_systemd
    "watch_$members_of"
    record_linger
    "signal_$members_of"
    wait_for_end "$members_of" "$LINGER_GRACE_CS" || finish 'done'
}

find_group() {
    unit=ship-$SERVICE@$NUMBER.service
    read_group
    [ -n "$cgroup" ]
}

# Sets a timer of systemd that ends the instance.
watch_group() {
    output=$(systemd-run --quiet --no-ask-password --collect "--unit=ship-$SERVICE.linger@$NUMBER.service" \
        "--on-active=$linger_s" --timer-property=AccuracySec=100ms systemctl kill -s KILL "$unit" 2>&1 9>&-) ||
        fail "cannot set the timer that ends $name: $output"
}

# The unit is not started again, because its condition excludes lingering instances.
signal_group() {
    output=$(systemctl --no-ask-password kill "--signal=SIG$signal" --kill-who=main "$unit" 2>&1 9>&-) || ! group_alive ||
        fail "systemctl kill $unit: $output"
}

# Starts a process that ends the instance. It inherits nothing of this script: neither the lock nor the connection.
watch_session() {
    setsid sh -c "$LINGER_WATCH" "ship-$SERVICE" "$linger_s" </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
}

# Records when the instance was asked to stop, and when the host ends it, by the clock of this start of the host.
record_linger() {
    clock
    read -r boot </proc/sys/kernel/random/boot_id
    write_file "$SLOT/linger" '%s %s %s\n' "$boot" "$cs" "$((cs + linger_s * 100))" ||
        fail "cannot record that $name lingers: $output"
}

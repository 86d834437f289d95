# Reloads the instance in the slot: its process continues with the files of another release, under a new name.

# Returns with an empty slot if the process has ended in the meantime; otherwise, the script ends here.
reload_or_empty() {
    read_record "$SLOT"
    read_main
    if [ -z "$main" ]; then
        stop_instance
        return
    fi
    previous=../../releases/$release
    keep_files
    fill_slot
    run_hooks before_start || undo_reload
    switch_release "../../releases/$RELEASE" || { failed="cannot switch $SLOT/release: $output" && undo_reload; }
    output=$(timeout "$SYSTEMD_WAIT_S" systemctl --no-ask-password reload "$service_unit" 2>&1 9>&-) ||
        { failed="systemctl reload $service_unit: ${output:-no answer within $SYSTEMD_WAIT_S s}" && undo_reload; }
    register
    run_hooks after_start || undo_reload
    rm -rf -- "$SLOT/reloading" "$kept"
    wait_for_result
    finish 'done'
}

# Reads the main process of the unit into "main", and how often systemd has restarted it before the reload into
# "restarts_before", for the record.
read_main() {
    show=$(systemctl show -p MainPID -p NRestarts -p ActiveState "$service_unit" 2>&1 9>&-) || fail "systemctl show $service_unit: $show"
    block=$NL$show$NL
    property NRestarts
    restarts_before="restarts=${value:-0}$NL"
    property ActiveState
    active=$value
    property MainPID
    main=$value
    [ "$active" = active ] && [ "${main:-0}" != 0 ] || main=
}

# Keeps the files of the instance, for "undo_reload". From here on, an interrupted reload is noticed by "observe_reload".
keep_files() {
    kept=$ROOT/tmp/reloading.$$
    set -- "$SLOT/instance"
    for part in env run liveness hooks hooked; do
        [ ! -f "$SLOT/$part" ] || set -- "$@" "$SLOT/$part"
    done
    inspect "$$"
    output=$({ umask 077 && mkdir "$kept" && cp -p "$@" "$kept/" && printf '%s %s\n' "$$" "$ticks" >"$SLOT/reloading"; } 2>&1) ||
        fail "cannot keep the files of $RELOADS: $output"
}

# Makes the slot's link lead to $1 with one rename.
switch_release() {
    output=$({ ln -sfn "$1" "$SLOT/release.new" && mv -fT "$SLOT/release.new" "$SLOT/release"; } 2>&1)
}

# Lets the instance continue with its own files, because of the reason in "failed".
undo_reload() {
    why=$failed
    output=$({ rm -f "$SLOT/hooks" "$SLOT/hooked" && cp -p "$kept"/* "$SLOT/"; } 2>&1) || why="$why; $output"
    if [ "$(readlink "$SLOT/release")" != "$previous" ]; then
        switch_release "$previous" && systemctl --no-ask-password reload "$service_unit" >/dev/null 2>&1 9>&-
    fi
    rm -rf -- "$SLOT/reloading" "$kept"
    fail "$why; $RELOADS continues with its own files"
}

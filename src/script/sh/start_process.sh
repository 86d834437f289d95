# The process driver: each instance has its own session, without a supervisor.

# Sets "become" to the command prefix that runs the service as another user.
prepare_process() {
    become=
    [ -n "$RUN_AS" ] || return 0
    [ "$RUN_AS" != "$(id -un)" ] || return 0
    # A restore creates no user, because the instance has already run as this one.
    [ -z "${INSTEAD_OF_ROOT-}" ] || ensure_user
    gid=$(id -g "$RUN_AS" 2>&1) || fail "user $RUN_AS does not exist on this host: $gid"
    [ "$(id -u)" = 0 ] || fail "only root can run the service as $RUN_AS; set sudo = true"
    become=$(command -v setpriv) || fail "setpriv (package util-linux) is not installed, but is needed to run as $RUN_AS"
}

start_process() {
    if [ -s "$SLOT/log" ]; then
        mv -f "$SLOT/log" "$SLOT/log.1"
    fi
    set --
    if [ -n "$become" ]; then
        set -- "$become" "--reuid=$RUN_AS" "--regid=$gid" --init-groups --
    fi
    umask 027
    : >>"$SLOT/log"
    umask 022
    # The service inherits nothing of this script: neither the lock nor the connection. The mark identifies the
    # processes of the instance later, also in other sessions.
    env -i "PATH=$SERVICE_PATH" "SHIP_SLOT=$SLOT:$NAME:" setsid sh "$SLOT/run" "$@" </dev/null >>"$SLOT/log" 2>&1 \
        3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    child=$!
}

# Waits until the process has written its process ID, which makes it visible to observers. The wait is limited, because
# the start may be delayed.
wait_for_pid() {
    clock
    deadline=$((cs + PID_WAIT_CS))
    attempts=0
    while [ ! -s "$SLOT/pid" ] && ! has_exited "$child" && [ "$cs" -lt "$deadline" ]; do
        backoff
        clock
    done
}

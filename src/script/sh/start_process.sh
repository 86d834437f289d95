# The process driver: a session of its own, no supervisor.

# The words that go before the service's own to become another user, in "$become".
prepare_process() {
    become=
    [ -n "$RUN_AS" ] || return 0
    [ "$RUN_AS" != "$(id -un)" ] || return 0
    # Who brings an instance back makes no user: it ran as this one before.
    [ -z "${INSTEAD_OF_ROOT-}" ] || need_user
    gid=$(id -g "$RUN_AS" 2>&1) || fail "there is no user $RUN_AS on this host: $gid"
    [ "$(id -u)" = 0 ] || fail "only root can run the service as $RUN_AS: set sudo = true"
    become=$(command -v setpriv) || fail "setpriv, of util-linux, is missing: it is needed to run as $RUN_AS"
}

launch_process() {
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
    # Nothing of this script's stays open in the service: neither the lock nor the connection. The mark tells later which
    # processes belong to the instance, also in sessions of their own.
    env -i "PATH=$SERVICE_PATH" "SHIP_SLOT=$SLOT:$NAME:" setsid sh "$SLOT/run" "$@" </dev/null >>"$SLOT/log" 2>&1 \
        3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    child=$!
}

# Waits until who looks sees the process: it leaves its number itself. Not for ever, as it may be held up in its start.
await_number() {
    clock
    enough=$((cs + NUMBER_CS))
    naps=0
    while [ ! -s "$SLOT/pid" ] && ! is_gone "$child" && [ "$cs" -lt "$enough" ]; do
        nap
        clock
    done
}

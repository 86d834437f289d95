# Makes the service's own user, unless it is there. The playbook's is for its host to have.
need_user() {
    ! id -u "$RUN_AS" >/dev/null 2>&1 || return 0
    [ -n "$OWN_USER" ] || fail "there is no user $RUN_AS on this host"
    said=$(useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
        "$RUN_AS" 2>&1) || fail "user $RUN_AS could not be made: $said"
}

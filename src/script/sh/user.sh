# Where the playbook names no user, nothing runs as root only because the scripts do. "me" is known by now.
settle_user() {
    [ -n "$RUN_AS" ] || [ "$me" != 0 ] || RUN_AS=$INSTEAD_OF_ROOT
}

# Whether the service's own user can have its name; if not, why, in "said".
is_name_short() {
    [ ${#RUN_AS} -gt 31 ] || return 0
    said="the user $RUN_AS cannot be made: the name has ${#RUN_AS} characters, 31 are allowed; set user, or shorten the service's name"
    return 1
}

# Makes the service's own user, unless it is there. The playbook's is for its host to have.
need_user() {
    ! id -u "$RUN_AS" >/dev/null 2>&1 || return 0
    [ -n "$OWN_USER" ] || fail "there is no user $RUN_AS on this host"
    is_name_short || fail "$said"
    said=$(useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
        "$RUN_AS" 2>&1) || fail "user $RUN_AS could not be made: $said; create it, or set user"
}

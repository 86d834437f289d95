# Sets the service's user if the playbook names none and root runs the scripts: the service must not run as root for
# that reason alone. "is_safe" has set "me".
resolve_user() {
    [ -n "$RUN_AS" ] || [ "$me" != 0 ] || RUN_AS=$INSTEAD_OF_ROOT
}

# Whether the name of the service's user is short enough; if not, the reason is in "output".
check_name_length() {
    [ ${#RUN_AS} -gt 31 ] || return 0
    output="cannot create user $RUN_AS: its name has ${#RUN_AS} characters, at most 31 are allowed; set user, or shorten the service's name"
    return 1
}

# Creates the service's user, unless it exists. A user named in the playbook must exist.
ensure_user() {
    ! id -u "$RUN_AS" >/dev/null 2>&1 || return 0
    [ -n "$OWN_USER" ] || fail "user $RUN_AS does not exist on this host"
    check_name_length || fail "$output"
    output=$(useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
        "$RUN_AS" 2>&1) || fail "cannot create user $RUN_AS: $output; create it, or set user"
}

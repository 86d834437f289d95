# The systemd driver: one template unit a service, one instance of it a slot.

prepare() {
    [ -d /run/systemd/system ] || fail "systemd does not run on this host: driver = \"process\" needs none"
    [ -w "$UNIT_DIR" ] || fail "$UNIT_DIR is not writable for this user: set sudo = true"
    if ! id -u "$RUN_AS" >/dev/null 2>&1; then
        [ -n "$OWN_USER" ] || fail "there is no user $RUN_AS on this host"
        said=$(useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
            "$RUN_AS" 2>&1) || fail "user $RUN_AS could not be made: $said"
    fi
    write_unit
}

write_unit() {
    file=$UNIT_DIR/ship-$SERVICE@.service
    if [ -f "$file" ] && [ "$(cat "$file")" = "$UNIT" ]; then
        return
    fi
    said=$({ printf '%s\n' "$UNIT" >"$file.new" && mv -f "$file.new" "$file" && systemctl daemon-reload; } 2>&1) ||
        fail "the unit $file could not be installed: $said"
}

launch() {
    said=$({
        ln -sfn "../../releases/$RELEASE" "$SLOT/release" &&
            mkdir -p "$UNIT_DIR/multi-user.target.wants" &&
            ln -sf "$UNIT_DIR/ship-$SERVICE@.service" \
                "$UNIT_DIR/multi-user.target.wants/ship-$SERVICE@$PORT.service" &&
            timeout "$SYSTEMD_WAIT_S" systemctl --no-ask-password start "ship-$SERVICE@$PORT.service" 9>&-
    } 2>&1) || fail "systemctl start ship-$SERVICE@$PORT.service: ${said:-no answer within $SYSTEMD_WAIT_S s}"
}

# Forwards the public port to slot $1, or to no slot.
switch() {
    scratch=$ROOT/tmp/public.$$
    rules=
    for family in $families; do
        rules="${rules}add table $family $TABLE
add map $family $TABLE active { type inet_service : inet_service; }
add chain $family $TABLE prerouting { type nat hook prerouting priority -100; policy accept; }
add chain $family $TABLE output { type nat hook output priority -100; policy accept; }
flush chain $family $TABLE prerouting
flush chain $family $TABLE output
flush map $family $TABLE active
add rule $family $TABLE prerouting fib daddr type local meta l4proto tcp dnat to :tcp dport map @active
add rule $family $TABLE output fib daddr type local meta l4proto tcp dnat to :tcp dport map @active
"
        [ -z "$1" ] || rules="${rules}add element $family $TABLE active { $PUBLIC : $1 }
"
    done
    write_file "$scratch" %s "$rules" || fail "cannot write the rules: $output"
    output=$(nft -c -f "$scratch" 2>&1) || fail "the packet filter rejects the rules: $output"
    output=$(nft -f "$scratch" 2>&1) || fail "the packet filter did not load the rules: $output"
    output=$(mv -f "$scratch" "$ROOT/public.nft" 2>&1) ||
        fail "the public port is switched, but the change would not survive a restart of this host: $output"
    scratch=
    install_rules_unit
}

# Installs a unit that loads the rules again after a restart of the host, and when all rules are reloaded.
install_rules_unit() {
    [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1 || return 0
    begin_units
    write_unit "$RULES_UNIT" "$UNIT"
    for wants in multi-user.target nftables.service; do
        [ -L "$UNIT_DIR/$wants.wants/$RULES_UNIT" ] && continue
        output=$(mkdir -p "$UNIT_DIR/$wants.wants" && ln -sf "$UNIT_DIR/$RULES_UNIT" "$UNIT_DIR/$wants.wants/$RULES_UNIT" 2>&1) ||
            fail "cannot enable $RULES_UNIT: $output"
        changed=yes
    done
    read_units
    # Started now, so that it also reacts to reloads before the next restart of the host.
    systemctl --quiet is-active "$RULES_UNIT" 9>&- || output=$(systemctl --no-ask-password start "$RULES_UNIT" 2>&1 9>&-) ||
        fail "cannot start $RULES_UNIT: $output"
}

# Rejects a port on which another program listens, such as an SSH server: the program would lose it.
check_port_free() {
    [ -z "$active" ] || return 0
    owner=$(ss -Hltn "sport = :$PUBLIC" 2>/dev/null)
    [ -z "$owner" ] || fail "another process already listens on port $PUBLIC of this host; the service's public port must be free"
    check_port_unshared
}

# Rejects a port that another service, or this one in another directory, forwards to its own slots.
check_port_unshared() {
    for other in $(nft list tables 2>/dev/null | sed -n 's/^table ip \(ship_[^ ]*\)$/\1/p'); do
        [ "$other" != "$TABLE" ] || continue
        case $(nft -n list map ip "$other" active 2>/dev/null) in
            *[!0-9]"$PUBLIC : "*) fail "the table $other already forwards port $PUBLIC of this host; choose another port" ;;
        esac
    done
}

enter
observe_active || fail "$unseen"
case $CHANGE in
    open)
        check_port_free
        switch "$PORT"
        ;;
    close) [ "$active" != "$PORT" ] || switch '' ;;
esac
if [ "$CHANGE" = cut ]; then
    write_file "$ROOT/left" '%s\n' "$PORT" || fail "$output"
else
    rm -f "$ROOT/left"
fi
finish 'done'

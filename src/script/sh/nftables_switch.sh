# Who has the public port from now on: slot $1, or none.
switch() {
    litter=$ROOT/tmp/public.$$
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
    said=$({ printf '%s' "$rules" >"$litter"; } 2>&1) || fail "the rules could not be written: $said"
    said=$(nft -c -f "$litter" 2>&1) || fail "the packet filter objects to the rules: $said"
    said=$(nft -f "$litter" 2>&1) || fail "the packet filter did not take the rules: $said"
    said=$(mv -f "$litter" "$ROOT/public.nft" 2>&1) ||
        fail "the public port is switched, but would not be after a restart of this host: $said"
    litter=
    keep
}

# The rules are gone when the host restarts, or when all rules are read anew.
keep() {
    [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1 || return 0
    begin_units
    write_unit "$KEEPER" "$UNIT"
    for wants in multi-user.target nftables.service; do
        [ -L "$UNIT_DIR/$wants.wants/$KEEPER" ] && continue
        said=$(mkdir -p "$UNIT_DIR/$wants.wants" && ln -sf "$UNIT_DIR/$KEEPER" "$UNIT_DIR/$wants.wants/$KEEPER" 2>&1) ||
            fail "$KEEPER could not be enabled: $said"
        changed=yes
    done
    read_units
    # So that it follows from now on, and not only after a restart of the host.
    systemctl --quiet is-active "$KEEPER" 9>&- || said=$(systemctl --no-ask-password start "$KEEPER" 2>&1 9>&-) ||
        fail "$KEEPER could not be started: $said"
}

# Who has the port without ship would lose it: an SSH server, say.
refuse_to_take() {
    [ -z "$active" ] || return 0
    owner=$(ss -Hltn "sport = :$PUBLIC" 2>/dev/null)
    [ -z "$owner" ] || fail "somebody listens on port $PUBLIC of this host already; the service's public port has to be free"
    refuse_to_share
}

# Refuses the port where another service, or this one in another directory, sends it to its own slots.
refuse_to_share() {
    for other in $(nft list tables 2>/dev/null | sed -n 's/^table ip \(ship_[^ ]*\)$/\1/p'); do
        [ "$other" != "$TABLE" ] || continue
        case $(nft -n list map ip "$other" active 2>/dev/null) in
            *[!0-9]"$PUBLIC : "*) fail "port $PUBLIC of this host is the public port of the table $other already; choose another port" ;;
        esac
    done
}

enter
look_active || fail "$unseen"
case $TURN in
    open)
        refuse_to_take
        switch "$PORT"
        ;;
    close) [ "$active" != "$PORT" ] || switch '' ;;
esac
if [ "$TURN" = cut ]; then
    said=$({ printf '%s\n' "$PORT" >"$ROOT/left"; } 2>&1) || fail "$said"
else
    rm -f "$ROOT/left"
fi
finish 'done'

# As `enter`, where the orders for different slots come in any order, and only those for one slot in theirs: the fence is
# passed by the epoch alone, and the order's own number is "given".
enter_slot() {
    hold
    given=$ORDER seen= ORDER=0
    [ ! -f "$ROOT/epoch" ] || read -r seen ORDER <"$ROOT/epoch"
    [ "$seen" = "$EPOCH" ] || ORDER=0
    fence
}

# Refuses an order older than the slot's last one, which is "given_as" of the epoch "given_in".
refuse_late() {
    [ "$given_in" != "$EPOCH" ] || [ "$given_as" -le "$given" ] || finish late "$given_as"
}

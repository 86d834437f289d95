# Like `enter`, but changes to different slots may arrive in any order; only changes to the same slot are ordered. The
# fence checks only the epoch, and the number of this action is in "action".
enter_slot() {
    acquire_lock
    action=$ORDER seen= ORDER=0
    [ ! -f "$ROOT/epoch" ] || read -r seen ORDER <"$ROOT/epoch"
    [ "$seen" = "$EPOCH" ] || ORDER=0
    fence
}

# Rejects an action that is older than the slot's last one, which is "last_action" of epoch "last_epoch".
reject_late() {
    [ "$last_epoch" != "$EPOCH" ] || [ "$last_action" -le "$action" ] || finish late "$last_action"
}

SLOT=$ROOT/slots/$NUMBER

enter
read_record "$SLOT"
[ "$name" = "$NAME" ] || finish 'done'
[ -z "$RESTORE_S" ] || lingers || arm
run_hooks before_stop
[ -z "$MAY_LINGER" ] || [ -z "$linger_s" ] || linger
stop_instance
finish 'done'

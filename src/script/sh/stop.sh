SLOT=$ROOT/slots/$NUMBER

enter
read_record "$SLOT"
[ "$name" = "$NAME" ] || finish 'done'
[ -z "$RESTORE_S" ] || arm
run_hooks before_stop
stop_instance
finish 'done'

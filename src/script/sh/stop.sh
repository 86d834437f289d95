SLOT=$ROOT/slots/$PORT

enter
read_record "$SLOT"
[ "$name" = "$NAME" ] || finish 'done'
[ -z "$RESTORE_S" ] || arm
pass before_stop
halt
finish 'done'

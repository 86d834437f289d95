# Waits for the end of a lingering instance of the process driver, and ends it after $1 seconds.
SLOT=$ROOT/slots/$NUMBER
cd / || exit 1
read_record "$SLOT"
[ "$name" = "$NAME" ] && find_session || exit 0
clock
deadline=$((cs + $1 * 100))
result=exited
while session_alive; do
    clock
    if [ "$cs" -ge "$deadline" ]; then
        find_in_session
        { kill -KILL $members; } 2>/dev/null
        result='killed: it had not ended within linger'
    fi
    sleep 1
done
read_record "$SLOT"
[ "$name" = "$NAME" ] || exit 0
clock
printf '%s\n' "$result" >"$SLOT/ended"
printf '%s\n' "$up" >"$SLOT/lingered"

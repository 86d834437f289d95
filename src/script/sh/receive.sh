# Receives $1, with the SHA-256 $2 and $3 bytes. If other hosts need the file, too, it is kept for them.
receive_file() {
    prepare_sender
    # A signal interrupts "wait", but not a program in the foreground.
    fetch_file "$2" >"$scratch/artifact" 2>"$scratch/output" &
    receiver=$!
    if ! wait "$receiver"; then
        output=$(cat "$scratch/output" 2>&1)
        # A full disk has no space for the error of the receiver.
        [ -n "$output" ] || ! is_full || output=$no_space
        fail_receive "cannot receive $1$SENT_BY: ${output:-the connection was lost}"
    fi
    receiver=
    verify "$scratch/artifact" "$2" "$1$SENT_BY" "$3"
    # Without the file, the other hosts receive it from the control machine.
    [ -z "$KEEP_IN" ] || ln "$scratch/artifact" "$KEEP_IN/$2" 2>/dev/null || :
}

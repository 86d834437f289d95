# Receives a file from another host of the fleet. The key for it, and the key of the host, are the next lines of the input.
SENT_BY=" from the host $SENDER"

prepare_sender() {
    read_lines "$KEY_LINES" "$scratch/key" '%s\n' && read_lines "$HOST_KEYS_LINES" "$scratch/known_hosts" '%s\n' ||
        fail_receive "the keys for the host $SENDER did not arrive completely, or cannot be written"
}

# Asks for the file with the digest $1. Replaces its shell, so that signals reach the program.
fetch_file() {
    cd "$scratch" || exit
    limit_output
    exec ssh -T -F /dev/null -i key -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes \
        -o PreferredAuthentications=publickey -o StrictHostKeyChecking=yes -o UserKnownHostsFile=known_hosts \
        -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no -o "HostKeyAlias=$SENDER_NAME" -o LogLevel=ERROR \
        -o "ConnectTimeout=$SENDER_WAIT" -o ServerAliveInterval="$SENDER_WAIT" -o ServerAliveCountMax=2 \
        -p "$SENDER_PORT" -l "$SENDER_USER" -- "$SENDER_ADDRESS" "$1" </dev/null
}

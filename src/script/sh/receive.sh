# Receives $1 on the input, with the SHA-256 $2.
receive_file() {
    # A signal interrupts "wait", but not a program in the foreground.
    cat <&3 >"$scratch/artifact" 2>"$scratch/output" &
    receiver=$!
    if ! wait "$receiver"; then
        output=$(cat "$scratch/output" 2>&1)
        fail_receive "cannot receive $1${output:+: $output}"
    fi
    receiver=
    verify "$scratch/artifact" "$2" "$1"
}

# Receives the artifact on the input.
get_files() {
    # A signal interrupts "wait", but not a program in the foreground.
    cat <&3 >"$scratch/artifact" 2>"$scratch/output" &
    receiver=$!
    if ! wait "$receiver"; then
        output=$(cat "$scratch/output" 2>&1)
        fail_receive "cannot receive the artifact${output:+: $output}"
    fi
    receiver=
    verify "$scratch/artifact" "$SHA256" "the artifact of $SIZE bytes"
    unpack
}

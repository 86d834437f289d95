# Receives the artifact on the input.
get_files() {
    receive_file "the artifact of $SIZE bytes" "$SHA256" "$SIZE"
    unpack
}

# Limits the output to the size of the artifact, and disables core dumps: whatever the server sends, it cannot fill the
# disk.
limit_output() {
    ulimit -c 0 2>/dev/null
    ulimit -f "$BLOCKS_MAX" 2>/dev/null
}

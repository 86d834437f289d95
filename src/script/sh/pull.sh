# Downloads the artifact from the URL that is the next line of the input. The URL may hold a password: it is an argument of
# no program, and in nothing that is said.
pull() {
    IFS= read -r url || broken "the URL of the artifact did not arrive"
    if command -v curl >/dev/null 2>&1; then
        tool=curl
        fetch_by_curl &
    elif is_gnu_wget; then
        tool=wget
        fetch_by_wget &
    else
        broken "the artifact cannot be pulled: neither curl nor GNU wget is here; install one, or use fetch = \"push\""
    fi
    receiver=$!
    wait "$receiver" && status=0 || status=$?
    receiver=
    [ "$status" -eq 0 ] || not_pulled
}

# Others take a URL as an argument only.
is_gnu_wget() {
    case $(wget --version 2>/dev/null) in
        *GNU*) return 0 ;;
        *) return 1 ;;
    esac
}

# No more is written than the artifact has, and no core: whatever the server sends, it does not fill the disk.
bound() {
    ulimit -c 0 2>/dev/null
    ulimit -f "$BLOCKS_MAX" 2>/dev/null
}

# Each becomes the program itself, so that a signal reaches it.
fetch_by_curl() {
    bound
    exec curl -q --fail --silent --show-error --location --globoff --connect-timeout "$SERVER_WAIT" --retry "$SERVER_TRIES" \
        --speed-limit 1 --speed-time "$SERVER_WAIT" --output "$litter/artifact" --config - <<END 2>"$litter/said"
url = "$url"
END
}

fetch_by_wget() {
    bound
    exec wget --no-verbose --tries "$SERVER_TRIES" --timeout "$SERVER_WAIT" --output-document "$litter/artifact" \
        --input-file - <<END 2>"$litter/said"
$url
END
}

# What the tool says last, unless that names the URL.
not_pulled() {
    came=$(wc -c <"$litter/artifact" 2>/dev/null) || came=0
    [ "$came" -le "$SIZE" ] || broken "the artifact could not be pulled: there is more than its $SIZE bytes"
    said=
    while IFS= read -r line; do
        case $line in
            '' | *://* | "$url"*) ;;
            *) said=$line ;;
        esac
    done <"$litter/said"
    broken "the artifact could not be pulled: ${said:-$tool ended with $status}"
}

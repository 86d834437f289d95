# Downloads the artifact from the URL on the next line of the input. The URL may contain a password, so it is not an
# argument of any program, and no message contains it.
get_files() {
    IFS= read -r url || fail_receive "the URL of the artifact did not arrive"
    if command -v curl >/dev/null 2>&1; then
        tool=curl
        fetch_by_curl &
    elif is_gnu_wget; then
        tool=wget
        fetch_by_wget &
    else
        fail_receive "cannot pull the artifact: neither curl nor GNU wget is installed; install one, or set fetch = \"push\""
    fi
    receiver=$!
    wait "$receiver" && status=0 || status=$?
    receiver=
    [ "$status" -eq 0 ] || fail_pull
    verify "$scratch/artifact" "$SHA256" "the downloaded artifact, expected to have $SIZE bytes," "$SIZE"
    unpack
}

# Other versions of wget accept a URL only as an argument.
is_gnu_wget() {
    case $(wget --version 2>/dev/null) in
        *GNU*) return 0 ;;
        *) return 1 ;;
    esac
}

# Each replaces its shell with exec, so that signals reach the program.
fetch_by_curl() {
    limit_output
    exec curl -q --fail --silent --show-error --location --globoff --connect-timeout "$SERVER_WAIT" --retry "$SERVER_TRIES" \
        --speed-limit 1 --speed-time "$SERVER_WAIT" --output "$scratch/artifact" --config - <<END 2>"$scratch/output"
url = "$url"
END
}

fetch_by_wget() {
    limit_output
    exec wget --no-verbose --tries "$SERVER_TRIES" --timeout "$SERVER_WAIT" --output-document "$scratch/artifact" \
        --input-file - <<END 2>"$scratch/output"
$url
END
}

# Reports the tool's last message that does not contain the URL.
fail_pull() {
    received=$(wc -c <"$scratch/artifact" 2>/dev/null) || received=0
    [ "$received" -le "$SIZE" ] || fail_receive "cannot pull the artifact: it is larger than $SIZE bytes"
    output=
    while IFS= read -r line; do
        case $line in
            '' | *://* | "$url"*) ;;
            *) output=$line ;;
        esac
    done <"$scratch/output"
    fail_receive "cannot pull the artifact: ${output:-$tool exited with status $status}"
}

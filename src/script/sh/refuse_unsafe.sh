# Ends an observation of a directory that is not safe.
is_safe || {
    flatten "$unsafe"
    printf '%sship=1%srefused=%s%send=failed\n' "$NL" "$NL" "$flat" "$NL"
    exit 10
}

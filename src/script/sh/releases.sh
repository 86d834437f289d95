# Prints the definitions of the complete releases, one per line, and the time of deploy of the proven ones.
out=
for release in "$ROOT"/releases/*; do
    name=${release##*/}
    case $name in
        *[!0-9a-f]*) continue ;;
    esac
    [ ${#name} -eq 64 ] && [ -f "$release/definition" ] || continue
    definition= proven=
    IFS= read -r definition <"$release/definition"
    [ -n "$definition" ] || continue
    [ ! -f "$release/proven" ] || read -r proven <"$release/proven"
    case $proven in
        *[!0-9]*) proven= ;;
    esac
    out="${out}release=$name$NL${proven:+proven=$proven$NL}definition=$definition$NL"
done
printf '\nship=1\n%s\nend=done\n' "$out"

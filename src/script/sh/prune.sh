# Whether a slot runs release $1, or may have to again.
in_use() {
    for record in "$ROOT"/slots/*/instance "$ROOT"/armed/*/instance; do
        [ -f "$record" ] || continue
        while IFS= read -r line; do
            [ "$line" != "release=$1" ] || return 0
        done <"$record"
    done
    return 1
}

enter
kept=
set --
for release in $RELEASES; do
    digest "$release"
    if [ ! -d "$ROOT/releases/$release" ]; then
        continue
    elif in_use "$release"; then
        kept="$kept $release"
    else
        set -- "$@" "$ROOT/releases/$release"
    fi
done
if [ $# -gt 0 ]; then
    # Moved away first: what lies under "releases" is whole at any moment.
    litter=$ROOT/tmp/out.$$
    said=$({ mkdir "$litter" && mv "$@" "$litter/"; } 2>&1) || fail "old releases could not be removed: $said"
fi
[ -z "$kept" ] || fail "kept, because a slot needs it:$kept"
finish 'done'

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
kept= problems=
set --
for release in $RELEASES; do
    digest "$release"
    if [ ! -d "$ROOT/releases/$release" ]; then
        continue
    elif in_use "$release"; then
        kept="$kept $release"
    elif find_mount "$ROOT/releases/$release"; then
        problems="$problems; release $release was kept, because something is mounted at $mount"
    else
        set -- "$@" "$ROOT/releases/$release"
    fi
done
if [ $# -gt 0 ]; then
    # Moved away first: what lies under "releases" is whole at any moment.
    litter=$ROOT/tmp/out.$$
    said=$({ mkdir "$litter" && mv "$@" "$litter/"; } 2>&1) || fail "old releases could not be removed: $said"
    said=$(delete "$litter" 2>&1) || problems="$problems; $litter could not be deleted: $said"
    litter=
fi
[ -z "$kept" ] || problems="$problems; kept, because a slot needs it:$kept"
[ -z "$problems" ] || fail "${problems#; }"
finish 'done'

# Whether a slot uses release $1, or may use it again.
in_use() {
    for record in "$ROOT"/slots/*/instance "$ROOT"/armed/*/instance; do
        [ -f "$record" ] || continue
        while IFS= read -r line; do
            [ "$line" != "release=$1" ] || return 0
        done <"$record"
    done
    # The server of the link driver serves these files, even if no instance is recorded.
    [ "$(readlink "$ROOT/current" 2>/dev/null)" = "releases/$1/app" ]
}

enter
kept= problems=
set --
for release in $RELEASES; do
    check_digest "$release"
    if [ ! -d "$ROOT/releases/$release" ]; then
        continue
    elif in_use "$release"; then
        kept="$kept $release"
    elif find_mount "$ROOT/releases/$release"; then
        problems="$problems; release $release was not removed, because something is mounted at $mount"
    else
        set -- "$@" "$ROOT/releases/$release"
    fi
done
if [ $# -gt 0 ]; then
    # The releases are moved first, so that "releases" never contains an incomplete one.
    scratch=$ROOT/tmp/out.$$
    output=$({ mkdir "$scratch" && mv "$@" "$scratch/"; } 2>&1) || fail "cannot remove old releases: $output"
    output=$(delete "$scratch" 2>&1) || problems="$problems; cannot delete $scratch: $output"
    scratch=
fi
[ -z "$kept" ] || problems="$problems; not removed, because it is in use:$kept"
[ -z "$problems" ] || fail "${problems#; }"
finish 'done'

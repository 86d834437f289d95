# Makes the directories that outlive releases, for the service's user. Existing ones are left as they are.
make_shared_dirs() {
    for dir in $SHARED_DIRS; do
        [ ! -d "$ROOT/shared/$dir" ] || continue
        # Under another name first, so that no directory is left with the wrong owner.
        new=$ROOT/tmp/shared.$$ place=$ROOT/shared/$dir
        output=$({
            rm -rf -- "$new" && mkdir "$new" && own_shared_dir "$new" && mkdir -p "${place%/*}" && mv "$new" "$place"
        } 2>&1) || fail "cannot make the shared directory $place: $output"
    done
}

own_shared_dir() {
    [ -n "$RUN_AS" ] && [ "$(id -u)" = 0 ] || return 0
    chown "$RUN_AS:$(id -g "$RUN_AS")" "$1"
}

# Makes the directories that outlive releases, for the service's user.
make_shared_dirs() {
    for dir in $SHARED_DIRS; do
        place=$ROOT/shared/$dir
        check_parents "$dir"
        if [ ! -e "$place" ] && [ ! -L "$place" ]; then
            make_shared_dir
        elif [ -d "$place" ]; then
            check_shared_owner
        else
            fail "$place is not a directory, but shared_dirs has $dir"
        fi
    done
}

# Fails if a directory in which the shared directory $1 lies may be changed by another user, who could make this script
# follow a link.
check_parents() {
    parent=$ROOT/shared rest=$1
    while [ "$rest" != "${rest#*/}" ]; do
        parent=$parent/${rest%%/*} rest=${rest#*/}
        [ -e "$parent" ] || [ -L "$parent" ] || return 0
        [ ! -L "$parent" ] || fail "$parent is a link, and the shared directory $1 must not lie behind one"
        set -- "$1" $(ls -ldn "$parent")
        [ "$4" = "$me" ] || fail "$parent belongs to $(name_user "$4"), who could redirect the shared directory $1; share $parent itself"
    done
}

make_shared_dir() {
    # Under another name first, so that no directory is left with the wrong owner.
    scratch=$ROOT/tmp/shared.$$
    output=$({ rm -rf -- "$scratch" && mkdir "$scratch" && own_shared_dir "$scratch" && mkdir -p "${place%/*}" && mv "$scratch" "$place"; } 2>&1) ||
        fail "cannot make the shared directory $place: $output"
    scratch=
}

own_shared_dir() {
    [ -n "$RUN_AS" ] && [ "$me" = 0 ] || return 0
    chown "$RUN_AS:$(id -g "$RUN_AS")" "$1"
}

# A directory that was only the parent of another one becomes the service's. One of another user is left as it is, but
# the service must be able to write to it.
check_shared_owner() {
    [ -n "$RUN_AS" ] && [ "$me" = 0 ] && [ ! -L "$place" ] || return 0
    set -- $(ls -ldn "$place")
    [ "$3" != "$(id -u "$RUN_AS")" ] || return 0
    if [ "$3" = 0 ]; then
        output=$(own_shared_dir "$place" 2>&1) || fail "$output"
        return
    fi
    case $1 in
        ?????w* | ????????w*) ;;
        *) fail "$place belongs to $(name_user "$3"), and the service runs as $RUN_AS; change its owner with \`chown -R $RUN_AS: $place\`" ;;
    esac
}

# Copies the files of a release with the same artifact, which may belong to another service. File systems that can share
# blocks between files store them once. The original may have been changed, so the copy is verified.
get_files() {
    [ -O "$HELD/app" ] || fail_receive "cannot copy $HELD: it does not exist, or belongs to another user"
    output=$(copy_files 2>&1) || fail_receive "cannot copy $HELD: $output"
    sum=$(list_contents | sha256sum 2>&1) || fail_receive "sha256sum: $sum"
    [ "${sum%% *}" = "$CONTENTS" ] || fail_receive "cannot copy $HELD: its files were changed"
}

# Copies the files that ship has unpacked there, without those that the service has added. A link to a shared directory
# belongs to the other release.
copy_files() {
    cd "$HELD/app" || return
    shared=" $HELD_SHARED_DIRS " xargs -0 sh -c '
        for path; do
            case $shared in
                *" ${path#./} "*) is_directory=yes ;;
                *) is_directory= ;;
            esac
            [ ! -d "$path" ] || [ -L "$path" ] || is_directory=yes
            if [ -n "$is_directory" ]; then
                printf "%s\\0" "$path" >&3
            elif [ -f "$path" ] || [ -L "$path" ]; then
                printf "%s\\0" "$path"
            else
                # To open a named pipe would wait for its writer.
                echo "$path is not a file" >&2
                exit 1
            fi
        done' sh <../files 3>"$scratch/directories" >"$scratch/others" || return
    (cd "$app" && xargs -0 -r mkdir -p -- <"$scratch/directories") || return
    # The files of a directory get the time of their arrival, as they do when they are unpacked.
    keep=timestamps
    [ -z "$TIMES" ] || keep=links
    xargs -0 -r cp -d --reflink=auto --preserve="$keep" --parents -t "$app" -- <"$scratch/others"
}

# Prints the digests of all files, then the kind, the name and the target of everything, each in an order that does not
# depend on the locale. A name does not contain two slashes.
list_contents() {
    cd "$app" || return
    find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z --
    find . -type f -perm -100 -printf 'x %p//\0' -o -printf '%y %p//%l\0' | sort -z
}
